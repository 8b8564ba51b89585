"""What goes into a peer's decisions about its orders, and what comes out of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pymr.outcomes import AttemptId, EarlierFailure, EnginePhase, Failure, Outcome
from pymr.protocol import (
    Assignment,
    AttemptResult,
    MachineFigures,
    Orders,
    PlanOrder,
    PlanReport,
    PublishOrder,
    PublishReport,
    Report,
    RunOrder,
    Source,
)


@dataclass(frozen=True, slots=True)
class Held:
    """A finished attempt that was found on the disk at the start of the peer."""

    result: AttemptResult
    digest: str


@dataclass(frozen=True, slots=True)
class Ordered:
    """Orders have come from a leader."""

    orders: Orders


@dataclass(frozen=True, slots=True)
class Learned:
    """The lease says which incarnation of the cluster, and which epoch, are the present ones.

    leader: the peer that leads in that epoch; "" while nobody does.
    """

    incarnation: str
    epoch: int
    leader: str


@dataclass(frozen=True, slots=True)
class ProjectPrepared:
    """The project of a run is on the disk; error: why it is not."""

    run_id: str
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan was made, or could not be."""

    report: PlanReport


@dataclass(frozen=True, slots=True)
class WorkerStarted:
    """A slot has a process."""

    slot: int
    pid: int


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The worker of a slot has loaded the project's functions."""

    slot: int


@dataclass(frozen=True, slots=True)
class WorkerMoved:
    """A task has got on. done: (records, bytes) of input, (groups, values) of a partition. phase: see
    RunningAttempt."""

    slot: int
    done: tuple[int, int]
    phase: EnginePhase | None = None


@dataclass(frozen=True, slots=True)
class WorkerHalted:
    """A worker waits in a debugger (`is_halted`), or goes on from there."""

    slot: int
    is_halted: bool


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """The worker of a slot has ended a task, and is ready for another. pane_offset: see AttemptResult."""

    slot: int
    id: AttemptId
    outcome: Outcome
    pane_offset: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerEnded:
    """The worker of a slot is gone. failure: what that means for its task. pane_offset: see AttemptResult."""

    slot: int
    failure: Failure
    pane_offset: int | None = None


@dataclass(frozen=True, slots=True)
class SegmentFetched:
    """A segment has come from another host."""

    run_id: str
    source: Source
    partition: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SegmentLost:
    """The owner of a map output no longer has it."""

    run_id: str
    source: Source


@dataclass(frozen=True, slots=True)
class SegmentRefused:
    """A segment does not come, and is tried again. error: why. is_of_disk: this peer's disk takes nothing."""

    run_id: str
    source: Source
    partition: int
    error: str
    is_of_disk: bool = False


@dataclass(frozen=True, slots=True)
class SegmentsMeasured:
    """How much of partitions lies in a map output on this host. sizes: (partition, bytes)."""

    run_id: str
    source: Source
    sizes: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class KeyboardsHeld:
    """Who has the keyboards of the workers now, by slot; only of those that somebody has."""

    holders: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Published:
    """A folder shows a run's output, or could not be made to."""

    report: PublishReport


@dataclass(frozen=True, slots=True)
class Drain:
    """Take no more work."""


@dataclass(frozen=True, slots=True)
class PeerTick:
    """Time has passed; some ten times a second. machine: how it stands now."""

    machine: MachineFigures


PeerEvent = (
    Ordered
    | Learned
    | ProjectPrepared
    | Planned
    | WorkerStarted
    | WorkerReady
    | WorkerMoved
    | WorkerHalted
    | TaskEnded
    | WorkerEnded
    | SegmentFetched
    | SegmentLost
    | SegmentRefused
    | SegmentsMeasured
    | KeyboardsHeld
    | Published
    | Drain
    | PeerTick
)


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep incarnation and epoch on the disk before anything else is done."""

    incarnation: str
    epoch: int


@dataclass(frozen=True, slots=True)
class SendReport:
    """Send a report to the leader. Nothing depends on its arrival."""

    leader: str
    report: Report


@dataclass(frozen=True, slots=True)
class Fence:
    """Tell a leader whose epoch has passed."""

    leader: str
    epoch: int


@dataclass(frozen=True, slots=True)
class ReadJobs:
    """Read the job table from Redis, as it has changed."""

    change: int


@dataclass(frozen=True, slots=True)
class PrepareProject:
    """Put the project of a run on the disk; then `ProjectPrepared`."""

    order: RunOrder


@dataclass(frozen=True, slots=True)
class MakePlan:
    """List and cut the input of a run; then `Planned`."""

    order: RunOrder
    plan: PlanOrder


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a process for a run in a slot; then `WorkerStarted`, and `WorkerReady` or `WorkerEnded`."""

    slot: int
    order: RunOrder


@dataclass(frozen=True, slots=True)
class GiveMap:
    """Give a map task to a worker that is ready; then `TaskEnded` or `WorkerEnded`."""

    slot: int
    assignment: Assignment


@dataclass(frozen=True, slots=True)
class GiveReduce:
    """Give a reduce task to a worker that is ready. sources: every map output, in the order of the tasks."""

    slot: int
    id: AttemptId
    partition: int
    sources: tuple[Source, ...]
    earlier: EarlierFailure | None = None


@dataclass(frozen=True, slots=True)
class GiveStep:
    """Give a step of a script or file_transfer run to a worker that is ready; then `TaskEnded` or
    `WorkerEnded`."""

    slot: int
    assignment: Assignment


@dataclass(frozen=True, slots=True)
class GiveDriver:
    """Let a worker that is ready drive a run on an external engine; then `TaskEnded` or `WorkerEnded`."""

    slot: int
    assignment: Assignment


@dataclass(frozen=True, slots=True)
class EndWorker:
    """End the process of a slot, with all that it started. No event follows."""

    slot: int


@dataclass(frozen=True, slots=True)
class FailWorker:
    """End the process of a slot as EndWorker does, for a reason that its output is to show; then
    `WorkerEnded` with it, which fails the task."""

    slot: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class FetchSegments:
    """Pull a partition's part of map outputs from their hosts; `SegmentFetched` or `SegmentLost` follow."""

    run_id: str
    partition: int
    sources: tuple[Source, ...]
    in_flight: int


@dataclass(frozen=True, slots=True)
class MeasureSegments:
    """Look how much of these partitions lies in map outputs on this host; then `SegmentsMeasured`, for each
    output that is there."""

    run_id: str
    partitions: tuple[int, ...]
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class DropPartitions:
    """Stop fetching for partitions that another peer reduces now."""

    run_id: str
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Publish:
    """Make an output visible; then `Published`."""

    order: PublishOrder


@dataclass(frozen=True, slots=True)
class RemoveRun:
    """Remove everything of a run from the disk, and stop fetching for it."""

    run_id: str


@dataclass(frozen=True, slots=True)
class RemoveAttempt:
    """Remove the files of an attempt."""

    id: AttemptId


PeerCommand = (
    Remember
    | SendReport
    | Fence
    | ReadJobs
    | PrepareProject
    | MakePlan
    | StartWorker
    | GiveMap
    | GiveReduce
    | GiveStep
    | GiveDriver
    | EndWorker
    | FailWorker
    | FetchSegments
    | MeasureSegments
    | DropPartitions
    | Publish
    | RemoveRun
    | RemoveAttempt
)

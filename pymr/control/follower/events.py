"""What goes into a peer's decisions about its orders, and what comes out of them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pymr.wire.outcomes import AttemptId, EarlierFailure, EnginePhase, Failure, Outcome
from pymr.wire.protocol import (
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


class Held(msgspec.Struct, frozen=True):
    """A finished attempt that was found on the disk at the start of the peer."""

    result: AttemptResult
    digest: str


class Ordered(msgspec.Struct, frozen=True):
    """Orders have come from a leader."""

    orders: Orders


class Learned(msgspec.Struct, frozen=True):
    """The lease says which incarnation of the cluster, and which epoch, are the present ones.

    leader: the peer that leads in that epoch; "" while nobody does.
    """

    incarnation: str
    epoch: int
    leader: str


class ProjectPrepared(msgspec.Struct, frozen=True):
    """The project of a run is on the disk; error: why it is not."""

    run_id: str
    failure: Failure | None = None


class Planned(msgspec.Struct, frozen=True):
    """A plan was made, or could not be."""

    report: PlanReport


class WorkerStarted(msgspec.Struct, frozen=True):
    """A slot has a process."""

    slot: int
    pid: int


class WorkerReady(msgspec.Struct, frozen=True):
    """The worker of a slot has loaded the project's functions."""

    slot: int


class WorkerMoved(msgspec.Struct, frozen=True):
    """A task has got on. done: (records, bytes) of input, (groups, values) of a partition. phase: see
    RunningAttempt."""

    slot: int
    done: tuple[int, int]
    phase: EnginePhase | None = None


class WorkerHalted(msgspec.Struct, frozen=True):
    """A worker waits in a debugger (`is_halted`), or goes on from there."""

    slot: int
    is_halted: bool


class TaskEnded(msgspec.Struct, frozen=True):
    """The worker of a slot has ended a task, and is ready for another. pane_offset: see AttemptResult."""

    slot: int
    id: AttemptId
    outcome: Outcome
    pane_offset: int | None = None


class WorkerEnded(msgspec.Struct, frozen=True):
    """The worker of a slot is gone. failure: what that means for its task. pane_offset: see AttemptResult."""

    slot: int
    failure: Failure
    pane_offset: int | None = None


class SegmentFetched(msgspec.Struct, frozen=True):
    """A segment has come from another host."""

    run_id: str
    source: Source
    partition: int
    size_bytes: int


class SegmentLost(msgspec.Struct, frozen=True):
    """The owner of a map output no longer has it."""

    run_id: str
    source: Source


class SegmentRefused(msgspec.Struct, frozen=True):
    """A segment does not come, and is tried again. error: why. is_of_disk: this peer's disk takes nothing."""

    run_id: str
    source: Source
    partition: int
    error: str
    is_of_disk: bool = False


class SegmentsMeasured(msgspec.Struct, frozen=True):
    """How much of partitions lies in a map output on this host. sizes: (partition, bytes)."""

    run_id: str
    source: Source
    sizes: tuple[tuple[int, int], ...]


class InputLocksHeld(msgspec.Struct, frozen=True):
    """Who has the keyboards of the workers now, by slot; only of those that somebody has."""

    holders: Mapping[int, str]


class Published(msgspec.Struct, frozen=True):
    """A folder shows a run's output, or could not be made to."""

    report: PublishReport


class Drain(msgspec.Struct, frozen=True):
    """Take no more work."""


class PeerTick(msgspec.Struct, frozen=True):
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
    | InputLocksHeld
    | Published
    | Drain
    | PeerTick
)


class Remember(msgspec.Struct, frozen=True):
    """Keep incarnation and epoch on the disk before anything else is done."""

    incarnation: str
    epoch: int


class SendReport(msgspec.Struct, frozen=True):
    """Send a report to the leader. Nothing depends on its arrival."""

    leader: str
    report: Report


class Fence(msgspec.Struct, frozen=True):
    """Tell a leader whose epoch has passed."""

    leader: str
    epoch: int


class ReadJobs(msgspec.Struct, frozen=True):
    """Read the job table from Redis, as it has changed."""

    change: int


class PrepareProject(msgspec.Struct, frozen=True):
    """Put the project of a run on the disk; then `ProjectPrepared`."""

    order: RunOrder


class MakePlan(msgspec.Struct, frozen=True):
    """List and cut the input of a run; then `Planned`."""

    order: RunOrder
    plan: PlanOrder


class StartWorker(msgspec.Struct, frozen=True):
    """Start a process for a run in a slot; then `WorkerStarted`, and `WorkerReady` or `WorkerEnded`."""

    slot: int
    order: RunOrder


class GiveMap(msgspec.Struct, frozen=True):
    """Give a map task to a worker that is ready; then `TaskEnded` or `WorkerEnded`."""

    slot: int
    assignment: Assignment


class GiveReduce(msgspec.Struct, frozen=True):
    """Give a reduce task to a worker that is ready. sources: every map output, in the order of the tasks."""

    slot: int
    id: AttemptId
    partition: int
    sources: tuple[Source, ...]
    earlier: EarlierFailure | None = None


class GiveStep(msgspec.Struct, frozen=True):
    """Give a step of a script or file_transfer run to a worker that is ready; then `TaskEnded` or
    `WorkerEnded`."""

    slot: int
    assignment: Assignment


class GiveDriver(msgspec.Struct, frozen=True):
    """Let a worker that is ready drive a run on an external engine; then `TaskEnded` or `WorkerEnded`."""

    slot: int
    assignment: Assignment


class EndWorker(msgspec.Struct, frozen=True):
    """End the process of a slot, with all that it started. No event follows."""

    slot: int


class FailWorker(msgspec.Struct, frozen=True):
    """End the process of a slot as EndWorker does, for a reason that its output is to show; then
    `WorkerEnded` with it, which fails the task."""

    slot: int
    failure: Failure


class FetchSegments(msgspec.Struct, frozen=True):
    """Pull a partition's part of map outputs from their hosts; `SegmentFetched` or `SegmentLost` follow."""

    run_id: str
    partition: int
    sources: tuple[Source, ...]
    in_flight: int


class MeasureSegments(msgspec.Struct, frozen=True):
    """Look how much of these partitions lies in map outputs on this host; then `SegmentsMeasured`, for each
    output that is there."""

    run_id: str
    partitions: tuple[int, ...]
    sources: tuple[Source, ...]


class DropPartitions(msgspec.Struct, frozen=True):
    """Stop fetching for partitions that another peer reduces now."""

    run_id: str
    partitions: tuple[int, ...]


class Publish(msgspec.Struct, frozen=True):
    """Make an output visible; then `Published`."""

    order: PublishOrder


class RemoveRun(msgspec.Struct, frozen=True):
    """Remove everything of a run from the disk, and stop fetching for it."""

    run_id: str


class RemoveAttempt(msgspec.Struct, frozen=True):
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

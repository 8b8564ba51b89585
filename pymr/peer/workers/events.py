"""What `pool` tells the daemon of its workers."""

from __future__ import annotations

import msgspec

from pymr.wire.outcomes import AttemptId, EnginePhase, Failure, Outcome
from pymr.wire.protocol import WorkerState


class WorkerLoaded(msgspec.Struct, frozen=True):
    """The worker of a slot has loaded its job's functions."""

    slot: int


class WorkerProgressed(msgspec.Struct, frozen=True):
    """done: (records, bytes) in map, (groups, values) in reduce. ticks: moves while segments are merged.
    phase: see protocol.RunningAttempt."""

    slot: int
    done: tuple[int, int]
    ticks: int
    phase: EnginePhase | None = None


class WorkerPaused(msgspec.Struct, frozen=True):
    """A function waits at a breakpoint. where: file, line and function."""

    slot: int
    where: str


class WorkerResumed(msgspec.Struct, frozen=True):
    """It goes on."""

    slot: int


class WorkerFinished(msgspec.Struct, frozen=True):
    """A task has ended; the worker waits for the next. pane_offset: of one that failed, how long the pane was
    when all was in it that the worker had said."""

    slot: int
    id: AttemptId
    outcome: Outcome
    pane_offset: int | None = None


class WorkerDied(msgspec.Struct, frozen=True):
    """The slot has no worker any more. id: of the attempt that it was making, if any.

    failure: of the attempt, or of the loading of the job's functions, which may be final. pane_offset: how
    long the pane was with its last words.
    """

    slot: int
    id: AttemptId | None
    failure: Failure
    pane_offset: int


class ForkServerDied(msgspec.Struct, frozen=True):
    """The fork server has ended: every worker is dead, which is told of each, and none can be started."""


WorkerEvent = (
    WorkerLoaded
    | WorkerProgressed
    | WorkerPaused
    | WorkerResumed
    | WorkerFinished
    | WorkerDied
    | ForkServerDied
)


class WorkerView(msgspec.Struct, frozen=True):
    """A worker as it is now. id: the attempt that it is making. moved_at: when that last moved, or the worker
    last changed its state (monotonic seconds); it stands still at a breakpoint."""

    slot: int
    run_id: str
    pid: int
    state: WorkerState
    id: AttemptId | None
    done: tuple[int, int]
    moved_at: float

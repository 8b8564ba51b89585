"""What consoles are told of jobs, runs, peers and workers, a row for each. Part of `requests`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from pymr.wire.protocol import MachineFigures, WorkerState

JobStatus = Literal["queued", "running", "succeeded", "failed", "skipped"]
RunStatus = Literal[
    "running", "publishing", "succeeded", "failed", "deleted", "replaced", "skipped", "outdated"
]


BREAKPOINTS_SHOWN_MAX = 100


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it stands. fields: its definition. progress: 0 to 1 of the running run. Times: Unix seconds.

    seconds_left: of the running run, see `time_left`; None where nothing moves, or it stands at a breakpoint.
    breakpoints: the workers at which it does so, BREAKPOINTS_SHOWN_MAX at most.
    first_run_id: the first run begun after the last submission; None while there is none.
    waiting_for: what a run cannot go on without, for a person; "" if nothing.
    expected_start, expected_end: of the next run of a job that waits, and the end of one that runs; None
    where nothing is known of how long the jobs before it take. last_seconds: how long its runs take.
    cycle: the one in which it last ran. project_hash: of its package; "" without a project.
    """

    fields: dict[str, Any]
    status: JobStatus
    version: int
    submitted_at: float
    current_phase: str | None = None
    progress: float = 0.0
    seconds_left: float | None = None
    breakpoints: tuple[str, ...] = ()
    run_id: str | None = None
    first_run_id: str | None = None
    first_run_status: RunStatus | None = None
    start_time: float | None = None
    end_time: float | None = None
    exception: str | None = None
    waiting_for: str = ""
    expected_start: float | None = None
    expected_end: float | None = None
    last_seconds: float | None = None
    cycle: int = 0
    project_hash: str = ""


class PhaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """A phase of a run, or a step of a script or file_transfer run. done, total: tasks (segments in shuffle,
    peers in a step). units: (records, bytes) in map, (segments, bytes) in shuffle, (groups, values) in sort
    and reduce, (files, bytes) in a step; total_first, total_units: what the first and the second are to
    reach, 0 where that is not known. is_over: nothing is left of it, also where there was nothing to do.
    seconds_left: how long it still takes, see `time_left`."""

    name: str
    done: int = 0
    total: int = 0
    running: int = 0
    units: tuple[int, int] = (0, 0)
    total_first: int = 0
    total_units: int = 0
    seconds: float = 0.0
    is_over: bool = False
    seconds_left: float | None = None


SLOW_FACTOR = 1.5
"""A task that takes more than so many times what is usual is slow."""


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that is running. seconds: for how long. done: as in WorkerRow. usual_seconds: the third
    quartile of how long the tasks of its kind took that are done; None before four are."""

    task: str
    attempt: str
    worker: str
    state: WorkerState
    seconds: float
    done: tuple[int, int] = (0, 0)
    usual_seconds: float | None = None

    @property
    def is_slow(self) -> bool:
        """Whether it has taken more than SLOW_FACTOR times what is usual."""
        return self.usual_seconds is not None and self.seconds > SLOW_FACTOR * self.usual_seconds


class PanePlace(msgspec.Struct, frozen=True):
    """Where in the output of a worker something was said. offset: of the byte behind it."""

    worker: str
    run_id: str
    offset: int


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a job. Times: Unix seconds. attempts_failed: over all tasks. map_tasks, reduce_tasks:
    how many it has; 0 before they are known. skipped, exit_status, output: see control.records.RunRecord.
    failed_at, failure_kind: where the failure that ended it was printed, and the name of its class. warnings:
    see `run_warnings`."""

    run_id: str
    job_name: str
    job_version: int
    job_type: str = "mapreduce"
    status: RunStatus
    start_time: float
    end_time: float | None = None
    exception: str | None = None
    counters: dict[str, int | float] = {}
    records: int = 0
    bytes: int = 0
    files: int = 0
    values: int = 0
    groups: int = 0
    items: int = 0
    bad_records: int = 0
    attempts_failed: int = 0
    phase_seconds: dict[str, float] = {}
    map_tasks: int = 0
    reduce_tasks: int = 0
    skipped: int = 0
    exit_status: int | None = None
    output: str = ""
    failed_at: PanePlace | None = None
    warnings: tuple[str, ...] = ()
    failure_kind: str = ""


class FailedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that failed in the running run. pane_offset: of the worker's output by then; None where it
    had none."""

    task: str
    attempt: str
    worker: str
    error: str
    pane_offset: int | None = None


class PeerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A peer. address: host:port of its control endpoint. heard: seconds since its last report; None where
    none is known of. unheard: then, seconds since the leader took over, which has not heard it since; None
    where no leader is asked. outputs: of one that is no longer in cluster.toml (state `removed`), the jobs of
    whose outputs it has parts."""

    name: str
    address: str
    data_address: str
    pid: int = 0
    leader: bool = False
    epoch: int = 0
    workers: int = 0
    busy: int = 0
    alive: bool = False
    state: str = "unknown"
    heard: float | None = None
    unheard: float | None = None
    version: str = ""
    machine: MachineFigures = MachineFigures()
    outputs: tuple[str, ...] = ()


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A worker slot. phase: what it is doing, of its job's phases; None when idle. holder: who has its
    keyboard; "" for nobody."""

    name: str
    peer: str
    pid: int
    state: WorkerState
    job_name: str | None = None
    run_id: str | None = None
    task: str | None = None
    phase: str | None = None
    done: tuple[int, int] = (0, 0)
    holder: str = ""


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened. id: its place in the stream. time: Unix seconds. place: of a failure, where it
    was printed. worker: that it is about, in the run. user: who asked for it, as far as that is known."""

    id: str
    time: float
    kind: str
    text: str
    job_name: str = ""
    run_id: str = ""
    peer: str = ""
    place: PanePlace | None = None
    worker: str = ""
    user: str = ""


class OutputPart(msgspec.Struct, frozen=True):
    """A part file. resource: what to ask the data service of that peer for."""

    peer: str
    name: str
    items: int
    length: int


class StateRow(msgspec.Struct, frozen=True):
    """An input file that was consumed, as it was then. peer: in whose data folder it lies; "" for one that
    lies elsewhere. path: relative to that folder, or absolute."""

    path: str
    peer: str
    size: int
    mtime_ns: int

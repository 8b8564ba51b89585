"""What a console asks any peer, and what it is answered. Every request has an id: a peer that gets it twice
does it once. Peers speak `pymr.wire.protocol` among themselves."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from pymr.wire.output_shares import OutputShare
from pymr.wire.rows import (
    EventRow,
    FailedAttempt,
    JobRow,
    OutputPart,
    PeerRow,
    PhaseRow,
    RunRow,
    StateRow,
    TaskRow,
    WorkerRow,
)

PACKAGE_CHUNK_BYTES = 512 << 10
"""A project package travels in pieces of this size."""

TYPED_BYTES_MAX = 64 << 10
"""Most bytes typed into a worker with one request."""

JOBS_PER_PAGE = 1_000
RUNS_PER_PAGE = 1_000

Role = Literal["peer", "operator", "viewer"]


class _Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask"):
    """id: unique to the request, not to its repetition."""

    id: str


class GetCluster(_Request, frozen=True, kw_only=True, tag="cluster"):
    """Answered by ClusterView."""


class GetJobs(_Request, frozen=True, kw_only=True, tag="jobs"):
    """Answered by JobsView: a page of jobs in the order of the queue, from the `start`-th on."""

    start: int = 0


class GetJob(_Request, frozen=True, kw_only=True, tag="job"):
    """Answered by JobView."""

    job_name: str


class GetHistory(_Request, frozen=True, kw_only=True, tag="history"):
    """Answered by HistoryView: the latest runs first, from the `start`-th on. job_name: "" for those of all
    jobs."""

    job_name: str = ""
    limit: int = 100
    start: int = 0


class GetPeers(_Request, frozen=True, kw_only=True, tag="peers"):
    """Answered by PeersView."""


class GetWorkers(_Request, frozen=True, kw_only=True, tag="workers"):
    """Answered by WorkersView."""


class GetEvents(_Request, frozen=True, kw_only=True, tag="events"):
    """Answered by EventsView: what happened after the event `after`; "" for the latest ones."""

    after: str = ""
    limit: int = 200


class PutPackage(_Request, frozen=True, kw_only=True, tag="package"):
    """A piece of a project package. Answered by Done, whose detail is "known" when it is there already."""

    content_hash: str
    index: int
    count: int
    data: bytes


class SubmitJob(_Request, frozen=True, kw_only=True, tag="submit"):
    """Put a job into the queue, or in the place of the one of its name. Answered by Submitted.

    project_hash: of a package put before; "" for a job without a project.
    over_version: the version of the job that this is to replace, 0 for none; refused with code "conflict"
    where another stands there. None: replace whatever stands there.
    """

    fields: dict[str, Any]
    project_hash: str = ""
    over_version: int | None = None


class CheckJob(_Request, frozen=True, kw_only=True, tag="check"):
    """Whether a job could be submitted, as SubmitJob would tell; nothing is queued. Answered by Done."""

    fields: dict[str, Any]
    project_hash: str = ""


class DeleteJob(_Request, frozen=True, kw_only=True, tag="delete"):
    """Take a job off the queue; a run of it ends. Answered by Done."""

    job_name: str


class UndeleteJob(_Request, frozen=True, kw_only=True, tag="undelete"):
    """Put a job back that was deleted less than UNDELETE_SECONDS ago, with its project, as a new submission.
    Answered by Submitted; refused with code "unknown" where there is none, "conflict" where one of its name
    stands in the queue."""

    job_name: str


class RetryJob(_Request, frozen=True, kw_only=True, tag="retry"):
    """Queue a failed job once more, with all of its group. Answered by Done.

    name: of a job, or of a group.
    """

    name: str


class ForceJob(_Request, frozen=True, kw_only=True, tag="force"):
    """Let a job run again although it has run in this cycle. Answered by Done."""

    job_name: str


class GetState(_Request, frozen=True, kw_only=True, tag="state"):
    """The input files that a job with `hold_state` has consumed on the host that is asked. Answered by
    StateView: a page of them in the order of their paths, from the `start`-th on."""

    job_name: str
    start: int = 0


class ForgetState(_Request, frozen=True, kw_only=True, tag="forget"):
    """Forget, on the host that is asked, that files were consumed whose path matches a pattern as of fnmatch;
    the next run reads them again. Answered by Done, whose detail is the number of them; refused with code
    "invalid" while the job runs."""

    job_name: str
    pattern: str


class GetBadRecords(_Request, frozen=True, kw_only=True, tag="bad_records"):
    """The records that the map function raised on in a run, as they are kept on the host that is asked.
    Answered by BadRecordsView: a page of them, from the `start`-th byte on."""

    run_id: str
    start: int = 0


class PreviewJob(_Request, frozen=True, kw_only=True, tag="preview"):
    """Try a mapreduce job on the first lines of its input on the host that is asked, in a worker of its own,
    which is thrown away; nothing is kept. Answered by PreviewView within PREVIEW_SECONDS and a little.

    fields, project_hash: as in SubmitJob. lines: at most PREVIEW_LINES_MAX.
    """

    fields: dict[str, Any]
    project_hash: str = ""
    lines: int = 100


class PauseQueue(_Request, frozen=True, kw_only=True, tag="pause"):
    """Start no more runs (paused), or go on starting them. Those that are running go on. Answered by Done."""

    paused: bool


class GetOutput(_Request, frozen=True, kw_only=True, tag="output"):
    """What lies of a job's output on the host that is asked. Answered by OutputView; refused with code
    "changing" while its peers do not all show the same run."""

    job_name: str


class AttachWorker(_Request, frozen=True, kw_only=True, tag="attach"):
    """Hold the keyboard of a worker of the peer that is asked, for ATTACH_SECONDS; again to go on holding it.

    columns, rows: size of the console's terminal; 0 to leave that of the worker as it is.
    Answered by Done; refused with code "held" while another holds it.
    """

    worker: str
    holder: str
    columns: int = 0
    rows: int = 0


class TypeIntoWorker(_Request, frozen=True, kw_only=True, tag="type"):
    """Bytes for the terminal of a worker, from whoever holds its keyboard. Answered by Done; refused as
    `unavailable` where the worker has not taken yet what was typed before."""

    worker: str
    holder: str
    data: bytes


class DetachWorker(_Request, frozen=True, kw_only=True, tag="detach"):
    """Let go of the keyboard of a worker. Answered by Done."""

    worker: str
    holder: str


class StopPeer(_Request, frozen=True, kw_only=True, tag="stop"):
    """End the peer that is asked: at once, or when what it is doing has ended (`drain`). Answered by Done."""

    drain: bool = True


class GetMemory(_Request, frozen=True, kw_only=True, tag="memory"):
    """What the peer that is asked remembers of the cluster, without Redis. Answered by MemoryView."""


class RecoverCluster(_Request, frozen=True, kw_only=True, tag="recover"):
    """Give a Redis that has forgotten the cluster its jobs back, as the peer that is asked remembers them.

    incarnation: the one that most peers remember. epoch: the highest that any of them does.
    Answered by Done; refused with code "invalid" where Redis has not forgotten anything.
    """

    incarnation: str
    epoch: int


Request = (
    GetCluster | GetJobs | GetJob | GetHistory | GetPeers | GetWorkers | GetEvents | GetOutput | GetMemory
    | GetState | GetBadRecords | PutPackage | CheckJob | SubmitJob | DeleteJob | UndeleteJob | RetryJob
    | ForceJob | ForgetState | PreviewJob | PauseQueue | AttachWorker | TypeIntoWorker | DetachWorker
    | StopPeer | RecoverCluster
)  # fmt: skip

READING = (
    GetCluster, GetJobs, GetJob, GetHistory, GetPeers, GetWorkers, GetEvents, GetOutput, GetMemory, GetState,
    GetBadRecords,
)  # fmt: skip
"""What a viewer may ask. Everything else needs the role of an operator."""


_LOOK: dict[type[Request], str] = {
    SubmitJob: "show JOB", ForgetState: "state JOB", RecoverCluster: "cluster status",
    DeleteJob: "jobs", UndeleteJob: "jobs", RetryJob: "jobs", ForceJob: "jobs", PauseQueue: "jobs",
}  # fmt: skip


def doubt(request: Request) -> str:
    """What to say where a request may have been done though nobody has said so; "" if nothing of it stays."""
    look = f"look with `pymr {_LOOK.get(type(request), '')}`"
    return f"; it may have been carried out all the same: {look}" if type(request) in _LOOK else ""


def only_looks(name: str) -> str:
    """Why a request is refused to a viewer. name: of the key."""
    return f"{name} may look, and change nothing: that needs the key of an operator"


ATTACH_SECONDS = 10.0

UNDELETE_SECONDS = 600.0

PREVIEW_SECONDS = 2.0
PREVIEW_LINES_MAX = 10_000


class _Reply(msgspec.Struct, frozen=True, kw_only=True, tag_field="reply"):
    """id: of the request. problem: what is wrong with the cluster, so that what is told may be old or not
    all there is; "" if nothing."""

    id: str
    problem: str = ""


class ClusterView(_Reply, frozen=True, kw_only=True, tag="cluster"):
    """problem: why nothing is scheduled, and what to do; "" if all is well. is_draining: the peer that
    answers is about to end. peers_alive: 0 where it does not know, as it does not lead and no leader has
    answered it. breakpoints: the workers that stand at one, BREAKPOINTS_SHOWN_MAX at most."""

    name: str
    peer: str
    incarnation: str
    leader: str
    epoch: int
    paused: bool
    peers_alive: int
    peers: int
    workers: int
    workers_busy: int
    jobs: int
    version: str
    role: Role
    problem: str = ""
    is_draining: bool = False
    breakpoints: tuple[str, ...] = ()


class JobsView(_Reply, frozen=True, kw_only=True, tag="jobs"):
    """total: of all pages. cycle: the number of the present one. next_cycle_at: when the next one begins at
    the earliest, in Unix seconds; None where that is not known."""

    rows: tuple[JobRow, ...]
    total: int
    paused: bool = False
    cycle: int = 0
    next_cycle_at: float | None = None


TASKS_SHOWN_MAX = 200
PARTITIONS_SHOWN_MAX = 1_000


class JobView(_Reply, frozen=True, kw_only=True, tag="job"):
    """row: None when there is no such job. runs: the latest first. left_fields: the definition of the latest
    run of a job that has left the queue. tasks: the attempts that are running, those first that have been for
    longest, TASKS_SHOWN_MAX at most. warnings: of the running run. partition_bytes: how much has been
    gathered of each partition; () before any has been, and of a run with more than PARTITIONS_SHOWN_MAX.
    removed: peers that have parts of its output, and are no longer in cluster.toml."""

    row: JobRow | None
    phases: tuple[PhaseRow, ...] = ()
    tasks: tuple[TaskRow, ...] = ()
    partition_bytes: tuple[int, ...] = ()
    counters: dict[str, int | float] = {}
    failed_attempts: tuple[FailedAttempt, ...] = ()
    warnings: tuple[str, ...] = ()
    runs: tuple[RunRow, ...] = ()
    left_fields: dict[str, Any] = {}
    removed: tuple[str, ...] = ()


class HistoryView(_Reply, frozen=True, kw_only=True, tag="history"):
    """rows: as many as were asked for, or as fit into an answer. next: where the following page starts; None
    at the end."""

    rows: tuple[RunRow, ...]
    next: int | None = None


class PeersView(_Reply, frozen=True, kw_only=True, tag="peers"):
    rows: tuple[PeerRow, ...]


class WorkersView(_Reply, frozen=True, kw_only=True, tag="workers"):
    """is_partial: only those of the peer that answers, as it knows no leader."""

    rows: tuple[WorkerRow, ...]
    is_partial: bool = False


class EventsView(_Reply, frozen=True, kw_only=True, tag="events"):
    rows: tuple[EventRow, ...]


class OutputView(_Reply, frozen=True, kw_only=True, tag="output"):
    """run_id: of the newest run in that output; "" where there is none. parts: of every peer of the host.

    expected: what all peers of the cluster are to have of the runs in it, as far as is known here. shown:
    what those of this host have.
    """

    run_id: str
    parts: tuple[OutputPart, ...]
    expected: tuple[OutputShare, ...] = ()
    shown: tuple[OutputShare, ...] = ()


class StateView(_Reply, frozen=True, kw_only=True, tag="state"):
    """run_id: of the run that consumed the last of them; "" where there is no state. total: of all pages."""

    run_id: str
    rows: tuple[StateRow, ...]
    total: int


class BadRecordsView(_Reply, frozen=True, kw_only=True, tag="bad_records"):
    """lines: JSON, each with file, offset, line, error and traceback. next: where the following page starts;
    None at the end."""

    lines: tuple[str, ...]
    next: int | None


class PreviewView(_Reply, frozen=True, kw_only=True, tag="preview"):
    """What came of a preview. path: the input file that was read, "" where the host has none. lines: how many
    of it. items: what the map function gave, output: what the reduce function made of that, both as lines of
    JSON, the first of `items_total` and `output_total`. printed: what the functions printed. error: a
    traceback, or why it was given up; "" where all went well. Each is cut where it is long.
    absent: entries of input_dirs that no peer of the host has, and another host may."""

    peer: str
    path: str = ""
    lines: int = 0
    items: tuple[str, ...] = ()
    items_total: int = 0
    output: tuple[str, ...] = ()
    output_total: int = 0
    printed: str = ""
    error: str = ""
    seconds: float = 0.0
    absent: tuple[str, ...] = ()


class MemoryView(_Reply, frozen=True, kw_only=True, tag="memory"):
    """change: of the job table that the peer remembers. jobs: how many there are in it."""

    incarnation: str
    epoch: int
    change: int
    jobs: int


class Submitted(_Reply, frozen=True, kw_only=True, tag="submitted"):
    """replaced: whether a job of that name was there."""

    job_name: str
    version: int
    replaced: bool


class Done(_Reply, frozen=True, kw_only=True, tag="done"):
    detail: str = ""


class Refused(_Reply, frozen=True, kw_only=True, tag="refused"):
    """Not done. code: `denied`, `invalid`, `unknown`, `held`, `conflict`, `changing`, `unavailable`,
    `forgotten` or `version`."""

    code: str
    reason: str


Reply = (
    ClusterView | JobsView | JobView | HistoryView | PeersView | WorkersView | EventsView | OutputView
    | MemoryView | StateView | BadRecordsView | PreviewView | Submitted | Done | Refused
)  # fmt: skip

"""Records: what of jobs and runs is kept in Redis, and read back by the next leader."""

from __future__ import annotations

from typing import Any

import msgspec

from pymr.wire.outcomes import AttemptId, TaskOutcome
from pymr.wire.rows import JobStatus, PanePlace, RunStatus
from pymr.wire.run_warnings import RunWarnings


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A job in the queue. version: rises with every submission of any job. change: number of the last change.

    fields: the definition. first_run_id: of this version. Times: Unix seconds, by the clock of Redis.
    cycle: the one in which it last began to run, 0 where it is due in any; below that of the cluster it is
    due again.
    seconds: how long its runs take that succeed, an average with more weight on the latest; None while none
    has. It outlives the version.
    outdated: how many of its runs have ended so one after another, (as input changed, as files grew).
    """

    name: str
    version: int
    change: int
    fields: dict[str, Any]
    project_hash: str
    submitted_at: float
    status: JobStatus = "queued"
    first_run_id: str | None = None
    first_run_status: RunStatus | None = None
    run_id: str | None = None
    start_time: float | None = None
    end_time: float | None = None
    exception: str | None = None
    cycle: int = 0
    seconds: float | None = None
    outdated: tuple[int, int] = (0, 0)


class UncountedRuns(msgspec.Struct, frozen=True):
    """Numbers of runs, from `first` to `last`, of which none counts. peers: which may show parts of them; ()
    where nobody knows, as of runs that Redis has forgotten: those of all."""

    first: int
    last: int
    peers: tuple[str, ...] = ()


class JobState(msgspec.Struct, frozen=True):
    """What counts of a job: of one with `hold_state`, or whose runs add to its output.

    run_id: what it has consumed is what the lists of that run say, on every host; "" where there are none.
    shared_host: where the list of the folders that all hosts share lies; "" while there is none.
    peers: who planned that run, and so in whose data folders the lists lie that count; of a host on which
    several have tried, the others' may say something else. shared_peer: the same for shared_host.
    shown: the last run that succeeded; "" in the state of an earlier release, where it is run_id. adds:
    whether that run added to the output. since: the number of the last run that replaced it; 0 for none that
    is known. uncounted: runs after that which have failed while their parts were being added, and which some
    peers may show, ascending (see `counted_runs`). is_recovered: of runs after `shown`, Redis may have
    forgotten some. torn: a later run that failed while its output took the place of that one's, so that some
    peers may show it and others not; "" once another has taken the place of both.
    """

    run_id: str
    shared_host: str = ""
    peers: tuple[str, ...] = ()
    shared_peer: str = ""
    shown: str = ""
    adds: bool = False
    torn: str = ""
    since: int = 0
    uncounted: tuple[UncountedRuns, ...] = ()
    is_recovered: bool = False


class JobChanges(msgspec.Struct, frozen=True):
    """Changes of the job table after some change. change: the number of the last one.

    is_whole: `jobs` are all there are; otherwise only the changed ones, and `deleted` names those gone.
    cycle: the number of the present one. cycle_began_at, now: Unix seconds, by the clock of Redis.
    states: of jobs that have one (see JobState), also of those that left the table; of all of them
    where it is whole, else those that have changed.
    """

    change: int
    jobs: tuple[JobRecord, ...]
    deleted: tuple[str, ...]
    is_whole: bool
    paused: bool
    cycle: int = 1
    cycle_began_at: float = 0.0
    now: float = 0.0
    states: dict[str, JobState] = {}


class HostPlan(msgspec.Struct, frozen=True):
    """The map tasks of one host: `tasks` of them, numbered from `first` on. peer: whose disk has the plan.

    shared: their input can be read on every host.
    """

    host: str
    peer: str
    first: int
    tasks: int
    bytes: int
    files: int
    shared: bool = False


class StepPlan(msgspec.Struct, frozen=True):
    """A step of a script or file_transfer run: one of protocol.STEPS, and the peers that do it."""

    name: str
    peers: tuple[str, ...]


class RunPlan(msgspec.Struct, frozen=True):
    """What a run consists of. homes: the peer that reduces each partition, by partition; none of a run
    on an external engine. warnings: about its input.

    steps: of a run that is no mapreduce run, which has nothing else; a step begins when all peers have done
    the one before.
    """

    hosts: tuple[HostPlan, ...]
    partitions: int
    homes: tuple[str, ...]
    steps: tuple[StepPlan, ...] = ()
    warnings: RunWarnings = RunWarnings()


class Committed(msgspec.Struct, frozen=True, gc=False):
    """A task that is done: which attempt of it counts, and on whose disk that is."""

    id: AttemptId
    peer: str
    outcome: TaskOutcome


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a job. plan: None until it is made. epoch: of the leader that began it.

    files, bytes: of input, or transferred; skipped: files that a transfer found to be there already.
    exit_status, output: of a script (of several, the first that failed, or of all); its last lines.
    failed_at: where the failure that ended it was printed; None where no worker had a part in that.
    failure_kind: the name of its class, where it was that of an attempt.
    warnings: see `run_warnings`.
    """

    run_id: str
    job_name: str
    job_version: int
    fields: dict[str, Any]
    project_hash: str
    epoch: int
    status: RunStatus
    start_time: float
    end_time: float | None = None
    exception: str | None = None
    plan: RunPlan | None = None
    phase_seconds: dict[str, float] = {}
    attempts_failed: int = 0
    counters: dict[str, int | float] = {}
    records: int = 0
    bytes: int = 0
    files: int = 0
    values: int = 0
    groups: int = 0
    items: int = 0
    bad_records: int = 0
    skipped: int = 0
    exit_status: int | None = None
    output: str = ""
    failed_at: PanePlace | None = None
    warnings: tuple[str, ...] = ()
    failure_kind: str = ""


class ActiveRun(msgspec.Struct, frozen=True):
    """A run that has not ended, as the next leader finds it. released: digests of lost map outputs; of steps
    that have read what was lost, see ReleaseTasks. attempts: how many were begun of each step, by task."""

    record: RunRecord
    committed: tuple[Committed, ...]
    released: dict[str, str]
    attempts: dict[str, int] = {}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something an operator wants to know of. kind: such as `run.failed`; text: a line for a person. place:
    of a failure, where it was printed. worker: that it is about, in the run. user: who asked for it; "" where
    that is not known. at: when it was, in Unix seconds, where it is told of later; None: when it is told."""

    kind: str
    text: str
    job_name: str = ""
    run_id: str = ""
    peer: str = ""
    place: PanePlace | None = None
    worker: str = ""
    user: str = ""
    at: float | None = None


class BeginCycle(msgspec.Struct, frozen=True, tag="cycle"):
    """All jobs have run in the cycle `ended`: the next one begins, and all that recur are due in it.

    Outcome: the number of the present cycle; that of a later one where it had begun already.
    """

    ended: int


class LeaveQueue(msgspec.Struct, frozen=True, tag="leave"):
    """A job that has failed, and is in no group, leaves the queue. Outcome: whether it has; False where it is
    no longer as it was: deleted, replaced or retried."""

    job_name: str
    job_version: int


class BeginRun(msgspec.Struct, frozen=True, tag="begin"):
    """A job that is due begins to run, in this cycle. Outcome: the RunRecord; None where the job is no longer
    as it was: deleted, replaced, failed or running.

    opens_cycle: nothing that recurs has run in this cycle yet: its time counts from here, and not from when
    the table was empty, or else the next one would follow at once.
    """

    job_name: str
    job_version: int
    opens_cycle: bool = False


class BeginAttempt(msgspec.Struct, frozen=True, tag="attempt"):
    """A step is about to be tried. Outcome: how many attempts at it were begun so far, with this one; 0 where
    the run takes no more (not running)."""

    run_id: str
    task: str


class SavePlan(msgspec.Struct, frozen=True, tag="plan"):
    """Outcome: whether it was saved; False where the run has ended or has a plan."""

    run_id: str
    plan: RunPlan


class CommitTasks(msgspec.Struct, frozen=True, tag="commit"):
    """Each becomes the committed attempt of its task, unless another is. Outcome: the attempt (`EPOCH.N`)
    that counts now for each, in their order; "" where the run takes no more (not running)."""

    run_id: str
    tasks: tuple[Committed, ...]


class ReleaseTasks(msgspec.Struct, frozen=True, tag="release"):
    """Committed attempts whose output is lost: their tasks are to be done again. Outcome: True.

    void: steps that read such output, by task: the number of the last attempt that may have. None up to it
    is to be committed any more.
    """

    run_id: str
    ids: tuple[AttemptId, ...]
    void: dict[str, int] = {}


class BeginPublication(msgspec.Struct, frozen=True, tag="publication"):
    """From here on the output becomes visible; no more tasks are committed. Outcome: whether it is so."""

    run_id: str


class EndRun(msgspec.Struct, frozen=True, tag="end"):
    """The run ends: `record`, whose status is final, goes into the history, and the job's status follows.

    With the status failed, all jobs of its group leave the queue. state: of a job that has one; it is kept in
    the same step. outdated: of a run that ends so, what its job is to say from then on.
    Outcome: the RunRecord as it was stored, with end_time; the earlier one where it had ended already.
    """

    record: RunRecord
    state: JobState | None = None
    outdated: tuple[int, int] = (0, 0)


Write = (
    BeginCycle | LeaveQueue | BeginRun | BeginAttempt | SavePlan | CommitTasks | ReleaseTasks
    | BeginPublication | EndRun
)  # fmt: skip

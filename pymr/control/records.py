"""Records: what of jobs and runs is kept in Redis, and read back by the next leader."""

from __future__ import annotations

from typing import Any

import msgspec

from pymr.protocol import AttemptId, MapOutcome, ReduceOutcome
from pymr.requests import JobStatus, RunStatus


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A job in the queue. version: rises with every submission of any job. change: number of the last change.

    fields: the definition. first_run_id: of this version. Times: Unix seconds, by the clock of Redis.
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


class JobChanges(msgspec.Struct, frozen=True):
    """Changes of the job table after some change. change: the number of the last one.

    is_whole: `jobs` are all there are; otherwise only the changed ones, and `deleted` names those gone.
    """

    change: int
    jobs: tuple[JobRecord, ...]
    deleted: tuple[str, ...]
    is_whole: bool
    paused: bool


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


class RunPlan(msgspec.Struct, frozen=True):
    """What a run consists of. homes: the peer that reduces each partition, by partition."""

    hosts: tuple[HostPlan, ...]
    partitions: int
    homes: tuple[str, ...]


class Committed(msgspec.Struct, frozen=True):
    """A task that is done: which attempt of it counts, and on whose disk that is."""

    id: AttemptId
    peer: str
    outcome: MapOutcome | ReduceOutcome


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a job. plan: None until it is made. epoch: of the leader that began it."""

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


class ActiveRun(msgspec.Struct, frozen=True):
    """A run that has not ended, as the next leader finds it. released: digests of lost map outputs."""

    record: RunRecord
    committed: tuple[Committed, ...]
    released: dict[str, str]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something an operator wants to know of. kind: such as `run.failed`; text: a line for a person."""

    kind: str
    text: str
    job_name: str = ""
    run_id: str = ""
    peer: str = ""


class BeginRun(msgspec.Struct, frozen=True, tag="begin"):
    """A queued job begins to run. Outcome: the RunRecord; None where the job is no longer so."""

    job_name: str
    job_version: int


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
    """Committed attempts whose output is lost: their tasks are to be done again. Outcome: True."""

    run_id: str
    ids: tuple[AttemptId, ...]


class BeginPublication(msgspec.Struct, frozen=True, tag="publication"):
    """From here on the output becomes visible; no more tasks are committed. Outcome: whether it is so."""

    run_id: str


class EndRun(msgspec.Struct, frozen=True, tag="end"):
    """The run ends: `record`, whose status is final, goes into the history, and the job's status follows.

    Outcome: the RunRecord as it was stored, with end_time; the earlier one where it had ended already.
    """

    record: RunRecord


Write = BeginRun | SavePlan | CommitTasks | ReleaseTasks | BeginPublication | EndRun

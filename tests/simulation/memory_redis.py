"""What a Redis would hold, in memory, and the rules by which the scripts of the store change it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from pymr.control.records import (
    BeginPublication,
    BeginRun,
    CommitTasks,
    Committed,
    Event,
    JobRecord,
    ReleaseTasks,
    RunRecord,
    SavePlan,
)
from pymr.peer.store_scripts import DEFAULT_LIMITS, Limits
from pymr.protocol import MapOutcome

MARGIN = 1_000


@dataclass
class Run:
    """A run as it is kept: active while it has no end_time."""

    record: RunRecord
    committed: dict[str, Committed] = field(default_factory=dict)
    released: dict[str, str] = field(default_factory=dict)


@dataclass
class MemoryRedis:
    """What a Redis would hold; shared by the stores of all peers of a simulation.

    clock: Unix seconds. is_available: False makes every call fail before it does anything.
    replies_to_lose: so many calls do what they are asked and fail nevertheless.
    """

    clock: Callable[[], float] = time.time
    limits: Limits = DEFAULT_LIMITS
    is_available: bool = True
    replies_to_lose: int = 0
    incarnation: str | None = None
    epoch: int = 0
    leader: tuple[str, int, int] | None = None  # peer, boot, epoch
    present: set[str] = field(default_factory=set)
    replaces: list[str] = field(default_factory=list)
    paused: bool = False
    change: int = 0
    version: int = 0
    run: int = 0
    trimmed: int = 0
    jobs: dict[str, JobRecord] = field(default_factory=dict)
    tombstones: dict[str, int] = field(default_factory=dict)
    outcomes: dict[tuple[str | None, str], Any] = field(default_factory=dict)
    packages: dict[str, bytes] = field(default_factory=dict)
    active: dict[str, Run] = field(default_factory=dict)
    history: dict[str, RunRecord] = field(default_factory=dict)
    events: list[tuple[str, float, Event]] = field(default_factory=list)
    events_added: int = 0

    def take_lease(self, peer: str, boot: int) -> int:
        """Let this peer lead, whoever does; returns the new epoch. Creates the incarnation where none is."""
        self.incarnation = self.incarnation or f"incarnation-{len(self.replaces)}"
        self.epoch += 1
        self.leader = (peer, boot, self.epoch)
        return self.epoch

    def drop_lease(self) -> None:
        """Let the lease end, as by its time."""
        self.leader = None

    def forget(self) -> None:
        """Become as empty as one that was restarted without its data."""
        self.__dict__.update(MemoryRedis(self.clock, self.limits, self.is_available).__dict__)

    def next_change(self) -> int:
        self.change += 1
        return self.change


# ---- jobs ----


def change_job(redis: MemoryRedis, job: JobRecord) -> None:
    """Put a job as it is now into the table, with the next number of a change."""
    redis.jobs[job.name] = replace(job, change=redis.next_change())


def remove_job(redis: MemoryRedis, name: str) -> None:
    del redis.jobs[name]
    redis.tombstones[name] = redis.next_change()
    while len(redis.tombstones) > redis.limits.tombstones:
        oldest = min(redis.tombstones, key=redis.tombstones.__getitem__)
        redis.trimmed = redis.tombstones.pop(oldest)


def as_submitted(job: JobRecord, version: int) -> JobRecord:
    """The job as if it had just been queued, with that version."""
    return JobRecord(
        name=job.name,
        version=version,
        change=job.change,
        fields=job.fields,
        project_hash=job.project_hash,
        submitted_at=job.submitted_at,
    )


def recover(
    redis: MemoryRedis, old: str, new: str, epoch_floor: int, jobs: Sequence[JobRecord], change: int
) -> None:
    kept = list(redis.jobs.values()) if redis.incarnation not in (None, old) else []
    number = max([change, redis.change, redis.version, redis.run, *(job.version for job in jobs)]) + MARGIN
    redis.change = redis.version = redis.run = redis.trimmed = number
    redis.active.clear()
    redis.tombstones.clear()
    redis.jobs = {job.name: _without_run(job) for job in kept}
    for job in jobs:
        change_job(redis, _without_run(job))
    for before in (redis.incarnation or old, old):
        redis.replaces = [before, *(known for known in redis.replaces if known != before)]
    redis.incarnation, redis.epoch, redis.leader = new, epoch_floor + 1, None


def _without_run(job: JobRecord) -> JobRecord:
    """The job after the runs that were active are lost."""
    first = job.first_run_id if job.first_run_status is not None else None
    if job.status != "running":
        return replace(job, run_id=None, first_run_id=first)
    return replace(job, status="queued", run_id=None, start_time=None, first_run_id=first)


# ---- runs ----


def begin_run(redis: MemoryRedis, write: BeginRun, epoch: int) -> RunRecord | None:
    for run in redis.active.values():
        begun = run.record.job_name, run.record.job_version, run.record.epoch
        if begun == (write.job_name, write.job_version, epoch):
            return run.record
    job = redis.jobs.get(write.job_name)
    if job is None or job.version != write.job_version or job.status == "failed":
        return None
    if job.status == "running":
        active = redis.active.get(job.run_id or "")
        return active.record if active else None
    redis.run += 1
    record = RunRecord(
        run_id=f"{job.name}-{redis.run:06d}",
        job_name=job.name,
        job_version=job.version,
        fields=job.fields,
        project_hash=job.project_hash,
        epoch=epoch,
        status="running",
        start_time=redis.clock(),
    )
    redis.active[record.run_id] = Run(record)
    change_job(
        redis,
        replace(
            job,
            status="running",
            run_id=record.run_id,
            first_run_id=job.first_run_id or record.run_id,
            start_time=record.start_time,
            end_time=None,
            exception=None,
        ),
    )
    return record


def save_plan(redis: MemoryRedis, write: SavePlan) -> bool:
    run = redis.active.get(write.run_id)
    if run is None:
        return False
    if run.record.plan is None:
        run.record = replace(run.record, plan=write.plan)
    return run.record.plan == write.plan


def commit_tasks(redis: MemoryRedis, write: CommitTasks) -> tuple[str, ...]:
    run = _running(redis, write.run_id)
    if run is None:
        return ("",) * len(write.tasks)
    return tuple(run.committed.setdefault(task.id.task, task).id.attempt for task in write.tasks)


def release_tasks(redis: MemoryRedis, write: ReleaseTasks) -> bool:
    run = _running(redis, write.run_id)
    for identity in write.ids if run else ():
        assert run is not None
        committed = run.committed.get(identity.task)
        if committed and committed.id.attempt == identity.attempt:
            del run.committed[identity.task]
            if isinstance(committed.outcome, MapOutcome):
                run.released[identity.task] = committed.outcome.digest
    return True


def begin_publication(redis: MemoryRedis, write: BeginPublication) -> bool:
    run = redis.active.get(write.run_id)
    if run is None:
        return False
    run.record = replace(run.record, status="publishing")
    return True


def end_run(redis: MemoryRedis, record: RunRecord) -> RunRecord:
    if record.run_id in redis.history:
        return redis.history[record.run_id]
    ended = replace(record, end_time=redis.clock())
    run = redis.active.pop(record.run_id, None)
    if run is None:
        return ended
    redis.history[record.run_id] = ended
    _end_job(redis, run.record, ended)
    while len(redis.history) > redis.limits.history_runs:
        del redis.history[min(redis.history.values(), key=lambda run: (run.start_time, run.run_id)).run_id]
    return ended


def _end_job(redis: MemoryRedis, begun: RunRecord, ended: RunRecord) -> None:
    job = redis.jobs.get(begun.job_name)
    if job is None or (job.version, job.run_id) != (begun.job_version, begun.run_id):
        return
    if ended.status == "succeeded" and job.fields.get("run_once"):
        remove_job(redis, job.name)
    elif ended.status in ("succeeded", "failed", "skipped"):
        is_first = job.first_run_id == ended.run_id
        change_job(
            redis,
            replace(
                job,
                status=ended.status,
                end_time=ended.end_time,
                exception=ended.exception,
                first_run_status=ended.status if is_first else job.first_run_status,
            ),
        )


def _running(redis: MemoryRedis, run_id: str) -> Run | None:
    run = redis.active.get(run_id)
    return run if run and run.record.status == "running" else None


# ---- events ----


def add_events(redis: MemoryRedis, events: Sequence[Event]) -> None:
    for event in events:
        redis.events_added += 1
        milliseconds = int(redis.clock() * 1000)
        redis.events.append((f"{milliseconds}-{redis.events_added}", milliseconds / 1000, event))
    del redis.events[: -redis.limits.events]

"""What a Redis would hold, in memory, and the rules by which the scripts of the store change its jobs.

The rules for runs: `memory_runs`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from pymr.control.job_queue import queue_order
from pymr.control.stored_state import Committed, Event, JobRecord, JobState, RunRecord
from pymr.peer.store.conflicts import StoreConflict, conflict_problem
from pymr.peer.store.scripts import DEFAULT_LIMITS, Limits

MARGIN = 1_000


@dataclass
class Run:
    """A run as it is kept: active while it has no end_time."""

    record: RunRecord
    committed: dict[str, Committed] = field(default_factory=dict)
    released: dict[str, str] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)


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
    cycle: int = 1
    cycle_began_at: float = 0.0
    jobs: dict[str, JobRecord] = field(default_factory=dict)
    tombstones: dict[str, int] = field(default_factory=dict)
    deleted: dict[str, tuple[JobRecord, float]] = field(default_factory=dict)  # and when, the latest last
    states: dict[str, JobState] = field(default_factory=dict)
    states_changes: dict[str, int] = field(default_factory=dict)
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

    def next_version(self) -> int:
        self.version += 1
        return self.version

    def members(self, group: str) -> list[JobRecord]:
        """The jobs of a group, in the order of the queue."""
        return sorted(
            (job for job in self.jobs.values() if group and group_of(job) == group), key=queue_order
        )


def group_of(job: JobRecord) -> str:
    """The name of a job's group; "" where it is alone."""
    return str(job.fields.get("group_name") or "")


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


def submit(
    redis: MemoryRedis,
    fields: Mapping[str, Any],
    project_hash: str,
    over_version: int | None = None,
    seconds: float | None = None,
) -> tuple[JobRecord, bool]:
    name = str(fields["job_name"])
    standing = redis.jobs.get(name)
    if over_version is not None and over_version != (standing.version if standing else 0):
        raise _conflict(name, over_version, standing)
    before = redis.jobs.pop(name, None)
    redis.cycle_began_at = redis.cycle_began_at or redis.clock()
    job = JobRecord(
        name=name,
        version=redis.next_version(),
        change=0,
        fields=dict(fields),
        project_hash=project_hash,
        submitted_at=redis.clock(),
        seconds=before.seconds if before else seconds,
    )
    group = group_of(job)
    others = redis.members(group)
    change_job(redis, job)
    redis.tombstones.pop(name, None)
    if any(other.status == "failed" for other in others):
        # Among those that are queued again it has the place that it had before.
        is_kept = before is not None and group_of(before) == group
        place = replace(job, version=before.version) if before and is_kept else job
        queue_again(redis, [*others, place])
    if before is not None and group_of(before) != group:
        settle_group(redis, group_of(before))
    return redis.jobs[name], before is not None


def delete(redis: MemoryRedis, name: str) -> bool:
    job = redis.jobs.get(name)
    if job is None:
        return False
    redis.deleted.pop(name, None)
    redis.deleted[name] = (job, redis.clock())
    while len(redis.deleted) > redis.limits.deleted_jobs:
        del redis.deleted[next(iter(redis.deleted))]
    remove_job(redis, name)
    settle_group(redis, group_of(job))
    return True


def undelete(redis: MemoryRedis, name: str) -> int | None:
    if name in redis.jobs:
        raise _conflict(name, None, redis.jobs[name])
    job, deleted_at = redis.deleted.get(name, (None, 0.0))
    if job is None or redis.clock() >= deleted_at + redis.limits.undelete_seconds:
        return None
    if job.project_hash and job.project_hash not in redis.packages:
        return None
    del redis.deleted[name]
    return submit(redis, job.fields, job.project_hash, seconds=job.seconds)[0].version


def _conflict(name: str, over_version: int | None, standing: JobRecord | None) -> StoreConflict:
    version, fields = (standing.version, standing.fields) if standing else (0, {})
    return StoreConflict(
        conflict_problem(name, over_version, version, str(fields.get("job_submitter") or ""))
    )


def retry(redis: MemoryRedis, name: str) -> str:
    job = redis.jobs.get(name)
    group = group_of(job) if job else name
    jobs = redis.members(group) or ([job] if job else [])
    if not _any_failed(jobs) and _any_failed(redis.members(name)):
        group, jobs = name, redis.members(name)
    if not jobs:
        return "unknown"
    if not _any_failed(jobs):
        return "not failed"
    count = queue_again(redis, jobs)
    return f"queued {count} jobs of group {group}" if group else "queued"


def _any_failed(jobs: Iterable[JobRecord]) -> bool:
    return any(job.status == "failed" for job in jobs)


def force(redis: MemoryRedis, name: str) -> str:
    job = redis.jobs.get(name)
    if job is None:
        return "unknown"
    if job.status in ("running", "failed"):
        return job.status
    if job.status != "queued":
        change_job(redis, replace(job, status="queued", cycle=0))
    return "queued"


def queue_again(redis: MemoryRedis, jobs: Iterable[JobRecord]) -> int:
    """Queue those that do not run as new versions, in the order of the queue; returns how many."""
    count = 0
    for job in sorted(jobs, key=queue_order):
        if job.status != "running":
            count += 1
            change_job(redis, as_submitted(redis.jobs[job.name], redis.next_version()))
    return count


def as_submitted(job: JobRecord, version: int) -> JobRecord:
    """The job as if it had just been queued, with that version."""
    return JobRecord(
        name=job.name,
        version=version,
        change=job.change,
        fields=job.fields,
        project_hash=job.project_hash,
        submitted_at=job.submitted_at,
        seconds=job.seconds,
    )


def settle_group(redis: MemoryRedis, group: str) -> None:
    """Where all of a group have run in this cycle, let those leave that were to run once."""
    members = redis.members(group)
    if all(is_done_once(job) or _has_run(job, redis.cycle) for job in members):
        for job in filter(is_done_once, members):
            remove_job(redis, job.name)


def is_done_once(job: JobRecord) -> bool:
    """Whether it was to run once, and has: its group alone keeps it in the table."""
    return bool(job.fields.get("run_once")) and job.status == "succeeded"


def _has_run(job: JobRecord, cycle: int) -> bool:
    return job.status in ("succeeded", "skipped") and job.cycle >= cycle


def set_state(redis: MemoryRedis, name: str, state: JobState) -> None:
    redis.states[name] = state
    redis.states_changes[name] = redis.next_change()


# ---- recovery ----


def recover(
    redis: MemoryRedis,
    old: str,
    new: str,
    epoch_floor: int,
    jobs: Sequence[JobRecord],
    change: int,
    cycle: int,
    states: Mapping[str, JobState],
    paused: bool,
) -> None:
    began_meanwhile = redis.incarnation not in (None, old)
    kept = list(redis.jobs.values()) if began_meanwhile else []
    number = max([change, redis.change, redis.version, redis.run, *(job.version for job in jobs)]) + MARGIN
    redis.change = redis.version = redis.run = redis.trimmed = number
    redis.cycle, redis.cycle_began_at = max(redis.cycle, cycle), redis.clock()
    if not began_meanwhile:
        redis.states, redis.states_changes, redis.paused = {}, {}, False
    redis.paused |= paused
    redis.active.clear()
    redis.tombstones.clear()
    redis.deleted.clear()
    redis.jobs = {job.name: _without_run(job) for job in kept}
    for job in jobs:
        change_job(redis, _without_run(job))
    for name, state in states.items():
        if name not in redis.states:
            set_state(redis, name, state)
    redis.next_change()
    for before in (redis.incarnation or old, old):
        redis.replaces = [before, *(known for known in redis.replaces if known != before)]
    redis.incarnation, redis.epoch, redis.leader = new, epoch_floor + 1, None


def _without_run(job: JobRecord) -> JobRecord:
    """The job after the runs that were active are lost."""
    first = job.first_run_id if job.first_run_status is not None else None
    if job.status != "running":
        return replace(job, run_id=None, first_run_id=first)
    return replace(job, status="queued", run_id=None, start_time=None, first_run_id=first, cycle=0)


# ---- events ----


def add_events(redis: MemoryRedis, events: Sequence[Event]) -> None:
    for event in events:
        redis.events_added += 1
        milliseconds = int(redis.clock() * 1000)
        redis.events.append((f"{milliseconds}-{redis.events_added}", milliseconds / 1000, event))
    del redis.events[: -redis.limits.events]

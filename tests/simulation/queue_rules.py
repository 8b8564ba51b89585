"""Queue rules: what must hold of the order in which jobs begin; said anew here, and more slowly."""

from __future__ import annotations

from collections.abc import Iterable

from simulation.memory_store import MemoryRedis
from simulation.world import ViolationError

from pymr.control.job_queue import JobQueue, queue_order
from pymr.control.stored_state import BeginRun, JobRecord, RunRecord


def group_of(record: JobRecord | RunRecord) -> str:
    return str(record.fields.get("group_name") or "")


def is_due(job: JobRecord, cycle: int) -> bool:
    if job.status == "queued":
        return True
    if job.status == "succeeded" and job.fields.get("run_once"):
        return False
    return job.status in ("succeeded", "skipped") and job.cycle < cycle


def check_decision(
    job_queue: JobQueue, write: BeginRun, beginning: Iterable[str], running: Iterable[str]
) -> None:
    """A leader lets a job begin: by all that it knows, it has to be that one's turn.

    beginning, running: names of the jobs that it has begun, this one not among them.
    """
    job = job_queue.jobs[write.job_name]
    busy = {*beginning, *running}
    due = sorted((one for one in job_queue.jobs.values() if is_due(one, job_queue.cycle)), key=queue_order)
    waiting = [one for one in due if one.name not in busy and not job_queue._is_begun(one.name)]
    if job.name in busy:
        raise ViolationError(f"{job.name} is begun, and has a run already")
    if not is_due(job, job_queue.cycle):
        if not job.fields.get("force_run") or job.status not in ("succeeded", "skipped"):
            raise ViolationError(f"{job.name} is begun in cycle {job_queue.cycle}, and is not due: {job}")
        return
    before = [one for one in due if queue_order(one) < queue_order(job)]
    ahead = [one.name for one in before if group_of(one) and group_of(one) == group_of(job)]
    if ahead:
        raise ViolationError(f"{job.name} is begun before {ahead} of its group {group_of(job)}")
    free = [one.name for one in waiting if one in before and not group_of(one)]
    if free:
        raise ViolationError(f"{job.name} is begun before {free}")


def check_end_of_cycle(job_queue: JobQueue) -> None:
    """A leader ends a cycle: by all that it knows, every job has run in it."""
    due = [job.name for job in job_queue.jobs.values() if is_due(job, job_queue.cycle)]
    if left := [name for name in due if not job_queue._is_begun(name)]:
        raise ViolationError(f"cycle {job_queue.cycle} is to end before {left} have run")


class QueueRules:
    """Sees every run that begins in Redis, as it was and as it is then."""

    def __init__(self, redis: MemoryRedis) -> None:
        self._redis = redis
        self._forced: set[tuple[str, int]] = set()  # (job, version) that were asked for once more

    def forced(self, job: JobRecord) -> None:
        self._forced.add((job.name, job.version))

    def ran_often(self, name: str, version: int) -> bool:
        """Whether it may have succeeded more than once, though it is to run once."""
        return (name, version) in self._forced

    def cycle_begins(self, began_at: float, cycle_seconds: float) -> None:
        """A cycle has begun. began_at: when the one before had."""
        lasted = self._redis.cycle_began_at - began_at
        if lasted < cycle_seconds - 1e-6:
            raise ViolationError(f"cycle {self._redis.cycle - 1} has lasted {lasted:.3f} s only")

    def begins(self, job: JobRecord | None, cycle: int, record: RunRecord) -> None:
        """A new run has begun. job: as it was before."""
        others = [run.record for id, run in self._redis.active.items() if id != record.run_id]
        group = group_of(record)
        overlapping = [one.run_id for one in others if group and group_of(one) == group]
        if overlapping:
            raise ViolationError(f"{record.run_id} of the group {group} begins beside {overlapping}")
        if any(one.job_name == record.job_name for one in others):
            raise ViolationError(f"{record.run_id} begins beside another run of {record.job_name}")
        assert job is not None
        if not is_due(job, cycle) and not job.fields.get("force_run"):
            raise ViolationError(f"{record.run_id} begins once more in cycle {cycle}")

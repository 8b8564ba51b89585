"""The rules by which the scripts of the store change runs, and with them their jobs; see `memory_redis`."""

from __future__ import annotations

from msgspec.structs import replace
from simulation.memory_redis import (
    MemoryRedis,
    Run,
    change_job,
    group_of,
    is_done_once,
    remove_job,
    set_state,
    settle_group,
)

from pymr.control.stored_state import (
    BeginAttempt,
    BeginCycle,
    BeginPublication,
    BeginRun,
    CommitTasks,
    EndRun,
    JobRecord,
    LeaveQueue,
    ReleaseTasks,
    RunRecord,
    SavePlan,
)
from pymr.peer.store.encoding import group_failure, state_to_keep
from pymr.wire.outcomes import MapOutcome


def begin_cycle(redis: MemoryRedis, write: BeginCycle) -> int:
    if write.ended == redis.cycle:
        redis.cycle += 1
        redis.cycle_began_at = redis.clock()
        redis.next_change()
    return redis.cycle


def leave_queue(redis: MemoryRedis, write: LeaveQueue) -> bool:
    job = redis.jobs.get(write.job_name)
    leaves = job is not None and job.version == write.job_version and job.status == "failed"
    if job is None or not leaves or job.fields.get("group_name"):
        return False
    remove_job(redis, job.name)
    return True


def begin_run(redis: MemoryRedis, write: BeginRun, epoch: int) -> RunRecord | None:
    for run in redis.active.values():
        begun = run.record.job_name, run.record.job_version, run.record.epoch
        if begun == (write.job_name, write.job_version, epoch):
            return run.record
    job = redis.jobs.get(write.job_name)
    if job is None or job.version != write.job_version or job.status == "failed" or is_done_once(job):
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
    if write.opens_cycle:
        redis.cycle_began_at = record.start_time
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
            cycle=redis.cycle,
        ),
    )
    return record


def begin_attempt(redis: MemoryRedis, write: BeginAttempt) -> int:
    run = _running(redis, write.run_id)
    if run is None:
        return 0
    run.attempts[write.task] = run.attempts.get(write.task, 0) + 1
    return run.attempts[write.task]


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
    for task, number in write.void.items() if run else ():
        assert run is not None
        run.released[task] = str(max(number, int(run.released.get(task, "0"))))
    return True


def begin_publication(redis: MemoryRedis, write: BeginPublication) -> bool:
    run = redis.active.get(write.run_id)
    if run is None:
        return False
    run.record = replace(run.record, status="publishing")
    return True


def end_run(redis: MemoryRedis, write: EndRun) -> RunRecord:
    record = write.record
    if record.run_id in redis.history:
        return redis.history[record.run_id]
    ended = replace(record, end_time=redis.clock())
    run = redis.active.pop(record.run_id, None)
    if run is None:
        return ended
    redis.history[record.run_id] = ended
    if (state := state_to_keep(write)) is not None:
        set_state(redis, run.record.job_name, state)
    if ended.status == "skipped":
        _join_skipped(redis, ended)
    _end_job(redis, run.record, ended, write.outdated)
    while len(redis.history) > redis.limits.history_runs:
        del redis.history[min(redis.history.values(), key=_place_of).run_id]
    return ended


def _place_of(run: RunRecord) -> tuple[float, str]:
    return run.start_time, run.run_id


def _join_skipped(redis: MemoryRedis, ended: RunRecord) -> None:
    """Of runs of a job that were skipped one after another, keep the last."""
    runs = [run for run in redis.history.values() if run.job_name == ended.job_name]
    before = max((run for run in runs if _place_of(run) < _place_of(ended)), key=_place_of, default=None)
    if before is not None and before.status == "skipped":
        del redis.history[before.run_id]


def _end_job(redis: MemoryRedis, begun: RunRecord, ended: RunRecord, outdated: tuple[int, int]) -> None:
    job = redis.jobs.get(begun.job_name)
    if job is None or (job.version, job.run_id) != (begun.job_version, begun.run_id):
        return
    group, is_first = group_of(job), job.first_run_id == ended.run_id
    if ended.status == "outdated":
        first = None if is_first else job.first_run_id
        change_job(
            redis,
            replace(
                job,
                status="queued",
                run_id=None,
                start_time=None,
                end_time=None,
                first_run_id=first,
                exception=None,
                outdated=outdated,
            ),
        )
        return
    if ended.status not in ("succeeded", "failed", "skipped"):
        return
    job = replace(
        job,
        status=ended.status,
        end_time=ended.end_time,
        exception=ended.exception,
        first_run_status=ended.status if is_first else job.first_run_status,
        seconds=_average(job, begun, ended) if ended.status == "succeeded" else job.seconds,
        outdated=outdated,
    )
    if is_done_once(job) and not group:
        remove_job(redis, job.name)
        return
    change_job(redis, job)
    if ended.status != "failed":
        settle_group(redis, group)
        return
    for other in redis.members(group):
        if other.status not in ("failed", "running"):
            change_job(redis, replace(other, status="failed", exception=group_failure(ended)))


def _average(job: JobRecord, begun: RunRecord, ended: RunRecord) -> float:
    assert ended.end_time is not None
    took = max(ended.end_time - begun.start_time, 0.0)
    return took if job.seconds is None else (job.seconds + took) / 2


def _running(redis: MemoryRedis, run_id: str) -> Run | None:
    run = redis.active.get(run_id)
    return run if run and run.record.status == "running" else None

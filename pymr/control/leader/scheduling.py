"""Queueing: when which job begins to run, when a cycle ends, and which runs their jobs end."""

from __future__ import annotations

from pymr.control.job_queue import group_of
from pymr.control.runs.ending import end
from pymr.control.runs.engine_runs import EngineRun
from pymr.control.runs.leader_state import LeaderState
from pymr.control.runs.mapreduce_run import MapReduceRun
from pymr.control.runs.run import Run
from pymr.control.runs.stepped_run import SteppedRun, is_stepped
from pymr.control.stored_state import BeginCycle, BeginRun, JobChanges, JobRecord, LeaveQueue, RunRecord
from pymr.jobs.external_engines import external_engine

NEVER = float("inf")

FAILED_TRANSFER_SECONDS = 86_400.0
"""A file transfer that was to be done once and failed so long ago leaves the queue: nobody is going to retry
it any more. The history keeps its runs."""

LEAVE_LOOK_SECONDS = 60.0
LEAVING_MAX = 100
"""So many jobs at most leave the queue at a time."""


class Scheduling:
    """What the leader has begun of the queue and not yet heard of.

    beginning: the group of each job that is being begun, by its name. looks_at: when there may be something
    to begin, if nothing else happens before.
    """

    def __init__(self) -> None:
        self.beginning: dict[str, str] = {}
        self.looks_at = 0.0
        self.is_cycling = False
        self._looks_for_leaving_at = 0.0

    # -- what was read or written

    def on_jobs(self, leader: LeaderState, changes: JobChanges) -> None:
        """The job table has changed."""
        leader.job_queue.apply(changes, leader.now)
        leader.knows_jobs = True
        self.look_soon(leader)
        self.end_runs_of_changed_jobs(leader)

    def cycle_begun(self, leader: LeaderState, cycle: int) -> None:
        """Redis has it that a cycle has begun."""
        self.is_cycling = False
        leader.job_queue.begin_cycle(cycle, leader.now)
        self.look_soon(leader)

    def run_begun(self, leader: LeaderState, write: BeginRun, *, is_begun: bool) -> None:
        """A run has begun, or could not."""
        self.beginning.pop(write.job_name, None)
        if is_begun and write.opens_cycle:
            leader.job_queue.open_cycle(leader.now)
        self.look_soon(leader)

    def look_soon(self, leader: LeaderState) -> None:
        """There may be something to begin."""
        self.looks_at = leader.now

    # -- decisions

    def begin_runs(self, leader: LeaderState) -> None:
        """Begin as many runs as may be under way; and the next cycle, when all have run in this one."""
        if leader.now < self.looks_at or not leader.knows_jobs:
            return
        self.looks_at = NEVER
        while len(leader.runs) + len(self.beginning) < leader.settings.concurrent_runs:
            job = self._next_job(leader)
            if job is None:
                return
            opens_cycle = not (leader.job_queue.recurs or leader.runs or self.beginning)
            self.beginning[job.name] = group_of(job.fields)
            leader.job_queue.begin(job)
            leader.write(BeginRun(job.name, job.version, opens_cycle))

    def _next_job(self, leader: LeaderState) -> JobRecord | None:
        """What is due; else, unless it is time for the next cycle, what is to run again in this one."""
        job_queue, runs = leader.job_queue, leader.runs.values()
        names = {run.job_name for run in runs} | self.beginning.keys()
        groups = {group_of(run.record.fields) for run in runs} | set(self.beginning.values())
        groups.discard("")
        job = job_queue.next_job(names, groups)
        if job is not None or self._ends_cycle(leader):
            return job
        job, again_at = job_queue.next_forced(names, groups, leader.now)
        self.looks_at = min(self.looks_at, again_at)
        return job

    def _ends_cycle(self, leader: LeaderState) -> bool:
        """Whether the next cycle begins now: when all have run in this one, and it has lasted long enough.

        Runs of jobs with `force_run` are not waited for: they could overlap for ever.
        """
        job_queue = leader.job_queue
        if self.is_cycling or job_queue.is_paused:
            return self.is_cycling
        has_run = not job_queue.has_due() and not self.beginning
        if not has_run or not job_queue.recurs or job_queue.cycle_began is None:
            return False
        if not all(run.record.fields.get("force_run") for run in leader.runs.values()):
            return False
        ends_at = job_queue.cycle_began + leader.settings.cycle_seconds
        if leader.now < ends_at:
            self.looks_at = min(self.looks_at, ends_at)
            return False
        self.is_cycling = True
        leader.write(BeginCycle(job_queue.cycle))
        return True

    def let_leave(self, leader: LeaderState) -> None:
        """Let jobs leave the queue that failed long ago, and that nobody is going to retry."""
        job_queue = leader.job_queue
        if leader.now < self._looks_for_leaving_at or not leader.knows_jobs or job_queue.unix_offset is None:
            return
        self._looks_for_leaving_at = leader.now + LEAVE_LOOK_SECONDS
        failed_by = leader.now + job_queue.unix_offset - FAILED_TRANSFER_SECONDS
        leaving = [job for job in job_queue.jobs.values() if _is_to_leave(job, failed_by)]
        for job in leaving[:LEAVING_MAX]:
            leader.write(LeaveQueue(job.name, job.version))

    # -- runs

    def end_runs_of_changed_jobs(self, leader: LeaderState) -> None:
        """Runs of jobs that were deleted or replaced end, unless their output is about to be seen."""
        if not leader.knows_jobs or not leader.is_loaded:
            return
        for run in leader.runs.values():
            job = leader.job_queue.jobs.get(run.job_name)
            if run.stage not in ("publishing", "ending") and (
                job is None or job.version > run.record.job_version
            ):
                end(leader, run, "replaced" if job else "deleted", None)


def _is_to_leave(job: JobRecord, failed_by: float) -> bool:
    fields = job.fields
    is_one_off = fields.get("job_type") == "file_transfer" and bool(fields.get("run_once"))
    has_failed = job.status == "failed" and job.end_time is not None and job.end_time <= failed_by
    return is_one_off and has_failed and not group_of(fields)


def make_run(leader: LeaderState, record: RunRecord) -> Run:
    """The run of a record, by the type of its job."""
    if is_stepped(record.fields):
        return SteppedRun(record, leader.now)
    kind = EngineRun if external_engine(record.fields) else MapReduceRun
    return kind(record, leader.now, leader.job_queue.states.get(record.job_name))

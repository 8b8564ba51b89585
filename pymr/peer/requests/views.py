"""Views: what a console sees, made from what the leader, or this peer alone, knows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from pymr.config.cluster import ClusterConfig, PeerConfig
from pymr.control.job_queue import JobQueue
from pymr.control.leader.leader import Leader
from pymr.control.runs.mapreduce_run import PHASES
from pymr.control.runs.run import Run
from pymr.control.stored_state import Event, JobRecord, RunRecord
from pymr.jobs.run_ids import job_of_run
from pymr.peer.requests.forecast import UNKNOWN, Forecast, Times, expected_left
from pymr.peer.requests.phase_views import RunProgress, phase_rows, progress, progress_of_runs
from pymr.peer.requests.task_views import partition_bytes, task_rows
from pymr.wire.frames import BadFrame, encode
from pymr.wire.protocol import STEPS, MachineFigures, Report
from pymr.wire.requests import JOBS_PER_PAGE, HistoryView, JobsView
from pymr.wire.rows import (
    BREAKPOINTS_SHOWN_MAX,
    EventRow,
    FailedAttempt,
    JobRow,
    PeerRow,
    PhaseRow,
    RunRow,
    WorkerRow,
)
from pymr.wire.time_left import TimeLeft, seconds_left

__all__ = [
    "JobViews",
    "address_of",
    "at_breakpoints",
    "event_row",
    "failed_attempts",
    "history_page",
    "own_workers",
    "partition_bytes",
    "peer_rows",
    "phase_rows",
    "run_row",
    "task_rows",
    "worker_rows",
]


class JobViews:
    """The jobs as they stand, from a copy of the job table; and from the leader where it is at hand. To be
    let `look` about once a second: how long runs take follows from how far they were at each look."""

    def __init__(self, config: ClusterConfig) -> None:
        self._cycle_seconds = config.scheduler.cycle_seconds
        self._forecast = Forecast(config.scheduler.concurrent_runs)
        self._time_left: dict[str, TimeLeft] = {}  # by run

    def look(self, leader: Leader | None, now: float) -> None:
        """See how far the runs are. now: by a clock that never goes back. Cost: O(attempts under way)."""
        runs = leader.runs if leader is not None else {}
        self._time_left = {run_id: self._time_left.get(run_id) or TimeLeft() for run_id in runs}
        if leader is not None and runs:
            for run_id, one in progress_of_runs(leader, runs.values()).items():
                self._time_left[run_id].note(one.phases, now)

    def page(self, id: str, table: JobQueue, leader: Leader | None, start: int) -> JobsView:
        """A page of jobs, in the order of the queue. Of 10,000 jobs, one costs 2 ms, the first
        one after a change up to 20."""
        now = _unix_now(table)
        jobs = table.in_order()
        runs = self._running(table, leader, now)
        times = self._times(table, now, runs)
        rows = tuple([_job_row(job, table, now, times, runs) for job in jobs[start : start + JOBS_PER_PAGE]])
        next_cycle_at = None
        if table.cycle_began is not None and table.unix_offset is not None:
            next_cycle_at = table.cycle_began + table.unix_offset + self._cycle_seconds
        return JobsView(
            id=id,
            rows=rows,
            total=len(jobs),
            paused=table.is_paused,
            cycle=table.cycle,
            next_cycle_at=next_cycle_at,
        )

    def job(
        self, job: JobRecord, table: JobQueue, leader: Leader | None
    ) -> tuple[JobRow, tuple[PhaseRow, ...]]:
        """One job of the table, and the phases of its run where it runs. Cost: O(attempts under way), however
        many tasks the run has."""
        now = _unix_now(table)
        runs = self._running(table, leader, now)
        row = _job_row(job, table, now, self._times(table, now, runs), runs)
        if job.name in runs:
            return row, runs[job.name].phases
        run = leader.runs.get(job.run_id or "") if leader else None
        return row, phase_rows(leader, run) if leader and run else ()

    def _times(self, table: JobQueue, now: float, runs: Mapping[str, _RunningJob]) -> dict[str, Times]:
        running = (table.jobs[entry[2]] for entry in table.running())
        left = {job.name: _expected_left(job, now, runs.get(job.name)) for job in running}
        return self._forecast.times(table, now, left)

    def _running(self, table: JobQueue, leader: Leader | None, now: float) -> dict[str, _RunningJob]:
        """What the leader knows of the jobs that run, by their names."""
        if leader is None:
            return {}
        jobs = [table.jobs[entry[2]] for entry in table.running()]
        runs = {job.name: run for job in jobs if (run := leader.runs.get(job.run_id or "")) is not None}
        known = progress_of_runs(leader, runs.values())
        return {
            job.name: self._running_job(job, run, known[run.run_id], now)
            for job in jobs
            if (run := runs.get(job.name)) is not None
        }

    def _running_job(self, job: JobRecord, run: Run, known: RunProgress, now: float) -> _RunningJob:
        phases = known.phases
        time_left = self._time_left.get(run.run_id)
        if time_left is not None and not (run.waiting_for or known.breakpoints):
            usual = None if job.seconds is None else job.seconds - _elapsed(job, now)
            phases = time_left.told_in(phases, usual)
        return _RunningJob(run, phases, progress(phases), seconds_left(phases), known.breakpoints)


@dataclass(frozen=True, slots=True)
class _RunningJob:
    """The run of a job, with its phases, which are put together once for each answer."""

    run: Run
    phases: tuple[PhaseRow, ...]
    progress: float
    seconds_left: float | None
    breakpoints: tuple[str, ...]


def _unix_now(table: JobQueue) -> float:
    """The time by the clock of Redis, as all times of jobs are; before that is known, by our own."""
    return time.time() if table.unix_offset is None else time.monotonic() + table.unix_offset


def _elapsed(job: JobRecord, now: float) -> float:
    return max(0.0, now - job.start_time) if job.start_time is not None else 0.0


def _expected_left(job: JobRecord, now: float, running: _RunningJob | None) -> float | None:
    """What the forecast takes for the time that the run of a job still takes; None where nobody knows."""
    if running is None:
        return expected_left(job.seconds, _elapsed(job, now), 0.0)
    if running.run.waiting_for or running.breakpoints:
        return None
    if running.seconds_left is not None:
        return running.seconds_left
    return expected_left(job.seconds, _elapsed(job, now), running.progress)


def _job_row(
    job: JobRecord, table: JobQueue, now: float, times: dict[str, Times], runs: Mapping[str, _RunningJob]
) -> JobRow:
    is_due = table.place(job.name) == "due"
    begins, ends = times.get(job.name, UNKNOWN) if is_due else UNKNOWN
    running = runs.get(job.name)
    left = _expected_left(job, now, running) if job.status == "running" else None
    run = running.run if running else None
    done = running.progress if running else float(job.status == "succeeded")
    return JobRow(
        fields=job.fields,
        status="queued" if is_due else job.status,
        version=job.version,
        submitted_at=job.submitted_at,
        current_phase=run.phase if run else None,
        progress=0.0 if is_due else done,
        seconds_left=running.seconds_left if running else None,
        breakpoints=running.breakpoints if running else (),
        run_id=job.run_id,
        first_run_id=job.first_run_id,
        first_run_status=job.first_run_status,
        start_time=job.start_time,
        end_time=job.end_time,
        exception=job.exception,
        waiting_for=run.waiting_for if run else "",
        expected_start=begins,
        expected_end=ends if left is None else now + left,
        last_seconds=job.seconds,
        cycle=job.cycle,
        project_hash=job.project_hash,
    )


def history_page(id: str, runs: Sequence[RunRecord], start: int, limit: int) -> HistoryView:
    """Runs from the `start`-th on, of which `limit` were asked for: as many as go into an answer."""
    rows = tuple(map(run_row, runs))
    while True:
        is_last = len(rows) == len(runs) < limit
        view = HistoryView(id=id, rows=rows, next=None if is_last else start + len(rows))
        try:
            encode(view)
        except BadFrame:  # long outputs and exceptions
            if len(rows) > 1:
                rows = rows[: len(rows) // 2]
                continue
        return view


_OF_BOTH = tuple(name for name in RunRow.__struct_fields__ if name in RunRecord.__struct_fields__)


def run_row(record: RunRecord) -> RunRow:
    """A run as the history has it."""
    plan = record.plan
    return RunRow(
        **{name: getattr(record, name) for name in _OF_BOTH},
        job_type=str(record.fields.get("job_type") or "mapreduce"),
        map_tasks=sum(host.tasks for host in plan.hosts) if plan else 0,
        reduce_tasks=plan.partitions if plan else 0,
    )


def failed_attempts(run: Run) -> tuple[FailedAttempt, ...]:
    """The attempts of a run that failed."""
    return tuple(
        FailedAttempt(
            task=one.task,
            attempt=one.attempt,
            worker=f"{one.peer}/{one.slot}",
            error=one.error,
            pane_offset=one.place.offset if one.place else None,
        )
        for one in run.failed_tries
    )


_OF_EVENTS = tuple(name for name in EventRow.__struct_fields__ if name in Event.__struct_fields__)


def event_row(id: str, told_at: float, event: Event) -> EventRow:
    """An event as it stands in the stream. told_at: when it came there, in Unix seconds."""
    time = told_at if event.at is None else event.at
    return EventRow(id=id, time=time, **{name: getattr(event, name) for name in _OF_EVENTS})


# -- peers and workers


def at_breakpoints(reports: Iterable[Report | None]) -> tuple[str, ...]:
    """The workers of these peers that stand at a breakpoint, BREAKPOINTS_SHOWN_MAX at most."""
    found = (
        f"{report.peer}/{one.slot}"
        for report in reports
        if report is not None
        for one in report.workers
        if one.state == "breakpoint"
    )
    return tuple(islice(found, BREAKPOINTS_SHOWN_MAX))


def peer_rows(config: ClusterConfig, leader: Leader) -> tuple[PeerRow, ...]:
    """All peers of the configuration, as the leader hears them."""
    rows = []
    for info in config.peers:
        peer = leader.peers[info.name]
        report = peer.report
        rows.append(
            PeerRow(
                name=info.name,
                address=address_of(info.host, info.control_port),
                data_address=address_of(info.host, info.data_port),
                pid=report.pid if report and peer.is_alive else 0,
                leader=info.name == leader.name,
                epoch=report.epoch if report else 0,
                workers=info.workers,
                busy=len(report.running) if report and peer.is_alive else 0,
                alive=peer.is_alive,
                state="draining" if report and report.is_draining and peer.is_alive else peer.state,
                heard=leader.now - peer.heard_at if peer.heard_at is not None else None,
                unheard=leader.now - peer.known_since if peer.heard_at is None else None,
                version=report.version if report else "",
                machine=report.machine if report else MachineFigures(),
            )
        )
    return tuple(rows)


def worker_rows(config: ClusterConfig, leader: Leader) -> tuple[WorkerRow, ...]:
    """All worker slots of the peers that are alive."""
    jobs = {run.run_id: run.job_name for run in leader.runs.values()}
    return tuple(
        row
        for info in config.peers
        if leader.peers[info.name].is_alive
        for row in _workers_of(info, leader.peers[info.name].report, jobs)
    )


def own_workers(me: PeerConfig, report: Report | None) -> tuple[WorkerRow, ...]:
    """The worker slots of this peer, where there is no leader to ask."""
    return tuple(_workers_of(me, report, {}))


def _workers_of(info: PeerConfig, report: Report | None, jobs: dict[str, str]) -> Iterable[WorkerRow]:
    by_slot = {one.slot: one for one in report.workers} if report else {}
    for slot in range(info.workers):
        name = f"{info.name}/{slot}"
        one = by_slot.get(slot)
        if one is None:
            yield WorkerRow(name=name, peer=info.name, pid=0, state="idle")
            continue
        yield WorkerRow(
            name=name,
            peer=info.name,
            pid=one.pid,
            state=one.state,
            job_name=jobs.get(one.run_id, job_of_run(one.run_id)) or None,
            run_id=one.run_id or None,
            task=one.task or None,
            phase=_phase_of(one.state, one.task),
            done=one.done,
            holder=one.holder,
        )


def _phase_of(state: str, task: str) -> str | None:
    if state in PHASES or state in STEPS:
        return state
    return (task.partition("-")[0] or None) if task else None


def address_of(host: str, port: int) -> str:
    """host:port, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

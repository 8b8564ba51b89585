"""Views: what a console sees, made from what the leader, or this peer alone, knows."""

from __future__ import annotations

from collections.abc import Iterable

from pymr.config import ClusterConfig, PeerConfig
from pymr.control.leadership import Leader
from pymr.control.phases import PHASES, Run
from pymr.control.records import JobRecord, RunRecord
from pymr.protocol import MachineFigures, MapOutcome, ReduceOutcome, Report, RunningAttempt
from pymr.rows import FailedAttempt, JobRow, PeerRow, PhaseRow, RunRow, WorkerRow

_SHARES = {"plan": 0.02, "map": 0.58, "shuffle": 0.05, "sort": 0.05, "reduce": 0.28, "publish": 0.02}
"""How much of a run each phase counts for, where its progress is one number."""

_SECONDS_LEFT_FROM = 0.03
"""Progress from which on the time left is worth telling."""


def job_row(job: JobRecord, leader: Leader | None = None) -> JobRow:
    """A job as it stands, with the progress of its run where the leader is at hand."""
    run = leader.runs.get(job.run_id or "") if leader else None
    is_running = run is not None and job.status == "running"
    phases = phase_rows(leader, run) if leader and run and is_running else ()
    progress = _progress(phases) if phases else float(job.status == "succeeded")
    seconds = sum(phase.seconds for phase in phases)
    return JobRow(
        fields=job.fields,
        status=job.status,
        version=job.version,
        submitted_at=job.submitted_at,
        current_phase=run.phase if run and is_running else None,
        progress=progress,
        seconds_left=seconds * (1 - progress) / progress
        if progress > _SECONDS_LEFT_FROM and phases
        else None,
        run_id=job.run_id,
        first_run_id=job.first_run_id,
        first_run_status=job.first_run_status,
        start_time=job.start_time,
        end_time=job.end_time,
        exception=job.exception,
        waiting_for=run.waiting_for if run and is_running else "",
    )


def run_row(record: RunRecord) -> RunRow:
    """A run as the history has it."""
    names = (name for name in RunRow.__struct_fields__ if name in RunRecord.__struct_fields__)
    plan = record.plan
    return RunRow(
        **{name: getattr(record, name) for name in names},
        map_tasks=sum(host.tasks for host in plan.hosts) if plan else 0,
        reduce_tasks=plan.partitions if plan else 0,
    )


def failed_attempts(run: Run) -> tuple[FailedAttempt, ...]:
    """The attempts of a run that failed."""
    return tuple(
        FailedAttempt(task=one.task, attempt=one.attempt, worker=f"{one.peer}/{one.slot}", error=one.error)
        for one in run.failed_tries
    )


def phase_rows(leader: Leader, run: Run) -> tuple[PhaseRow, ...]:
    """All phases of a running run, as far as they have come."""
    running = [
        one
        for peer in leader.peers.values()
        if peer.report
        for one in peer.report.running
        if one.id.run_id == run.run_id
    ]
    rows = []
    for name in PHASES:
        seconds = run.phase_seconds.get(name, 0.0)
        if name == run.phase:
            seconds += leader.now - run.phase_began
        if name == "map":
            row = _map_row(run, running, seconds)
        elif name == "shuffle":
            row = _shuffle_row(leader, run, seconds)
        elif name in ("sort", "reduce"):
            row = _reduce_row(name, run, running, seconds)
        else:
            is_past = PHASES.index(name) < PHASES.index(run.phase)
            row = PhaseRow(name=name, done=int(is_past), total=1, seconds=seconds)
        rows.append(row)
    return tuple(rows)


def _map_row(run: Run, running: Iterable[RunningAttempt], seconds: float) -> PhaseRow:
    mine = [one for one in running if one.id.is_map]
    records, read = _committed_sums(run, MapOutcome, "records", "bytes")
    return PhaseRow(
        name="map",
        done=run.maps_total - run.maps_left if run.plan else 0,
        total=run.maps_total if run.plan else 0,
        running=len(mine),
        units=(records + sum(one.done[0] for one in mine), read + sum(one.done[1] for one in mine)),
        total_units=sum(host.bytes for host in run.plan.hosts) if run.plan else 0,
        seconds=seconds,
    )


def _shuffle_row(leader: Leader, run: Run, seconds: float) -> PhaseRow:
    reports = [peer.shuffles[run.run_id] for peer in leader.peers.values() if run.run_id in peer.shuffles]
    fetched, total = sum(one.fetched for one in reports), sum(one.total for one in reports)
    return PhaseRow(
        name="shuffle",
        done=fetched,
        total=total,
        units=(fetched, sum(one.fetched_bytes for one in reports)),
        seconds=seconds,
    )


def _reduce_row(name: str, run: Run, running: Iterable[RunningAttempt], seconds: float) -> PhaseRow:
    mine = [one for one in running if not one.id.is_map]
    groups, values = _committed_sums(run, ReduceOutcome, "groups", "values")
    total = run.plan.partitions if run.plan else 0
    done = total - run.reduces_left if run.plan else 0
    return PhaseRow(
        name=name,
        done=done + (sum(one.state == "reduce" for one in mine) if name == "sort" else 0),
        total=total,
        running=sum(one.state == name for one in mine),
        units=(groups + sum(one.done[0] for one in mine), values + sum(one.done[1] for one in mine)),
        total_units=_committed_sums(run, MapOutcome, "values", "values")[0],
        seconds=seconds,
    )


def _committed_sums(
    run: Run, kind: type[MapOutcome] | type[ReduceOutcome], first: str, second: str
) -> tuple[int, int]:
    outcomes = [one.outcome for one in run.committed_tasks() if isinstance(one.outcome, kind)]
    return sum(getattr(one, first) for one in outcomes), sum(getattr(one, second) for one in outcomes)


def _progress(phases: Iterable[PhaseRow]) -> float:
    done = 0.0
    for phase in phases:
        share = phase.done / phase.total if phase.total else 0.0
        if phase.total_units:
            share = max(share, phase.units[1] / phase.total_units)
        done += _SHARES[phase.name] * min(share, 1.0)
    return min(done, 1.0)


# -- peers and workers


def peer_rows(config: ClusterConfig, leader: Leader) -> tuple[PeerRow, ...]:
    """All peers of the configuration, as the leader hears them."""
    rows = []
    for facts in config.peers:
        peer = leader.peers[facts.name]
        report = peer.report
        rows.append(
            PeerRow(
                name=facts.name,
                address=address_of(facts.host, facts.control_port),
                data_address=address_of(facts.host, facts.data_port),
                pid=report.pid if report and peer.is_alive else 0,
                leader=facts.name == leader.name,
                epoch=report.epoch if report else 0,
                workers=facts.workers,
                busy=len(report.running) if report and peer.is_alive else 0,
                alive=peer.is_alive,
                state="draining" if report and report.is_draining and peer.is_alive else peer.state,
                heard=leader.now - peer.heard_at if peer.heard_at is not None else None,
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
        for facts in config.peers
        if leader.peers[facts.name].is_alive
        for row in _workers_of(facts, leader.peers[facts.name].report, jobs)
    )


def own_workers(me: PeerConfig, report: Report | None) -> tuple[WorkerRow, ...]:
    """The worker slots of this peer, where there is no leader to ask."""
    return tuple(_workers_of(me, report, {}))


def _workers_of(facts: PeerConfig, report: Report | None, jobs: dict[str, str]) -> Iterable[WorkerRow]:
    by_slot = {one.slot: one for one in report.workers} if report else {}
    for slot in range(facts.workers):
        name = f"{facts.name}/{slot}"
        one = by_slot.get(slot)
        if one is None:
            yield WorkerRow(name=name, peer=facts.name, pid=0, state="idle")
            continue
        yield WorkerRow(
            name=name,
            peer=facts.name,
            pid=one.pid,
            state=one.state,
            job_name=jobs.get(one.run_id, one.run_id.rpartition("-")[0]) or None,
            run_id=one.run_id or None,
            task=one.task or None,
            phase=_phase_of(one.state, one.task),
            done=one.done,
        )


def _phase_of(state: str, task: str) -> str | None:
    if state in PHASES:
        return state
    return (task.partition("-")[0] or None) if task else None


def address_of(host: str, port: int) -> str:
    """host:port, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

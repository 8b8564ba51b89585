"""Phase views: how far a running run is, phase by phase, or step by step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pymr.control.leadership import Leader
from pymr.control.phases import MapReduceRun
from pymr.control.runs import Run
from pymr.control.steps import SteppedRun
from pymr.outcomes import MapOutcome, ReduceOutcome, StepOutcome
from pymr.protocol import RunningAttempt
from pymr.rows import PhaseRow

_SHARES = {
    "plan": 0.02, "map": 0.58, "shuffle": 0.05, "sort": 0.05, "reduce": 0.28, "publish": 0.02,
    "script": 1.0, "list": 0.05, "spread": 0.02, "copy": 0.88, "delete": 0.05,
}  # fmt: skip
"""How much of a run each phase counts for, in proportion to the others it has, where its progress is one
number."""


def phase_rows(leader: Leader, run: Run) -> tuple[PhaseRow, ...]:
    """All phases of a running run, as far as they have come."""
    running = [
        one
        for peer in leader.peers.values()
        if peer.report
        for one in peer.report.running
        if one.id.run_id == run.run_id
    ]
    seconds = dict(run.phase_seconds)
    seconds[run.phase] = seconds.get(run.phase, 0.0) + leader.now - run.phase_began
    if isinstance(run, SteppedRun):
        return tuple(_step_row(run, step, running, seconds) for step in range(len(run.phases)))
    assert isinstance(run, MapReduceRun)
    return tuple(_phase_row(leader, run, name, running, seconds.get(name, 0.0)) for name in run.phases)


def progress(phases: Sequence[PhaseRow]) -> float:
    """How much of a run is done, 0 to 1."""
    done = sum(_SHARES[phase.name] * _share(phase) for phase in phases)
    return min(done / sum(_SHARES[phase.name] for phase in phases), 1.0)


def _share(phase: PhaseRow) -> float:
    share = phase.done / phase.total if phase.total else 0.0
    if phase.total_units:
        share = max(share, phase.units[1] / phase.total_units)
    return min(share, 1.0)


def _phase_row(
    leader: Leader, run: MapReduceRun, name: str, running: Iterable[RunningAttempt], seconds: float
) -> PhaseRow:
    if name == "map":
        return _map_row(run, running, seconds)
    if name == "shuffle":
        return _shuffle_row(leader, run, seconds)
    if name in ("sort", "reduce"):
        return _reduce_row(name, run, running, seconds)
    is_past = run.phases.index(name) < run.phases.index(run.phase)
    return PhaseRow(name=name, done=int(is_past), total=1, seconds=seconds)


def _map_row(run: MapReduceRun, running: Iterable[RunningAttempt], seconds: float) -> PhaseRow:
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


def _shuffle_row(leader: Leader, run: MapReduceRun, seconds: float) -> PhaseRow:
    reports = [peer.shuffles[run.run_id] for peer in leader.peers.values() if run.run_id in peer.shuffles]
    fetched, total = sum(one.fetched for one in reports), sum(one.total for one in reports)
    return PhaseRow(
        name="shuffle",
        done=fetched,
        total=total,
        units=(fetched, sum(one.fetched_bytes for one in reports)),
        seconds=seconds,
    )


def _reduce_row(name: str, run: MapReduceRun, running: Iterable[RunningAttempt], seconds: float) -> PhaseRow:
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


# -- steps


def _step_row(
    run: SteppedRun, step: int, running: Iterable[RunningAttempt], seconds: dict[str, float]
) -> PhaseRow:
    name = run.phases[step]
    mine = [one for one in running if one.id.kind == name]
    tasks = run.steps[step] if run.steps else []
    files, size = _step_sums(run, name)
    return PhaseRow(
        name=name,
        done=sum(task.committed is not None for task in tasks),
        total=len(tasks),
        running=len(mine),
        units=(files + sum(one.done[0] for one in mine), size + sum(one.done[1] for one in mine)),
        total_units=_bytes_to_copy(run, len(tasks)) if name == "copy" else 0,
        seconds=seconds.get(name, 0.0),
    )


def _bytes_to_copy(run: SteppedRun, peers: int) -> int:
    """As the step before has found them; 0 while that is not known."""
    if "spread" in run.phases:
        return _step_sums(run, "spread")[1]
    to_each = peers if run.record.fields.get("transfer_type") == "upload_auxiliary" else 1
    return _step_sums(run, "list")[1] * to_each


def _step_sums(run: SteppedRun, name: str) -> tuple[int, int]:
    done = [one.outcome for one in run.committed_tasks() if one.id.kind == name]
    outcomes = [outcome for outcome in done if isinstance(outcome, StepOutcome)]
    return sum(one.files for one in outcomes), sum(one.bytes for one in outcomes)

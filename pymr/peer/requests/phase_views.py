"""Phase views: how far a running run is, phase by phase, or step by step."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pymr.control.leader.leader import Leader
from pymr.control.liveness import PeerState
from pymr.control.runs.engine_runs import EngineRun
from pymr.control.runs.mapreduce_run import MapReduceRun
from pymr.control.runs.run import Run
from pymr.control.runs.stepped_run import SteppedRun
from pymr.wire.outcomes import DRIVER, EnginePhase
from pymr.wire.protocol import RunningAttempt
from pymr.wire.rows import BREAKPOINTS_SHOWN_MAX, PhaseRow
from pymr.wire.wording import phase_share

_SHARES = {
    "plan": 0.02, "map": 0.58, "shuffle": 0.05, "sort": 0.05, "reduce": 0.28, "publish": 0.02,
    "script": 1.0, "list": 0.05, "spread": 0.02, "copy": 0.88, "delete": 0.05,
}  # fmt: skip
"""How much of a run each phase counts for, in proportion to the others it has, where its progress is one
number."""


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run is. breakpoints: the workers that stand at one, BREAKPOINTS_SHOWN_MAX at most."""

    phases: tuple[PhaseRow, ...]
    breakpoints: tuple[str, ...] = ()


def phase_rows(leader: Leader, run: Run) -> tuple[PhaseRow, ...]:
    """All phases of a running run, as far as they have come. Cost: O(attempts under way), O(peers)."""
    return progress_of_runs(leader, (run,))[run.run_id].phases


def progress_of_runs(leader: Leader, runs: Collection[Run]) -> dict[str, RunProgress]:
    """How far several runs are, by their ids; what is under way is looked through once."""
    running = {run.run_id: _Running() for run in runs}
    for peer in leader.peers.values():
        for one in peer.report.running if running and peer.report else ():
            if (of_run := running.get(one.id.run_id)) is not None:
                of_run.add(peer, one)
    return {
        run.run_id: RunProgress(
            _phases(leader, run, running[run.run_id]), tuple(running[run.run_id].breakpoints)
        )
        for run in runs
    }


def _phases(leader: Leader, run: Run, running: _Running) -> tuple[PhaseRow, ...]:
    seconds = dict(run.phase_seconds)
    seconds[run.phase] = seconds.get(run.phase, 0.0) + leader.now - run.phase_began
    if isinstance(run, SteppedRun):
        return tuple(_step_row(run, step, running, seconds) for step in range(len(run.phases)))
    assert isinstance(run, MapReduceRun)
    if isinstance(run, EngineRun):
        return tuple(_engine_row(run, name, running, seconds.get(name, 0.0)) for name in run.phases)
    return tuple(_phase_row(leader, run, name, running, seconds.get(name, 0.0)) for name in run.phases)


class _Running:
    """What is under way of a run, as the peers have told last: how many of each kind of task, and how far
    these are together; and how many are in each state."""

    def __init__(self) -> None:
        self.count: dict[str, int] = {}
        self.done: dict[str, tuple[int, int]] = {}
        self.in_state: dict[str, int] = {}
        self.breakpoints: list[str] = []
        self.engine: EnginePhase | None = None

    def add(self, peer: PeerState, one: RunningAttempt) -> None:
        if one.state == "breakpoint" and peer.is_alive and len(self.breakpoints) < BREAKPOINTS_SHOWN_MAX:
            self.breakpoints.append(f"{peer.name}/{one.slot}")
        kind = one.id.kind
        self.count[kind] = self.count.get(kind, 0) + 1
        first, second = self.done.get(kind, (0, 0))
        self.done[kind] = first + one.done[0], second + one.done[1]
        self.engine = one.phase or self.engine
        state = one.state
        if state == "breakpoint" and kind == "reduce":  # the worker sorts or reduces all the same
            state = "reduce" if one.done[0] else "sort"
        self.in_state[state] = self.in_state.get(state, 0) + 1

    def units(self, run: Run, kind: str, first: str, second: str) -> tuple[int, int]:
        """Two sums over all tasks of a kind: those under way, and those that are done."""
        one, two = self.done.get(kind, (0, 0))
        return run.sums.of(kind, first) + one, run.sums.of(kind, second) + two


def progress(phases: Sequence[PhaseRow]) -> float:
    """How much of a run is done, 0 to 1."""
    done = sum(_SHARES[phase.name] * phase_share(phase) for phase in phases)
    return min(done / sum(_SHARES[phase.name] for phase in phases), 1.0)


def _phase_row(leader: Leader, run: MapReduceRun, name: str, running: _Running, seconds: float) -> PhaseRow:
    if name == "map":
        return _map_row(run, running, seconds)
    if name == "shuffle":
        return _shuffle_row(leader, run, seconds)
    if name in ("sort", "reduce"):
        return _reduce_row(name, run, running, seconds)
    is_past = run.phases.index(name) < run.phases.index(run.phase)
    return PhaseRow(name=name, done=int(is_past), total=1, seconds=seconds)


def _map_row(run: MapReduceRun, running: _Running, seconds: float) -> PhaseRow:
    return PhaseRow(
        name="map",
        done=run.maps_total - run.maps_left if run.plan else 0,
        total=run.maps_total if run.plan else 0,
        running=running.count.get("map", 0),
        units=running.units(run, "map", "records", "bytes"),
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
        is_over=run.plan is not None and not run.maps_left and _is_all_fetched(run, fetched, total),
    )


def _is_all_fetched(run: MapReduceRun, fetched: int, total: int) -> bool:
    """Of a run whose map phase is over. Of one without segments on other hosts it is known once some task has
    all it needs."""
    return fetched >= total if total else run.phase not in ("plan", "map", "shuffle")


def _reduce_row(name: str, run: MapReduceRun, running: _Running, seconds: float) -> PhaseRow:
    total = run.plan.partitions if run.plan else 0
    done = total - run.reduces_left if run.plan else 0
    return PhaseRow(
        name=name,
        done=done + (running.in_state.get("reduce", 0) if name == "sort" else 0),
        total=total,
        running=running.in_state.get(name, 0),
        units=running.units(run, "reduce", "groups", "values"),
        total_units=run.sums.of("map", "values"),
        seconds=seconds,
    )


# -- on external engines


def _engine_row(run: EngineRun, name: str, running: _Running, seconds: float) -> PhaseRow:
    """A phase as the driver tells of it; when its attempt is committed, with what that has made."""
    if name not in ("map", "reduce") or run.plan is None:
        is_past = run.phases.index(name) < run.phases.index(run.phase)
        return PhaseRow(name=name, done=int(is_past), total=int(run.plan is not None), seconds=seconds)
    is_map = name == "map"
    total = sum(host.tasks for host in run.plan.hosts) if is_map else run.plan.partitions
    engine = running.engine
    done, units = 0, (0, 0)
    if not run.reduces_left:
        fields = ("records", "bytes") if is_map else ("groups", "values")
        done, units = total, running.units(run, DRIVER, *fields)
    elif engine is not None and engine.name == name:
        done, units = engine.done, running.units(run, DRIVER, "", "")
    elif engine is not None and is_map:
        done, units = total, engine.mapped
    return PhaseRow(
        name=name,
        done=done,
        total=total,
        running=int(engine is not None and engine.name == name),
        units=units,
        # Some engines tell of tasks only.
        total_units=sum(host.bytes for host in run.plan.hosts) if is_map and (units[1] or not done) else 0,
        seconds=seconds,
        is_over=done == total and run.phase != name,
    )


# -- steps


def _step_row(run: SteppedRun, step: int, running: _Running, seconds: dict[str, float]) -> PhaseRow:
    name = run.phases[step]
    total = len(run.steps[step]) if run.steps else 0
    return PhaseRow(
        name=name,
        done=total - run.left[step] if run.steps else 0,
        total=total,
        running=running.count.get(name, 0),
        units=running.units(run, name, "files", "bytes"),
        total_first=_to_copy(run, total, "files") if name == "copy" else 0,
        total_units=_to_copy(run, total, "bytes") if name == "copy" else 0,
        seconds=seconds.get(name, 0.0),
    )


def _to_copy(run: SteppedRun, peers: int, what: str) -> int:
    """Files or bytes, as the step before has found them; 0 while that is not known."""
    if "spread" in run.phases:
        return run.sums.of("spread", what)
    to_each = peers if run.record.fields.get("transfer_type") == "upload_auxiliary" else 1
    return run.sums.of("list", what) * to_each

"""The phases of a run in an embedded cluster, as a peer reports them, for the display of the run."""

from __future__ import annotations

import time
from collections.abc import Mapping

from pymr.runs.phases import Observer, Phase
from pymr.wire.requests import JobView
from pymr.wire.rows import PhaseRow, RunRow
from pymr.wire.time_left import seconds_left

SHOW_SECONDS = 0.1
"""Between two reports of a phase in progress."""

_REDUCING = ("shuffle", "sort", "reduce")


class PhaseReports:
    """Tells an observer of each phase that it begins, moves and ends, in their order; also of one that was
    over before anybody had asked."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._phases: dict[str, Phase] = {}
        self._shown_at = 0.0

    def take(self, view: JobView) -> None:
        """Its progress during the run."""
        if view.row is None or view.row.current_phase in (None, "plan") or not view.phases:
            return
        rows = {row.name: row for row in view.phases}
        self._move(rows["map"])
        if not _is_over(rows["map"]):
            return
        if rows["shuffle"].total:
            self._move(rows["shuffle"])
        if rows["reduce"].running or rows["reduce"].done or rows["sort"].running:
            self._move(_reducing(rows))

    def finish(self, run: RunRow) -> None:
        """The run has succeeded."""
        seconds = run.phase_seconds
        self._move(
            PhaseRow(
                name="map", done=run.map_tasks, total=run.map_tasks, units=(run.records, run.bytes),
                total_units=run.bytes, seconds=seconds.get("map", 0.0),
            )
        )  # fmt: skip
        shuffle = self._phases.get("shuffle")
        if shuffle is not None:
            units = shuffle.units
            self._move(PhaseRow(name="shuffle", done=shuffle.total, total=shuffle.total, units=units))
        self._move(
            PhaseRow(
                name="reduce", done=run.reduce_tasks, total=run.reduce_tasks, units=(run.groups, run.values),
                total_units=run.values, seconds=sum(seconds.get(name, 0.0) for name in _REDUCING),
            )
        )  # fmt: skip

    def _move(self, row: PhaseRow) -> None:
        phase = self._phases.get(row.name)
        if phase is None:
            phase = self._phases[row.name] = Phase(row.name, row.total, row.total_units)
            self._observer.on_phase(phase)
        if phase.ended_at is not None:
            return
        now = time.monotonic()
        phase.total, phase.total_units = row.total, row.total_units
        phase.done, phase.units = row.done, row.units
        phase.seconds_left = row.seconds_left
        phase.started_at = now - row.seconds
        phase.ended_at = now if _is_over(row) else None
        if phase.ended_at is not None or now - self._shown_at >= SHOW_SECONDS:
            self._shown_at = now
            self._observer.on_phase(phase)


def _is_over(row: PhaseRow) -> bool:
    return row.is_over or row.done >= row.total


def _reducing(rows: Mapping[str, PhaseRow]) -> PhaseRow:
    """Sorting and reducing as one: a worker does both, one behind the other."""
    row = rows["reduce"]
    return PhaseRow(
        name="reduce",
        done=row.done,
        total=row.total,
        units=row.units,
        total_units=row.total_units,
        seconds=sum(rows[name].seconds for name in _REDUCING),
        seconds_left=seconds_left([rows["sort"], rows["reduce"]]),
    )

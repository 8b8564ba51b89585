"""How fast the phases of a run go, from one look at it to the next. Pure."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from pymr.wire.requests import JobView
from pymr.wire.rows import PhaseRow

WINDOW_SECONDS = 20.0
"""Rates are means over this long. Lower: they follow sooner, and tremble more."""

SPAN_SECONDS_MIN = 0.4


class PhaseRate(NamedTuple):
    """first, second: of PhaseRow.units, a second."""

    first: float
    second: float


class _Look(NamedTuple):
    at: float
    phases: dict[str, PhaseRow]


class JobRates:
    """Rates of one run: that of the view that was told last."""

    def __init__(self) -> None:
        self._run: tuple[str, str] | None = None
        self._looks: deque[_Look] = deque()
        self._last: JobView | None = None

    def note(self, view: JobView, at: float) -> None:
        """Take a view in, that was got at a time of a clock that never goes back; the same one again is
        nothing."""
        if view is self._last:
            return
        self._last = view
        run = _run_of(view)
        if run != self._run:
            self._run = run
            self._looks.clear()
        if run is None:
            return
        self._looks.append(_Look(at, {phase.name: phase for phase in view.phases}))
        while at - self._looks[0].at > WINDOW_SECONDS and len(self._looks) > 2:
            self._looks.popleft()

    def of(self, phase: str) -> PhaseRate | None:
        """None for a phase that does not move, or has been looked at too shortly."""
        if len(self._looks) < 2:
            return None
        first, last = self._looks[0], self._looks[-1]
        seconds = last.at - first.at
        before, after = first.phases.get(phase), last.phases.get(phase)
        if seconds < SPAN_SECONDS_MIN or before is None or after is None or _is_over(after):
            return None
        per_second = [(end - begin) / seconds for begin, end in zip(before.units, after.units, strict=True)]
        if max(per_second) <= 0:
            return None
        return PhaseRate(max(per_second[0], 0.0), max(per_second[1], 0.0))


def _run_of(view: JobView) -> tuple[str, str] | None:
    row = view.row
    if row is None or row.status != "running" or row.run_id is None:
        return None
    return str(row.fields.get("job_name")), row.run_id


def _is_over(phase: PhaseRow) -> bool:
    return bool(phase.total) and phase.done >= phase.total

"""How long the phases of a run still take, by how they moved of late: the same for every face. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from pymr.wire.rows import PhaseRow
from pymr.wire.wording import phase_share

WINDOW_SECONDS = 20.0
"""How far back a pace is measured. Lower: it follows sooner, and trembles more."""

SPAN_SECONDS_MIN = 0.9
"""No pace is told of looks that are less than this apart."""

_LAST_STEPS = ("publish",)  # too short to be told of


class _Look(NamedTuple):
    at: float
    phases: dict[str, PhaseRow]


class TimeLeft:
    """The pace of the phases of one run, from one look at them to the next."""

    def __init__(self) -> None:
        self._looks: deque[_Look] = deque()

    def note(self, phases: Iterable[PhaseRow], at: float) -> None:
        """Look at the phases. at: seconds of a clock that never goes back."""
        self._looks.append(_Look(at, {phase.name: phase for phase in phases}))
        while at - self._looks[0].at > WINDOW_SECONDS and len(self._looks) > 2:
            self._looks.popleft()

    def of(self, phase: PhaseRow) -> float | None:
        """How long a phase still takes, as the last look found it; None where it does not move, is over, or
        was looked at too shortly."""
        if len(self._looks) < 2:
            return None
        first, last = self._looks[0], self._looks[-1]
        seconds = last.at - first.at
        before, after = first.phases.get(phase.name), last.phases.get(phase.name)
        if seconds < SPAN_SECONDS_MIN or before is None or after is None or phase_share(after) >= 1:
            return None
        return max(_times_left(before, after, seconds), default=None)

    def told_in(self, phases: Sequence[PhaseRow], run_left: float | None = None) -> tuple[PhaseRow, ...]:
        """The phases with `seconds_left`. run_left: how long the run takes by those before it; told of its
        last phase while another one moves."""
        told = [replace(phase, seconds_left=self.of(phase)) for phase in phases]
        known = seconds_left(told)
        if known is None or run_left is None or run_left <= known:
            return tuple(told)
        last = max(index for index, phase in enumerate(told) if phase.name not in _LAST_STEPS)
        if told[last].seconds_left is None and phase_share(told[last]) < 1:
            told[last] = replace(told[last], seconds_left=run_left)
        return tuple(told)


def seconds_left(phases: Iterable[PhaseRow]) -> float | None:
    """How long a run still takes: as long as that of its phases that takes longest; None where none moves."""
    return max((phase.seconds_left for phase in phases if phase.seconds_left is not None), default=None)


def _times_left(before: PhaseRow, after: PhaseRow, seconds: float) -> Iterator[float]:
    """By each amount of which is known what it is to reach, if it moves; by tasks where there is none."""
    totals = after.total_first, after.total_units
    for begin, end, total in zip(before.units, after.units, totals, strict=True):
        if total and end > begin:
            yield max(total - end, 0) * seconds / (end - begin)
    if not any(totals) and after.done > before.done:
        yield max(after.total - after.done, 0) * seconds / (after.done - before.done)

"""Task sums: what the committed tasks of a run add up to, kept up to date as each of them comes and goes."""

from __future__ import annotations

import sys
from fractions import Fraction

from pymr.wire.outcomes import DriverOutcome, MapOutcome, ReduceOutcome, StepOutcome, TaskOutcome

_FIELDS: dict[type, tuple[str, ...]] = {
    MapOutcome: ("records", "bytes", "bad_records", "values"),
    ReduceOutcome: ("groups", "values", "items"),
    StepOutcome: ("files", "bytes", "skipped"),
    DriverOutcome: ("records", "bytes", "bad_records", "groups", "values", "items"),
}


class TaskSums:
    """Sums over committed tasks, by kind of task, and their counters.

    Exact, so that they do not depend on the order of the commits, nor on what was lost and done again: a
    float is added up as a fraction. Cost: O(counters of the task) for each, whatever was added before.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}
        self._counters: dict[str, _Counter] = {}

    def add(self, kind: str, outcome: TaskOutcome) -> None:
        """A task of a kind (`map`, `copy`...) is committed."""
        self._change(kind, outcome, 1)

    def remove(self, kind: str, outcome: TaskOutcome) -> None:
        """The output of a task that was added is lost."""
        self._change(kind, outcome, -1)

    def of(self, kind: str, field: str) -> int:
        """The sum of a field of the outcome over all tasks of a kind."""
        return self._numbers.get((kind, field), 0)

    def counters(self) -> dict[str, int | float]:
        """The counters of all tasks, in the order of their names. Cost: O(names)."""
        return {name: counter.value() for name, counter in sorted(self._counters.items())}

    def _change(self, kind: str, outcome: TaskOutcome, sign: int) -> None:
        numbers = self._numbers
        for field in _FIELDS[type(outcome)]:
            key = kind, field
            numbers[key] = numbers.get(key, 0) + sign * getattr(outcome, field)
        for name, number in outcome.counters.items():
            counter = self._counters.get(name)
            if counter is None:
                counter = self._counters[name] = _Counter()
            counter.change(number, sign)
            if not counter.tasks:
                del self._counters[name]


class _Counter:
    """The sum of one counter. tasks: those that have it; floats: those of them that have it as a float."""

    __slots__ = ("exact", "floats", "tasks", "whole")

    def __init__(self) -> None:
        self.tasks = self.floats = self.whole = 0
        self.exact = Fraction(0)

    def change(self, number: float, sign: int) -> None:
        self.tasks += sign
        if isinstance(number, int):
            self.whole += sign * number
        else:
            self.floats += sign
            self.exact += sign * Fraction(number)

    def value(self) -> int | float:
        if not self.floats:
            return self.whole
        total = self.exact + self.whole
        try:
            return float(total)
        except OverflowError:  # each is finite, all of them together are not
            return sys.float_info.max if total > 0 else -sys.float_info.max

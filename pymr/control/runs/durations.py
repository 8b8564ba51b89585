"""Durations: how long the tasks of a run take as a rule, so that one that takes longer is seen."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

DURATIONS_MAX = 1_000
"""How many are remembered of each kind of task, the latest ones."""

DURATIONS_MIN = 4
"""Fewer say nothing of what is usual."""


class Durations:
    """How long tasks took, by their kind, in seconds. Cost: O(DURATIONS_MAX) in C for each."""

    def __init__(self) -> None:
        self._latest: dict[str, deque[float]] = {}
        self._sorted: dict[str, list[float]] = {}

    def add(self, kind: str, seconds: float) -> None:
        """A task is done."""
        latest = self._latest.setdefault(kind, deque())
        ascending = self._sorted.setdefault(kind, [])
        if len(latest) == DURATIONS_MAX:
            del ascending[bisect_left(ascending, latest.popleft())]
        latest.append(seconds)
        insort(ascending, seconds)

    def usual(self, kind: str) -> float | None:
        """Their third quartile: three of four took no longer. None before DURATIONS_MIN are known."""
        ascending = self._sorted.get(kind, ())
        count = len(ascending)
        return ascending[(3 * count + 3) // 4 - 1] if count >= DURATIONS_MIN else None

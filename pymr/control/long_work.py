"""Long work: what goes through all tasks of a run, so many of them in each step of the leader."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice


class LongWork:
    """Works that go on from task to task, one after another."""

    def __init__(self) -> None:
        self._works: deque[Iterator[None]] = deque()

    def add(self, work: Iterator[None]) -> None:
        """Let a work have its turn behind all others."""
        self._works.append(work)

    def go_on(self, tasks_max: int) -> bool:
        """Go through so many tasks at most; whether there is more to do."""
        left = tasks_max
        while self._works and left > 0:
            for _ in islice(self._works[0], left):
                left -= 1
            if left > 0:
                self._works.popleft()
        return bool(self._works)

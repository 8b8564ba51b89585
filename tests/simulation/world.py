"""World: simulated time, one source of chance, and a trace of what has happened."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random


class ViolationError(AssertionError):
    """Something has happened that must never happen."""


class World:
    """What happens, in the order of simulated time. Equal seeds give equal worlds.

    now: seconds. lines: what was logged, with its time.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.lines: list[tuple[float, tuple[object, ...]]] = []
        self.steps = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function when so much time has passed."""
        self._count += 1
        heapq.heappush(self._heap, (self.now + seconds, self._count, function))

    def run(self, until: float, is_over: Callable[[], bool] = lambda: False) -> None:
        """Let time pass until then, or until it is over."""
        while self._heap and self._heap[0][0] <= until and not is_over():
            self.now, _, function = heapq.heappop(self._heap)
            self.steps += 1
            function()
        if not is_over():
            self.now = max(self.now, until)

    def log(self, *words: object) -> None:
        self.lines.append((self.now, words))

    def chance(self, probability: float) -> bool:
        return probability > 0 and self.random.random() < probability

    def between(self, low: float, high: float) -> float:
        return self.random.uniform(low, high)

    def trace(self) -> list[str]:
        """All that was logged, a line each, and a last line that any difference before would change."""
        lines = [f"{now:9.4f} {' '.join(map(str, words))}" for now, words in self.lines]
        return [*lines, f"{self.now:9.4f} steps={self.steps} chance={self.random.random():.12f}"]

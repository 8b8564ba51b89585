"""How the cost of something grows with its size: a ratio of two measurements in one run."""

from __future__ import annotations

import time
from collections.abc import Callable

_ROUNDS = 3


def growth(work: Callable[[int], object], small: int, large: int) -> float:
    """How many times more processor time `work` takes for the large size than for the small one."""
    return _best(work, large) / max(_best(work, small), 1e-6)


def _best(work: Callable[[int], object], size: int) -> float:
    took = []
    for _ in range(_ROUNDS):
        began = time.thread_time()
        work(size)
        took.append(time.thread_time() - began)
    return min(took)

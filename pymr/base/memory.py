"""How much memory this process holds, and when that is enough: the shuffler asks, and spills."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable

MEMORY_BYTES_MIN = 64 << 20
"""Lowest supported bound of a worker: an interpreter with the engine loaded takes about 20 MiB of it."""

_FULL_SHARE = 0.70
"""Share of the bound at which held items are spilled; the rest is for the spill itself and for blocks."""

_GROWTH_SHARE = 0.10
"""A process that does not shrink after a spill (fragments, the user's own data) may grow by this much."""


_KEPT_BYTES_MAX = 128 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h

_STEP_ITEMS_FIRST = 16
_STEP_ITEMS_MAX = 8_192
_STEP_GROWTH_MIN = 1 / 256
_STEP_GROWTH_MAX = 1 / 64
"""Shares of the bound: a step that grows the process by less is doubled, by more is cut to a quarter."""


def resident_bytes_reader() -> Callable[[], int]:
    """A function that returns the resident set size of this process, in bytes. Cost: about 2 us.

    It holds a file that closes with it: a worker does thousands of tasks, each with a budget of its own.
    """
    try:
        file = open("/proc/self/statm", "rb", buffering=0)  # noqa: SIM115 - closed with the function
    except OSError:
        from psutil import Process  # imported here: 30 ms that Linux does not pay

        process = Process()
        return lambda: int(process.memory_info().rss)
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return lambda: int(os.pread(file.fileno(), 128, 0).split()[1]) * page_bytes


class MemoryBudget:
    """Tells when a process has come near its bound, and how long it may go on before it looks again.

    limit_bytes: the bound of the whole process; at least MEMORY_BYTES_MIN.
    It reads the resident set, so it counts everything: items, the user's own data, fragments.
    step_items: how many items may be taken until the next `is_full`; follows the growth of the process, so
        that items of a megabyte are looked at one by one, and small ones in thousands.
    """

    def __init__(self, limit_bytes: int, resident_bytes: Callable[[], int] | None = None) -> None:
        self.limit_bytes = max(limit_bytes, MEMORY_BYTES_MIN)
        self.step_items = _STEP_ITEMS_FIRST
        self._resident_bytes = resident_bytes or resident_bytes_reader()
        self._last_bytes = self._resident_bytes()
        self._grown_bytes = self._last_bytes
        self._full_bytes = int(self.limit_bytes * _FULL_SHARE)

    def is_full(self, expected_bytes: int = 0) -> bool:
        """Whether the process should give memory back now: for itself, or as it would pass its bound with
        `expected_bytes` more. Cost: 2 us."""
        now = self._resident_bytes()
        growth = now - self._last_bytes
        self._last_bytes = now
        if growth > self.limit_bytes * _STEP_GROWTH_MAX:
            self.step_items = max(1, self.step_items // 4)
        elif growth < self.limit_bytes * _STEP_GROWTH_MIN:
            self.step_items = min(2 * self.step_items, _STEP_ITEMS_MAX)
        return now > min(self._full_bytes, self.limit_bytes - expected_bytes)

    def has_grown(self) -> bool:
        """Whether the process has grown by a 32nd of its bound since this last said so. Cost: 2 us."""
        now = self._resident_bytes()
        has_grown = now > self._grown_bytes + self.limit_bytes // 32
        if has_grown or now < self._grown_bytes:
            self._grown_bytes = now
        return has_grown

    def is_half_full(self) -> bool:
        """Whether what is held could not be there a second time, encoded. Cost: 2 us."""
        return self._resident_bytes() > self.limit_bytes // 2

    def give_back(self) -> None:
        """Return freed memory to the system.

        What remains is taken as given (fragments, the user's own data): from there the process may grow by
        another share of its bound before it is full again.
        """
        gc.collect()
        if self._resident_bytes() > self.limit_bytes * _FULL_SHARE:
            _trim_heap()
        self._last_bytes = self._resident_bytes()
        self._full_bytes = int(
            self.limit_bytes * max(_FULL_SHARE, self._last_bytes / self.limit_bytes + _GROWTH_SHARE)
        )


def keep_freed_memory(limit_bytes: int) -> None:
    """Let glibc keep what is freed for the next use instead of returning it page by page at once.

    For a worker process, once. `give_back` still returns it where the bound asks for that. A sort of five
    million records took 970,000 page faults and 2.7 s of system time without, 180,000 and 1.2 s with it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, min(limit_bytes // 8, _KEPT_BYTES_MAX))
        mallopt(_M_MMAP_THRESHOLD, min(limit_bytes // 32, _KEPT_BYTES_MAX // 4))


def _trim_heap() -> None:
    """Ask glibc to return free pages of its heap; elsewhere there is nothing to ask."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)

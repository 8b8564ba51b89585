"""Which workers are shown in the grid of tiles, in which order, and how many tiles fit."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pymr.wire.rows import WorkerRow
from tui.model.filters import FIELD_BREAK, Filter

TILE_COLUMNS_MIN, TILE_ROWS_MIN = 38, 7
TILES_MAX = 48
BUSY_SECONDS = 10.0
"""How long an idle worker stays among the busy ones, so that tiles do not move at every task."""


def grid_shape(count: int, columns: int, rows: int) -> tuple[int, int]:
    """(tiles beside each other, tiles below each other) that show `count` tiles, or as many as fit, largest.

    columns, rows: of the screen that there are for them.
    """
    across_max = max(1, columns // TILE_COLUMNS_MIN)
    down_max = max(1, min(rows // TILE_ROWS_MIN, TILES_MAX // across_max))
    shown = max(1, min(count, across_max * down_max))
    shapes = [(across, math.ceil(shown / across)) for across in range(1, min(across_max, shown) + 1)]
    fitting = [shape for shape in shapes if shape[1] <= down_max]

    def value(shape: tuple[int, int]) -> tuple[float, int]:
        """A tile with room for usual lines of 80 columns that is not flat; of those alike, fewer beside."""
        width, height = columns / shape[0], rows / shape[1]
        return min(width / 80, 1.0) * min(height / 12, 1.5), -shape[0]

    return max(fitting, key=value)


class WorkerOrder:
    """Busy workers first, each kind by peer and slot."""

    def __init__(self) -> None:
        self._busy_until: dict[str, float] = {}

    def ordered(self, workers: Iterable[WorkerRow], now: float) -> list[WorkerRow]:
        """now: by time.monotonic()."""
        rows = list(workers)
        for row in rows:
            if row.state != "idle":
                self._busy_until[row.name] = now + BUSY_SECONDS
        self._busy_until = {name: until for name, until in self._busy_until.items() if until > now}
        return sorted(rows, key=lambda row: (row.name not in self._busy_until, *by_slot(row.name)))


def passing(
    workers: Iterable[WorkerRow], words: Filter, job_name: str = "", peer: str = ""
) -> list[WorkerRow]:
    """Those of a job and a peer, "" for all, whose name, state, job or task the filter lets pass."""
    return [
        row
        for row in workers
        if (not job_name or row.job_name == job_name)
        and (not peer or row.peer == peer)
        and _is_wanted(row, words)
    ]


def next_of(names: Iterable[str], name: str) -> str:
    """The name after another one, of those that there are; "" after the last."""
    known = sorted(set(names))
    return next((one for one in known if one > name), "")


def _is_wanted(row: WorkerRow, words: Filter) -> bool:
    job_name = row.job_name or ""
    fields = {"peer": row.peer, "job": job_name, "status": row.state}
    return words.matches(FIELD_BREAK.join((row.name, row.state, job_name, row.task or "")), fields)


def by_slot(name: str) -> tuple[str, int]:
    """To sort the names of workers by: alpha/9 is before alpha/10."""
    peer, _, slot = name.rpartition("/")
    return peer, int(slot) if slot.isdecimal() else 0

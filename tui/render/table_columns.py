"""Which columns of a table fit into a width, and how wide each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

PRIORITY_NEEDED = 5
GAP = 2
MARGIN = 1


@dataclass(frozen=True, slots=True)
class Column:
    """width: in columns of the terminal, at least. flex: its share of what is left over, up to width_max; 0
    for none. priority: those with the highest are left out first in a narrow terminal; never one with 0.
    wish: its preferred width, granted before a column above PRIORITY_NEEDED has any room."""

    key: str
    title: str
    width: int
    flex: int = 0
    width_max: int = 10_000
    align: Literal["left", "right"] = "left"
    priority: int = 0
    wish: int = 0
    may_sort: bool = True


class Placed(NamedTuple):
    """A column that is shown. x: where it begins."""

    column: Column
    x: int
    width: int


def place_columns(columns: Sequence[Column], width: int) -> list[Placed]:
    """The columns that fit, in their order. Where not even those of priority 0 do, the last are cut."""
    kept = list(columns)
    room = width - 2 * MARGIN
    while (last := max((one.priority for one in kept), default=0)) and room < (
        _width_of(kept) if last <= PRIORITY_NEEDED else _wish_of(kept)
    ):
        del kept[max(index for index, one in enumerate(kept) if one.priority == last)]
    widths = _shared_out(kept, room)
    placed, x = [], MARGIN
    for column, size in zip(kept, widths, strict=True):
        size = min(size, width - MARGIN - x)
        if size <= 0:
            break
        placed.append(Placed(column, x, size))
        x += size + GAP
    return placed


def _width_of(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + GAP * max(len(columns) - 1, 0)


def _wish_of(columns: Sequence[Column]) -> int:
    return _width_of(columns) + sum(max(column.wish - column.width, 0) for column in columns)


def _shared_out(columns: Sequence[Column], room: int) -> list[int]:
    """Widths by which all of the room is used, as far as the columns may grow."""
    widths = [column.width for column in columns]
    left = room - _width_of(columns)
    growing = [index for index, column in enumerate(columns) if column.flex]
    while left > 0 and growing:
        shares = sum(columns[index].flex for index in growing)
        before = left
        for index in growing:
            grown = min(
                widths[index] + max(before * columns[index].flex // shares, 1),
                columns[index].width_max,
                widths[index] + left,
            )
            left -= max(grown - widths[index], 0)
            widths[index] = max(grown, widths[index])
        growing = [index for index in growing if widths[index] < columns[index].width_max]
    return widths

"""By which column a table is sorted, and what a key and a click make of that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

_Row = TypeVar("_Row")


class SortOrder(NamedTuple):
    """column: its key; "" for the order that the rows come in."""

    column: str = ""
    is_reverse: bool = False

    def next(self, columns: Iterable[str]) -> SortOrder:
        """By the column after the present one, of those given; after the last, by none."""
        order = ["", *columns]
        here = order.index(self.column) if self.column in order else 0
        return SortOrder(order[(here + 1) % len(order)])

    def turned(self) -> SortOrder:
        """The other way round, where it is by a column."""
        return SortOrder(self.column, bool(self.column) and not self.is_reverse)

    def clicked(self, column: str) -> SortOrder:
        """A column upwards, the next time downwards, then by none."""
        if column != self.column:
            return SortOrder(column)
        return SortOrder() if self.is_reverse else self.turned()


def sorted_rows(rows: Sequence[_Row], key: Callable[[_Row], Any], is_reverse: bool) -> list[_Row]:
    """Stable in both directions; rows without a value in that column (None) come last in both."""
    having = [(value, row) for row in rows if (value := key(row)) is not None]
    having.sort(key=lambda pair: pair[0], reverse=is_reverse)
    if len(having) == len(rows):
        return [row for _, row in having]
    return [*(row for _, row in having), *(row for row in rows if key(row) is None)]

"""The summary of a table's hidden rows: how many there are, and which kinds matter."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TypeVar

Row = TypeVar("Row")


class RowKinds:
    """Where the rows of each kind are. kind: the word for a row when it is hidden; "" for nothing.
    Cost: O(rows) once; of the words, O(kinds * log rows)."""

    def __init__(self, rows: Sequence[Row], kind: Callable[[Row], str]) -> None:
        self._count = len(rows)
        self._paths: dict[str, list[int]] = {}
        for place, row in enumerate(rows):
            if told := kind(row):
                self._paths.setdefault(told, []).append(place)

    def hidden_words(self, top: int, seen: int) -> str:
        """`▲ 4 above, 1 running   ▼ 12 below`. top: the first row that is seen, of `seen`."""
        above = self._side("▲", "above", 0, min(top, self._count))
        below = self._side("▼", "below", top + seen, self._count)
        return "   ".join(filter(None, (above, below)))

    def _side(self, mark: str, where: str, start: int, stop: int) -> str:
        if start >= stop:
            return ""
        found = []
        for kind, places in self._paths.items():
            first = bisect_left(places, start)
            if count := bisect_left(places, stop) - first:
                found.append((places[first], f"{count:,} {kind}"))
        return ", ".join([f"{mark} {stop - start:,} {where}", *(told for _, told in sorted(found))])

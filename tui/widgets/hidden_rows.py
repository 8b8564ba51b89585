"""What is told of the rows of a table that are not in view: how many there are, and what kinds matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypeVar

Row = TypeVar("Row")


def hidden_words(rows: Sequence[Row], top: int, seen: int, kind: Callable[[Row], str]) -> str:
    """`▲ 4 above, 1 running   ▼ 12 below`. top: the first row that is seen, of `seen`. kind: what of a row is
    told where it is hidden; "" for nothing."""
    above = _side("▲", "above", [kind(row) for row in islice(rows, top)])
    below = _side("▼", "below", [kind(row) for row in islice(rows, top + seen, None)])
    return "   ".join(filter(None, (above, below)))


def _side(mark: str, where: str, kinds: list[str]) -> str:
    if not kinds:
        return ""
    told = [f"{count:,} {kind}" for kind, count in Counter(filter(None, kinds)).items()]
    return ", ".join([f"{mark} {len(kinds):,} {where}", *told])

"""Sparklines: a row of figures as blocks of eighths, a character for each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

_BLOCKS = "▁▂▃▄▅▆▇█"


def spark_text(values: Sequence[float], top: float | None = None) -> str:
    """A block for each value, from 0 up to `top`, else to the highest of them. What is 0 is a blank."""
    top = max(values, default=0.0) if top is None else top
    return "".join(_block(value, top) for value in values)


def highest_of_each(values: Sequence[float], width: int) -> list[float]:
    """`values` in their order in `width` places, the highest of those that share one; all, if they fit."""
    if len(values) <= width:
        return list(values)
    bounds = [place * len(values) // width for place in range(width + 1)]
    return [max(values[start:end]) for start, end in pairwise(bounds)]


def _block(value: float, top: float) -> str:
    if value <= 0 or top <= 0:
        return " "
    return _BLOCKS[min(int(value / top * len(_BLOCKS)), len(_BLOCKS) - 1)]

"""The sizes of a run's partitions as a strip, in which skew is seen at once."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from textual.content import Content

from pymr.wire.wording import amount
from tui.render.sparkline import highest_of_each, spark_text
from tui.render.styled_line import MUTED

_TIMES = "\u00d7"

SKEWED_FACTOR = 2.0
"""A partition above this many times the median is marked: it keeps its reducer for longer than the others."""


def partition_words(sizes: Sequence[int]) -> Content:
    """`64, largest 12.3 MB = 4.1 x median`."""
    largest, middle = max(sizes), median(sizes)
    words = f"{len(sizes):,}, largest {amount(largest)}"
    if not middle or len(sizes) == 1:
        return Content.styled(words, MUTED)
    factor = largest / middle
    style = "$warning" if factor > SKEWED_FACTOR else MUTED
    return Content.assemble((words, MUTED), (f" = {factor:,.1f} {_TIMES} median", style))


def partition_strip(sizes: Sequence[int], width: int) -> Content:
    """A cell for each partition; where there are more than fit, the largest of those that share one."""
    shown = highest_of_each(sizes, width)
    skewed = SKEWED_FACTOR * median(sizes)
    colours = ("$warning" if size > skewed else "$primary" for size in shown)
    return Content.assemble(*zip(spark_text(shown), colours, strict=True))

"""Lines of a pane as strips of the screen: their colours over those of the widget, marks over both."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter

from rich.cells import cell_len, split_graphemes
from rich.segment import Segment
from rich.style import Style

from tui.model.pane.ansi import StyledLine

_LINES_MEASURED_MAX = 256

Mark = tuple[int, int, Style]
"""(start, stop, style) by characters of a line."""


def segments_of(
    line: StyledLine, start: int, stop: int, base: Style, marks: Sequence[Mark] = ()
) -> list[Segment]:
    """The characters from `start` to before `stop`. marks: over the line's own styles, the later over the
    earlier. Cost: of the spans and marks that are between the two; and a look at each mark."""
    first = bisect_right(line.spans, start, key=itemgetter(1))
    last = bisect_left(line.spans, stop, key=itemgetter(0))
    over = [*line.spans[first:last], *(mark for mark in marks if mark[0] < stop and mark[1] > start)]
    if not over:
        return [Segment(line.text[start:stop], base)]
    edges = [(max(mark[0], start), True, number) for number, mark in enumerate(over)]
    edges += [(min(mark[1], stop), False, number) for number, mark in enumerate(over)]
    edges.sort()
    segments: list[Segment] = []
    open_marks: set[int] = set()
    shown, place = base, start  # up to `place` it is in segments; from there on it looks like `shown`
    for index, (edge, opens, number) in enumerate(edges):
        if opens:
            open_marks.add(number)
        else:
            open_marks.discard(number)
        if index + 1 < len(edges) and edges[index + 1][0] == edge:
            continue
        style = base
        for number in sorted(open_marks):
            style += over[number][2]
        if style != shown:
            if edge > place:
                segments.append(Segment(line.text[place:edge], shown))
            shown, place = style, edge
    if place < stop:
        segments.append(Segment(line.text[place:stop], shown))
    return segments


@lru_cache(_LINES_MEASURED_MAX)
def columns_of(text: str) -> int:
    """How many columns of the screen it takes."""
    return len(text) if text.isascii() else cell_len(text)


def characters_in(text: str, column: int, count: int) -> tuple[int, int, int]:
    """(first, stop, column of the first) of the characters that stand in `count` columns from one on; a wide
    one that is only half in them too."""
    if text.isascii():
        return min(column, len(text)), min(column + count, len(text)), min(column, len(text))
    first = at = 0
    first_column = 0
    for start, _, width in _graphemes(text):
        if at >= column + count:
            return first, start, first_column
        if at <= column:
            first, first_column = start, at
        at += width
    return (first, len(text), first_column) if at > column else (len(text), len(text), at)


@lru_cache(_LINES_MEASURED_MAX)
def _graphemes(text: str) -> list[tuple[int, int, int]]:
    return split_graphemes(text)[0]

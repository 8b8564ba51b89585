"""Lines of a pane as strips of the screen: their colours over those of the widget, marks over both."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style

from tui.model.ansi import StyledLine

Mark = tuple[int, int, Style]
"""(start, stop, style) by characters of a line."""


def segments_of(
    line: StyledLine, start: int, stop: int, base: Style, marks: Sequence[Mark] = ()
) -> list[Segment]:
    """The characters from `start` to before `stop`. marks: over the line's own styles, the later over the
    earlier."""
    if not line.spans and not marks:
        return [Segment(line.text[start:stop], base)]
    over = [*line.spans, *marks]
    cuts = {start, stop}
    for first, last, _ in over:
        cuts.update((min(max(first, start), stop), min(max(last, start), stop)))
    places = sorted(cuts)
    segments = []
    for index, place in enumerate(places[:-1]):
        style = base
        for first, last, span_style in over:
            if first <= place < last:
                style += span_style
        segments.append(Segment(line.text[place : places[index + 1]], style))
    return segments

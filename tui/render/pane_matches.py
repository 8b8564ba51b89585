"""What was searched for, in the rows of a view: which characters match, and where these are in sight."""

from __future__ import annotations

from dataclasses import dataclass

from tui.model.pane.ansi import LINE_BYTES_MAX
from tui.model.pane.buffer import GapLine, PaneBuffer, PaneLine
from tui.model.pane.needle import LineMatcher
from tui.model.pane.rows import PaneRows, Place, Row
from tui.render.pane_strips import columns_of


@dataclass(slots=True)
class Marked:
    """needle: what was searched for. found: the offset of what was found last. region: (start, stop) of lines
    that are marked as a whole, such as a traceback."""

    needle: LineMatcher | None = None
    found: int | None = None
    region: tuple[int, int] | None = None

    def line_in(self, buffer: PaneBuffer) -> tuple[int, int] | None:
        """(its first byte, the one behind its last) of the line with what was found; of that alone where it
        is not loaded yet."""
        if self.found is None or not buffer.line_count:
            return None
        line = buffer.line(buffer.index_of(self.found))
        if isinstance(line, GapLine) or self.found >= line.stop:
            return self.found, self.found + 1
        if line.redrawn_stop is not None:  # what was written last is not behind the lines below it
            return self.found, self.found + 1
        return line.offset, line.stop

    def is_found_in(self, buffer: PaneBuffer, line: PaneLine) -> bool:
        """Whether it is the line with what was found."""
        if self.found is None or not buffer.line_count:
            return False
        return buffer.line(buffer.index_of(self.found)).offset == line.offset

    def row_at(self, layout: PaneRows, place: Place) -> Place:
        """A place; in a wrapped line in which something was found, the row with that."""
        if place.offset != self.found or self.needle is None:
            return place
        return place_of_match(layout, place, self.needle)

    def column_at(self, layout: PaneRows, place: Place, column: int) -> int:
        """The column that a view has to begin with to show what was found at a place; else as it is now."""
        if place.offset != self.found or self.needle is None:
            return column
        return column_for_match(layout, place, self.needle, column)


def place_of_match(layout: PaneRows, place: Place, needle: LineMatcher) -> Place:
    """The row of the first match in the line of a place; the place itself where there is none."""
    if not layout.is_wrapped:
        return place
    rows = layout.rows(place, 1 + LINE_BYTES_MAX // max(1, layout.width))
    match = _first_match(rows, needle)
    if match is None:
        return place
    return Place(place.offset, next((at for at, row in enumerate(rows) if match[0] < row.stop), 0))


def column_for_match(layout: PaneRows, place: Place, needle: LineMatcher, column: int) -> int:
    """The column that a view has to begin with to show the first match in the line of a place.

    column: that it begins with now, which is kept where that does."""
    rows = [] if layout.is_wrapped else layout.rows(place, 1)
    match = _first_match(rows, needle)
    if match is None:
        return column
    first, last = (columns_of(rows[0].text.text[:character]) for character in match)
    if column <= first and last <= column + layout.width:
        return column
    return max(0, last - layout.width * 3 // 4)


def _first_match(rows: list[Row], needle: LineMatcher) -> tuple[int, int] | None:
    """In the line that the first of these rows is of."""
    return None if not rows or isinstance(rows[0].line, GapLine) else needle.first(rows[0].text.text)

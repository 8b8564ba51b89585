"""How a row of a pane is drawn: its own colours, what is marked in it, and the cursor."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Offset
from textual.selection import Selection
from textual.strip import Strip

from tui.model.pane.buffer import GapLine, PaneLine
from tui.model.pane.rows import PaneRows, Row
from tui.render.pane_matches import Marked
from tui.render.pane_strips import Mark, characters_in, segments_of

MARKING_SECONDS = 0.1
"""Time limit for finding matches in each drawing of a view's rows."""

SELECTED_LINES_MAX = 100_000
GUTTER_COLUMNS = 9
"""Of the times of lines, left of these."""

_CURSOR = Style(reverse=True)


@dataclass(frozen=True, slots=True)
class PaneStyles:
    """base: of the widget; the others over it. selected: what the mouse has marked."""

    base: Style
    gap: Style
    place: Style
    match: Style
    current: Style
    selected: Style


@dataclass(frozen=True, slots=True)
class PaneDrawing:
    """columns: that there are for the text, from `column` on where lines are not wrapped.

    selection: by offsets of lines, and characters in them. marked_until: by time.monotonic(); rows that are
    drawn later have no matches marked: a slow expression never keeps a screen waiting.
    """

    layout: PaneRows
    styles: PaneStyles
    columns: int
    column: int = 0
    marked: Marked = field(default_factory=Marked)
    selection: Selection | None = None
    marked_until: float = field(default_factory=lambda: time.monotonic() + MARKING_SECONDS)

    def strip_of(self, row: Row) -> tuple[Strip, int]:
        """(what is visible of a row, the number of its first character in the line)."""
        base, region = self.styles.base, self.marked.region
        if region is not None and region[0] <= row.line.offset < region[1]:
            base += self.styles.place
        if isinstance(row.line, GapLine):
            base = self.styles.gap
        start, stop, left = row.start, row.stop, 0
        if not self.layout.is_wrapped:
            start, stop, first_column = characters_in(row.text.text, self.column, self.columns)
            left = self.column - first_column  # 1 where a wide character is cut
        cursor, length = self.layout.cursor_of(row), len(row.text.text)
        segments = segments_of(row.text, start, stop, base, self._marks(row, start, stop, cursor))
        if cursor is not None and cursor >= length:  # behind the text
            segments.append(Segment(" " * (cursor - length), base))
            segments.append(Segment(" ", base + _CURSOR))
        return Strip(segments).crop_extend(left, left + self.columns, base), start

    def _marks(self, row: Row, start: int, stop: int, cursor: int | None) -> list[Mark]:
        """Those of the characters from `start` to before `stop`."""
        marks: list[Mark] = []
        if (
            self.marked.needle is not None
            and isinstance(row.line, PaneLine)
            and time.monotonic() < self.marked_until
        ):
            is_current = self.marked.is_found_in(self.layout.buffer, row.line)
            style = self.styles.current if is_current else self.styles.match
            spans = self.marked.needle.spans_near(row.text.text, start, stop)
            marks += [(*span, style) for span in spans]
        if self.selection is not None and (span := self.selection.get_span(row.line.offset)) is not None:
            first, last = span
            marks.append((first, len(row.text.text) if last < 0 else last, self.styles.selected))
        if cursor is not None:
            marks.append((cursor, cursor + 1, _CURSOR))
        return marks


def with_time(row: Row, strip: Strip, style: Style) -> Strip:
    """A row behind the time when its line came; blank where that is unknown, and in all but its first row."""
    when = row.line.time if isinstance(row.line, PaneLine) and row.is_first else None
    clock = time.strftime("%H:%M:%S", time.localtime(when)) if when else ""
    return Strip.join([Strip([Segment(f"{clock:<{GUTTER_COLUMNS}}", style)], GUTTER_COLUMNS), strip])


def selected_text(layout: PaneRows, selection: Selection) -> str:
    """The lines of a selection, without colours; SELECTED_LINES_MAX at most."""
    buffer = layout.buffer
    first = selection.start or Offset(0, 0)
    index = buffer.index_of(first.y)
    texts: list[str] = []
    while index < buffer.line_count and len(texts) < SELECTED_LINES_MAX:
        line = buffer.line(index)
        span = selection.get_span(line.offset)
        if span is None:
            break
        start, stop = span
        text = layout.text_of(line).text
        texts.append(text[start:] if stop < 0 else text[start:stop])
        index += 1
    return "\n".join(texts)

"""Which part of which line is in which row of a pane's view, and where a view must begin."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from rich.cells import cell_len, chop_cells

from pymr.wire.wording import amount
from tui.model.pane.ansi import StyledLine, cursor_after, styled_line
from tui.model.pane.ansi_colours import PLAIN
from tui.model.pane.buffer import GapLine, PaneBuffer, PaneLine

_PARSED_BYTES_MAX = 16 << 20
"""Of lines that are kept as they are shown, by _bytes_of; several screens of lines that are all colours."""

_LINE_BYTES, _SPAN_BYTES = 250, 115
"""Of a short line without colours with its key, and of each span: measured with tracemalloc."""


class Place(NamedTuple):
    """Where a view begins: at the line or gap with a byte, `row` rows into it where lines are wrapped."""

    offset: int
    row: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a view: the characters from `start` to before `stop` of a line."""

    line: PaneLine | GapLine
    text: StyledLine
    start: int
    stop: int

    @property
    def is_first(self) -> bool:
        return self.start == 0


class PaneRows:
    """Rows of a buffer for a view of some width. Costs what the rows asked for cost, not the pane."""

    def __init__(self, buffer: PaneBuffer) -> None:
        self.buffer = buffer
        self.width = 80
        self.is_wrapped = False
        self.is_plain = False
        self.has_cursor = False  # below an end of a line there is the row in which the next one begins
        self._parsed: dict[tuple[int, int], StyledLine] = {}
        self._parsed_bytes = 0

    def rows(self, place: Place, height: int) -> list[Row]:
        """The rows from a place on, `height` at most."""
        rows: list[Row] = []
        index, skip = self.buffer.index_of(place.offset), place.row
        while len(rows) < height and index < self.buffer.line_count:
            of_line = self._rows_of(index)
            rows += of_line[min(skip, len(of_line) - 1) :]
            index, skip = index + 1, 0
        if len(rows) < height and self._has_empty_row:
            rows.append(Row(PaneLine(self.buffer.end, b"", None), StyledLine(""), 0, 0))
        return rows[:height]

    def cursor_of(self, row: Row) -> int | None:
        """The character of a row's line at the cursor; None if the cursor is in another row."""
        line = row.line
        if not self.has_cursor or isinstance(line, GapLine) or line.data.endswith(b"\n"):
            return None
        if line.stop != self.buffer.end:
            return None
        cursor = cursor_after(line.data)
        is_here = row.start <= cursor < row.stop or row.stop == len(row.text.text) <= cursor
        return cursor if is_here else None

    def place_above(self, place: Place, count: int) -> Place:
        """The place `count` rows before another; the beginning where there are not so many."""
        index = self.buffer.index_of(place.offset)
        row = place.row - count
        while row < 0 and index > 0:
            index -= 1
            row += len(self._rows_of(index))
        return Place(self._offset_of(index), max(0, row))

    def place_below(self, place: Place, count: int) -> Place:
        """The place `count` rows after another; that of the last row where there are not so many."""
        index, row = self.buffer.index_of(place.offset), place.row + count
        while index < self.buffer.line_count:
            size = len(self._rows_of(index))
            if row < size:
                return Place(self._offset_of(index), row)
            if index + 1 >= self.buffer.line_count:
                return Place(self._offset_of(index), size - 1)
            index, row = index + 1, row - size
        return Place(0)

    def last_place(self, height: int) -> Place:
        """Where a view of that height begins that ends with the last row."""
        count = self.buffer.line_count
        if not count:
            return Place(0)
        last = self._offset_of(count - 1)
        above = height - 1 - self._has_empty_row
        return self.place_above(Place(last, len(self._rows_of(count - 1)) - 1), max(0, above))

    @property
    def _has_empty_row(self) -> bool:
        count = self.buffer.line_count if self.has_cursor else 0
        line = self.buffer.line(count - 1) if count else None
        return isinstance(line, PaneLine) and line.data.endswith(b"\n")

    def text_of(self, line: PaneLine | GapLine) -> StyledLine:
        """A line as it is shown."""
        if isinstance(line, GapLine):
            return StyledLine(gap_words(line))
        key = line.offset, line.stop
        found = self._parsed.get(key)
        if found is None:
            found = styled_line(line.data, PLAIN if self.is_plain else line.look)
            if self.is_plain:
                found = StyledLine(found.text)
            if self._parsed_bytes >= _PARSED_BYTES_MAX:
                self.forget()
            self._parsed[key] = found
            self._parsed_bytes += _bytes_of(found)
        return found

    def forget(self) -> None:
        """Read lines again, as their look or content has changed."""
        self._parsed.clear()
        self._parsed_bytes = 0

    def _rows_of(self, index: int) -> list[Row]:
        line = self.buffer.line(index)
        text = self.text_of(line)
        if not self.is_wrapped or isinstance(line, GapLine):
            return [Row(line, text, 0, len(text.text))]
        width = max(1, self.width)
        if len(text.text) <= width and (text.text.isascii() or cell_len(text.text) <= width):
            return [Row(line, text, 0, len(text.text))]
        stops = list(accumulate(len(part) for part in chop_cells(text.text, width)))
        return [Row(line, text, start, stop) for start, stop in zip([0, *stops], stops, strict=False)]

    def _offset_of(self, index: int) -> int:
        return self.buffer.line(index).offset if index < self.buffer.line_count else 0


def _bytes_of(line: StyledLine) -> int:
    """About the memory that a line takes; its styles are shared with others."""
    return _LINE_BYTES + len(line.text) + _SPAN_BYTES * len(line.spans)


def gap_words(gap: GapLine) -> str:
    """The line in place of bytes that are not shown."""
    if gap.is_kept:
        return f"··· {amount(gap.size)} of output not shown — Enter reads it"
    return f"··· {amount(gap.size)} not kept: of a long output the middle is dropped"

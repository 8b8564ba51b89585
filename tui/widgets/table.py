"""A table of any number of rows: only those that are seen are made, and a new list of rows moves neither the
cursor off its row nor that row on the screen; before anybody has moved, its top stays in view instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.style import Style

from tui.render.hidden_rows import RowKinds
from tui.render.styled_line import Cell, content_of, fitted, segments_of, strip_of
from tui.render.table_columns import GAP, MARGIN, Column, Placed, place_columns
from tui.widgets.lines_view import LinesView

__all__ = ["Cell", "Column", "Table"]

Row = TypeVar("Row")

_HEADER_LINES = 1
_STRIPS_MAX = 500
_LINES_WITH_HIDDEN_MIN = 4


class Table(LinesView, Generic[Row], can_focus=True):
    """Rows of any kind under their headers.

    cell: what stands in a column (by its key) of a row; called for rows that are seen. key: what tells a row
    from others, in every list of rows. empty: said where there are none. kind: what of a row is told in the
    last line while it is out of view, see `RowKinds`; None: no such line.
    Cost: of a cursor move, two lines; of `set_rows`, the lines that have changed, and O(rows) where the row
    of the cursor has moved.
    """

    DEFAULT_CSS = """
    Table > .table--header { color: $text-muted; text-style: none; }
    Table > .table--sorted { color: $foreground; text-style: bold; }
    Table > .table--cursor { background: $block-cursor-background 50%; }
    Table:focus > .table--cursor { background: $block-cursor-background; }
    Table > .table--empty, Table > .table--hidden { color: $text-muted; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--header", "table--sorted", "table--cursor", "table--empty", "table--hidden",
    }  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "up", show=False, id="table.up"),
        Binding("down", "move(1)", "down", show=False, id="table.down"),
        Binding("pageup", "page(-1)", "page up", show=False, id="table.page_up"),
        Binding("pagedown", "page(1)", "page down", show=False, id="table.page_down"),
        Binding("home", "move_to(0)", "first", show=False, id="table.first"),
        Binding("end", "move_to(-1)", "last", show=False, id="table.last"),
        Binding("enter", "open", "open", show=False, id="table.open"),
    ]
    ALLOW_SELECT = False

    cursor: reactive[int] = reactive(0, repaint=False)
    """The place of the cursor among the rows; 0 where there are none."""

    class _OfRow(Message):
        """table: that sent it."""

        def __init__(self, table: Table[Any], row: Any) -> None:
            super().__init__()
            self.table = table
            self.row = row

        @property
        def control(self) -> Table[Any]:
            return self.table

    class Moved(_OfRow):
        """The cursor stands on another row; `row` is None where there are no rows any more."""

    class Opened(_OfRow):
        """Enter, or a double click."""

    class SortWanted(Message):
        """A header was clicked."""

        def __init__(self, table: Table[Any], column_key: str) -> None:
            super().__init__()
            self.table = table
            self.column_key = column_key

        @property
        def control(self) -> Table[Any]:
            return self.table

    def __init__(
        self,
        columns: Sequence[Column],
        cell: Callable[[Row, str], Cell],
        key: Callable[[Row], str],
        *,
        empty: str = "",
        kind: Callable[[Row], str] | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._columns = tuple(columns)
        self._cell = cell
        self._key = key
        self._empty = empty
        self._kind = kind
        self._hidden = ""  # as it is drawn
        self._row_kinds: RowKinds | None = None  # of the rows, once it is asked for
        self._is_moved = False  # whether the operator has moved the cursor, and not by Home since
        self._rows: Sequence[Row] = ()
        self._cursor_key: str | None = None
        self._lost_key: str | None = None  # of the row the cursor would be on, if that were there
        self._sorted = ("", False)
        self._placed: list[Placed] = []
        self._strips: dict[tuple[str, bool], tuple[Row, list[Content], Strip]] = {}

    # ---- what it shows

    @property
    def rows(self) -> Sequence[Row]:
        return self._rows

    @property
    def shown_columns(self) -> list[str]:
        """The keys of those that the width has room for."""
        return [placed.column.key for placed in self._placed]

    @property
    def cursor_row(self) -> Row | None:
        return self._rows[self.cursor] if self._rows else None

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Show these. The cursor keeps its row, and that row its line on the screen; where the row is gone,
        the cursor stays where it was, and returns to the row if that comes back before it is moved. While
        nobody has moved it, the first rows stay in view, and the cursor with them."""
        before, self._rows, self._row_kinds = self._rows, rows, None
        top, old_cursor = self._top, self.cursor
        new_cursor = self._place_of_cursor()
        is_in_view = 0 <= old_cursor - top < self._lines_seen
        new_top = top + (new_cursor - old_cursor if is_in_view else 0)
        if not self._is_moved and top == 0:
            new_top, new_cursor = 0, new_cursor if new_cursor < self._lines_seen else 0
        self._set_line_count()
        self.set_reactive(Table.cursor, new_cursor)
        if len(rows) != len(before) or new_top != top:
            self._scroll_top_to(new_top)
            self.refresh()
        else:
            self._refresh_changed(before, old_cursor)
            if self._kind is not None and self._hidden_words() != self._hidden:
                self.refresh(self._line_region(self.size.height - 1))
        self._note_cursor()

    def set_columns(self, columns: Sequence[Column]) -> None:
        if tuple(columns) != self._columns:
            self._columns = tuple(columns)
            self._place()

    def set_sorted(self, column_key: str, is_reverse: bool = False) -> None:
        """Mark a header; "" for none."""
        if self._sorted != (column_key, is_reverse):
            self._sorted = (column_key, is_reverse)
            self.refresh(self._line_region(0))

    def set_empty(self, words: str) -> None:
        if words != self._empty:
            self._empty = words
            self.refresh()

    def refresh_cells(self) -> None:
        """Look at the cells anew that are seen, as they may say something else of the same rows."""
        before, self._strips = self._strips, {}
        for place in range(self._top, min(self._top + self._lines_seen, len(self._rows))):
            row = self._rows[place]
            key = self._key(row), place == self.cursor
            known = before.get(key)
            if known is not None and _are_same(known[1], self._cells(row)):
                self._strips[key] = known
            else:
                self._refresh_rows(place)

    def move_to_key(self, key: str) -> bool:
        """The cursor to a row, and that row into view; False where there is none."""
        place = self._place_of(key)
        if place is None:
            return False
        self._move_to(place, in_the_middle=True)
        return True

    def stay(self) -> None:
        """Let the cursor belong to the row it is on, although that it was on before may come back."""
        self._lost_key = None

    # ---- keys and mouse

    def action_move(self, lines: int) -> None:
        self._move_to(self.cursor + lines)

    def action_page(self, pages: int) -> None:
        self._move_to(self.cursor + pages * max(self._lines_seen - 1, 1))

    def action_move_to(self, place: int) -> None:
        self._move_to(place if place >= 0 else len(self._rows) + place)
        self._is_moved = place != 0

    def action_open(self) -> None:
        if self._rows:
            self.stay()
            self.post_message(self.Opened(self, self.cursor_row))

    def on_click(self, event: events.Click) -> None:
        if event.y < _HEADER_LINES:
            for column, x, width in self._placed:
                if x <= event.x < x + width + GAP and column.may_sort:
                    self.post_message(self.SortWanted(self, column.key))
            return
        place = self._top + event.y - _HEADER_LINES
        if place < min(len(self._rows), self._top + self._lines_seen):
            self._move_to(place)
            if event.chain == 2:
                self.action_open()

    # ---- the cursor

    @property
    def _top(self) -> int:
        """The first row that is seen."""
        return self.scroll_offset.y

    @property
    def _lines_seen(self) -> int:
        return max(self.size.height - _HEADER_LINES - self._hidden_lines, 0)

    @property
    def _hidden_lines(self) -> int:
        """Of what is told of hidden rows: one where not all rows fit, and there is room for it."""
        room = self.size.height - _HEADER_LINES
        return int(self._kind is not None and len(self._rows) > room >= _LINES_WITH_HIDDEN_MIN)

    def _move_to(self, place: int, in_the_middle: bool = False) -> None:
        place = min(max(place, 0), max(len(self._rows) - 1, 0))
        before, self._lost_key, self._is_moved = self.cursor, None, True
        self.set_reactive(Table.cursor, place)
        self._refresh_rows(before, place)
        if place < self._top or place >= self._top + self._lines_seen:
            half = self._lines_seen // 2
            below = place - self._lines_seen + 1
            self._scroll_top_to(place - half if in_the_middle else place if place < self._top else below)
        self._note_cursor()

    def _place_of_cursor(self) -> int:
        """Where the row of the cursor is now; where it was, if it is gone."""
        for key in filter(None, (self._lost_key, self._cursor_key)):
            if (place := self._place_of(key)) is not None:
                self._lost_key = None if key == self._lost_key else self._lost_key
                return place
        self._lost_key = self._lost_key or self._cursor_key
        return min(self.cursor, max(len(self._rows) - 1, 0))

    def _place_of(self, key: str) -> int | None:
        if self.cursor < len(self._rows) and self._key(self._rows[self.cursor]) == key:
            return self.cursor
        return next((place for place, row in enumerate(self._rows) if self._key(row) == key), None)

    def _note_cursor(self) -> None:
        """Say so where the cursor is on another row than before."""
        row = self.cursor_row
        key = None if row is None else self._key(row)
        if key != self._cursor_key:
            self._cursor_key = key
            self.post_message(self.Moved(self, row))

    def _scroll_top_to(self, top: int) -> None:
        top = min(max(top, 0), max(len(self._rows) - self._lines_seen, 0))
        if top != self._top:
            self.scroll_to(y=top, animate=False, force=True, immediate=True)

    # ---- drawing

    def resized(self) -> None:
        self._place()
        if self._rows and not 0 <= self.cursor - self._top < self._lines_seen:
            self._scroll_top_to(self.cursor - self._lines_seen // 2)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()

    def _place(self) -> None:
        self._placed = place_columns(self._columns, self.lines_width)
        self._set_line_count()
        self._strips.clear()
        self.refresh()

    def _set_line_count(self) -> None:
        self.set_line_count(len(self._rows) + _HEADER_LINES + self._hidden_lines)

    def _refresh_changed(self, before: Sequence[Row], cursor_before: int) -> None:
        seen = range(self._top, min(self._top + self._lines_seen, len(self._rows)))
        changed = [place for place in seen if self._rows[place] != before[place]]
        self._refresh_rows(*changed, *({cursor_before, self.cursor} if cursor_before != self.cursor else ()))

    def _refresh_rows(self, *places: int) -> None:
        for place in places:
            if 0 <= place - self._top < self._lines_seen:
                self.refresh(self._line_region(place - self._top + _HEADER_LINES))

    def _line_region(self, y: int) -> Region:
        return Region(0, y, self.lines_width, 1)

    def render_line(self, y: int) -> Strip:
        width = self.lines_width
        if y < _HEADER_LINES:
            return self._header_strip(width)
        if self._hidden_lines and y == self.size.height - 1:
            return self._hidden_strip(width)
        place = self._top + y - _HEADER_LINES
        if place < len(self._rows):
            return self._row_strip(self._rows[place], place == self.cursor, width)
        if not self._rows and self._empty:
            return self._empty_strip(y - _HEADER_LINES, width)
        return Strip.blank(width, self.rich_style)

    def _row_strip(self, row: Row, is_cursor: bool, width: int) -> Strip:
        key = self._key(row), is_cursor
        known = self._strips.get(key)
        if known is not None and (known[0] is row or known[0] == row):
            return known[2]
        cells, style = self._cells(row), self.visual_style
        shown = cells
        if is_cursor and self._has_few_colours:
            style += Style(reverse=True)
            shown = [content.without_spans for content in cells]
        elif is_cursor:
            style = self.get_visual_style("table--cursor")
        strip = self._joined(list(zip(self._placed, shown, strict=True)), style, width)
        if len(self._strips) >= _STRIPS_MAX:
            self._strips.clear()
        self._strips[key] = row, cells, strip
        return strip

    def _cells(self, row: Row) -> list[Content]:
        return [content_of(self._cell(row, placed.column.key)) for placed in self._placed]

    @property
    def _has_few_colours(self) -> bool:
        """Where the background of the cursor may be the one of any other row."""
        return self.app.no_color or self.app.native_ansi_color

    def _joined(self, cells: Sequence[tuple[Placed, Content]], style: Style, width: int) -> Strip:
        blank = style.rich_style
        segments: list[Segment] = []
        x = 0
        for placed, content in cells:
            segments.append(Segment(" " * (placed.x - x), blank))
            segments += segments_of(self, fitted(content, placed.width, placed.column.align), style)
            x = placed.x + placed.width
        return Strip([*segments, Segment(" " * (width - x), blank)], width)

    def _header_strip(self, width: int) -> Strip:
        key, is_reverse = self._sorted
        mark = "▼" if is_reverse else "▲"
        plain = self.get_visual_style("table--header")
        cells = []
        for placed in self._placed:
            is_sorted = placed.column.key == key
            title = Content(placed.column.title.upper())
            if is_sorted:  # the mark is seen also where a column has no room but for its title
                gap = " " * (len(title.plain) + 2 <= placed.width)
                title = Content(f"{title.plain[: placed.width - 1]}{gap}{mark}")
                title = title.stylize(self.get_visual_style("table--sorted"))
            cells.append((placed, title))
        return self._joined(cells, plain, width)

    def _hidden_words(self) -> str:
        if self._kind is None or not self._hidden_lines:
            return ""
        if self._row_kinds is None:
            self._row_kinds = RowKinds(self._rows, self._kind)
        return self._row_kinds.hidden_words(self._top, self._lines_seen)

    def _hidden_strip(self, width: int) -> Strip:
        self._hidden = self._hidden_words()
        line = Content(self._hidden).truncate(max(width - 2 * MARGIN, 0), ellipsis=True)
        return strip_of(self, line.pad_left(MARGIN), width, self.get_visual_style("table--hidden"))

    def _empty_strip(self, y: int, width: int) -> Strip:
        style = self.get_visual_style("table--empty")
        lines = Content(self._empty).wrap(max(width - 2 * MARGIN, 1))
        line = lines[y - 1].pad_left(MARGIN) if 1 <= y <= len(lines) else Content()
        return strip_of(self, line, width, style)


def _are_same(cells: Sequence[Content], others: Sequence[Content]) -> bool:
    return all(one.is_same(other) for one, other in zip(cells, others, strict=True))

"""A whole pane: following its end or paused anywhere in it, wrapped or not, with times and marks."""

from __future__ import annotations

from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollDown, ScrollTo, ScrollUp
from textual.selection import Selection
from textual.strip import Strip

from pymr.client import PaneBytes
from tui.model.pane.buffer import GapLine, PaneBuffer, PaneLine
from tui.model.pane.needle import LineMatcher
from tui.model.pane.rows import PaneRows, Place, Row
from tui.render.pane_drawing import GUTTER_COLUMNS, PaneDrawing, PaneStyles, selected_text, with_time
from tui.render.pane_matches import Marked
from tui.render.pane_strips import columns_of
from tui.widgets.sized import Sized

LOAD_BYTES = 256 << 10
"""So much is asked for when a gap comes into sight."""

GAP_BYTES = 1 << 20
"""So much of a gap is asked for with Enter."""

_WHEEL_ROWS = 3
_COLUMNS_AT_ONCE = 8


class PaneView(ScrollView, Sized, can_focus=True):
    """Rows of a buffer. It asks with Wanted for what it has to show and is not there."""

    ALLOW_SELECT = True
    DEFAULT_CSS = """
    PaneView { width: 1fr; height: 1fr; overflow-x: hidden; overflow-y: scroll; scrollbar-size-vertical: 1; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "pane-view--muted", "pane-view--match", "pane-view--current", "pane-view--place",
    }  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", id="attach.up", show=False),
        Binding("down,j", "move(1)", "down", id="attach.down", show=False),
        Binding("pageup,b", "move_page(-1)", "page up", id="attach.page_up", show=False),
        Binding("pagedown,space", "move_page(1)", "page down", id="attach.page_down", show=False),
        Binding("home,g", "first", "first byte", id="attach.first", show=False),
        Binding("end,G", "last", "follow the end", id="attach.last", show=False),
        Binding("left", "move_across(-1)", "left", id="attach.left", show=False),
        Binding("right", "move_across(1)", "right", id="attach.right", show=False),
        Binding("enter", "read_gap", "read what is not shown", id="attach.read_gap", show=False),
    ]

    class Wanted(Message):
        """The view has to show bytes that are not there."""

        def __init__(self, start: int, end: int) -> None:
            super().__init__()
            self.start = start
            self.end = end

    class Followed(Message):
        """It follows the end from now on, or does no longer."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = PaneBuffer()
        self.is_following = True
        self.has_times = False
        self._layout = PaneRows(self.buffer)
        self._place = Place(0)
        self._placed_y = 0
        self._goal: tuple[Place, int] | None = None  # (a place that may not be loaded yet, rows above it)
        self._shown: list[Row] | None = None
        self._strips: list[Strip] = []
        self._is_drawing = False
        self._marked = Marked()
        self._is_region_due = False  # it was to be shown before the view had a size

    # ---- what is shown

    def begin(self) -> None:
        """Forget everything: another pane is shown."""
        self.buffer = PaneBuffer()
        self._layout.buffer = self.buffer
        self._layout.forget()
        self._place, self._goal = Place(0), None
        self._marked.region = self._marked.found = None
        self._is_region_due = False
        self.scroll_x = 0
        self._unselect()
        self._lay_out()

    def _unselect(self) -> None:
        """What is selected is told by offsets, which are others in another pane."""
        if self.text_selection is not None:
            self.screen.clear_selection()

    def add(self, piece: PaneBytes) -> None:
        """Take in a piece of the pane. What is looked at stays where it is, unless the end is followed."""
        self.add_all([piece])

    def add_all(self, pieces: list[PaneBytes]) -> None:
        anchor = None if self.is_following else self._anchor()
        for piece in pieces:
            if piece.run_id != self.buffer.run_id:
                self._layout.forget()
                self._unselect()
            self.buffer.add(piece, None if self.is_following else self._place.offset)
        if anchor is not None:
            place, rows_above = anchor
            if self._goal is not None:
                place = self._marked.row_at(self._layout, place)  # it may be there only now
            above = self._layout.place_above(place, rows_above)
            self._place = min(above, self._layout.last_place(self._row_count))
        self._lay_out()
        self._show_across()

    def follow(self, is_following: bool = True) -> None:
        """Follow the end, or stay here."""
        if is_following != self.is_following:
            self.is_following = is_following
            self._lay_out()
            self.post_message(self.Followed())

    def wrap(self, is_wrapped: bool) -> None:
        """The line at the top stays there, unless what is marked would go out of sight."""
        found, region = self._marked.found, self._marked.region
        found_row = None if found is None else self._row_of(found)
        has_region = region is not None and self._row_of(region[0]) is not None
        self._layout.is_wrapped = is_wrapped
        self.scroll_x = 0
        self._place = Place(self._place.offset)
        self._lay_out()
        if self.is_following:
            return
        if found is not None and found_row is not None and self._row_of(found) is None:
            self._go_to(Place(found), found_row)
        elif region is not None and has_region and None in map(self._row_of, (region[0], region[1] - 1)):
            self.show_region(*region)

    def _row_of(self, offset: int) -> int | None:
        """The first visible row of the line with an offset."""
        index = self.buffer.index_of(offset)
        rows = enumerate(self._rows())
        return next((at for at, row in rows if self.buffer.index_of(row.line.offset) == index), None)

    @property
    def is_wrapped(self) -> bool:
        return self._layout.is_wrapped

    def colour(self, is_coloured: bool) -> None:
        self._layout.is_plain = not is_coloured
        self._layout.forget()
        self._lay_out()

    @property
    def is_coloured(self) -> bool:
        return not self._layout.is_plain

    def show_times(self, has_times: bool) -> None:
        self.has_times = has_times
        self._lay_out()

    def show_cursor(self, is_shown: bool) -> None:
        """Draw where the terminal's cursor stands, at the end of what was put out."""
        if is_shown != self._layout.has_cursor:
            self._layout.has_cursor = is_shown
            self._lay_out()

    @property
    def terminal_size(self) -> tuple[int, int]:
        """(columns, rows) that there are for the text."""
        return self._text_columns, self._row_count

    @property
    def offset_at_top(self) -> int:
        """Of the first line that is visible."""
        return self._place.offset

    @property
    def found_line(self) -> tuple[int, int] | None:
        """(its first byte, the one behind its last) of the line with what was found last; of what was found
        alone where that is not loaded yet."""
        return self._marked.line_in(self.buffer)

    def mark(self, needle: LineMatcher | None) -> None:
        """Mark what matches from now on."""
        self._marked.needle = needle
        if needle is None:
            self._marked.found = None
        self._lay_out()

    def show_found(self, offset: int) -> None:
        """Show the line with an offset in the middle, with what is around it; it may be loaded later."""
        self.follow(False)
        self._marked.found = offset
        self._go_to(Place(offset), self._row_count // 2)
        self._want_around(offset)

    def show_region(self, start: int, stop: int) -> None:
        """Show and mark the lines of a range: its beginning in the upper part, all of it where it fits."""
        self.follow(False)
        self._marked.region, self._is_region_due = (start, stop), not self.size.height
        self._go(self._layout.place_above(Place(start), self._row_count // 4))
        end = self._layout.place_above(Place(max(start, stop - 1)), self._row_count - 2)
        if self._place < end:
            self._go(min(end, Place(start)))
        self._want_around(start)

    def visible_text(self) -> str:
        """What is visible, or what is selected, without colours."""
        if self.text_selection is not None:
            selected = self.get_selection(self.text_selection)
            if selected and selected[0]:
                return selected[0]
        return "\n".join(row.text.text[row.start : row.stop] for row in self._rows())

    # ---- moving

    def action_move_page(self, count: int) -> None:
        self.action_move(count * max(1, self._row_count - 2))

    def action_first(self) -> None:
        self.follow(False)
        self._go_to(Place(0), 0)
        self._want_sight(upwards=False)

    def action_last(self) -> None:
        self.follow()

    def action_move_across(self, count: int) -> None:
        if not self.is_wrapped:
            room = max(0, self.virtual_size.width - self._text_columns)
            self.scroll_x = min(max(0, self.scroll_x + count * _COLUMNS_AT_ONCE), room)
            self._lay_out()

    def action_read_gap(self) -> None:
        """Read of the first gap that is visible, from the side that is looked at."""
        rows = self._rows()
        for index, row in enumerate(rows):
            if isinstance(row.line, GapLine) and row.line.is_kept:
                self.follow(False)
                self.post_message(self.Wanted(*row.line.part(GAP_BYTES, from_end=index == 0)))
                return

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, -_WHEEL_ROWS)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, _WHEEL_ROWS)

    def on_mouse_down(self) -> None:
        if self.is_following and self.screen.allow_select:
            self.follow(False)  # text that is being selected must not run away

    def resized(self) -> None:
        if self._is_region_due and self._marked.region is not None:
            self.show_region(*self._marked.region)
        self._lay_out()

    def on_scroll_to(self, message: ScrollTo) -> None:
        """The scroll bar is dragged."""
        message.stop()
        message.prevent_default()
        if message.y is not None and self.buffer.line_count:
            index = min(max(0, round(message.y)), self.buffer.line_count - 1)
            is_upwards = index < self._placed_y
            self.follow(False)
            self._go(Place(self.buffer.line(index).offset))
            self._want_sight(upwards=is_upwards)

    def on_scroll_up(self, message: ScrollUp) -> None:
        """Clicked above the grip of the scroll bar."""
        message.stop()
        message.prevent_default()
        self.action_move_page(-1)

    def on_scroll_down(self, message: ScrollDown) -> None:
        message.stop()
        message.prevent_default()
        self.action_move_page(1)

    def _wheel(self, event: events.MouseEvent, count: int) -> None:
        event.stop()
        event.prevent_default()
        if event.shift or event.ctrl:
            self.action_move_across(1 if count > 0 else -1)
        else:
            self.action_move(count)

    def action_move(self, count: int) -> None:
        """Scroll by rows; upwards it pauses, and what comes into sight is asked for."""
        if count > 0 and self.is_following:
            return
        self.follow(False)
        if count < 0:
            self._go(self._layout.place_above(self._place, -count))
        else:
            self._go(self._layout.place_below(self._place, count))
        self._want_sight(upwards=count < 0)

    def _go(self, place: Place) -> None:
        last = self._layout.last_place(self._row_count)
        self._place, self._goal = min(place, last), None
        self._lay_out()

    def _go_to(self, place: Place, rows_above: int) -> None:
        """Go there; and once more when what is there has been loaded, if nobody has moved meanwhile."""
        self._go(self._layout.place_above(self._marked.row_at(self._layout, place), rows_above))
        self._goal = place, rows_above
        self._show_across()

    def _show_across(self) -> None:
        """Scroll to what was found in a line that is not wrapped, if it is out of sight."""
        if self._goal is None:
            return
        x = self._marked.column_at(self._layout, self._goal[0], round(self.scroll_x))
        if x != round(self.scroll_x):
            self.scroll_x = x
            self._lay_out()

    def _anchor(self) -> tuple[Place, int] | None:
        """(a line that is visible, how many rows are above it): what has to stay where it is."""
        if self._goal is not None:
            return self._goal
        row_in_line = self._place.row
        for count, row in enumerate(self._rows()):
            row_in_line = 0 if count and row.is_first else row_in_line + (1 if count else 0)
            if isinstance(row.line, PaneLine):
                return Place(row.line.offset, row_in_line), count
        return None

    # ---- asking for what is not there

    def _want_sight(self, *, upwards: bool) -> None:
        for row in self._rows():
            if isinstance(row.line, GapLine) and row.line.is_kept:
                self.post_message(self.Wanted(*row.line.part(LOAD_BYTES, from_end=upwards)))
                return

    def _want_around(self, offset: int) -> None:
        missing = self.buffer.missing_around(offset, LOAD_BYTES)
        if missing is not None:
            self.post_message(self.Wanted(*missing))

    # ---- drawing

    @property
    def _row_count(self) -> int:
        return max(1, self.size.height)

    @property
    def _text_columns(self) -> int:
        width = self.scrollable_content_region.width  # without the scroll bar
        return max(1, width - (GUTTER_COLUMNS if self.has_times else 0))

    def _rows(self) -> list[Row]:
        if self._shown is None:
            self._shown = self._layout.rows(self._place, self._row_count)
        return self._shown

    def _lay_out(self) -> None:
        """Find out anew which rows are shown, and where the scroll bar stands."""
        self._layout.width = self._text_columns
        last = self._layout.last_place(self._row_count)
        if self.is_following or self._place > last:  # no empty rows below while there are lines above
            self._place = last
        self._shown, self._strips = None, []
        self._placed_y = self.buffer.index_of(self._place.offset)
        lines = self.buffer.index_of(last.offset) + self._row_count if self.buffer.line_count else 0
        width = max((columns_of(row.text.text) for row in self._rows()), default=0)
        size = Size(0 if self.is_wrapped else max(width, round(self.scroll_x)), lines)
        if size != self.virtual_size:
            self.virtual_size = size
        if self.scroll_y != self._placed_y:
            self.scroll_to(y=self._placed_y, animate=False, force=True, immediate=True)
        self.refresh()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips = []

    def selection_updated(self, selection: Selection | None) -> None:
        self._strips = []
        self.refresh()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Lines are told by their offsets here: what is selected stays so whatever is loaded and wrapped."""
        return selected_text(self._layout, selection), "\n"

    def render_lines(self, crop: Region) -> list[Strip]:
        """What is drawn does not tell where in its line it is: with that each piece would have a style of its
        own, which costs more than all the rest where there are many colours."""
        self._is_drawing = True
        try:
            return super().render_lines(crop)
        finally:
            self._is_drawing = False

    def render_line(self, y: int) -> Strip:
        """As it is drawn; but what is looked up under the mouse, while nothing is drawn, has its places."""
        rows = self._rows()
        if y >= len(rows):
            return Strip.blank(self.size.width, self.rich_style)
        if not self._is_drawing:
            strip, start = self._drawing().strip_of(rows[y])
            return self._with_time(rows[y], strip.apply_offsets(start, rows[y].line.offset))
        if not self._strips:
            drawing = self._drawing()
            self._strips = [self._with_time(row, drawing.strip_of(row)[0]) for row in rows]
        return self._strips[y]

    def _with_time(self, row: Row, strip: Strip) -> Strip:
        muted = self.get_component_rich_style("pane-view--muted")
        return with_time(row, strip, muted) if self.has_times else strip

    def _drawing(self) -> PaneDrawing:
        part = self._part_style
        selected = self.screen.get_component_rich_style("screen--selection").bgcolor
        return PaneDrawing(
            self._layout,
            PaneStyles(
                base=self.rich_style,
                gap=self.get_component_rich_style("pane-view--muted"),
                place=part("place"),
                match=part("match"),
                current=part("current"),
                selected=Style(bgcolor=selected),
            ),
            self._text_columns,
            round(self.scroll_x),
            self._marked,
            self.text_selection,
        )

    def _part_style(self, name: str) -> Style:
        return self.get_component_rich_style(f"pane-view--{name}", partial=True)

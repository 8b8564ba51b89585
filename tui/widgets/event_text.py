"""The whole text of the selected event, where the table has cut it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from pymr.wire.rows import EventRow
from tui.model.printable import printable_lines
from tui.render.table_columns import Column, place_columns


class EventText(VerticalScroll):
    """As high as the text is, up to a few lines; a longer one scrolls. Not there where nothing is cut."""

    DEFAULT_CSS = """
    EventText { height: auto; max-height: 35%; padding: 0 1; border-top: solid $border; display: none; }
    EventText Static { width: 100%; height: auto; }
    EventText:focus { scrollbar-color: $primary; }
    """

    def compose(self) -> ComposeResult:
        yield Static(markup=False)

    def show_event(self, event: EventRow | None, columns: Sequence[Column], width: int) -> None:
        """columns, width: of the table that shows the event as a line."""
        text = "" if event is None else event.text
        room = next(
            (placed.width for placed in place_columns(columns, width) if placed.column.key == "text"), 0
        )
        lines = printable_lines(text)
        self.display = len(lines) > 1 or cell_len(lines[0]) > room
        if self.display:
            self.query_one(Static).update("\n".join(lines))
            self.scroll_home(animate=False)

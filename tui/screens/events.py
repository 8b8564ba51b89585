"""The sixth screen: what has happened in the cluster, the newest last, and the way to its place."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from pymr.wire.rows import EventRow
from tui.console.screen import ConsoleScreen
from tui.model.failures import is_failure
from tui.model.filters import FIELD_BREAK, parse_filter
from tui.model.state import ClusterState
from tui.render.event_cells import event_cell, event_columns, kind_words
from tui.widgets.event_text import EventText
from tui.widgets.filter_line import FilterLine
from tui.widgets.table import Table

_NO_ANSWER = "Waiting for the first answer of the cluster."
_NOTHING = "Nothing has happened yet."
_NO_MATCH = "No event passes the filter: escape clears it."
_NO_FAILURE = "No failures: x shows all events."


class EventsScreen(ConsoleScreen):
    """Stays at the newest event until the cursor, or the view, is moved up from it."""

    AUTO_FOCUS = "#events-table"
    DEFAULT_CSS = """
    EventsScreen Vertical { width: 100%; height: 100%; }
    EventsScreen Table { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open its place", id="events.open", show=False),
        Binding("slash", "filter", "filter", id="events.filter"),
        Binding("x", "failures", "failures only", id="events.failures"),
        Binding("n", "next_failure", "next failure", id="events.next_failure"),
        Binding("N", "previous_failure", "failure before", id="events.previous_failure", show=False),
        Binding("escape", "app.back", "all events, back", id="events.all", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._events: tuple[EventRow, ...] | None = None
        self._filter_text = ""
        self._is_failures_only = False

    def compose_body(self) -> ComposeResult:
        with Vertical():
            yield Table(
                event_columns(()), event_cell, lambda event: event.id, empty=_NO_ANSWER, id="events-table"
            )
            yield EventText()
            yield FilterLine("words, !without, 'exact, peer:alpha, job:wordcount")

    @property
    def table(self) -> Table[EventRow]:
        return self.query_one("#events-table", Table)

    def show_state(self, state: ClusterState) -> None:
        if state.events is not self._events and (state.events or state.answered_at is not None):
            self._events = state.events
            self._show_events()

    # ---- keys

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()

    def action_failures(self) -> None:
        self._is_failures_only = not self._is_failures_only
        self._show_events()

    def leave_part(self) -> bool:
        """To all events."""
        if not (self._is_failures_only or self._filter_text):
            return False
        self._is_failures_only = False
        self.query_one(FilterLine).clear()
        self._show_events()
        return True

    def action_next_failure(self) -> None:
        self._to_failure(1)

    def action_previous_failure(self) -> None:
        self._to_failure(-1)

    def action_open(self) -> None:
        if (event := self.table.cursor_row) is not None:
            self._open(event)

    @on(Table.Opened)
    def _opened(self, opened: Table.Opened) -> None:
        self._open(opened.row)

    def _open(self, event: EventRow) -> None:
        """Where it can be seen: the output at a failure, the peer, or the job."""
        if event.place is not None:
            self.console.open_pane(event.place.worker, event.place.run_id, event.place.offset)
        elif event.worker:
            self.console.open_pane(event.worker, event.run_id)
        elif event.kind.startswith(("peer.", "leader.")):
            self.console.open_peer(event.peer)
        elif event.job_name:
            self.console.open_job(event.job_name)
        else:
            self.notify("This event has no job, peer or output to show.")

    @on(Table.Moved)
    def _moved(self) -> None:
        self._show_text()

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_text)

    @on(FilterLine.Changed)
    def _filter(self, event: FilterLine.Changed) -> None:
        self._filter_text = event.text
        self._show_events()

    @on(FilterLine.Left)
    def _leave_filter(self) -> None:
        self.table.focus()

    # ---- what is shown

    def _show_events(self) -> None:
        table, events = self.table, self._events
        if events is None:
            return
        is_at_end = table.cursor >= len(table.rows) - 1 and table.scroll_offset.y >= table.max_scroll_y
        shown = self._passing(events)
        table.set_empty(_NOTHING if not events else _NO_MATCH if self._filter_text else _NO_FAILURE)
        table.set_columns(event_columns(shown))
        table.set_rows(shown)
        if is_at_end and shown:
            table.action_move_to(-1)
        is_all = len(shown) == len(events)
        self.query_one(FilterLine).show_found("" if is_all else f"{len(shown):,} of {len(events):,}")
        self._show_text()

    def _show_text(self) -> None:
        table = self.table
        columns = event_columns(table.rows)
        self.query_one(EventText).show_event(table.cursor_row, columns, table.lines_width)

    def _passing(self, events: tuple[EventRow, ...]) -> list[EventRow]:
        wanted = parse_filter(self._filter_text)
        return [
            event
            for event in events
            if (not self._is_failures_only or is_failure(event))
            and (not wanted or wanted.matches(_text_of(event), {"job": event.job_name, "peer": event.peer}))
        ]

    def _to_failure(self, step: int) -> None:
        rows, place = self.table.rows, self.table.cursor + step
        while 0 <= place < len(rows):
            if is_failure(rows[place]):
                self.table.action_move_to(place)
                return
            place += step
        self.notify("No failure below." if step > 0 else "No failure above.")


def _text_of(event: EventRow) -> str:
    return FIELD_BREAK.join((kind_words(event.kind), event.text, event.job_name, event.peer))

"""The fourth screen: the machines of the cluster, how busy they are, and which of them leads."""

from __future__ import annotations

import time
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from pymr.wire.rows import PeerRow
from pymr.wire.wording import moment
from tui.console.screen import ConsoleScreen
from tui.model.sort_order import SortOrder
from tui.model.state import ClusterState
from tui.render.peer_cells import PEER_COLUMNS, PeerLine, peer_cell, peer_lines, sorted_lines
from tui.widgets.peer_card import PeerCard
from tui.widgets.table import Table

_NO_ANSWER = "Waiting for the first answer of the cluster."
SEEK_SECONDS = 5.0
"""So long a peer is looked for that is to be selected; later somebody has gone on with something else."""

OLD_SECONDS = 10.0
"""What was told of the peers before that is how they stood. To ask each of them takes 4 s at most."""

CARD_LINES_MIN = 18
"""Of the screen; in a lower one the table has all of the room."""


class PeersScreen(ConsoleScreen):
    """A table of the peers; below it, all of the one under the cursor."""

    AUTO_FOCUS = "#peers-table"
    DEFAULT_CSS = """
    PeersScreen Vertical { width: 100%; height: 100%; }
    PeersScreen Table { height: 1fr; }
    #peers-age { height: 1; padding: 0 1; color: $text-warning; display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "workers", "its workers", id="peers.workers"),
        Binding("enter", "workers", "its workers", id="peers.open", show=False),
        Binding("o", "sort", "sort", id="peers.sort", show=False),
        Binding("O", "reverse", "reverse the order", id="peers.reverse", show=False),
        Binding("escape", "app.back", "back", id="peers.back", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._peers: tuple[PeerRow, ...] = ()
        self._lines: list[PeerLine] = []
        self._are_old = False
        self._order = SortOrder()
        self._sought, self._sought_until = "", 0.0  # a peer to select as soon as the cluster tells of it

    def compose_body(self) -> ComposeResult:
        with Vertical():
            yield Static(id="peers-age", markup=False)
            yield Table(PEER_COLUMNS, peer_cell, _name_of, empty=_NO_ANSWER, kind=_kind_of, id="peers-table")
            yield PeerCard(id="peer-card")

    @property
    def table(self) -> Table[PeerLine]:
        return self.query_one("#peers-table", Table)

    def on_mount(self) -> None:
        self.set_interval(1.0, lambda: self.show_state(self.console.state))  # figures grow old by themselves

    def on_resize(self, event: events.Resize) -> None:
        self.query_one(PeerCard).display = event.size.height >= CARD_LINES_MIN

    def show_state(self, state: ClusterState) -> None:
        age_s = 0.0 if state.peers_at is None else time.monotonic() - state.peers_at
        are_old = age_s > OLD_SECONDS
        if state.peers is not self._peers or are_old != self._are_old:
            self._peers, self._are_old = state.peers, are_old
            self._lines = peer_lines(state, are_old=are_old)
            self._show_lines()
            age = self.query_one("#peers-age", Static)
            age.display = are_old
            age.update(f"As of {moment(time.time() - age_s)}: nobody tells of the peers now.")
        self._seek()

    def select_peer(self, name: str) -> None:
        """Move to a peer, now or as soon as the cluster tells of it."""
        self._sought, self._sought_until = name, time.monotonic() + SEEK_SECONDS
        self._seek()

    def action_sort(self) -> None:
        """By the next of the columns that are seen; after the last, in the order of the configuration."""
        shown = self.table.shown_columns
        columns = [one.key for one in PEER_COLUMNS if one.may_sort and one.key in shown]
        self._sort(self._order.next(columns))

    def action_reverse(self) -> None:
        self._sort(self._order.turned())

    @on(Table.SortWanted)
    def _clicked(self, event: Table.SortWanted) -> None:
        event.stop()
        self._sort(self._order.clicked(event.column_key))

    def action_workers(self) -> None:
        if (line := self.table.cursor_row) is not None:
            self.console.open_workers(peer=line.row.name)

    @on(Table.Opened)
    def _opened(self) -> None:
        self.action_workers()

    @on(Table.Moved)
    def _moved(self) -> None:
        self._show_card()

    def _sort(self, order: SortOrder) -> None:
        self._order = order
        self.table.set_sorted(*order)
        self._show_lines()

    def _show_lines(self) -> None:
        self.table.set_rows(sorted_lines(self._lines, *self._order))
        self._show_card()

    def _show_card(self) -> None:
        self.query_one(PeerCard).show_peer(self.table.cursor_row)

    def _seek(self) -> None:
        if not self._sought:
            return
        if self.table.move_to_key(self._sought) or time.monotonic() > self._sought_until:
            self._sought = ""


def _kind_of(line: PeerLine) -> str:
    """What is told of a peer that is out of view."""
    return "" if line.row.state == "alive" else line.row.state


def _name_of(line: PeerLine) -> str:
    return line.row.name

"""The second screen: what the workers put out, live, as many of them as fit."""

from __future__ import annotations

import time
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid
from textual.content import Content
from textual.geometry import Size
from textual.widgets import Static

from pymr.wire.rows import WorkerRow
from pymr.wire.wording import count_of
from tui.console.screen import ConsoleScreen
from tui.model.filters import parse_filter
from tui.model.pane.buffer import PaneTail
from tui.model.pane.feed import PaneWish
from tui.model.pane.grid import WorkerOrder, grid_shape, next_of, passing
from tui.model.printable import printable
from tui.model.state import ClusterState
from tui.widgets.filter_line import FilterLine
from tui.widgets.pane.tile import PaneTile

TAIL_BYTES = 16 << 10
"""So much of each visible pane is followed: more than the lines of a tile."""

_NO_ANSWER = "Waiting for the cluster to say which workers there are."
_NO_WORKERS = "No peer that is alive has a worker."
_NO_MATCH = "No worker passes the filter: escape shows all of them."


class WorkersScreen(ConsoleScreen):
    """A grid of tiles, each for one worker; what does not fit is on further pages."""

    WANTS = frozenset({"workers"})
    shows_panes = True
    AUTO_FOCUS = "PaneTile"
    DEFAULT_CSS = """
    WorkersScreen #workers-line { height: 1; width: 100%; padding: 0 1; }
    WorkersScreen #workers-grid { height: 1fr; width: 100%; grid-gutter: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a,enter", "attach", "attach", id="workers.attach"),
        Binding("slash", "filter", "filter", id="workers.filter"),
        Binding("j", "next_job", "job", id="workers.job"),
        Binding("n", "next_peer", "peer", id="workers.peer"),
        Binding("escape", "app.back", "all workers, back", id="workers.all", show=False),
        Binding("pagedown,space", "page(1)", "next page", id="workers.next_page", show=False),
        Binding("pageup,b", "page(-1)", "previous page", id="workers.previous_page", show=False),
        Binding("left", "step(-1)", "left", id="workers.left", show=False),
        Binding("right", "step(1)", "right", id="workers.right", show=False),
        Binding("up", "step_row(-1)", "up", id="workers.up", show=False),
        Binding("down", "step_row(1)", "down", id="workers.down", show=False),
        Binding("home", "step(-9999)", "first", id="workers.first", show=False),
        Binding("end", "step(9999)", "last", id="workers.last", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[WorkerRow] = []
        self._order = WorkerOrder()
        self._tails: dict[str, PaneTail] = {}
        self._problems: dict[str, str] = {}
        self._job_name = self._peer = ""
        self._chosen = ("", "")  # the job, or the peer, that whoever came here came for
        self._selected = ""
        self._first = 0
        self._shape = (0, 0)
        self._tiles: list[PaneTile] = []
        self._line = Content()
        self._wishes: tuple[PaneWish, ...] | None = None

    def compose_body(self) -> ComposeResult:
        yield Static(id="workers-line", markup=False)
        yield Grid(id="workers-grid")
        yield FilterLine("words, !without, peer:alpha, status:map", id="workers-filter")

    # ---- what the console asks of it

    def show_state(self, state: ClusterState) -> None:
        self._show_workers(state)

    def show_panes(self) -> None:
        grown = set()
        for news in self.console.pane_feed.take():
            self._problems[news.worker] = news.problem
            if news.piece is not None and news.worker in self._tails:
                self._tails[news.worker].add(news.piece)
            grown.add(news.worker)
        for tile in self._tiles:
            if tile.worker is not None and tile.worker.name in grown:
                tile.show(tile.worker, self._tails[tile.worker.name], self._problems[tile.worker.name])
                tile.show_new()

    def choose(self, job_name: str, peer: str) -> None:
        """Show the workers of a job, or of a peer; "" for all."""
        self._chosen = self._job_name, self._peer = job_name, peer
        self._first = 0
        self.query_one(FilterLine).clear()
        self._show_workers(self.console.state)

    def on_screen_resume(self) -> None:
        self._wishes = None
        self._show_workers(self.console.state)

    def on_screen_suspend(self) -> None:
        """Nothing is read of what nobody sees; another screen with panes says itself what it reads."""
        if self.console.shown_screen is not self:
            self._wishes = None
            if not self.console.shown_screen.shows_panes and self.console.config is not None:
                self.console.pane_feed.want(())

    # ---- keys

    def action_attach(self) -> None:
        if self._selected:
            self.console.open_pane(self._selected)

    def action_filter(self) -> None:
        self.query_one(FilterLine).open()

    def action_next_job(self) -> None:
        """The workers of the next job, after the last one all of them."""
        names = [row.job_name for row in self.console.state.workers if row.job_name]
        self._job_name, self._first = next_of(names, self._job_name), 0
        self._show_workers(self.console.state)

    def action_next_peer(self) -> None:
        self._peer = next_of([row.peer for row in self.console.state.workers], self._peer)
        self._first = 0
        self._show_workers(self.console.state)

    def leave_part(self) -> bool:
        """To the workers that were come for; from there, back, and all of them are shown the next time."""
        if self.query_one(FilterLine).text or (self._job_name, self._peer) != self._chosen:
            self.choose(*self._chosen)
            return True
        self._chosen = self._job_name, self._peer = "", ""
        self._show_workers(self.console.state)
        return False

    def action_page(self, count: int) -> None:
        self._step(count * self._tiles_count)

    def action_step(self, count: int) -> None:
        self._step(count)

    def action_step_row(self, count: int) -> None:
        self._step(count * max(1, self._shape[0]))

    @on(FilterLine.Changed)
    def _filter(self) -> None:
        self._first = 0
        self._show_workers(self.console.state)

    @on(FilterLine.Left)
    def _leave_filter(self) -> None:
        self.set_focus(None)  # the line may still be there, with its text
        self._show_workers(self.console.state)
        self._focus_selected()

    @on(PaneTile.Opened)
    def _open(self, event: PaneTile.Opened) -> None:
        self.console.open_pane(event.worker)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if isinstance(event.widget, PaneTile) and event.widget.worker is not None:
            self._selected = event.widget.worker.name

    def on_mouse_scroll_down(self) -> None:
        self._step_page(1)

    def on_mouse_scroll_up(self) -> None:
        self._step_page(-1)

    async def on_resize(self) -> None:
        self.call_after_refresh(self._show_workers, self.console.state)

    # ---- showing

    @property
    def _tiles_count(self) -> int:
        """How many tiles a page has; one before anything is known of the room for them."""
        return max(1, self._shape[0] * self._shape[1])

    @property
    def _index(self) -> int:
        """Of the selected worker among those that pass; 0 where it is none of them."""
        return next((index for index, row in enumerate(self._rows) if row.name == self._selected), 0)

    def _show_workers(self, state: ClusterState) -> None:
        if not self.is_mounted:
            return
        words = parse_filter(self.query_one(FilterLine).text)
        known = self._order.ordered(state.workers, time.monotonic())
        self._rows = passing(known, words, self._job_name, self._peer)
        room = self.query_one("#workers-grid").size
        self._fit(room)
        tiles_count = self._tiles_count
        pages_end = max(0, len(self._rows) - 1) // tiles_count * tiles_count
        self._first = min(self._first - self._first % tiles_count, pages_end)
        shown = self._rows[self._first : self._first + len(self._tiles)]
        names = {row.name for row in state.workers}
        self._tails = {name: tail for name, tail in self._tails.items() if name in names}
        tiles = self._tiles
        for tile, row in zip(tiles, shown, strict=False):
            tail = self._tails.setdefault(row.name, PaneTail())
            tile.show(row, tail, self._problems.get(row.name, ""))
        for index, tile in enumerate(tiles):
            tile.visible = index < len(shown)
        if shown and self._selected not in {row.name for row in shown}:
            self._selected = shown[0].name
        if any(tile.has_focus for tile in tiles):
            self._focus_selected()
        self._show_line(state, len(known), tiles_count)
        self._want(shown)

    def _fit(self, room: Size) -> None:
        """As many tiles as there are workers, or as fit."""
        if not room or not self._rows:
            shape = self._shape if self._rows else (0, 0)
        else:
            shape = grid_shape(len(self._rows), room.width, room.height)
        if shape == self._shape:
            return
        self._shape = shape
        grid = self.query_one("#workers-grid", Grid)
        tiles = self._tiles
        count = shape[0] * shape[1]
        had_focus = not tiles or any(tile.has_focus for tile in tiles)
        if len(tiles) > count:
            grid.remove_children(tiles[count:])
            self._tiles = tiles[:count]
        elif len(tiles) < count:
            self._tiles = [*tiles, *(PaneTile() for _ in range(count - len(tiles)))]
            grid.mount_all(self._tiles[len(tiles) :])
        if shape[0]:
            grid.styles.grid_size_columns, grid.styles.grid_size_rows = shape
        if had_focus:
            self.call_after_refresh(self._focus_selected)

    def _step(self, count: int) -> None:
        """Select another worker, on another page if it is there."""
        if not self._rows:
            return
        index = min(max(0, self._index + count), len(self._rows) - 1)
        self._selected = self._rows[index].name
        tiles_count = self._tiles_count
        first = index - index % tiles_count
        if first != self._first:
            self._first = first
            self._show_workers(self.console.state)
        self._focus_selected()

    def _step_page(self, count: int) -> None:
        tiles_count = self._tiles_count
        if 0 <= self._first + count * tiles_count < len(self._rows):
            self._first += count * tiles_count
            self._show_workers(self.console.state)

    def _focus_selected(self) -> None:
        for tile in self._tiles:
            if tile.worker is not None and tile.worker.name == self._selected and tile.visible:
                if not tile.has_focus and not self.query_one(FilterLine).has_focus_within:
                    tile.focus()
                return

    def _show_line(self, state: ClusterState, count: int, tiles_count: int) -> None:
        """How many there are, which of them are shown, and on which page."""
        if not self._rows:
            self._set_line(Content(why_none(state)))
            return
        busy = sum(row.state != "idle" for row in self._rows)
        some = "" if len(self._rows) == count else f"{len(self._rows)} of "
        parts = [f"{some}{count_of(count, 'worker')}, {busy} busy"]
        if self._job_name:
            parts.append(f"job {printable(self._job_name)}")
        if self._peer:
            parts.append(f"peer {printable(self._peer)}")
        if len(self._rows) > tiles_count:
            pages = -(-len(self._rows) // tiles_count)
            parts.append(f"page {self._first // tiles_count + 1} of {pages}")
        stopped = sum(row.state == "breakpoint" for row in state.workers)
        alarm = f"   ◆ {stopped} at a breakpoint" if stopped else ""
        self._set_line(Content.assemble("   ".join(parts), (alarm, "bold $warning")))

    def _set_line(self, text: Content) -> None:
        """Only what is new: the line costs a layout of the screen."""
        if text != self._line:
            self._line = text
            self.query_one("#workers-line", Static).update(text)

    def _want(self, shown: list[WorkerRow]) -> None:
        wishes = tuple(PaneWish(row.name, "", TAIL_BYTES) for row in shown)
        if self.console.config is None or self.console.shown_screen is not self or wishes == self._wishes:
            return
        if self._wishes is None:  # what another screen has read of them, or had not taken yet, is read anew
            self.console.pane_feed.want(())
        self._wishes = wishes
        self.console.pane_feed.want(wishes)


def why_none(state: ClusterState) -> str:
    """Why no worker is shown. That there is none is known of the peers: workers are asked for later."""
    if state.workers:
        return _NO_MATCH
    may_have = not state.peers or any(peer.alive and peer.workers for peer in state.peers)
    return _NO_ANSWER if may_have else _NO_WORKERS

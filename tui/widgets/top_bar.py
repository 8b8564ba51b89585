"""The two lines on top of every screen: how the cluster stands, and which screen is shown."""

from __future__ import annotations

import time
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import RenderResult
from textual.widget import Widget

from pymr.wire.requests import ClusterView
from pymr.wire.rows import BREAKPOINTS_SHOWN_MAX
from pymr.wire.wording import span
from tui.model.state import ClusterState

TABS = (
    ("jobs", "Jobs"),
    ("workers", "Workers"),
    ("attach", "Attach"),
    ("peers", "Peers"),
    ("editor", "Editor"),
    ("events", "Events"),
)
"""The screens in the order of their keys, by mode."""

_GAP = 3
_OLD_SECONDS = 3.0


class TopBar(Widget):
    """The cluster's name, leader, epoch, peers, workers, queue, and the age of all that; below, the tabs."""

    DEFAULT_CSS = """
    TopBar { dock: top; height: 2; width: 100%; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "top-bar--name",
        "top-bar--muted",
        "top-bar--warning",
        "top-bar--tab",
        "top-bar--active",
    }

    def __init__(self, cluster_name: str) -> None:
        super().__init__()
        self._cluster_name = cluster_name
        self._state = ClusterState()
        self._shown = Text()

    def on_mount(self) -> None:
        self.set_interval(1.0, self._update)  # the age grows by itself

    def show_state(self, state: ClusterState) -> None:
        self._state = state
        self._update()

    def render(self) -> RenderResult:
        self._shown = self._text()
        return self._shown

    def _update(self) -> None:
        if self._text() != self._shown:
            self.refresh()

    def _text(self) -> Text:
        return Text("\n", no_wrap=True).join([self._facts(), self._tabs()])

    def on_click(self, event: events.Click) -> None:
        if event.y != 1:
            return
        for start, end, mode in self._tab_places():
            if start <= event.x < end:
                self.app.call_later(self.app.run_action, f"app.show('{mode}')")

    def _facts(self) -> Text:
        """One line, as much of it as fits: what matters most stands first."""
        state, cluster = self._state, self._state.cluster
        name = cluster.name if cluster else self._cluster_name
        left = Text.assemble((" pymr ", self._style("muted")), (name, self._style("name")))
        parts: list[Text] = []
        if cluster is not None:
            leads = f"leader {cluster.leader}" if cluster.leader else "no leader"
            parts.append(Text(leads, self._style("muted" if cluster.leader else "warning")))
            if stopped := len(cluster.breakpoints):
                more = "+" if stopped >= BREAKPOINTS_SHOWN_MAX else ""
                parts.append(Text(f"◆ {stopped}{more} at a breakpoint", self._style("warning")))
            if cluster.paused:
                parts.append(Text("queue paused", self._style("warning")))
            if not state.may_change:
                parts.append(Text("read only", self._style("muted")))
            parts.append(Text(f"epoch {cluster.epoch}", self._style("muted")))
            parts += self._of_peers(cluster)
        age = self._age()
        left.truncate(max(self.size.width - age.cell_len - 1, 1), overflow="ellipsis")
        room = self.size.width - left.cell_len - age.cell_len - 1
        for part in parts:
            if part.cell_len + _GAP <= room:
                left.append(" " * _GAP).append_text(part)
                room -= part.cell_len + _GAP
        left.append(" " * max(room, 1)).append_text(age).truncate(self.size.width)
        return left

    def _of_peers(self, cluster: ClusterView) -> list[Text]:
        """Only a leader knows who is there: without one, or while it does not answer, nobody counts them."""
        if not cluster.leader or not cluster.peers_alive:
            return [Text("peers unknown", self._style("warning"))]
        is_whole = cluster.peers_alive == cluster.peers
        peers = f"{cluster.peers_alive}/{cluster.peers} peers"
        busy = f"{cluster.workers_busy}/{cluster.workers} busy"
        return [
            Text(peers, self._style("muted" if is_whole else "warning")),
            Text(busy, self._style("muted")),
        ]

    def _age(self) -> Text:
        age_s = self._state.age_s(time.monotonic())
        if age_s is None:
            return Text("connecting… " if not self._state.problem else "no answer ", self._style("warning"))
        if age_s < _OLD_SECONDS and not self._state.problem:
            cluster = self._state.cluster
            if cluster is not None and cluster.problem:  # the banner says which
                return Text("nothing is scheduled ", self._style("warning"))
            return Text("live ", self._style("muted"))
        return Text(f"{span(age_s)} old ", self._style("warning"))

    def _tabs(self) -> Text:
        line = Text(" ")
        for words, mode in self._tab_words():
            style = self._style("active" if mode == self.app.current_mode else "tab")
            line.append(words, style)
        return line

    def _tab_words(self) -> list[tuple[str, str]]:
        """What stands for each screen, with its mode: its key and its name; in a narrower terminal its key
        alone, but for the screen that is shown."""
        pad = " " if self.size.width > sum(len(title) + 4 for _, title in TABS) else ""
        words = [f"{pad}{key} {title} " for key, (_, title) in enumerate(TABS, start=1)]
        if self.size.width <= sum(map(len, words)):
            here = self.app.current_mode
            words = [
                one if mode == here else f"{one[0]} " for one, (mode, _) in zip(words, TABS, strict=True)
            ]
        return [(one, mode) for one, (mode, _) in zip(words, TABS, strict=True)]

    def _tab_places(self) -> list[tuple[int, int, str]]:
        places, x = [], 1
        for words, mode in self._tab_words():
            places.append((x, x + len(words), mode))
            x += len(words)
        return places

    def _style(self, name: str) -> str:
        return str(self.get_component_rich_style(f"top-bar--{name}"))

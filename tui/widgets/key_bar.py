"""The line of keys below every screen: as many as fit, the way to all of them always."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import RenderResult
from textual.binding import Binding
from textual.dom import DOMNode
from textual.widget import Widget

from tui.model.state import ClusterState

_LATER = ("jobs.next_failed", "jobs.sort")
"""Behind those of the console, as they are wanted less."""

_LAST = ("app.help", "app.quit")
"""Always there, at the end."""

_WHILE_PAUSED = {"jobs.pause": "resume"}
"""What a key does while the queue is paused, where that is something else."""


class KeyBar(Widget):
    """The keys that do something now, the screen's before the console's. A click presses one. acts_on: of the
    screen, whether a key may do its action now."""

    DEFAULT_CSS = """
    KeyBar { dock: bottom; height: 1; width: 100%; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-bar--key", "key-bar--words"}

    def __init__(self, acts_on: Callable[[str, str], bool]) -> None:
        super().__init__()
        self._acts_on = acts_on
        self._paths: list[tuple[int, int, str, DOMNode]] = []
        self._is_paused = False

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.refresh())

    def show_state(self, state: ClusterState) -> None:
        is_paused = state.cluster is not None and state.cluster.paused
        if is_paused != self._is_paused:
            self._is_paused = is_paused
            self.refresh()

    def render(self) -> RenderResult:
        key_style = str(self.get_component_rich_style("key-bar--key"))
        words_style = str(self.get_component_rich_style("key-bar--words"))
        line, self._paths = Text(" "), []
        for binding, node in self._fitting():
            key = self.app.get_key_display(binding)
            start = line.cell_len
            line.append(key, key_style).append(f" {binding.description}", words_style)
            self._paths.append((start, line.cell_len, binding.action, node))
            line.append("  ")
        return line

    def on_click(self, event: events.Click) -> None:
        for start, end, action, node in self._paths:
            if start <= event.x < end:
                self.app.call_later(self.app.run_action, action, node)

    def _fitting(self) -> list[tuple[Binding, DOMNode]]:
        """The keys that there is room for, each with whose action it is. One that the operator has moved
        stands where it would without that, and has its room before the others."""
        shown: dict[str, tuple[Binding, DOMNode]] = {}
        for node, binding, is_enabled, _ in self.screen.active_bindings.values():
            if not self._acts_on(binding.key, binding.action):
                continue
            if binding.show and is_enabled and binding.description:
                shown.setdefault(binding.action, (self._as_now(binding), node))
        usual: dict[str, tuple[str, ...]] = {}
        for node in dict.fromkeys(node for _, node in shown.values()):
            usual |= _usual_keys(node)
        places = list(usual)

        def place(one: tuple[Binding, DOMNode]) -> tuple[bool, int]:
            id = one[0].id or ""
            return id in _LATER, places.index(id) if id in usual else 0

        first = sorted(shown.values(), key=place)
        last = [one for one in first if one[0].id in _LAST]
        room = self.size.width - 1 - sum(self._width(binding) for binding, _ in last)
        fitting = set()
        for binding, _ in sorted(first, key=lambda one: one[0].key in usual.get(one[0].id or "", ())):
            if binding.id in _LAST:
                continue
            if (room := room - self._width(binding)) < 0:
                break
            fitting.add(binding)
        return [one for one in first if one[0] in fitting] + last

    def _as_now(self, binding: Binding) -> Binding:
        words = _WHILE_PAUSED.get(binding.id or "") if self._is_paused else None
        return replace(binding, description=words) if words else binding

    def _width(self, binding: Binding) -> int:
        return Text(self.app.get_key_display(binding)).cell_len + len(binding.description) + 3


def _usual_keys(node: DOMNode) -> dict[str, tuple[str, ...]]:
    """The keys of a node by id, as its classes name them, in their order."""
    found: dict[str, tuple[str, ...]] = {}
    for kind in reversed(type(node).__mro__):
        for binding in vars(kind).get("BINDINGS", ()):
            if isinstance(binding, Binding) and binding.id:
                found[binding.id] = (*found.get(binding.id, ()), *binding.key.split(","))
    return found

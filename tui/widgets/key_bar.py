"""The line of keys below every screen: as many as fit, the way to all of them always."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import RenderResult
from textual.binding import Binding
from textual.widget import Widget

_LAST = ("app.help", "app.quit")
"""Always there, at the end."""


class KeyBar(Widget):
    """The keys that do something now, the screen's before the console's. A click presses one."""

    DEFAULT_CSS = """
    KeyBar { dock: bottom; height: 1; width: 100%; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-bar--key", "key-bar--words"}

    def __init__(self) -> None:
        super().__init__()
        self._places: list[tuple[int, int, str]] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.refresh())

    def render(self) -> RenderResult:
        key_style = str(self.get_component_rich_style("key-bar--key"))
        words_style = str(self.get_component_rich_style("key-bar--words"))
        line, self._places = Text(" "), []
        for binding in self._fitting():
            key = self.app.get_key_display(binding)
            start = line.cell_len
            line.append(key, key_style).append(f" {binding.description}", words_style)
            self._places.append((start, line.cell_len, binding.action))
            line.append("  ")
        return line

    def on_click(self, event: events.Click) -> None:
        for start, end, action in self._places:
            if start <= event.x < end:
                self.app.call_later(self.screen.run_action, action)

    def _fitting(self) -> list[Binding]:
        shown: dict[str, Binding] = {}
        for _, binding, is_enabled, _ in self.screen.active_bindings.values():
            if binding.show and is_enabled and binding.description:
                shown.setdefault(binding.action, binding)
        last = [binding for binding in shown.values() if binding.id in _LAST]
        first = [binding for binding in shown.values() if binding.id not in _LAST]
        room = self.size.width - 1 - sum(map(self._width, last))
        fitting = []
        for binding in first:
            if (room := room - self._width(binding)) < 0:
                break
            fitting.append(binding)
        return fitting + last

    def _width(self, binding: Binding) -> int:
        return Text(self.app.get_key_display(binding)).cell_len + len(binding.description) + 3

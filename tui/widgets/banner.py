"""The line that says what is wrong with the cluster, or with the way to it; gone when nothing is."""

from __future__ import annotations

import time

from rich.text import Text
from textual.app import RenderResult
from textual.widget import Widget

from pymr.wire.wording import span, version_warning
from tui.model.printable import printable
from tui.model.state import ClusterState

_PATIENCE_SECONDS = 1.5
"""A cluster that changes its leader answers again sooner than this."""


class Banner(Widget):
    """Shown while no peer answers, or the one that does has a problem, or the peers' versions differ."""

    DEFAULT_CSS = """
    Banner { height: auto; max-height: 3; width: 100%; padding: 0 1; display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._state = ClusterState()
        self._shown = ""

    def on_mount(self) -> None:
        self.set_interval(1.0, self._update)

    def show_state(self, state: ClusterState) -> None:
        self._state = state
        self._update()

    def render(self) -> RenderResult:
        return Text(self._words(), overflow="ellipsis")

    def _update(self) -> None:
        words = self._words()
        if self.display != bool(words):
            self.display = bool(words)
        if words != self._shown:
            self._shown = words
            self.refresh(layout=True)

    def _words(self) -> str:
        state = self._state
        age_s = state.age_s(time.monotonic())
        if state.problem:
            if age_s is None:
                return f"No answer yet. {_first_line(state.problem)} Trying on."
            if age_s < _PATIENCE_SECONDS:
                return ""
            return f"Lost the cluster: this is how it stood {span(age_s)} ago. Trying all its peers."
        problem = state.cluster.problem if state.cluster is not None else ""
        if problem or state.fault:
            return problem or state.fault
        warning = version_warning({row.name: row.version for row in state.peers if row.alive})
        return _first_line(warning) if warning else ""


def _first_line(text: str) -> str:
    """What comes first, as a sentence; of what ends before a list, also the first item of the list."""
    first, _, rest = text.strip().partition("\n")
    line = first.rstrip(":.")
    if first.endswith(":") and (item := rest.partition("\n")[0].strip().removeprefix("- ")):
        line = f"{first} {item.rstrip('.')}"
    line = printable(line)
    return f"{line[:1].upper()}{line[1:]}{'' if line.endswith('?') else '.'}"

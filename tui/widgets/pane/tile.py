"""A tile of the grid of workers: who it is, what it does, and the last lines that it put out."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.message import Message
from textual.strip import Strip

from pymr.wire.rows import WorkerRow
from tui.model.pane.ansi import StyledLine, styled_line
from tui.model.pane.buffer import PaneTail
from tui.model.pane.typist import holder_words
from tui.model.printable import printable
from tui.render.pane_strips import characters_in, segments_of
from tui.widgets.sized import Sized

_NO_OUTPUT = "no output yet"


class PaneTile(Sized, can_focus=True):
    """Shows a worker's pane; lines are cut, not wrapped. Only lines that it has room for are read."""

    DEFAULT_CSS = """
    PaneTile { width: 1fr; height: 1fr; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "pane-tile--title", "pane-tile--focus", "pane-tile--busy", "pane-tile--alarm", "pane-tile--muted",
    }  # fmt: skip

    class Opened(Message):
        """It was double-clicked."""

        def __init__(self, worker: str) -> None:
            super().__init__()
            self.worker = worker

    def __init__(self) -> None:
        super().__init__()
        self.worker: WorkerRow | None = None
        self._tail = PaneTail()
        self._problem = ""
        self._strips: list[Strip] | None = None

    def show(self, worker: WorkerRow, tail: PaneTail, problem: str = "") -> None:
        """Show this worker, and its tail as it is now. problem: why that cannot be read; "" if it can."""
        is_same = worker == self.worker and tail is self._tail and problem == self._problem
        self.worker, self._tail, self._problem = worker, tail, problem
        if not is_same:
            self.show_new()

    def show_new(self) -> None:
        """The tail has grown."""
        self._strips = None
        self.refresh()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips = None

    def resized(self) -> None:
        self.show_new()

    def on_focus(self) -> None:
        self.show_new()

    def on_blur(self) -> None:
        self.show_new()

    def on_click(self, event: events.Click) -> None:
        if event.chain == 2 and self.worker is not None:
            self.post_message(self.Opened(self.worker.name))

    def render_line(self, y: int) -> Strip:
        if self._strips is None:
            self._strips = self._drawn()
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.size.width, self.rich_style)

    def _drawn(self) -> list[Strip]:
        width, height = self.size
        base = self.rich_style
        muted = self.get_component_rich_style("pane-tile--muted")
        strips = [self._title(width)]
        is_idle = self.worker is None or self.worker.state == "idle"
        lines = [styled_line(line.data, line.look) for line in self._tail.last_lines(max(0, height - 2))]
        if is_idle:
            base, lines = muted, [StyledLine(line.text) for line in lines]
        if self._problem:
            lines = [*lines[1:], StyledLine(printable(self._problem))]
        elif not lines:
            base, lines = muted, [StyledLine(_NO_OUTPUT)]
        for line in lines:
            _, stop, _ = characters_in(line.text, 0, width)
            segments = [Segment(" ", base), *segments_of(line, 0, stop, base)]
            strips.append(Strip(segments).crop_extend(0, width, base))
        return strips

    def _title(self, width: int) -> Strip:
        base = self.rich_style
        title = base + self.get_component_rich_style(
            "pane-tile--focus" if self.has_focus else "pane-tile--title", partial=True
        )
        text = Text(" ", no_wrap=True, end="")
        for words, style in title_parts(self.worker):
            shown = Style() if self.has_focus or not style else self._part_style(style)
            text.append(words, shown)
        text.truncate(width - 1, overflow="ellipsis", pad=True)
        text.append(" ")
        text.stylize_before(title)
        return Strip(list(text.render(self.app.console))).adjust_cell_length(width, title)

    def _part_style(self, name: str) -> Style:
        found = self.get_component_rich_style(f"pane-tile--{name}", partial=True)
        return Style(color=found.color, bold=found.bold)


def title_parts(worker: WorkerRow | None) -> list[tuple[str, str]]:
    """(words, name of their style) of a tile's title: what matters most stands first."""
    if worker is None:
        return []
    if worker.state == "breakpoint":
        parts = [("◆ ", "alarm"), (worker.name, ""), (" breakpoint", "alarm")]
    elif worker.state == "idle":
        return [("· ", "muted"), (worker.name, "muted"), (" idle", "muted")]
    else:
        parts = [("▶ ", "busy"), (worker.name, ""), (f" {worker.state}", "busy")]
    if worker.holder:
        parts.append((f"  {printable(holder_words(worker.holder))} types", "alarm"))
    if worker.task:
        parts.append((f"  {printable(worker.task)}", "muted"))
    if worker.job_name:
        parts.append((f"  {printable(worker.job_name)}", "muted"))
    return parts

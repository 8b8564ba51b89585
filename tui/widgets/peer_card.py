"""All that is known of one peer and its machine."""

from __future__ import annotations

from textual.app import RenderResult
from textual.content import Content
from textual.widget import Widget

from pymr.wire.rows import PeerRow
from pymr.wire.wording import amount, percent, span
from tui.model.printable import printable
from tui.model.state import MACHINE_SAMPLES_MAX
from tui.render.bars import bar
from tui.render.peer_cells import (
    PeerLine,
    figure_of,
    heard_words,
    name_words,
    spark_of,
    state_words,
    version_words,
)
from tui.render.styled_line import MUTED

_LABEL = 10
_FIGURE = 14
_FIGURES = (("cpu", "CPU"), ("memory", "memory"), ("received", "received"), ("sent", "sent"))


class PeerCard(Widget):
    """Its figures over the last minutes, as wide as there is room, and what stands in no narrow table."""

    DEFAULT_CSS = """
    PeerCard { height: 9; width: 100%; padding: 0 1; border-top: solid $border; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._line: PeerLine | None = None

    def show_peer(self, line: PeerLine | None) -> None:
        if line != self._line:
            self._line = line
            self.refresh()

    def render(self) -> RenderResult:
        line = self._line
        if line is None:
            return ""
        row = line.row
        gap = ("   ", "")
        head = Content.assemble(
            name_words(row).stylize("bold"), gap, state_words(row), gap, (row.address, MUTED),
            gap, (f"data {row.data_address}", MUTED),
        )  # fmt: skip
        foot = Content.assemble(
            ("version ", MUTED), version_words(line), gap, ("pid ", MUTED), str(row.pid or "-"),
            gap, ("epoch ", MUTED), str(row.epoch or "-"), gap, *_heard(row), gap,
             ("busy ", MUTED), f"{row.busy} of {row.workers}",
        )  # fmt: skip
        if line.has_other_version:
            foot = foot + Content.styled("   not the version of most peers", "$warning")
        figures = [self._figure(line, name, title) for name, title in _FIGURES]
        lines = [head, *figures, self._disk(line), foot]
        width = self.content_size.width
        card = Content("\n").join(one.truncate(width, ellipsis=True) for one in lines)
        return Content.styled(card.plain, MUTED) if line.is_old else card

    def _figure(self, line: PeerLine, name: str, title: str) -> Content:
        width = max(min(self.content_size.width - _LABEL - _FIGURE - 3, MACHINE_SAMPLES_MAX), 1)
        value = figure_of(line.row.machine, name) if line.row.alive else "-"
        spark = spark_of(line.samples, name, width)
        return Content.assemble(
            (f"{title:{_LABEL}}", MUTED), f"{value:>{_FIGURE}}", "   ", (spark, "$primary")
        )

    def _disk(self, line: PeerLine) -> Content:
        machine = line.row.machine
        label = Content.styled(f"{'disk':{_LABEL}}", MUTED)
        if not (machine.disk_bytes and line.row.alive):
            return label + Content(f"{'-':>{_FIGURE}}")
        share = 1 - machine.disk_free_bytes / machine.disk_bytes
        width = max(min(self.content_size.width - _LABEL - _FIGURE - 45, 30), 5)
        words = f"  {percent(share)} of {amount(machine.disk_bytes)} used, load {machine.load:.1f}"
        free = f"{amount(machine.disk_free_bytes)} free"
        if machine.disk_problem:
            problem = (printable(machine.disk_problem), "$error")
            return Content.assemble(label, f"{free:>{_FIGURE}}", "   ", problem)
        return Content.assemble(label, f"{free:>{_FIGURE}}", "   ", bar(share, width), (words, MUTED))


def _heard(row: PeerRow) -> tuple[Content | tuple[str, str], ...]:
    if row.heard is None and row.unheard is not None:
        told = f"not heard since the leader took over, {span(row.unheard)} ago"
        return ((told, "" if row.alive else "$error"),)
    return ("heard ", MUTED), heard_words(row)

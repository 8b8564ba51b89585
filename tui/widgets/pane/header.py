"""The lines above a pane: whose it is and what that worker does; and below them what matters just now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.text import Text
from textual.app import RenderResult
from textual.widget import Widget

from pymr.wire.rows import RunRow, WorkerRow
from pymr.wire.wording import amount, reason_of
from tui.model.pane.typist import holder_words
from tui.model.printable import printable
from tui.render.status_words import STATUS_LOOKS
from tui.widgets.pane.tile import title_parts

NoticeKind = Literal["muted", "typing", "alarm"]


@dataclass(frozen=True, slots=True)
class PaneFacts:
    """row: None while nothing is known of the worker. holder: of this console. end: bytes of the pane. run:
    what has come of the run, once it has ended."""

    worker: str
    run_id: str
    row: WorkerRow | None
    job_name: str = ""
    is_following: bool = True
    offset: int = 0
    end: int = 0
    holder: str = ""
    run: RunRow | None = None


class PaneHeader(Widget):
    """One line of facts, cut from its middle; the numbers stand at the right."""

    DEFAULT_CSS = """
    PaneHeader { height: 1; width: 100%; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "pane-header--muted", "pane-header--busy", "pane-header--alarm",
    }  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._facts: PaneFacts | None = None

    def show(self, facts: PaneFacts) -> None:
        if facts != self._facts:
            self._facts = facts
            self.refresh()

    def render(self) -> RenderResult:
        facts = self._facts
        if facts is None:
            return Text(" Choose a worker", style=self._part_style("muted"))
        right = self._right(facts)
        left = Text(" ")
        for words, style in self._left(facts):
            left.append(words, self._part_style(style) if style else "bold")
        left.truncate(max(0, self.size.width - right.cell_len - 1), overflow="ellipsis", pad=True)
        return left.append(" ").append_text(right)

    def _left(self, facts: PaneFacts) -> list[tuple[str, str]]:
        if facts.run is not None:
            return self._ended(facts.worker, facts.run)
        row = facts.row
        is_of_run = row is not None and row.run_id == facts.run_id
        if row is not None and (is_of_run or not facts.run_id):
            parts = [part for part in title_parts(row) if "types" not in part[0]]
        else:
            what = "is not there" if row is None else "no longer works on this run"
            parts = [("○ ", "muted"), (facts.worker, ""), (f" {what}", "muted")]
            if facts.job_name:
                parts.append((f"  {printable(facts.job_name)}", "muted"))
        if facts.run_id:
            parts.append((f"  {facts.run_id}", "muted"))
        return parts

    def _ended(self, worker: str, run: RunRow) -> list[tuple[str, str]]:
        """As of a worker at work; why it failed stands last, as the traceback is below."""
        style = "alarm" if run.status == "failed" else "muted"
        symbol = STATUS_LOOKS[run.status][0]
        parts = [(f"{symbol} ", style), (worker, ""), (f" ended: {run.status}", style)]
        parts += [(f"  {printable(run.job_name)}", "muted"), (f"  {run.run_id}", "muted")]
        if run.exception:
            parts.append((f"  {printable(reason_of(run.exception))}", "muted"))
        return parts

    def _right(self, facts: PaneFacts) -> Text:
        text = Text()
        holder = facts.row.holder if facts.row is not None else ""
        if facts.holder and holder == facts.holder:
            text.append("you type  ", self._part_style("alarm"))
        elif holder:
            text.append(f"{printable(holder_words(holder))} types  ", self._part_style("alarm"))
        if facts.is_following and facts.run is not None:
            text.append(f"▼ at its end  {amount(facts.end)} ", self._part_style("muted"))
        elif facts.is_following:
            text.append("▼ following", self._part_style("busy"))
            text.append(f"  {amount(facts.end)} ", self._part_style("muted"))
        else:
            text.append("‖ paused", self._part_style("alarm"))
            text.append(f"  {amount(facts.offset)} of {amount(facts.end)} ", self._part_style("muted"))
        return text

    def _part_style(self, name: str) -> str:
        return str(self.get_component_rich_style(f"pane-header--{name}"))


class PaneNotice(Widget):
    """A line that is there only while it says something."""

    DEFAULT_CSS = """
    PaneNotice { height: auto; max-height: 3; width: 100%; padding: 0 1; display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._words = ""

    def show(self, words: str, kind: NoticeKind = "muted") -> None:
        """words: "" for none."""
        self.set_classes(f"-{kind}")
        if words != self._words:
            self._words = words
            self.display = bool(words)
            self.refresh(layout=True)

    @property
    def words(self) -> str:
        return self._words

    def render(self) -> RenderResult:
        return Text(self._words, overflow="ellipsis")

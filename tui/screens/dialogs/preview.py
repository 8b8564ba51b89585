"""A job tried on the first lines of its input: the seconds while it is waited for, then what came of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from pymr.base.errors import PymrError
from pymr.wire.requests import PREVIEW_LINES_MAX, PreviewView
from pymr.wire.wording import count_of, span
from tui.model.printable import printable, printable_lines
from tui.render.styled_line import MUTED
from tui.screens.dialogs.dialog import Dialog
from tui.widgets.job.preview_view import PreviewResult

LINES = 100
"""On so many lines at first; `+` takes ten times as many."""

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_SPIN_SECONDS = 0.1


class PreviewDialog(Dialog[None]):
    """ask: gives the answer for a number of lines; may raise PymrError. Escape no longer waits for it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "close", id="preview.close"),
        Binding("r,f5", "again", "again", id="preview.again"),
        Binding("plus", "more", "ten times the lines", id="preview.more"),
    ]

    def __init__(self, job_name: str, ask: Callable[[int], Awaitable[PreviewView]]) -> None:
        super().__init__()
        self._job_name, self._ask, self._lines = job_name, ask, LINES
        self._began: float | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog whole"):
            yield Static(f"Preview of {printable(self._job_name)}", classes="title", markup=False)
            yield Vertical(id="result")
            keys = "esc close   r again   + ten times the lines; nothing is kept"
            yield Static(keys, classes="muted keys")

    def on_mount(self) -> None:
        self.set_interval(_SPIN_SECONDS, self._spin)
        self._try()

    def action_close(self) -> None:
        self.dismiss()

    def action_again(self) -> None:
        if self._began is None:
            self._try()

    def action_more(self) -> None:
        if self._began is None and self._lines < PREVIEW_LINES_MAX:
            self._lines = min(self._lines * 10, PREVIEW_LINES_MAX)
            self._try()

    @work(exclusive=True)
    async def _try(self) -> None:
        self._began = time.monotonic()
        place = self.query_one("#result", Vertical)
        await place.remove_children()
        await place.mount(Static(id="waiting"))
        self._spin()
        shown: PreviewResult | Static
        try:
            shown = PreviewResult(await self._ask(self._lines))
        except PymrError as error:
            words = "\n".join(printable_lines(str(error)))
            shown = Static(Content.assemble(("✗ ", "$error"), words), markup=False)
        self._began = None
        await place.remove_children()
        await place.mount(shown)
        for traceback in shown.query(".error").results(VerticalScroll):  # its last line says what it is
            traceback.anchor()
        for part in shown.query("DataTable, VerticalScroll"):  # so that arrows scroll it
            part.focus()
            break

    def _spin(self) -> None:
        if self._began is None:
            return
        seconds = time.monotonic() - self._began
        turn = _SPINNER[int(seconds / _SPIN_SECONDS) % len(_SPINNER)]
        words = f"Trying it on the first {count_of(self._lines, 'line')} of its input… "
        for waiting in self.query("#waiting").results(Static):
            waiting.update(Content.assemble((f"{turn} ", "$primary"), words, (span(seconds), MUTED)))

"""A question with two answers."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Button, Label

from tui.screens.dialogs.dialog import Dialog


class Confirm(Dialog[bool]):
    """Its result: whether it was confirmed. verb: what the button says that does it. The other one has the
    focus: Enter by habit does no harm."""

    AUTO_FOCUS = "#no"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes", id="confirm.yes"),
        Binding("n,escape", "answer(False)", "no", id="confirm.no"),
        Binding("left,right", "app.focus_next", "choose", show=False),
    ]

    def __init__(self, question: str, detail: str = "", verb: str = "yes") -> None:
        super().__init__()
        self._question, self._detail, self._verb = question, detail, verb

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog", can_focus=False):
            yield Label(self._question, classes="title", markup=False)
            if self._detail:
                yield Label(self._detail, classes="muted", markup=False)
            with Horizontal(classes="buttons"):
                yield Button(f"{self._verb} (y)", id="yes", variant="error")
                yield Button("keep (n)", id="no")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, is_yes: bool) -> None:
        self.dismiss(is_yes)

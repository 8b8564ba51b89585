"""What is to become of the demo cluster when the console that has started it is left."""

from __future__ import annotations

import shlex
import threading
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Button, Label, Static

from pymr.base.errors import PymrError
from pymr.config.cluster import ClusterConfig
from tui.model.printable import printable
from tui.screens.dialogs.dialog import Dialog

if TYPE_CHECKING:
    from tui.console.console import Console


class LeaveDemo(Dialog[None]):
    """Stops the demo and quits, or quits, or goes back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s,y", "stop", "stop it and quit", id="leave_demo.stop"),
        Binding("l,n", "leave", "leave it running", id="leave_demo.leave"),
        Binding("escape", "back", "back", id="leave_demo.back"),
        Binding("left,right", "app.focus_next", "choose", show=False),
    ]

    class Said(Message):
        def __init__(self, line: str) -> None:
            super().__init__()
            self.line = line

    class Stopped(Message):
        """why_not: "" where it did stop."""

        def __init__(self, why_not: str) -> None:
            super().__init__()
            self.why_not = why_not

    def __init__(self, config: ClusterConfig) -> None:
        super().__init__()
        self._config = config
        self._is_busy = False

    def compose(self) -> ComposeResult:
        command = f"pymr cluster stop --config {shlex.quote(str(self._config.source))}"
        with Vertical(classes="dialog"):
            yield Label("Stop the demo cluster?", classes="title")
            detail = f"It was started here. Left running, it is stopped by:\n{command}"
            yield Static(detail, classes="muted", markup=False)
            yield Static("", id="step", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("stop it (s)", id="stop", variant="primary")
                yield Button("leave it (l)", id="leave")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not (self._is_busy and action in ("stop", "back"))

    async def on_button_pressed(self, event: Button.Pressed) -> None:
        await self.run_action(str(event.button.id))

    def action_stop(self) -> None:
        from tui.model.demo import stop_demo

        self._is_busy = True
        self.query_one("#stop", Button).disabled = True
        config = self._config

        def run() -> None:
            try:
                stop_demo(config, self._say)
            except (PymrError, OSError) as error:
                self.post_message(self.Stopped(str(error)))
            else:
                self.post_message(self.Stopped(""))

        threading.Thread(target=run, name="pymr-tui stop", daemon=True).start()

    def action_leave(self) -> None:
        cast("Console", self.app).exit()

    def action_back(self) -> None:
        self.dismiss()

    def _say(self, line: str) -> None:
        self.post_message(self.Said(line))

    def on_leave_demo_said(self, event: Said) -> None:
        self.query_one("#step", Static).update(printable(event.line))

    def on_leave_demo_stopped(self, event: Stopped) -> None:
        if not event.why_not:
            self.app.exit()
            return
        self._is_busy = False
        self.query_one("#stop", Button).disabled = False
        self.query_one("#step", Static).update(printable(event.why_not))

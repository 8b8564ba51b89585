"""What is offered where there is no cluster: a demo, another one, or starting the one that is silent."""

from __future__ import annotations

import asyncio
import os
import textwrap
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from pymr.base.errors import PymrError
from pymr.config.choice import CONFIG_NAME, choose_config
from pymr.config.cluster import ClusterConfig
from pymr.ops.manage_cluster import ClusterManager
from tui.model.printable import printable_lines
from tui.model.typed_path import typed_path
from tui.screens.dialogs.dialog import Dialog
from tui.widgets.choices import Choices
from tui.widgets.path_input import PathInput

if TYPE_CHECKING:
    from tui.console.console import Console

_LOOK_SECONDS = 0.2
_LINES_MIN = 7
"""Of a text beside the choices: with this many of one text, all of the dialog is seen on 24 lines."""
_OTHER_LINES = 14
_COLUMNS = 64

Say = Callable[[str], None]
Doing = Callable[[Say], ClusterConfig]


class NoCluster(Dialog[None]):
    """Goes away when a peer answers, and when it is told to: then the empty screens are seen.

    quiet_s: it takes no key before none was pressed for so long.
    """

    DEFAULT_CSS = """
    NoCluster .dialog { overflow-y: auto; }
    NoCluster Label, NoCluster Static { width: 100%; height: auto; }
    NoCluster #why { margin-bottom: 1; }
    NoCluster PathInput { display: none; }
    NoCluster Input { height: 1; border: none; padding: 0 1; }
    NoCluster Input:focus { border: none; }
    NoCluster PathInput > Static { padding: 0 1; }
    NoCluster #steps { display: none; }
    NoCluster #wrong { display: none; color: $text-error; }
    """
    CHANGES = frozenset({"start"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "demo", "start a demo cluster", id="no_cluster.demo"),
        Binding("s", "start", "start this cluster", id="no_cluster.start"),
        Binding("o", "open", "open a configuration", id="no_cluster.open"),
        Binding("r", "retry", "try again", id="no_cluster.retry"),
        Binding("q", "quit", "quit", id="no_cluster.quit"),
        Binding("escape", "hide", "hide", id="no_cluster.hide"),
    ]

    class Said(Message):
        """A line on a step of what is being started."""

        def __init__(self, line: str) -> None:
            super().__init__()
            self.line = line

    class Ended(Message):
        """What was being started is there: its config; or it is not, and why."""

        def __init__(self, config: ClusterConfig | None, why_not: str = "") -> None:
            super().__init__()
            self.config = config
            self.why_not = why_not

    def __init__(self, quiet_s: float = 0.0) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._shown_why = ""
        self._is_running = False  # though no peer answers
        self._is_busy = False
        self._quiet_s = quiet_s
        self._quiet: Timer | None = None  # while keys are not taken

    @property
    def console(self) -> Console:
        return cast("Console", self.app)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label("", classes="title", id="title", markup=False)
            yield Static("", classes="muted", id="why", markup=False)
            yield Choices(markup=False)
            placeholder = "path of a cluster.toml, or of its folder"
            yield PathInput(self.console.typed, placeholder=placeholder, suffix=".toml")
            yield Static("", classes="muted", id="steps", markup=False)
            yield Static("", id="wrong", markup=False)

    def on_mount(self) -> None:
        if self._quiet_s:
            self._quiet = self.set_timer(self._quiet_s, self._take_keys)
        self._tell()
        self._look_for_processes()
        self.set_interval(_LOOK_SECONDS, self._look)

    def on_key(self, event: events.Key) -> None:
        if self._quiet is not None:
            self._quiet.reset()

    def _take_keys(self) -> None:
        self._quiet = None
        self._choose()

    @work(exclusive=True)
    async def _look_for_processes(self) -> None:
        """A cluster that runs is not offered to be started: something else keeps it from answering."""
        if not self._may_start():
            return
        manage = ClusterManager(self.console.config)
        if await asyncio.to_thread(manage.is_all_running):
            self._is_running = True
            self._tell()

    def _look(self) -> None:
        if self.console.state.answered_at is not None and not self._is_busy:
            self.dismiss()
        elif self._why() != self._shown_why:
            self._tell_why()

    # ---- what it says

    def _tell(self) -> None:
        config = self.console.config
        title = "There is no cluster yet" if config is None else f"No peer of {config.name} has answered"
        self.query_one("#title", Label).update(title)
        self._tell_why()
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(f"{key}  {words}", id=action) for key, words, action in self._choices()])
        options.highlighted = 0
        self._choose()

    def _choose(self) -> None:
        """The choices take the keys, where they may and nothing else has them."""
        options = self.query_one(OptionList)
        options.disabled = self._is_busy or self._quiet is not None
        if not options.disabled and not self.query_one(PathInput).display:
            options.focus()

    def _why(self) -> str:
        config = self.console.config
        if config is None:
            return f"{self.console.why_no_config}\n`pymr init DIR` makes a cluster, --config names one."
        running = ["Its peers run on this machine."] if self._is_running else []
        problem = printable_lines(self.console.state.problem)
        return "\n".join([f"Its configuration is {config.source}.", *running, *problem])

    def _tell_why(self) -> None:
        self._shown_why = self._why()
        self.query_one("#why", Static).update(self._fitted(self._shown_why.split("\n"), 0))

    def _choices(self) -> list[tuple[str, str, str]]:
        choices = [
            ("d", "start a demo cluster on this machine: 3 peers, some jobs", "demo"),
            ("o", "open the configuration of another cluster", "open"),
            ("r", "try again", "retry"),
            ("q", "quit", "quit"),
        ]
        if self.console.config is None:
            return choices
        choices.insert(3, ("esc", "show the screens; it tries on by itself", "hide"))
        if self._may_start():
            choices.insert(0, ("s", "start this cluster: all of its peers are on this machine", "start"))
        return choices

    def _may_start(self) -> bool:
        config = self.console.config
        may_change = self.console.state.may_change
        if config is None or config.source is None or self._is_running or not may_change:
            return False
        return ClusterManager(config).is_all_here

    def _tell_wrong(self, text: str) -> None:
        """In the place of why there is no cluster, and of the steps before."""
        wrong = self.query_one("#wrong", Static)
        wrong.update(self._fitted(printable_lines(text), 5))
        wrong.display = bool(text)
        self.query_one("#why").display = not text and not self._is_busy
        self.query_one("#steps").display = False

    def _fitted(self, lines: list[str], at_end: int) -> str:
        """As much as there is room for. at_end: lines that are kept of the end, where not all can be."""
        wrapped = [piece for line in lines for piece in textwrap.wrap(line, _COLUMNS) or [""]]
        room = max(_LINES_MIN, self.app.size.height * 9 // 10 - _OTHER_LINES)
        if len(wrapped) > room:
            wrapped[room - 1 - at_end : len(wrapped) - at_end] = ["…"]
        return "\n".join(wrapped)

    # ---- what it does

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if self._quiet is not None:
            return False
        if self._is_busy:
            return action not in ("demo", "start", "open", "retry", "hide")
        return action != "start" or self._may_start()

    async def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        if event.option.id:
            await self.run_action(event.option.id)

    def action_demo(self) -> None:
        from tui.model.demo import start_demo

        def start(say: Say) -> ClusterConfig:
            return start_demo(say, self._is_begun)

        if not self._is_busy:
            self.console.is_demo_starting = True
            self._begin(start)

    def _is_begun(self, demo: ClusterConfig) -> None:
        """In the thread: from now on there is something to be stopped, whatever becomes of the rest."""
        self.console.demo = demo

    def action_start(self) -> None:
        config = self.console.config

        def start(say: Say) -> ClusterConfig:
            manage = ClusterManager(config, say)
            manage.start_cluster()
            return manage.config

        if not self._is_busy:
            self._begin(start)

    def action_open(self) -> None:
        self.query_one(PathInput).display = True
        self.query_one(Input).focus()

    def action_retry(self) -> None:
        self._open(None if self.console.config is None else self.console.config.source)

    def action_hide(self) -> None:
        path = self.query_one(PathInput)
        if path.display:
            path.display = False
            self.query_one(OptionList).focus()
        elif not self._is_busy:
            self.dismiss()

    async def action_quit(self) -> None:
        await self.console.action_quit()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if not event.value.strip():
            return
        try:
            path = typed_path(event.value)
        except PymrError as error:
            self._tell_wrong(str(error))
        else:
            self._open(str(path / CONFIG_NAME if os.path.isdir(path) else path))

    def _open(self, path: str | None) -> None:
        """Show the cluster of a configuration; None: of the one that this environment names."""
        try:
            config = choose_config(path)
        except PymrError as error:
            self._tell_wrong(str(error))
            if path is None:
                self.console.why_no_config = f"Looked for {CONFIG_NAME} in {os.getcwd()} again."
            return
        self._tell_wrong("")
        self.dismiss()
        self.console.connect(config)

    def _begin(self, doing: Doing) -> None:
        """Start something in a thread, that tells of its steps. The thread does not hold up quitting."""
        self._is_busy, self._lines = True, []
        self._tell_wrong("")
        self.query_one(OptionList).disabled = True
        self.query_one(PathInput).display = False

        def run() -> None:
            try:
                config = doing(self._say)
            except (PymrError, OSError) as error:
                self.post_message(self.Ended(None, str(error)))
            else:
                self.post_message(self.Ended(config))

        threading.Thread(target=run, name="pymr-tui start", daemon=True).start()

    def _say(self, line: str) -> None:
        self.post_message(self.Said(line))

    def on_no_cluster_said(self, event: Said) -> None:
        self._lines = [*self._lines, *printable_lines(event.line)][-_LINES_MIN:]
        steps = self.query_one("#steps", Static)
        steps.update("\n".join(self._lines))
        steps.display = True

    def on_no_cluster_ended(self, event: Ended) -> None:
        self._is_busy = self.console.is_demo_starting = False
        self._choose()
        if event.config is None:
            self._tell_wrong(event.why_not)
            return
        self.dismiss()
        self.console.connect(event.config)

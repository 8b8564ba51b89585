"""The console: six screens over one feed, and what all of them can do to the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, cast

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, TextArea

from pymr.config.cluster import ClusterConfig
from pymr.wire.rows import JobRow
from tui.console.screen import ConsoleScreen
from tui.model.failures import Failures
from tui.model.feed import Feed
from tui.model.job_text.draft import DraftText
from tui.model.pane.feed import PaneFeed
from tui.model.state import ClusterState
from tui.model.trail import Trail
from tui.parsed_styles import ParsedStyles
from tui.queue_actions import QueueActions
from tui.screens.dialogs.confirm import Confirm
from tui.screens.dialogs.palette import Palette
from tui.settings.options import Options
from tui.settings.settings import Settings
from tui.settings.themes import DARK, LIGHT, THEMES


def _jobs() -> Screen[Any]:
    from tui.screens.jobs import JobsScreen

    return JobsScreen()


def _workers() -> Screen[Any]:
    from tui.screens.workers import WorkersScreen

    return WorkersScreen()


def _attach() -> Screen[Any]:
    from tui.screens.attach import AttachScreen

    return AttachScreen()


def _peers() -> Screen[Any]:
    from tui.screens.peers import PeersScreen

    return PeersScreen()


def _editor() -> Screen[Any]:
    from tui.screens.editor import EditorScreen

    return EditorScreen()


def _events() -> Screen[Any]:
    from tui.screens.events import EventsScreen

    return EventsScreen()


class StateChanged(Message):
    """The feed has another state. Sent once, however often that has happened since it was handled."""


class PanesChanged(Message):
    """The pane feed has read something. Sent once, as StateChanged."""


SILENT_SECONDS = 3.0
"""A cluster of which no peer has answered for this long is offered to be started."""

WRONG_KEYS_SHOWN_MAX = 6
OFFER_QUIET_SECONDS = 0.5
"""An offer that nobody has asked for takes no key before none was pressed for so long: whoever presses keys
at that moment means what was there before."""


class ConsoleApp(QueueActions):
    """options: how it was started. config: of the cluster; None where there is none, then `why_no_config`
    says why. settings: of this operator. after: the console that a fault of its own has ended, where this one
    takes its place.
    """

    TITLE = "pymr"
    CSS_PATH = "styles.tcss"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"
    # Made when they are first shown, so that the first paint waits for the first one only.
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "jobs": _jobs, "workers": _workers, "attach": _attach,
        "peers": _peers, "editor": _editor, "events": _events,
    }  # fmt: skip
    DEFAULT_MODE = "jobs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "show('jobs')", "Jobs", id="app.jobs", show=False),
        Binding("2", "show('workers')", "Workers", id="app.workers", show=False),
        Binding("3", "show('attach')", "Attach", id="app.attach", show=False),
        Binding("4", "show('peers')", "Peers", id="app.peers", show=False),
        Binding("5", "show('editor')", "Editor", id="app.editor", show=False),
        Binding("6", "show('events')", "Events", id="app.events", show=False),
        Binding("ctrl+t", "theme", "light or dark", id="app.theme", show=False),
        Binding("colon,ctrl+p", "command_palette", "palette", id="app.palette", show=False),
        Binding("question_mark,f1", "help", "help", id="app.help"),
        Binding("q", "leave", "quit", id="app.quit"),
    ]

    def __init__(
        self,
        options: Options,
        config: ClusterConfig | None,
        why_no_config: str = "",
        settings: Settings | None = None,
        *,
        after: ConsoleApp | None = None,
    ) -> None:
        super().__init__(options, config)
        self.why_no_config = why_no_config
        self.settings = settings or Settings()
        self.unexpected: Exception | None = None
        self._seen: set[ConsoleScreen] = set()
        self._is_started_again = after is not None
        self.demo = after.demo if after else None
        self.deleted = list(after.deleted) if after else []
        self._leaving: Screen[Any] | None = None  # the question whether to leave
        self._edited_before: DraftText | None = after.edited if after else None
        self._pane_feed: PaneFeed | None = None
        self._opening = asyncio.Lock()
        self._failures = Failures()
        self._trail = Trail()
        self._is_told_of_state = self._is_told_of_panes = False
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = options.theme or self.settings.theme or DARK.name
        self.stylesheet = ParsedStyles(variables=self.get_css_variables())
        self.set_keymap(dict(self.settings.keys))

    # ---- beginning and end

    def on_mount(self) -> None:
        if self.config is not None:
            self.connect(self.config)
        else:
            self.call_after_refresh(self._offer_cluster)
        if self.settings.keys:
            self.begin(self._tell_of_wrong_keys())
        if self._is_started_again:
            edited = self.edited
            kept = " What was written is in 5 Editor." if edited is not None and edited.is_changed else ""
            text = f"The console had a fault and began anew; its log tells of it.{kept}"
            self.notify(text, severity="warning")

    def connect(self, config: ClusterConfig) -> None:
        """Show this cluster from now on."""
        self._close_feeds()
        self.config, self.why_no_config = config, ""
        self.state = ClusterState(is_read_only=self.options.is_read_only)
        self._feed = Feed(self.make_client, self._tell_of_state, self.state)
        self._feed.start()
        self.show_on(self.shown_screen)
        self.set_timer(SILENT_SECONDS, lambda: self._offer_if_silent(config))

    def on_unmount(self) -> None:
        self._close_feeds()

    def _close_feeds(self) -> None:
        for feed in (self._feed, self._pane_feed):
            if feed is not None:
                feed.close()
        self._feed = self._pane_feed = None

    def _offer_cluster(self, quiet_s: float = 0.0) -> None:
        from tui.screens.dialogs.no_cluster import NoCluster

        if not any(isinstance(screen, NoCluster) for screen in self.screen_stack):
            self.push_screen(NoCluster(quiet_s))

    def _offer_if_silent(self, config: ClusterConfig) -> None:
        """Over the Jobs screen alone: elsewhere somebody is busy, and the banner tells of the silence."""
        if self.config is not config or self.state.answered_at is not None:
            return
        is_writing = isinstance(self.focused, (Input, TextArea))
        if self.current_mode == self.DEFAULT_MODE and len(self.screen_stack) == 1 and not is_writing:
            self._offer_cluster(OFFER_QUIET_SECONDS)
        else:
            self.set_timer(SILENT_SECONDS, lambda: self._offer_if_silent(config))

    async def _tell_of_wrong_keys(self) -> None:
        from tui.settings.keys import wrong_keys

        wrong = await asyncio.to_thread(wrong_keys, self.settings.keys)
        if len(wrong) > WRONG_KEYS_SHOWN_MAX:
            wrong[WRONG_KEYS_SHOWN_MAX - 1 :] = [f"and {len(wrong) - WRONG_KEYS_SHOWN_MAX + 1} more"]
        if wrong:
            text = "\n".join([*wrong, f"(in {self.settings.path})"])  # what a small terminal cuts is last
            self.notify(text, title="Settings", severity="warning", timeout=10, markup=False)

    def _handle_exception(self, error: Exception) -> None:
        """A fault of the console's own ends this app, and `tui.cli` starts another: no traceback.

        Textual has no public place for that."""
        self.unexpected = self.unexpected or error
        if self.is_headless:
            super()._handle_exception(error)  # under test it has to be seen
        else:
            self._return_code = 1
            self._close_messages_no_wait()

    # ---- what is shown

    @property
    def config_name(self) -> str:
        """What the cluster is called before it has answered."""
        return self.config.name if self.config is not None else "no cluster"

    @property
    def projects_dir(self) -> Path:
        """Where projects are packed from: as chosen, else `projects` beside the cluster.toml."""
        if self.options.projects_dir:
            return Path(self.options.projects_dir)
        source = self.config.source if self.config is not None else ""
        return Path(source).parent / "projects" if source else Path("projects")

    @property
    def edited(self) -> DraftText | None:
        """The text in the editor, with what it came from; None where there is none."""
        found = (screen.edited for screen in self._seen)
        return next((edited for edited in found if edited is not None), self._edited_before)

    @property
    def shown_screen(self) -> ConsoleScreen:
        """The screen of the present mode, below whatever dialog is over it."""
        return cast(ConsoleScreen, self.screen_stack[0])

    def show_on(self, screen: ConsoleScreen) -> None:
        """Let a screen show the present state, and the feed read what it needs."""
        self._seen.add(screen)
        if self._feed is not None:
            self._feed.want(screen.wants)
        if screen.is_mounted:
            screen.update_bars(self.state)
            screen.show_state(self.state)

    def wants_changed(self) -> None:
        """The shown screen needs something else of the feed, such as the view of another job."""
        if self._feed is not None:
            self._feed.want(self.shown_screen.wants)

    def _tell_of_state(self) -> None:
        if not self._is_told_of_state:
            self._is_told_of_state = True
            self.post_message(StateChanged())

    def _tell_of_panes(self) -> None:
        if not self._is_told_of_panes:
            self._is_told_of_panes = True
            self.post_message(PanesChanged())

    def on_state_changed(self) -> None:
        self._is_told_of_state = False
        if self._feed is None or not self.is_running or not self.screen_stack:  # it is ending
            return
        could_change, self.state = self.state.may_change, self._feed.state
        self.forget_returned()
        if could_change != self.state.may_change:
            self.refresh_bindings()
        for text, is_failure in self._failures.new_in(self.state.events, self.shown_screen.looked_at):
            title, severity = ("Failed", "error") if is_failure else ("Breakpoint", "warning")
            self.notify(text, title=title, severity=severity, timeout=8, markup=False)  # type: ignore[arg-type]
        self.show_on(self.shown_screen)

    def on_panes_changed(self) -> None:
        self._is_told_of_panes = False
        if self.is_running and self.screen_stack and self.shown_screen.is_mounted:
            self.shown_screen.show_panes()

    @property
    def pane_feed(self) -> PaneFeed:
        """What workers put out, for the panes that are visible. Its thread starts when it is first needed."""
        if self._pane_feed is None:
            self._pane_feed = PaneFeed(self.make_client, self._tell_of_panes)
        return self._pane_feed

    # ---- going somewhere

    async def action_show(self, mode: str) -> None:
        self._trail.go(self.current_mode, mode)
        await self.switch_mode(mode)

    async def action_back(self) -> None:
        """Out of what is open on the shown screen; else to the screen one came from."""
        if not self.shown_screen.leave_part():
            await self.go_back()

    async def go_back(self) -> None:
        """To the screen one came from, as it was left; to Jobs where one came from nowhere."""
        async with self._opening:  # what is being opened is left only once it is there
            mode = self._trail.back() or "jobs"
            if mode != self.current_mode:
                await self.switch_mode(mode)

    def open_job(self, job_name: str) -> None:
        """Show a job among the others."""
        from tui.screens.jobs import JobsScreen

        self._open("jobs", lambda screen: cast(JobsScreen, screen).select_job(job_name))

    def open_pane(self, worker: str, run_id: str = "", offset: int | None = None) -> None:
        """Show what a worker put out in a run, "" for its newest; at an offset, else at its end."""
        from tui.screens.attach import AttachScreen

        self._open("attach", lambda screen: cast(AttachScreen, screen).open(worker, run_id, offset))

    def open_workers(self, job_name: str = "", peer: str = "") -> None:
        """Show the panes of all workers, or of those of a job or a peer."""
        from tui.screens.workers import WorkersScreen

        self._open("workers", lambda screen: cast(WorkersScreen, screen).choose(job_name, peer))

    def open_peer(self, name: str) -> None:
        """Show a peer among the others."""
        from tui.screens.peers import PeersScreen

        self._open("peers", lambda screen: cast(PeersScreen, screen).select_peer(name))

    def edit_job(self, row: JobRow | None, job_type: str = "") -> None:
        """Show a job in the editor, or a new one of a type; with neither, ask for the type, and go back where
        none is chosen."""
        from tui.screens.editor import EditorScreen

        is_there = self.current_mode == "editor"

        def show(screen: Screen[Any]) -> None:
            cast(EditorScreen, screen).open(row, job_type, came_to_choose=not is_there)

        self._open("editor", show)

    def _open(self, mode: str, then: Callable[[Screen[Any]], object]) -> None:
        async def show() -> None:
            async with self._opening:  # the last that was asked for is what is shown
                while len(self.screen_stack) > 1:  # dialogs, whose answer is this
                    await self.pop_screen()
                await self.action_show(mode)
                screen = self.shown_screen
                if screen.is_mounted:
                    then(screen)
                else:  # it is being made, as its key was pressed
                    screen.call_later(lambda: then(screen) if self.screen_stack else None)

        self.begin(show())

    # ---- itself

    async def action_leave(self) -> None:
        """By a letter, which a screen may want for something else; ctrl+q quits everywhere."""
        await self.action_quit()

    async def action_quit(self) -> None:
        if self._leaving in self.screen_stack:  # ctrl+q comes here through every dialog
            return
        if self.is_demo_starting:
            self.notify("The demo is being started: once it is there, q asks whether it is to stop.")
        elif self.edited is not None and self.edited.is_changed:
            question = Confirm("Leave with unsaved text in the editor?", "It is lost then.", "leave")
            self._leaving = question
            self.push_screen(question, lambda is_wanted: self._leave() if is_wanted else None)
        else:
            self._leave()

    def _leave(self) -> None:
        if self.demo is None:
            self.exit()
        else:
            from tui.screens.dialogs.leave_demo import LeaveDemo

            self._leaving = LeaveDemo(self.demo)
            self.push_screen(self._leaving)

    def action_theme(self) -> None:
        self.theme = LIGHT.name if self.current_theme.dark else DARK.name

    def action_help(self) -> None:
        from tui.screens.dialogs.help import Help

        self.push_screen(Help())

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every key that does something here, by name."""
        from tui.screens.dialogs.help import commands_of

        yield from commands_of(self, screen)

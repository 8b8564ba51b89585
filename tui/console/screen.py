"""What all six screens have in common: the bar on top, the banner, the keys below; each has its own body."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.containers import Container
from textual.screen import Screen

from pymr.wire.rows import JobRow
from tui.model.feed import Wants
from tui.model.job_text.draft import DraftText
from tui.model.state import ClusterState
from tui.widgets.banner import Banner
from tui.widgets.key_bar import KeyBar
from tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from tui.console.console import Console


class ConsoleScreen(Screen[None]):
    """A screen that shows the cluster. WANTS: what the feed has to read while it is shown."""

    WANTS: ClassVar[frozenset[str]] = frozenset()
    shows_panes: ClassVar[bool] = False
    """Whether it says itself what the pane feed reads, while it is shown."""
    CHANGES: ClassVar[frozenset[str]] = frozenset()
    """Those of its actions that change the cluster: they are refused, and the reason is told, where the
    operator may only look."""
    takes_keys: bool = False
    """Whether every key is its own now, those of the console too."""

    def compose(self) -> ComposeResult:
        yield TopBar(self.console.config_name)
        yield Banner()
        with Container(classes="body"):
            yield from self.compose_body()
        yield KeyBar(self.acts_on)

    def compose_body(self) -> ComposeResult:
        """The widgets of this screen."""
        raise NotImplementedError

    def show_state(self, state: ClusterState) -> None:
        """Show what is known now: called whenever that has changed, and when the screen is shown again."""

    def show_panes(self) -> None:
        """The pane feed has read something."""

    def leave_part(self) -> bool:
        """Leave what is open on the screen, such as a search, or show again what was narrowed. False where
        there is nothing of that: then Escape leaves the screen."""
        return False

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.console.state.may_change or action not in self.CHANGES

    def lets(self, action: str) -> bool:
        """Whether the console may do an action of its own now, such as `help`."""
        return not self.takes_keys

    def acts_on(self, key: str, action: str) -> bool:
        """Whether a key, by its name, may do its action now, "" for none; else nothing comes of it."""
        return True

    def selected_job(self) -> JobRow | None:
        """The job that keys such as `d` are about; None where there is none."""
        return None

    @property
    def looked_at(self) -> tuple[str, str]:
        """(worker, run) of the pane that is shown whole; "" for none."""
        return "", ""

    @property
    def edited(self) -> DraftText | None:
        """What is being written on it, and would be lost if the console ended; None for nothing."""
        return None

    def left_job(self) -> str:
        """The name of the job that is selected, where it is one that has left the queue."""
        return ""

    @property
    def wanted_job(self) -> str:
        """The job whose view the feed has to read; "" for none."""
        return ""

    @property
    def wants(self) -> Wants:
        return Wants("jobs" in self.WANTS, "workers" in self.WANTS, self.wanted_job)

    @property
    def console(self) -> Console:
        return cast("Console", self.app)

    def on_screen_resume(self) -> None:
        self.console.show_on(self)

    def update_bars(self, state: ClusterState) -> None:
        """Show the state in what all screens have."""
        for child in self.children:
            if isinstance(child, TopBar | Banner | KeyBar):
                child.show_state(state)

"""All that screens and dialogs may ask of the application, which alone knows every screen."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pymr.config.cluster import ClusterConfig
from pymr.wire.rows import JobRow
from tui.console.asking import AskingApp
from tui.model.job_text.draft import DraftText
from tui.model.pane.feed import PaneFeed
from tui.settings.options import Options
from tui.settings.settings import Settings

if TYPE_CHECKING:
    from tui.console.screen import ConsoleScreen


@dataclass(frozen=True, slots=True)
class Deleted:
    """A job that was deleted here. at: when, by time.monotonic()."""

    name: str
    version: int
    at: float


class Console(AskingApp):
    """The application as its screens see it.

    why_no_config: "" where there is a cluster. demo: the demo cluster that this console has started, or began
    to start. typed: what was left standing in dialogs, by which and what for. deleted: jobs, the latest last.
    """

    def __init__(self, options: Options, config: ClusterConfig | None) -> None:
        super().__init__(options, config)
        self.settings = Settings()
        self.why_no_config = ""
        self.demo: ClusterConfig | None = None
        self.is_demo_starting = False
        self.typed: dict[str, str] = {}
        self.deleted: list[Deleted] = []

    @property
    @abstractmethod
    def shown_screen(self) -> ConsoleScreen:
        """The screen of the present mode, below whatever dialog is over it."""

    @property
    @abstractmethod
    def config_name(self) -> str:
        """What the cluster is called before it has answered."""

    @property
    @abstractmethod
    def projects_dir(self) -> Path:
        """Where projects are packed from: as chosen, else `projects` beside the cluster.toml."""

    @property
    @abstractmethod
    def edited(self) -> DraftText | None:
        """The text in the editor, with what it came from; None where there is none."""

    @property
    @abstractmethod
    def pane_feed(self) -> PaneFeed:
        """What workers put out, for the panes that are visible."""

    @abstractmethod
    def connect(self, config: ClusterConfig) -> None:
        """Show this cluster from now on."""

    @abstractmethod
    def show_on(self, screen: ConsoleScreen) -> None:
        """Let a screen show the present state, and the feed read what it needs."""

    @abstractmethod
    def wants_changed(self) -> None:
        """The shown screen needs something else of the feed, such as the view of another job."""

    @abstractmethod
    async def go_back(self) -> None:
        """To the screen one came from."""

    @abstractmethod
    def open_job(self, job_name: str) -> None:
        """Show a job among the others."""

    @abstractmethod
    def open_pane(self, worker: str, run_id: str = "", offset: int | None = None) -> None:
        """Show what a worker put out in a run, "" for its newest; at an offset, else at its end."""

    @abstractmethod
    def open_workers(self, job_name: str = "", peer: str = "") -> None:
        """Show the panes of all workers, or of those of a job or a peer."""

    @abstractmethod
    def open_peer(self, name: str) -> None:
        """Show a peer among the others."""

    @abstractmethod
    def edit_job(self, row: JobRow | None, job_type: str = "") -> None:
        """Show a job in the editor, or a new one of a type; with neither, ask for the type."""

"""A console that is told of states; what it asks of the queue is noted and answered without a cluster."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast

from job_samples import state
from textual.pilot import Pilot
from waiting import until

import tui.app
from pymr.client import Client, PaneBytes
from pymr.wire.requests import ClusterView, JobsView, JobView, Submitted
from pymr.wire.rows import JobRow, RunRow
from tui.app import ConsoleApp
from tui.console.asking import ASK_SECONDS
from tui.settings.options import Options

CLUSTER = ClusterView(
    id="c", name="harbour", peer="alpha", incarnation="i", leader="alpha", epoch=12, paused=False,
    peers_alive=3, peers=3, workers=6, workers_busy=2, jobs=1, version="1", role="operator",
)  # fmt: skip


class ToldQueue:
    """Notes what it is asked for. rows: of the queue. views: by job. errors: by question. is_open: cleared,
    no question is answered."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.rows: tuple[JobRow, ...] = ()
        self.views: dict[str, JobView] = {}
        self.errors: dict[str, Exception] = {}
        self.is_open = threading.Event()
        self.is_open.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _ask(self, question: str) -> str:
        self.asked.append(question)
        self.is_open.wait(30.0)
        if question in self.errors:
            raise self.errors[question]
        return "queued"

    def retry(self, name: str) -> str:
        return self._ask(f"retry {name}")

    def force(self, name: str) -> str:
        return self._ask(f"force {name}")

    def delete(self, name: str) -> str:
        return self._ask(f"delete {name}")

    def undelete(self, name: str) -> Submitted:
        self._ask(f"undelete {name}")
        return Submitted(id="s", job_name=name, version=9, replaced=False)

    def pause(self) -> str:
        return self._ask("pause")

    def resume(self) -> str:
        return self._ask("resume")

    def job(self, name: str) -> JobView:
        self._ask(f"job {name}")
        return self.views.get(name, JobView(id="v", row=None))

    def submit(self, fields: dict[str, Any], projects_dir: Path, over_version: int) -> Submitted:
        name = fields["job_name"]
        self._ask(f"submit {name} over {over_version}")
        return Submitted(id="s", job_name=name, version=9, replaced=bool(over_version))

    def jobs(self) -> JobsView:
        return JobsView(id="j", rows=self.rows, total=len(self.rows))

    def attach(self, worker: str, holder: str, columns: int, rows: int) -> str:
        return self._ask(f"attach {worker}")

    def read_pane(self, worker: str, run_id: str, offset: int, bytes_max: int) -> PaneBytes:
        return PaneBytes(run_id, 0, b"", 0)

    def jobs_page(self, start: int) -> JobsView:
        return JobsView(id="j", rows=(), total=0)


class AskedConsole(ConsoleApp):
    CSS_PATH = Path(tui.app.__file__).with_name("styles.tcss")

    def __init__(self, **options: Any) -> None:
        super().__init__(Options(**options), None)
        self.queue = ToldQueue()
        self.toasts: list[str] = []

    def _offer_cluster(self, quiet_s: float = 0.0) -> None:
        pass

    def make_client(self, timeout_s: float = ASK_SECONDS) -> Client:
        return cast(Client, self.queue)

    def notify(self, message: str, **info: Any) -> None:
        self.toasts.append(f"{info.get('title', '')} {message}".strip())
        super().notify(message, **info)

    def tell(self, rows: Sequence[JobRow] = (), runs: Sequence[RunRow] = (), **info: Any) -> None:
        """facts: of the cluster."""
        cluster = ClusterView(**{name: getattr(CLUSTER, name) for name in CLUSTER.__struct_fields__} | info)
        told = replace(state(rows), cluster=cluster, runs=tuple(runs))
        self.queue.rows = tuple(rows)
        self.state = replace(told, is_read_only=self.options.is_read_only)
        self.show_on(self.shown_screen)


@asynccontextmanager
async def asked_console(
    rows: Sequence[JobRow] = (), size: tuple[int, int] = (80, 24), **options: Any
) -> AsyncIterator[tuple[AskedConsole, Pilot[None]]]:
    app = AskedConsole(**options)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.screen_stack and app.shown_screen.is_mounted, "the jobs screen")
        app.tell(rows)
        await pilot.pause()
        try:
            yield app, pilot
        finally:
            app.queue.is_open.set()

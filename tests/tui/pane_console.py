"""A console over panes in memory: no cluster, no daemon; what is told of workers and runs is set."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, cast

from textual.pilot import Pilot
from waiting import until

import tui.app
from pymr.client import Client, PaneBytes, RefusedError
from pymr.client.panes import RunPanes
from pymr.config.cluster import ClusterConfig
from pymr.wire.rows import RunRow, WorkerRow
from tui.app import ConsoleApp
from tui.console.asking import ASK_SECONDS
from tui.model.state import ClusterState
from tui.screens.attach import AttachScreen
from tui.settings.options import Options


class PaneClient:
    """panes: what each worker put out in each run, of which `lost` is the part that is not kept.

    histories: how often the history was asked for. is_open: cleared, that is not answered."""

    def __init__(self, panes: dict[tuple[str, str], bytes]) -> None:
        self.panes = panes
        self.runs: tuple[RunRow, ...] = ()
        self.reads = self.histories = 0
        self.is_open = threading.Event()
        self.is_open.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read_pane(self, worker: str, run_id: str, offset: int, bytes_max: int = 1 << 18) -> PaneBytes:
        self.reads += 1
        if not run_id:
            run_id = next((run for one, run in reversed(self.panes) if one == worker), "")
            if not run_id:
                return PaneBytes("", 0, b"", 0)
        if (worker, run_id) not in self.panes:
            raise RefusedError("missing", f"the output of {worker} cannot be had")
        pane = self.panes[worker, run_id]
        at = max(0, len(pane) + offset) if offset < 0 else min(offset, len(pane))
        return PaneBytes(run_id, at, pane[at : at + bytes_max], len(pane))

    def history(self, job_name: str = "", limit: int = 100) -> tuple[RunRow, ...]:
        self.histories += 1
        self.is_open.wait(30.0)
        return tuple(run for run in self.runs if job_name in ("", run.job_name))[:limit]

    def panes_of(self, run_id: str) -> list[str]:
        return list(self.panes_in(run_id).sizes)

    def panes_in(self, run_id: str) -> RunPanes:
        sizes: Mapping[str, int] = {
            worker: len(pane) for (worker, run), pane in self.panes.items() if run == run_id
        }
        return RunPanes(sizes, bool(sizes))


class PaneConsole(ConsoleApp):
    CSS_PATH = Path(tui.app.__file__).with_name("styles.tcss")

    def __init__(self, panes: dict[tuple[str, str], bytes]) -> None:
        super().__init__(Options(), None)
        self.client = PaneClient(panes)
        self.toasts: list[str] = []

    def _offer_cluster(self, quiet_s: float = 0.0) -> None:
        pass

    def make_client(self, timeout_s: float = ASK_SECONDS) -> Client:
        return cast(Client, self.client)

    def notify(self, message: str, **info: Any) -> None:
        self.toasts.append(message)
        super().notify(message, **info)

    @property
    def attach(self) -> AttachScreen:
        assert isinstance(self.shown_screen, AttachScreen)
        return self.shown_screen

    def tell(self, *workers: WorkerRow, runs: Sequence[RunRow] = ()) -> None:
        self.state = ClusterState(workers=workers, runs=tuple(runs), answered_at=1e9)
        self.show_on(self.shown_screen)


@asynccontextmanager
async def pane_console(
    panes: dict[tuple[str, str], bytes],
    worker: str,
    run_id: str = "",
    *,
    offset: int | None = None,
    size: tuple[int, int] = (100, 24),
    workers: Sequence[WorkerRow] = (),
    runs: Sequence[RunRow] = (),
) -> AsyncIterator[tuple[PaneConsole, Pilot[None]]]:
    """The Attach screen with a pane."""
    app = PaneConsole(panes)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.screen_stack and app.shown_screen.is_mounted, "the first screen")
        app.config = ClusterConfig()
        app.client.runs = tuple(runs)
        app.tell(*workers)
        app.open_pane(worker, run_id, offset)
        await until(pilot, lambda: app.current_mode == "attach" and app.attach.worker, "the attach screen")
        if (worker, run_id) in panes or not run_id:
            await until(pilot, lambda: app.attach.view.buffer.end, "output")
        yield app, pilot

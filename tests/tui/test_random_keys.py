"""Keys pressed at random on every screen, while jobs and workers come and go: some key always works."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from asked_console import AskedConsole, ToldQueue, asked_console
from job_samples import TRACEBACK, job, run, view
from still_cluster import JOBS, RUN, WORKERS, pane_news, still_state
from textual import events
from textual.pilot import Pilot
from waiting import until

from pymr.client import Client, PaneBytes
from pymr.client.errors import UnreachableError
from pymr.config.cluster import ClusterConfig
from pymr.wire.rows import JobRow
from tui.console import key_order
from tui.console.asking import ASK_SECONDS
from tui.model.state import ClusterState
from tui.screens.attach import AttachScreen

SEEDS = int(os.environ.get("RANDOM_KEYS_SEEDS", "3"))
"""`make keys` presses 10,000 keys; here a slice."""

KEYS_PER_SEED = 1_000 if SEEDS >= 10 else 150
KEYS_PER_ROUND = 50
"""After so many it is checked that one can get out of wherever they led, and to every screen."""

KEY_SECONDS = 20.0
SIZES = ((80, 24), (120, 36), (40, 12))
MODES = ("jobs", "workers", "attach", "peers", "editor", "events")
ESCAPES_MAX = 12
"""So many lead out of whatever is open, and back over all screens."""

LET_GO = "ctrl+right_square_bracket"
"""Gives a worker's keyboard back."""

KEYS = [
    *"123456", *"123456", *"abcdefghijklmnoprstuvwxyzNSOGJK/:?[]- 0789",
    *("up", "down", "left", "right", "home", "end", "pageup", "pagedown") * 2,
    *("enter", "escape", "tab") * 3, "shift+tab", "backspace", "delete", "space",
    "ctrl+space", "ctrl+p", "ctrl+a", "ctrl+d", "ctrl+s", "ctrl+r", "ctrl+n", "ctrl+o", "ctrl+f", "f1",
    "f3", "f5", LET_GO,
]  # fmt: skip
"""All but those that end the console, and one that writes a file wherever random text says."""

AT_A_BREAKPOINT = next(row.name for row in WORKERS if row.state == "breakpoint")

STATUSES = ("queued", "running", "succeeded", "failed", "skipped")


class ChangingQueue(ToldQueue):
    """Answers as ToldQueue does; workers have output and take what is typed. All else is out of reach."""

    def __init__(self) -> None:
        super().__init__()
        self.typed = b""

    def read_pane(self, worker: str, run_id: str, offset: int, bytes_max: int = 1 << 18) -> PaneBytes:
        piece = pane_news(worker).piece
        assert piece is not None
        at = max(0, len(piece.data) + offset) if offset < 0 else min(offset, len(piece.data))
        return PaneBytes(run_id or RUN, at, piece.data[at : at + bytes_max], len(piece.data))

    def attach(self, *_: object) -> str:
        return "pdb"

    def type_into(self, worker: str, holder: str, data: bytes) -> None:
        self.typed += data

    def detach(self, *_: object) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def out_of_reach(*_: object, **__: object) -> Any:
            raise UnreachableError("no peer answers")

        return out_of_reach


def changed_state(choices: random.Random, before: ClusterState) -> ClusterState:
    """The cluster a moment later: other jobs, other workers, peers that may be gone."""
    running = tuple(row for row in JOBS if row.status == "running" and choices.random() < 0.8)
    others = tuple(changed_job(choices, f"job-{number}") for number in range(12) if choices.random() < 0.6)
    rows = running + others
    workers = tuple(worker for worker in WORKERS if choices.random() < 0.8)
    whole = still_state()[0]
    return replace(
        before,
        jobs=replace_rows(before, rows),
        job_views={str(row.fields["job_name"]): view(row) for row in rows},
        runs=tuple(run(number) for number in range(choices.randrange(4))),
        workers=workers if choices.random() < 0.9 else (),
        peers=tuple(peer for peer in whole.peers if choices.random() < 0.8),
        events=whole.events[: choices.randrange(len(whole.events) + 1)],
        answered_at=time.monotonic(),
    )


def changed_job(choices: random.Random, name: str) -> JobRow:
    status = choices.choice(STATUSES)
    info = {"run_id": f"{name}-000001"} if status != "queued" else {}
    exception = TRACEBACK if status == "failed" else None
    return job(name, status, choices.choice((None, None, "group")), exception=exception, **info)


def replace_rows(before: ClusterState, rows: tuple[JobRow, ...]) -> Any:
    assert before.jobs is not None
    return type(before.jobs)(id="j", rows=rows, total=len(rows))


async def press(app: AskedConsole, key: str) -> None:
    """Press a key, and let it do all that it does. It comes up to the app again, or some widget lost it."""
    app.post_message(events.Key(key, key if len(key) == 1 else None))
    deadline = time.monotonic() + KEY_SECONDS
    turn = app._turn
    while app._turn == turn or app._held or app._done_turn != app._turn:
        assert time.monotonic() < deadline, f"{key!r} was lost on {app.current_mode}: focus on {app.focused}"
        await asyncio.sleep(0)


async def attach(app: AskedConsole, pilot: Pilot[None], queue: ChangingQueue, *, types: bool) -> None:
    """Open the pane of a worker that waits for an answer; types: and begin with one."""
    app.state = replace(app.state, workers=WORKERS)
    app.open_pane(AT_A_BREAKPOINT)
    await until(pilot, lambda: isinstance(app.screen, AttachScreen), "the screen of a pane")
    screen = app.screen
    assert isinstance(screen, AttachScreen)
    screen.show_state(app.state)
    await until(
        pilot, lambda: screen.is_answerable and screen.view.buffer.end > 0, "the prompt of a debugger"
    )


async def go_to(app: AskedConsole, pilot: Pilot[None], mode: str) -> None:
    """Show a screen, wherever one is: out of a debugger and a search, and past the screen of a breakpoint,
    on which no digit does anything."""
    await press(app, LET_GO)
    for _ in range(ESCAPES_MAX):
        for key in ("escape", str(MODES.index(mode) + 1)):
            await press(app, key)
            await pilot.pause()
        if app.current_mode == mode:
            return
    raise AssertionError(f"no way to {mode} from {app.screen}")


async def get_out(app: AskedConsole, pilot: Pilot[None]) -> None:
    await press(app, LET_GO)
    for _ in range(ESCAPES_MAX):
        if len(app.screen_stack) == 1:
            break
        await press(app, "escape")
        await pilot.pause()
    assert len(app.screen_stack) == 1, f"no way out of {app.screen}"


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_some_key_always_works(seed: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(key_order, "_LOST_SECONDS", 10 * KEY_SECONDS)
    monkeypatch.chdir(tmp_path)  # where panes are saved
    choices = random.Random(seed)
    async with asked_console((), SIZES[seed % len(SIZES)]) as (app, pilot):
        queue = ChangingQueue()
        app.queue = queue
        app.make_client = lambda timeout_s=ASK_SECONDS: cast(Client, queue)  # type: ignore[method-assign]
        app.config = ClusterConfig()
        for round_number in range(KEYS_PER_SEED // KEYS_PER_ROUND):
            await attach(app, pilot, queue, types=bool(round_number % 2))
            for number in range(KEYS_PER_ROUND):
                if number % 10 == 0:
                    app.state = changed_state(choices, app.state)
                    app.show_on(app.shown_screen)
                await press(app, choices.choice(KEYS))
            await get_out(app, pilot)
            for mode in MODES:
                await go_to(app, pilot, mode)

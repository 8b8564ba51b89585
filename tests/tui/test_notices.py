"""What the console tells in passing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asked_console import AskedConsole
from job_samples import job
from textual.app import App
from textual.pilot import Pilot
from waiting import screen_text, until, until_shown

from tui.app import ROOMY_COLUMNS, ROOMY_LINES, ConsoleApp


def test_a_notice_controls_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(App, "notify", lambda _, text, *, title, **__: told.append((text, title)))
    monkeypatch.setattr(ConsoleApp, "_is_small", False)
    app: Any = ConsoleApp.__new__(ConsoleApp)
    app.notify("failed: \x1b[2J\u202efirst\nsecond", title="of \x9b1m", markup=False)

    assert told == [("failed: \\x1b[2J\\u202efirst\nsecond", "of \\u009b1m")]


@asynccontextmanager
async def noticing(size: tuple[int, int]) -> AsyncIterator[tuple[AskedConsole, Pilot[None]]]:
    """A console whose notices are shown, which those under test do not by themselves."""
    app = AskedConsole()
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: app.screen_stack and app.shown_screen.is_mounted, "the jobs screen")
        app.tell((job("count", "failed"),))
        await until_shown(pilot, "count")
        yield app, pilot


@pytest.mark.parametrize("size", [(ROOMY_COLUMNS - 1, 60), (200, ROOMY_LINES - 1), (80, 24)])
async def test_in_a_small_terminal_a_notice_is_one_line_above_the_keys(size: tuple[int, int]) -> None:
    async with noticing(size) as (app, pilot):
        before = screen_text(pilot).split("\n")
        app.notify("first", title="Failed", severity="error", markup=False)
        app.notify("[b]second\nline" + " and more" * 40, title="Failed", severity="error", markup=False)
        await until_shown(pilot, "Failed: [b]second line and more")
        shown = screen_text(pilot).split("\n")
        (toast,) = (line for line in range(size[1]) if shown[line] != before[line])

        assert toast == size[1] - 2
        assert shown[toast].rstrip().endswith("…")
        assert "first" not in shown[toast]


async def test_where_there_is_room_notices_stand_with_their_titles() -> None:
    async with noticing((ROOMY_COLUMNS, ROOMY_LINES)) as (app, pilot):
        app.notify("so odd", title="Failed", severity="error", markup=False)
        await until(pilot, lambda: "so odd" in screen_text(pilot), "the notice")
        lines = screen_text(pilot).split("\n")
        title = next(number for number, line in enumerate(lines) if line.endswith("Failed"))

        assert "so odd" in lines[title + 1]

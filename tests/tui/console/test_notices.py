"""What the console tells in passing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asked_console import AskedConsole
from job_samples import job
from still_cluster import WORKERS
from textual.pilot import Pilot
from waiting import screen_text, until, until_shown

from pymr.client import PaneBytes
from tui.console.notices import LINES_MAX, NOTICES_MAX, ROOMY_COLUMNS, ROOMY_LINES
from tui.screens.attach import AttachScreen


@asynccontextmanager
async def noticing(
    size: tuple[int, int] = (80, 24), **options: Any
) -> AsyncIterator[tuple[AskedConsole, Pilot[None]]]:
    """A console whose notices are shown, which those under test do not by themselves."""
    app = AskedConsole(**options)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: app.screen_stack and app.shown_screen.is_mounted, "the jobs screen")
        app.tell((job("count", "failed"),))
        await until_shown(pilot, "count")
        yield app, pilot


def lines(pilot: Pilot[None]) -> list[str]:
    return screen_text(pilot).split("\n")


@pytest.mark.parametrize("size", [(ROOMY_COLUMNS - 1, 60), (200, ROOMY_LINES - 1), (80, 24)])
async def test_in_a_small_terminal_a_notice_stands_in_the_place_of_the_keys(size: tuple[int, int]) -> None:
    async with noticing(size) as (app, pilot):
        before = lines(pilot)
        app.notify("[b]bold\nline" + " and more" * 40, title="Failed", severity="error", markup=False)
        await until_shown(pilot, "Failed: [b]bold line and more")
        shown = lines(pilot)

        assert shown[:-1] == before[:-1]
        assert shown[-1].rstrip().endswith("…")


async def test_notices_of_a_small_terminal_are_all_to_be_read_the_latest_first() -> None:
    async with noticing() as (app, pilot):
        keys = lines(pilot)[-1]
        app.notify("the first", timeout=60)
        app.notify("the second", title="Failed", severity="error", timeout=60)
        await until_shown(pilot, "(+1) Failed: the second")
        app._end_notice()
        await until(pilot, lambda: lines(pilot)[-1].strip().endswith("the first"), "the first")
        told = lines(pilot)[-1]
        app._end_notice()
        await until(pilot, lambda: lines(pilot)[-1] == keys, "the keys again")
        app.notify("the third", timeout=0.1)
        await until(
            pilot, lambda: not app._waiting and lines(pilot)[-1] == keys, "the time of a notice to pass"
        )

    assert "(+" not in told


async def test_a_notice_that_comes_as_another_ends_is_not_lost() -> None:
    async with noticing() as (app, pilot):
        app.notify("the first", timeout=60)
        await until_shown(pilot, "the first")
        app.notify("the second", timeout=60)
        app._end_notice()
        await until_shown(pilot, "the second")

        assert [one.text for one in app._waiting] == ["the second"]


async def test_of_many_notices_the_latest_wait_each_text_once() -> None:
    async with noticing() as (app, pilot):
        for number in (*range(2 * NOTICES_MAX), *[0] * NOTICES_MAX):
            app.notify(f"notice {number}.", timeout=60)
        await until_shown(pilot, f"(+{NOTICES_MAX - 1}) notice 0.")


async def on_attach(app: AskedConsole, pilot: Pilot[None]) -> str:
    worker = next(row for row in WORKERS if row.state == "breakpoint")
    app.state = replace(app.state, workers=WORKERS)
    app.open_pane(worker.name)
    await until(pilot, lambda: isinstance(app.screen, AttachScreen) and app.screen.worker, "the worker")
    assert isinstance(app.screen, AttachScreen)
    data = b"a line\n" * 40 + b"(Pdb) p var"
    app.screen.view.add_all([PaneBytes("r", 0, data, len(data))])
    app.screen.show_state(app.state)
    return "(Pdb) p var"


async def in_a_search(app: AskedConsole, pilot: Pilot[None]) -> str:
    await on_attach(app, pilot)
    await pilot.press("ctrl+f", *"sought")
    return "/ sought"


async def in_the_events_filter(app: AskedConsole, pilot: Pilot[None]) -> str:
    await pilot.press("6", "slash", *"sought")
    return "/ sought"


@pytest.mark.parametrize("go", [on_attach, in_a_search, in_the_events_filter])
async def test_a_notice_covers_nothing_that_is_typed(
    go: Callable[[AskedConsole, Pilot[None]], Awaitable[str]],
) -> None:
    async with noticing() as (app, pilot):
        typed = await go(app, pilot)
        await until_shown(pilot, typed)
        app.notify("so odd", title="Failed", severity="error", timeout=60)
        await until_shown(pilot, "Failed: so odd")

        assert any(typed in line for line in lines(pilot)[:-1])


async def test_a_notice_that_is_cut_is_whole_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    log = tmp_path / "pymr" / "console.log"
    async with noticing() as (app, pilot):
        app.notify("short", timeout=60)
        app.notify("long " * 30 + "way out", title="Failed", severity="error", timeout=60)
        await until(pilot, lambda: log.exists() and "way out" in log.read_text(), "the log")

    assert len(log.read_text().splitlines()) == 1
    assert "Failed: long long" in log.read_text()


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_why_a_key_is_refused_is_read_whole_at_80_columns(role: str) -> None:
    async with noticing(is_read_only=role == "operator") as (app, pilot):
        app.tell((job("nightly_wordcount", "failed"),), role=role)
        app.begin(app.try_to("let nightly_wordcount run again", lambda client: client))
        await until_shown(pilot, "Cannot let nightly_wordcount run again: ")
        told = lines(pilot)[-1]

    assert told.strip().endswith(app.state.why_read_only)


@pytest.mark.parametrize("size", [(ROOMY_COLUMNS, ROOMY_LINES), (200, 50)])
async def test_where_there_is_room_a_notice_covers_the_keys_alone_too(size: tuple[int, int]) -> None:
    async with noticing(size) as (app, pilot):
        before = lines(pilot)
        app.notify("so odd,\nbut true", title="Failed", severity="error", markup=False)
        await until_shown(pilot, "Failed: so odd, but true")

        assert lines(pilot)[:-1] == before[:-1]


async def test_a_word_that_is_too_long_for_the_line_is_cut_in_it() -> None:
    async with noticing() as (app, pilot):
        app.notify(f"353 B saved to /{'x' * 70}", timeout=60)
        await until_shown(pilot, "353 B saved to /xxx")

        assert lines(pilot)[-1].strip().endswith("xxx…")


async def test_where_there_is_room_a_long_notice_has_a_few_lines() -> None:
    async with noticing((ROOMY_COLUMNS, ROOMY_LINES)) as (app, pilot):
        before = lines(pilot)
        told = [f"- {name}: no route to its host, or none back" for name in ("one", "two", "three")]
        app.notify("\n".join(["No peer answers:", *told]), severity="error", markup=False)
        await until_shown(pilot, "- one: no route")
        shown = [line.strip() for line in lines(pilot)]

        assert shown[:-LINES_MAX] == [line.strip() for line in before[:-LINES_MAX]]
        assert shown[-3].endswith("No peer answers:")
        assert f"{told[1]} - three: no route" in shown[-1] and shown[-1].endswith("…")


async def test_a_notice_controls_no_terminal() -> None:
    async with noticing() as (app, pilot):
        app.notify("failed: \x1b[2J\u202efirst\nsecond", title="of \x9b1m", markup=False)

        await until_shown(pilot, "of \\u009b1m: failed: \\x1b[2J\\u202efirst second")

"""Keys that come in one burst, as over a slow line: each means what it does after those before it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

import pytest
from asked_console import AskedConsole, asked_console
from job_samples import job
from still_cluster import WORKERS
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input, Static
from waiting import until, until_shown

from tui.console import key_order
from tui.screens.dialogs.confirm import Confirm
from tui.widgets.pane.tile import PaneTile

ROWS = (job("import", "failed"), job("mails"), job("fetch"))


def press_at_once(app: AskedConsole, keys: str) -> None:
    names = {"/": "slash", "\r": "enter"}
    for key in keys:
        app.post_message(events.Key(names.get(key, key), key))


class Gone(Static, can_focus=True):
    """Keeps what follows a key to itself, as what is removed does."""

    def on_worked_off(self, message: key_order.WorkedOff) -> None:
        message.stop()
        self.screen.focus_next()


async def until_typed(pilot: Pilot[None], text: str) -> None:
    focused = pilot.app.focused
    await until(
        pilot,
        lambda: isinstance(focused := pilot.app.focused, Input) and focused.value == text,
        f"{text!r} in an input, not in {focused}",
    )


@pytest.mark.parametrize("screens", ["", "6", "2", "61", "1234561"])
async def test_what_is_typed_right_behind_the_slash_is_the_filter(screens: str) -> None:
    async with asked_console(ROWS) as (app, pilot):
        press_at_once(app, f"{screens}/fads")

        await until_typed(pilot, "fads")
        assert app.queue.asked == []


@pytest.mark.parametrize("turns", range(7))
async def test_keys_keep_their_order_however_they_fall_between_the_steps_of_the_console(turns: int) -> None:
    async with asked_console(ROWS) as (app, pilot):
        for key in "/abcdefgh":
            press_at_once(app, key)
            for _ in range(turns):
                await asyncio.sleep(0)

        await until_typed(pilot, "abcdefgh")


async def test_a_paste_behind_keys_comes_after_them() -> None:
    async with asked_console(ROWS) as (app, pilot):
        press_at_once(app, "/ab")
        app.post_message(events.Paste("cd"))
        press_at_once(app, "ef")

        await until_typed(pilot, "abcdef")


class Slow(Input):
    """Takes a while for each key, as all do on a slow machine. turns: of the console, before and after."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.turns: list[tuple[int, int]] = []

    async def on_key(self) -> None:
        app = cast(AskedConsole, self.app)
        before = app._turn
        await asyncio.sleep(self.seconds)
        self.turns.append((before, app._turn))


async def slow_input(app: AskedConsole, pilot: Pilot[None], seconds: float) -> Slow:
    slow = Slow(seconds)
    await app.screen.mount(slow)
    slow.focus()
    await until(pilot, lambda: app.focused is slow, "the focus")
    return slow


async def test_no_key_overtakes_another_however_slow_what_has_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_order, "_LOOK_SECONDS", 0.01)
    async with asked_console(ROWS) as (app, pilot):
        slow = await slow_input(app, pilot, 0.1)
        press_at_once(app, "abc")

        await until_typed(pilot, "abc")
        assert slow.turns == [(1, 1), (2, 2), (3, 3)]


async def test_keys_go_on_at_once_when_what_had_one_is_removed() -> None:
    async with asked_console(ROWS) as (app, pilot):
        gone = await slow_input(app, pilot, 0.2)
        press_at_once(app, "x")
        await asyncio.sleep(0)
        gone.remove()
        press_at_once(app, "/fads")

        await until_typed(pilot, "fads")


async def test_keys_go_on_when_what_has_one_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_order, "_LOST_SECONDS", 0.05)
    async with asked_console(ROWS) as (app, pilot):
        gone = Gone()
        await app.screen.mount(gone)
        gone.focus()
        await until(pilot, lambda: app.focused is gone, "the focus")
        press_at_once(app, "x/fads")

        await until_typed(pilot, "fads")


async def test_keys_go_on_where_a_widget_that_is_gone_has_the_focus() -> None:
    async with asked_console(ROWS) as (app, pilot):
        gone = Static()
        gone.can_focus = True
        await app.screen.mount(gone)
        await gone.remove()
        app.screen.focused = gone
        press_at_once(app, "/fads")

        await until_typed(pilot, "fads")


async def test_keys_go_on_where_the_tile_with_the_focus_goes() -> None:
    async with asked_console(ROWS) as (app, pilot):
        app.state = replace(app.state, workers=WORKERS)
        await pilot.press("2")
        await until(pilot, lambda: isinstance(app.focused, PaneTile), "a tile with the focus")
        await pilot.press("1", "end", "a")
        await until(pilot, lambda: app.current_mode == "workers", "the workers of the job")
        press_at_once(app, "1/fads")

        await until_typed(pilot, "fads")
        assert app.current_mode == "jobs"


async def test_enter_behind_a_filter_keeps_the_filter() -> None:
    async with asked_console(ROWS) as (app, pilot):
        press_at_once(app, "/mai\r")

        await until_shown(pilot, "1 of 3")
        await until(pilot, lambda: not isinstance(app.focused, Input), "the keys back at the table")


async def test_an_answer_right_behind_its_question_is_one() -> None:
    async with asked_console(ROWS) as (app, pilot):
        press_at_once(app, "dndy")

        await until(pilot, lambda: app.queue.asked == ["delete mails"], "the job deleted")
        assert not isinstance(app.screen, Confirm)

"""Keys that come in one burst, as over a slow line: each means what it does after those before it."""

from __future__ import annotations

import pytest
from asked_console import AskedConsole, asked_console
from job_samples import job
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input
from waiting import until, until_shown

from tui.screens.confirm import Confirm

ROWS = (job("import", "failed"), job("mails"), job("fetch"))


def press_at_once(app: AskedConsole, keys: str) -> None:
    names = {"/": "slash", "\r": "enter"}
    for key in keys:
        app.post_message(events.Key(names.get(key, key), key))


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

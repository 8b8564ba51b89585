"""The line of keys and the line of screens, in every width, and with keys that the operator has moved."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from asked_console import AskedConsole, asked_console
from job_samples import job
from rich.text import Text
from textual.pilot import Pilot
from waiting import screen_text, show_state, until

from tui.widgets.key_bar import KeyBar
from tui.widgets.top_bar import TABS

ROWS = (job("count", "failed"),)


def bar_of(app: AskedConsole) -> str:
    line = app.screen.query_one(KeyBar).render()
    assert isinstance(line, Text)
    return line.plain


def tabs_of(pilot: Pilot[None]) -> str:
    return screen_text(pilot).split("\n")[1]


MOVED = (
    ({"jobs.filter": "f3"}, "f3 filter"),
    ({"jobs.attach": "x"}, "x attach"),
    ({"jobs.submit": "ctrl+n,f2"}, "^n submit"),
    ({"jobs.delete": "delete"}, "del delete"),
    ({"jobs.pause": "shift+f3"}, "shift+f3 pause"),
    ({"jobs.sort": "f6"}, "f6 sort"),
    ({"app.help": "f12"}, "f12 help"),
)


async def test_a_key_that_was_moved_stands_in_the_bar_where_it_would_without_that() -> None:
    async with asked_console(ROWS) as (app, pilot):
        usual = [one.split()[-1] for one in bar_of(app).split("  ") if one.strip()]
        for keys, shown in MOVED:
            object.__setattr__(app.settings, "keys", keys)
            app.set_keymap(keys)
            await pilot.pause()
            moved = [one.strip() for one in bar_of(app).split("  ") if one.strip()]
            words = [one.split()[-1] for one in moved]
            place = words.index(shown.split()[-1])

            assert shown in moved
            if words[place] in usual:
                assert usual[:place] == words[:place], shown


@pytest.mark.parametrize("columns", [20, 40, 53, 59])
async def test_every_screen_has_its_tab_in_every_width_and_takes_a_click(columns: int) -> None:
    async with asked_console(ROWS, size=(columns, 16)) as (app, pilot):
        for mode, title in TABS:
            await app.action_show(mode)
            await until(pilot, lambda: app.shown_screen.is_mounted, "the screen")
            await until(pilot, lambda: {*"123456"} <= {*tabs_of(pilot)}, f"all tabs on {mode}")
            line = tabs_of(pilot)

            assert title in line
            await pilot.click("TopBar", offset=(line.index("6"), 1))
            await until(pilot, lambda: app.current_mode == "events", f"the events after {mode}")


@pytest.mark.parametrize("columns", [9, 20, 40])
async def test_what_was_told_long_ago_leaves_the_tabs_where_they_are(columns: int) -> None:
    async with asked_console(ROWS, size=(columns, 16)) as (app, pilot):
        show_state(app, replace(app.state, answered_at=time.monotonic() - 754.0))
        await until(pilot, lambda: "12:3" in screen_text(pilot).split("\n")[0], "the age")

        assert tabs_of(pilot).strip().startswith("1")

"""The line of keys and the line of screens, in every width, and with keys that the operator has moved."""

from __future__ import annotations

import pytest
from asked_console import AskedConsole, asked_console
from job_samples import job
from rich.text import Text
from textual.pilot import Pilot
from waiting import screen_text, until

from tui.widgets.key_bar import KeyBar
from tui.widgets.top_bar import TABS

ROWS = (job("count", "failed"),)


def bar_of(app: AskedConsole) -> str:
    line = app.screen.query_one(KeyBar).render()
    assert isinstance(line, Text)
    return line.plain


def tabs_of(pilot: Pilot[None]) -> str:
    return screen_text(pilot).split("\n")[1]


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ({"jobs.filter": "f3"}, "f3 filter"),
        ({"jobs.attach": "x"}, "x attach"),
        ({"jobs.submit": "ctrl+n,f2"}, "^n submit"),
        ({"jobs.delete": "delete"}, "del delete"),
        ({"jobs.pause": "shift+f3"}, "shift+f3 pause"),
        ({"jobs.sort": "f6"}, "f6 sort"),
        ({"app.help": "f12"}, "f12 help"),
    ],
)
async def test_a_key_that_was_moved_stands_in_the_bar_where_it_would_without_that(
    keys: dict[str, str], shown: str
) -> None:
    async with asked_console(ROWS) as (app, pilot):
        usual = bar_of(app).split("  ")
        object.__setattr__(app.settings, "keys", keys)
        app.set_keymap(keys)
        await pilot.pause()
        moved = bar_of(app).split("  ")

    words = shown.split()[-1]
    usual_words = [one.split()[-1] for one in usual if one.strip()]
    place = [one.split()[-1] for one in moved if one.strip()].index(words)
    assert shown in [one.strip() for one in moved]
    if words in usual_words:
        assert usual_words[:place] == [one.split()[-1] for one in moved if one.strip()][:place]


@pytest.mark.parametrize("columns", [20, 40, 53, 59])
@pytest.mark.parametrize("mode", [mode for mode, _ in TABS])
async def test_every_screen_has_its_tab_in_every_width_and_takes_a_click(mode: str, columns: int) -> None:
    async with asked_console(ROWS, size=(columns, 16)) as (app, pilot):
        await app.action_show(mode)
        await until(pilot, lambda: app.shown_screen.is_mounted, "the screen")
        await pilot.pause()
        line = tabs_of(pilot)
        title = dict(TABS)[mode]
        await pilot.click("TopBar", offset=(line.index("6"), 1))
        await until(pilot, lambda: app.current_mode == "events", "the events")

    assert title in line
    assert [key for key in "123456" if key not in line] == []

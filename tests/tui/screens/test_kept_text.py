"""What was typed into a dialog stands there again when it was left and is opened again."""

from __future__ import annotations

from pathlib import Path

import pytest
from asked_console import asked_console
from job_samples import job
from textual.widgets import Input
from waiting import screen_text, until, until_shown

from tui.app import ConsoleApp
from tui.screens.attach import AttachScreen
from tui.screens.dialogs.path import PathDialog
from tui.screens.dialogs.template import TemplateDialog
from tui.settings.options import Options
from tui.widgets.filter_line import FilterLine

ROWS = (job("count"), job("other"))


@pytest.mark.parametrize("mode", ["jobs", "workers", "events"])
async def test_a_filter_that_was_cleared_is_offered_and_not_applied_until_up_is_pressed(mode: str) -> None:
    async with asked_console(ROWS) as (app, pilot):
        await app.action_show(mode)
        await until(pilot, lambda: app.shown_screen.is_mounted, "the screen")
        await pilot.press("slash", *"cou", "escape", "slash")
        line = app.shown_screen.query_one(FilterLine)
        await until_shown(pilot, "/ cou  up: as before")
        opened = line.text
        await pilot.press("enter")
        is_left = not line.display
        await pilot.press("slash", "up")
        again = line.text
        await pilot.press("escape", "slash", *"oth")

        assert (opened, is_left, again, line.text) == ("", True, "cou", "oth")


async def test_a_filter_that_was_emptied_by_hand_is_offered_no_more() -> None:
    async with asked_console(ROWS) as (app, pilot):
        await pilot.press("slash", *"cou", "escape", "slash", "up", *["backspace"] * 3)
        emptied = app.shown_screen.query_one(FilterLine)
        await until_shown(pilot, "words, !without")
        await pilot.press("escape", "slash", "up")

        assert emptied.text == ""
        assert "words, !without" in screen_text(pilot)


async def test_what_was_searched_for_stands_there_again_and_enter_searches_for_it() -> None:
    async with asked_console(ROWS) as (app, pilot):
        app.open_pane("alpha/0")
        await until(pilot, lambda: isinstance(app.screen, AttachScreen), "the attach screen")
        screen = app.screen
        assert isinstance(screen, AttachScreen)
        await until(pilot, lambda: screen.worker, "the worker")
        await pilot.press("slash", *"fog", "escape")
        was_searching = screen.is_searching
        await pilot.press("slash", "enter")
        is_searching = screen.is_searching
        await pilot.press("escape", "slash", *"tide")
        searched = screen.prompt.query_one(Input).value
        await pilot.press("escape", "S", "end", *".txt", "escape", "S")
        name = screen.prompt.query_one(Input).value

        assert (was_searching, is_searching, searched) == (False, True, "tide")
        assert name.endswith(".log.txt")


async def test_a_path_that_was_typed_stands_there_again_until_it_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "count.toml"
    async with asked_console(ROWS) as (app, pilot):
        await pilot.press("5", "ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, TemplateDialog), "the dialog")
        await pilot.press(*str(path), "enter")
        await until(pilot, lambda: app.screen.query(".wrong"), "why not")
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1, "the dialog to be gone")
        path.write_text('job_name = "count"\njob_type = "script"\n')
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, TemplateDialog), "the dialog")
        again = app.screen.query_one(Input).value
        await pilot.press("enter")
        await until_shown(pilot, "count.toml")
        await until(pilot, lambda: len(app.screen_stack) == 1, "the dialog to be gone")
        await pilot.press("ctrl+w")
        await until(pilot, lambda: isinstance(app.screen, PathDialog), "the dialog")
        await pilot.press("end", *".old", "escape", "ctrl+w")
        await until(pilot, lambda: isinstance(app.screen, PathDialog), "the dialog")
        written = app.screen.query_one(Input).value
        await pilot.press("escape", "ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, TemplateDialog), "the dialog")
        opened = app.screen.query_one(Input).value

    assert again == str(path)
    assert written == f"{path}.old"
    assert opened == ""


async def test_the_path_of_a_configuration_stands_there_again() -> None:
    app = ConsoleApp(Options(), None, "There is none.")
    async with app.run_test(size=(100, 30)) as pilot:
        await until_shown(pilot, "There is no cluster yet")
        await pilot.press("o", *"/srv/har", "escape")
        await until(pilot, lambda: "/srv/har" not in screen_text(pilot), "the path to be gone")
        await pilot.press("o")
        await until_shown(pilot, "/srv/har")

"""Dialogs that ask for a path: Tab completes it, and what is wrong is told where it was typed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from asked_console import AskedConsole, asked_console
from textual.pilot import Pilot
from textual.widgets import Input
from waiting import screen_text, until, until_shown

from pymr.jobs.job import template_toml
from tui.screens.dialogs.confirm import Confirm
from tui.screens.dialogs.path import PathScreen
from tui.widgets.job.editor import JobEditor


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of the console, with jobs in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs" / "nightly").mkdir(parents=True)
    for name in ("jobs/count.toml", "jobs/counters.toml", "jobs/notes.txt", "jobs/nightly/fees.toml"):
        (tmp_path / name).write_text(template_toml("script"))
    return tmp_path


@asynccontextmanager
async def asking(
    key: str, typed: str = "", size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[AskedConsole, Pilot[None], Input]]:
    """The dialog that a key of the editor opens, with a path in it."""
    async with asked_console(size=size) as (app, pilot):
        app.edit_job(None, "mapreduce")
        await until(pilot, lambda: app.current_mode == "editor" and app.screen.query(JobEditor), "the editor")
        await until(pilot, lambda: app.screen.query_one(JobEditor).area.has_focus, "the template")
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, PathScreen), "the dialog")
        await until(pilot, lambda: app.screen.query(Input), "the question for a path")
        line = app.screen.query_one(Input)
        line.value = typed
        line.cursor_position = len(typed)
        await pilot.pause()
        yield app, pilot, line


def text_of(app: AskedConsole) -> str:
    return app.shown_screen.query_one(JobEditor).text


def dialog_words(pilot: Pilot[None]) -> str:
    """What a dialog says, whatever lines it is broken into."""
    lines = [line.split("│")[1] for line in screen_text(pilot).split("\n") if line.count("│") == 2]
    return " ".join(" ".join(lines).split())


@pytest.mark.parametrize(
    ("key", "path", "why"),
    [
        ("ctrl+w", "~no-such-user/x", "there is no such user"),
        ("ctrl+w", "{folder}/" + "x" * 300, "File name too long"),
        ("ctrl+w", "{folder}", "is not a regular file"),
        ("ctrl+w", "{folder}/pipe", "is not a regular file"),
        ("ctrl+w", "no/such/folder/x.toml", "No such file or directory"),
        ("ctrl+o", "~no-such-user/x", "there is no such user"),
        ("ctrl+o", "a\0b", "characters that no path can have"),
        ("ctrl+o", "{folder}/" + "x" * 300, "File name too long"),
        ("ctrl+o", "{folder}/pipe", "is not a regular file"),
        ("ctrl+o", "jobs/cuont.toml", "No such file or directory"),
    ],
)
async def test_what_is_wrong_is_told_in_the_dialog_and_what_was_typed_stays(
    folder: Path, key: str, path: str, why: str
) -> None:
    os.mkfifo(folder / "pipe")
    typed = path.replace("{folder}", str(folder))
    async with asking(key, typed, (120, 36)) as (app, pilot, line):
        before, dialog = text_of(app), app.screen
        await pilot.press("enter")
        await until(pilot, lambda: why in dialog_words(pilot), why)

        assert app.screen is dialog
        assert line.value == typed
        assert app.toasts == []
        assert text_of(app) == before
        assert (folder / "pipe").is_fifo()
        await pilot.press("backspace")
        await until_shown(pilot, "tab completes")


async def test_a_wrong_path_can_be_mended_and_opened() -> None:
    async with asking("ctrl+o", "jobs/count.tom") as (app, pilot, _):
        await pilot.press("enter")
        await until_shown(pilot, "No such file")
        await pilot.press("l", "enter")
        await until(pilot, lambda: text_of(app) == template_toml("script"), "the file")

        assert not isinstance(app.screen, PathScreen)


async def test_tab_writes_what_can_go_one_way_only() -> None:
    async with asking("ctrl+o", "jo") as (_, pilot, line):
        await pilot.press("tab")
        await until(pilot, lambda: line.value == "jobs/", "the folder")
        await pilot.press("n", "tab")
        await until(pilot, lambda: line.value == "jobs/nightly/", "the folder in it, and no text file")
        await pilot.press("tab")
        await until(pilot, lambda: line.value == "jobs/nightly/fees.toml", "the file")


async def test_tab_offers_where_there_are_several_ways() -> None:
    async with asking("ctrl+o", "jobs/c") as (app, pilot, line):
        await pilot.press("tab")
        await until(pilot, lambda: line.value == "jobs/count", "what both have")
        await until_shown(pilot, "jobs/counters.toml")
        await pilot.press("down", "enter")
        await until(pilot, lambda: line.value == "jobs/counters.toml", "the second")

        assert isinstance(app.screen, PathScreen)  # Enter has chosen, and opened nothing yet


async def test_the_list_follows_what_is_typed_and_escape_closes_it_alone() -> None:
    async with asking("ctrl+w", "") as (app, pilot, line):
        await pilot.press("tab")
        await until(pilot, lambda: line.value == "jobs/", "the only name")
        await pilot.press("tab")
        await until_shown(pilot, "jobs/notes.txt")
        await pilot.press("n", "o")
        await until(pilot, lambda: "jobs/nightly/" not in screen_text(pilot), "the list to be narrowed")
        await pilot.press("escape")
        await until(pilot, lambda: "jobs/notes.txt" not in screen_text(pilot), "the list to close")
        assert isinstance(app.screen, PathScreen)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, PathScreen), "the dialog to close")


async def test_tab_says_where_nothing_begins_so() -> None:
    async with asking("ctrl+o", "jobs/x") as (_, pilot, line):
        await pilot.press("tab")
        await until_shown(pilot, "nothing begins with x in jobs/")

        assert line.value == "jobs/x"


async def test_a_file_is_replaced_only_when_that_is_wanted(folder: Path) -> None:
    path = folder / "jobs" / "notes.txt"
    async with asking("ctrl+w", "jobs/notes.txt") as (app, pilot, line):
        for answer in ("n", "y"):
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, Confirm), "the question")
            before = path.read_text()
            await pilot.press(answer)
            if answer == "n":
                await until(pilot, lambda: isinstance(app.screen, PathScreen), "the dialog again")
                assert line.value == "jobs/notes.txt"
                assert path.read_text() == before
        await until(pilot, lambda: app.toasts == ["Written to jobs/notes.txt"], "the file")

        assert path.read_text() == text_of(app)

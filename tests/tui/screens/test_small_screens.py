"""What has to be seen on 80 columns and 24 lines, though there is more than fits."""

from __future__ import annotations

from dataclasses import replace

from asked_console import asked_console
from job_samples import TRACEBACK
from still_cluster import WORKERS
from waiting import screen_text, until, until_shown

from pymr.wire.requests import PreviewView
from tui.screens.attach import AttachScreen
from tui.screens.dialogs.preview import PreviewDialog


async def test_where_no_worker_is_chosen_no_key_of_a_pane_is_offered() -> None:
    async with asked_console() as (app, pilot):
        app.state = replace(app.state, workers=WORKERS)
        await pilot.press("3")
        await until_shown(pilot, "Choose a worker")
        before = screen_text(pilot).split("\n")[-1]
        app.open_pane("alpha/0")
        await until_shown(pilot, "f follow")

    assert before.split() == ["?", "help", "q", "quit"]


async def test_the_end_of_a_long_path_is_seen_beside_a_question() -> None:
    async with asked_console() as (app, pilot):
        app.state = replace(app.state, workers=WORKERS)
        app.open_pane("alpha/0")
        await until(pilot, lambda: isinstance(app.screen, AttachScreen) and app.screen.worker, "the pane")
        assert isinstance(app.screen, AttachScreen)
        prompt, path = app.screen.prompt, f"/srv/{'folder/' * 9}"
        prompt.open("save", "To", f"{path}a.log")
        await until_shown(pilot, "a.log")
        prompt.open("replace", "A question that takes much of the line", f"{path}a.log")
        await until_shown(pilot, "A question")

        await until_shown(pilot, "a.log")


async def test_of_a_traceback_that_is_too_long_the_end_is_seen() -> None:
    calls = "".join(f'  File "a.py", line {number}, in f\n' for number in range(30))
    view = PreviewView(id="p", peer="alpha", path="a.log", error=calls + TRACEBACK, printed="fog\n")

    async def ask(_: int) -> PreviewView:
        return view

    async with asked_console() as (app, pilot):
        app.push_screen(PreviewDialog("count", ask))
        await until_shown(pilot, "KeyError: 'CHF'")

        assert "fog" in screen_text(pilot)

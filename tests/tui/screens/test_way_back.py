"""Escape: out of what is open on a screen, then to the screen that was shown before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from asked_console import AskedConsole, asked_console
from job_samples import TRACEBACK, job
from still_cluster import PEERS, WORKERS, still_state
from textual import events
from textual.pilot import Pilot
from textual.widgets import OptionList
from waiting import until, until_shown

from pymr.wire.rows import PanePlace
from tui.model.trail import Trail
from tui.screens.attach import AttachScreen
from tui.screens.events import EventsScreen
from tui.screens.workers import WorkersScreen

ROWS = (job("count", "failed", exception=TRACEBACK), job("other", "failed"))
PLACE = PanePlace("alpha/0", "count-000001", 900)
MODES = ("jobs", "workers", "attach", "peers", "editor", "events")

Go = Callable[[AskedConsole], object]


async def at(app: AskedConsole, pilot: Pilot[None], mode: str) -> None:
    def is_there() -> bool:
        return app.current_mode == mode and len(app.screen_stack) == 1 and app.shown_screen.is_mounted

    await until(pilot, is_there, f"{mode} to be shown")
    await pilot.pause()


async def come(app: AskedConsole, pilot: Pilot[None], *modes: str) -> None:
    """To a screen, over others."""
    app.state = replace(still_state()[0], jobs=app.state.jobs)
    for mode in modes:
        await pilot.press(str(MODES.index(mode) + 1))
        await at(app, pilot, mode)


def test_a_trail_leads_back_over_each_screen_once() -> None:
    trail = Trail()
    for here, there in (("a", "b"), ("b", "c"), ("c", "a"), ("a", "a"), ("a", "d")):
        trail.go(here, there)

    assert [trail.back() for _ in range(5)] == ["a", "c", "b", "", ""]


def test_a_trail_is_no_longer_than_there_are_screens() -> None:
    chance, trail, here = Random(3), Trail(), "jobs"
    for _ in range(500):
        there = chance.choice(MODES)
        trail.go(here, there)
        here = there
    way = [here]
    while mode := trail.back():
        way.append(mode)

    assert len(way) == len(set(way)) <= len(MODES)


@pytest.mark.parametrize("mode", ["workers", "attach", "peers", "editor", "events"])
async def test_escape_goes_back_to_the_screen_before(mode: str) -> None:
    async with asked_console(ROWS) as (app, pilot):
        before = "peers" if mode != "peers" else "events"
        await come(app, pilot, before, mode)
        await pilot.press("escape")
        await at(app, pilot, before)
        await pilot.press("escape")
        await at(app, pilot, "jobs")
        await pilot.press("escape")
        await at(app, pilot, "jobs")


async def test_where_one_came_from_nowhere_escape_leads_to_the_jobs() -> None:
    async with asked_console(ROWS) as (app, pilot):
        await come(app, pilot, "attach", "jobs")
        await pilot.press("escape")
        await at(app, pilot, "attach")  # and jobs has left the trail
        await pilot.press("escape")
        await at(app, pilot, "jobs")


@pytest.mark.parametrize(
    ("mode", "go"),
    [
        ("workers", lambda app: app.open_pane("alpha/0")),
        ("events", lambda app: app.open_pane(PLACE.worker, PLACE.run_id, PLACE.offset)),
        ("jobs", lambda app: app.open_pane(PLACE.worker, PLACE.run_id, PLACE.offset)),
        ("peers", lambda app: app.open_workers(peer="alpha")),
        ("jobs", lambda app: app.open_workers("nightly_wordcount")),
        ("events", lambda app: app.open_job("other")),
        ("events", lambda app: app.open_peer("beta")),
        ("jobs", lambda app: app.edit_job(ROWS[0])),
        ("attach", lambda app: app.open_workers("nightly_wordcount")),
    ],
)
async def test_what_was_opened_from_a_screen_leads_back_to_it(mode: str, go: Go) -> None:
    async with asked_console(ROWS) as (app, pilot):
        await come(app, pilot, "peers" if mode != "peers" else "events", mode)
        go(app)
        await until(pilot, lambda: app.current_mode != mode, "another screen")
        await at(app, pilot, app.current_mode)
        if app.current_mode == "editor":
            await until_shown(pilot, "leave")  # the text has the keys
            await pilot.press("escape")
        await pilot.press("escape")
        await at(app, pilot, mode)


async def test_from_an_event_over_its_output_and_its_workers_back_again() -> None:
    async with asked_console(ROWS) as (app, pilot):
        await come(app, pilot, "events")
        screen = app.shown_screen
        assert isinstance(screen, EventsScreen)
        await pilot.press("x", "home", "enter")
        await until(pilot, lambda: isinstance(app.screen, AttachScreen), "the output")
        app.open_workers("nightly_wordcount")
        await at(app, pilot, "workers")
        shown = app.shown_screen
        app.open_pane(WORKERS[0].name)
        await at(app, pilot, "attach")
        await pilot.press("escape")
        await at(app, pilot, "workers")
        await pilot.press("escape")
        await at(app, pilot, "events")
        is_as_it_was = screen._is_failures_only
        await pilot.press("escape")
        await pilot.pause()
        was_left = app.current_mode != "events"
        await pilot.press("escape")
        await at(app, pilot, "jobs")

    assert isinstance(shown, WorkersScreen)
    assert is_as_it_was
    assert not was_left


async def test_workers_are_shown_as_they_were_come_for_before_they_are_left() -> None:
    async with asked_console(ROWS) as (app, pilot):
        await come(app, pilot, "peers")
        app.open_workers(peer=PEERS[0])
        await at(app, pilot, "workers")
        await pilot.press("j")
        await until_shown(pilot, "job nightly_wordcount")
        await pilot.press("escape")
        await until(pilot, lambda: app.current_mode == "workers", "the workers")
        await until_shown(pilot, f"peer {PEERS[0]}")
        await pilot.press("escape")
        await at(app, pilot, "peers")
        await pilot.press("2")
        await at(app, pilot, "workers")
        await until_shown(pilot, f"{len(WORKERS)} workers")


async def test_a_screen_that_is_being_opened_is_left_only_once_it_is_there() -> None:
    async with asked_console(ROWS) as (app, pilot):
        await come(app, pilot, "events", "peers")
        async with app._opening:
            back = asyncio.create_task(app.go_back())
            await pilot.pause()
            while_opening = app.current_mode
        await back
        await at(app, pilot, "events")

    assert while_opening == "peers"


async def test_a_search_is_left_before_the_screen() -> None:
    async with asked_console(ROWS) as (app, pilot):
        await come(app, pilot, "workers")
        app.open_pane("alpha/0")
        await at(app, pilot, "attach")
        await pilot.press("slash", *"fog", "enter", "escape")
        await pilot.pause()
        searched = app.current_mode
        await pilot.press("escape")
        await at(app, pilot, "workers")

    assert searched == "attach"


async def test_who_chooses_no_new_job_is_where_they_were() -> None:
    async with asked_console(ROWS) as (app, pilot):
        await come(app, pilot, "events", "jobs")
        await pilot.press("s")
        await until_shown(pilot, "New job")
        await pilot.press("escape")
        await at(app, pilot, "jobs")
        await pilot.press("5", "s")
        await until_shown(pilot, "New job")
        await until(pilot, lambda: app.screen.query_one(OptionList).has_focus, "the list")
        await pilot.press("escape")
        await at(app, pilot, "editor")


@pytest.mark.parametrize("enters", [2, 3, 5])
async def test_enter_pressed_often_in_the_palette_does_one_thing(enters: int) -> None:
    """As fast as a terminal sends what is held down: further ones come before the palette has closed."""
    async with asked_console(ROWS) as (app, pilot):
        await pilot.press("ctrl+p", *"show peers")
        await until_shown(pilot, "key 4")
        await pilot.press("down")
        for _ in range(enters):
            app.post_message(events.Key("enter", None))
        await until(pilot, lambda: app.current_mode == "peers", "the peers")
        await pilot.pause()

        assert [type(screen).__name__ for screen in app.screen_stack] == ["PeersScreen"]

"""Keys that do nothing where they are pressed: those of another screen, those meant for a debugger, and those
that would change something where one may only look."""

from __future__ import annotations

import string
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from asked_console import AskedConsole, asked_console
from job_samples import job
from still_cluster import WORKERS, pane_news
from textual.pilot import Pilot
from waiting import screen_text, until, until_shown

from pymr.client import ClientError
from pymr.wire.rows import WorkerRow
from tui.model.state import ClusterState
from tui.screens.attach import AttachScreen
from tui.screens.dialogs.no_cluster import NoCluster
from tui.widgets.key_bar import KeyBar

ROWS = (job("count", "failed"),)
STOPPED = next(row for row in WORKERS if row.state == "breakpoint")
AT_WORK = next(row for row in WORKERS if row.state == "map")


async def attached(app: AskedConsole, pilot: Pilot[None], row: WorkerRow = STOPPED) -> AttachScreen:
    """The screen with a worker's pane, with all that the worker has put out."""
    app.state = replace(app.state, workers=WORKERS)
    app.open_pane(row.name)
    await until(pilot, lambda: isinstance(app.screen, AttachScreen), "the attach screen")
    screen = app.screen
    assert isinstance(screen, AttachScreen)
    await until(pilot, lambda: screen.worker == row.name, "the worker")
    piece = pane_news(row.name).piece
    assert piece is not None
    screen.view.add_all([piece])
    screen.run_id = row.run_id or ""
    screen.show_state(app.state)
    await pilot.pause()
    return screen


def bar_of(app: AskedConsole) -> str:
    return str(app.screen.query_one(KeyBar).render())


@pytest.mark.parametrize("mode", ["workers", "attach", "peers", "editor", "events"])
async def test_keys_of_the_queue_do_nothing_on_another_screen(mode: str) -> None:
    async with asked_console(ROWS) as (app, pilot):
        await app.action_show(mode)
        await until(pilot, lambda: app.shown_screen.is_mounted, "the screen")
        for key in "pyrfd":
            await pilot.press(key)

        assert app.queue.asked == []
        assert len(app.screen_stack) == 1
        assert app.current_mode == mode


async def test_a_console_that_may_only_look_is_not_told_how_to_answer_a_breakpoint() -> None:
    async with asked_console(ROWS, size=(100, 24), is_read_only=True) as (app, pilot):
        await attached(app, pilot)
        await until_shown(pilot, "Stopped at a breakpoint")

        assert "press i" not in screen_text(pilot)


async def test_what_is_typed_at_a_breakpoint_before_i_does_nothing_and_says_what_i_does() -> None:
    async with asked_console(ROWS, size=(100, 24)) as (app, pilot):
        screen = await attached(app, pilot)
        await until_shown(pilot, "Stopped at a breakpoint: press i to answer")
        await pilot.press(*"p var")
        await until_shown(pilot, "r does nothing at a breakpoint: i types into the debugger")

        assert app.queue.asked == []
        assert app.screen is screen


@pytest.mark.parametrize(
    "characters", [string.digits, string.ascii_lowercase, string.ascii_uppercase, f"{string.punctuation} é"]
)
async def test_no_character_does_anything_at_a_breakpoint_but_i(characters: str) -> None:
    async with asked_console(ROWS, size=(100, 24)) as (app, pilot):
        screen = await attached(app, pilot)
        view = screen.view
        before = (view.is_following, view.is_wrapped, view.has_times, view.is_coloured, view.offset_at_top)
        for character in characters.replace("i", ""):
            await pilot.press(character)
            told = f"{'space' if character == ' ' else character} does nothing at a breakpoint"
            await until_shown(pilot, told)

            assert app.screen is screen
            assert screen.worker == STOPPED.name
        after = (view.is_following, view.is_wrapped, view.has_times, view.is_coloured, view.offset_at_top)

        assert after == before
        assert not screen.prompt.display
        assert app.queue.asked == []


@pytest.mark.parametrize("typed", ["p a[1].rf", "p a[5]", "p a/b?c:d"])
async def test_a_command_typed_at_a_breakpoint_before_i_stays_there(typed: str) -> None:
    async with asked_console(ROWS, size=(100, 24)) as (app, pilot):
        screen = await attached(app, pilot)
        await pilot.press(*typed, "enter")
        await until_shown(pilot, f"{typed[-1]} does nothing at a breakpoint")

        assert app.queue.asked == []
        assert app.screen is screen
        assert screen.worker == STOPPED.name


async def test_before_its_run_is_known_a_pane_of_a_worker_at_a_breakpoint_takes_no_letter_either() -> None:
    async with asked_console(ROWS, size=(100, 24)) as (app, pilot):
        screen = await attached(app, pilot)
        screen.open(STOPPED.name)
        before = screen.run_id
        await pilot.press("1")
        await until_shown(pilot, "1 does nothing at a breakpoint")

        assert before == ""
        assert app.screen is screen


async def test_at_a_breakpoint_one_may_move_search_leave_and_type() -> None:
    async with asked_console(ROWS, size=(100, 14)) as (app, pilot):
        app.queue.errors[f"attach {STOPPED.name}"] = ClientError("somebody types")
        screen = await attached(app, pilot)
        told = bar_of(app)
        await pilot.press("home")
        is_following = screen.view.is_following
        await pilot.press("ctrl+f", *"berth", "enter")
        is_searching = screen.is_searching
        await pilot.press("f3", "escape", "i")
        await until(pilot, lambda: app.queue.asked == [f"attach {STOPPED.name}"], "the keyboard")
        await pilot.press("f1")
        await until_shown(pilot, "attach.type")
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.current_mode == "jobs", "the screen before")

    assert "i type" in told and "^f search" in told and "f1 help" in told
    assert not {"/", "?", "]", "wrap", "quit"} & {*told.split()}
    assert not is_following
    assert is_searching


async def test_at_a_breakpoint_the_palette_has_what_letters_do_elsewhere() -> None:
    async with asked_console(ROWS, size=(100, 24)) as (app, pilot):
        screen = await attached(app, pilot)
        await pilot.press("ctrl+p", *"Attach: wrap")
        await until_shown(pilot, "key w")
        await pilot.press("enter")
        await until(pilot, lambda: screen.view.is_wrapped, "wrapped lines")

        assert app.screen is screen


async def test_the_keys_of_a_pane_work_where_nobody_waits_for_an_answer() -> None:
    held = msgspec.structs.replace(STOPPED, holder="ada@host:1")
    async with asked_console(ROWS, size=(100, 24)) as (app, pilot):
        screen = await attached(app, pilot, AT_WORK)
        await pilot.press("w")
        at_work = screen.view.is_wrapped
        screen = await attached(app, pilot)
        app.state = replace(app.state, workers=(held,))
        screen.show_state(app.state)
        await pilot.press("w")

        assert at_work
        assert not screen.view.is_wrapped  # turned back


def only_looking(app: AskedConsole, way: str) -> str:
    """Let the console only look. Returns what is told of it then."""
    if way == "viewer":
        app.tell(ROWS, role="viewer")
        return "this key may only look"
    return "started with --read-only"


@pytest.mark.parametrize("way", ["viewer", "option"])
@pytest.mark.parametrize(
    ("mode", "key"),
    [
        *(("jobs", key) for key in "sdurfp"),
        ("attach", "i"),
        ("editor", "s"),
        ("editor", "ctrl+s"),
        ("editor", "f5"),
    ],
)
async def test_a_key_that_is_refused_to_who_may_only_look_says_why(mode: str, key: str, way: str) -> None:
    options: dict[str, Any] = {"is_read_only": True} if way == "option" else {}
    async with asked_console(ROWS, **options) as (app, pilot):
        why = only_looking(app, way)
        if mode == "attach":
            await attached(app, pilot)
        else:
            await app.action_show(mode)
            await until(pilot, lambda: app.shown_screen.is_mounted, "the screen")
        bar = bar_of(app)
        await pilot.press(key)
        await until(pilot, lambda: any(why in toast for toast in app.toasts), "why")
        await pilot.press(key)
        await pilot.pause()

    assert len(app.toasts) == 1
    assert app.toasts[0].startswith("Read only ")
    assert app.queue.asked == []
    assert not {" submit", " delete", " retry", " pause", " type", " new"} & {
        f" {word}" for word in bar.split()
    }


async def test_who_may_only_look_reads_a_pane_at_a_breakpoint_as_any_other() -> None:
    async with asked_console(ROWS, is_read_only=True) as (app, pilot):
        screen = await attached(app, pilot)
        await pilot.press("w")

        assert screen.view.is_wrapped
        assert "does nothing" not in screen_text(pilot)


async def test_who_may_only_look_starts_no_cluster() -> None:
    async with asked_console(ROWS, is_read_only=True) as (app, pilot):
        app.state = ClusterState(is_read_only=True)
        app.push_screen(NoCluster())
        await until_shown(pilot, "There is no cluster yet")
        await pilot.press("s")
        await until(pilot, lambda: app.toasts, "why")

        assert app.toasts == ["Read only started with --read-only"]
        assert isinstance(app.screen, NoCluster)

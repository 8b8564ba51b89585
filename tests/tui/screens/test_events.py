"""The screen of events: what stays in view, what passes, and the ways from an event to where it is seen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest
from cluster.clusters import Cluster
from cluster.running import REDUCE_TOTAL
from waiting import screen_text, show_state, until, until_shown

from pymr.wire.rows import EventRow
from tui.app import ConsoleApp
from tui.model.failures import Failures
from tui.model.state import ClusterState
from tui.render.event_cells import event_cell, event_columns
from tui.screens.attach import AttachScreen
from tui.screens.events import EventsScreen
from tui.screens.peers import PeersScreen
from tui.settings.options import Options
from tui.widgets.event_text import EventText

MakeConsole = Callable[..., ConsoleApp]

MAP_FAILING = """
    def words(line, auxiliary_data):
        print("looking at", line)
        raise ValueError("so odd")
"""


NOON = datetime.now().replace(hour=12, minute=0, second=0, microsecond=0).timestamp()
"""Of today, so that no event is of another day than those after it, at whatever time the tests run."""


def event(number: int, kind: str = "run.started", **fields: Any) -> EventRow:
    values: dict[str, Any] = {"text": f"event number {number:04}", "time": NOON + number}
    return EventRow(id=f"{number}-0", kind=kind, **(values | fields))


def state_of(count: int, *more: EventRow) -> ClusterState:
    return ClusterState(events=(*(event(number) for number in range(count)), *more), answered_at=0.0)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConsoleApp:
    monkeypatch.setenv("PYMR_TUI_CONFIG", str(tmp_path / "none.toml"))
    return ConsoleApp(Options(), None, "There is none.")


async def events_of(pilot: Any) -> EventsScreen:
    """The screen, of a console without a cluster."""
    await until_shown(pilot, "There is no cluster yet")
    pilot.app.pop_screen()
    await pilot.press("6")
    return cast(EventsScreen, pilot.app.shown_screen)


async def test_the_end_is_followed_unless_the_cursor_was_moved_up(offline: ConsoleApp) -> None:
    async with offline.run_test(size=(80, 24)) as pilot:
        await events_of(pilot)
        show_state(offline, state_of(100))
        await until_shown(pilot, "event number 0099")
        show_state(offline, state_of(150))
        await until_shown(pilot, "event number 0149")
        await pilot.press("up")
        show_state(offline, state_of(200))
        await pilot.pause()
        kept = screen_text(pilot)
        await pilot.press("end")
        await until_shown(pilot, "event number 0199")

        assert "event number 0148" in kept and "event number 0199" not in kept


async def test_the_end_is_not_followed_where_the_view_was_scrolled_up(offline: ConsoleApp) -> None:
    async with offline.run_test(size=(80, 24)) as pilot:
        screen = await events_of(pilot)
        show_state(offline, state_of(100))
        await until_shown(pilot, "event number 0099")
        screen.table.scroll_to(y=10, animate=False, immediate=True)
        await until_shown(pilot, "event number 0010")
        show_state(offline, state_of(120))
        await pilot.pause()

        assert "event number 0010" in screen_text(pilot)


async def test_events_are_filtered_while_somebody_types(offline: ConsoleApp) -> None:
    lost = event(500, "peer.lost", text="beta is gone", peer="beta")
    failed = event(501, "run.failed", text="wordcount-1 failed: so odd", job_name="wordcount")
    async with offline.run_test(size=(120, 24)) as pilot:
        screen = await events_of(pilot)
        show_state(offline, state_of(50, lost, failed))
        await pilot.press("slash", *"job:wordc")
        await until(pilot, lambda: len(screen.table.rows) == 1, "one event")
        found = screen_text(pilot)
        await pilot.press("enter", "x")
        await pilot.press("escape")
        await until(pilot, lambda: len(screen.table.rows) == 52, "all events")
        await pilot.press("x")
        await until(pilot, lambda: len(screen.table.rows) == 2, "the failures")
        await pilot.press("slash", *"!odd")
        await until(pilot, lambda: len(screen.table.rows) == 1, "the failure of the peer")
        await pilot.press(*" nothing")
        await until_shown(pilot, "No event passes the filter")

        assert "1 of 52" in found and "wordcount-1 failed: so odd" in found


async def test_the_event_of_a_breakpoint_leads_to_its_worker(
    offline: ConsoleApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    went: list[tuple[object, ...]] = []
    monkeypatch.setattr(offline, "open_pane", lambda *place: went.append(place))
    async with offline.run_test(size=(80, 24)) as pilot:
        await events_of(pilot)
        stopped = event(200, "run.breakpoint", worker="beta/1", run_id="r1", peer="beta", job_name="j")
        show_state(offline, state_of(3, stopped))
        await pilot.press("enter")
        await until(pilot, lambda: went, "the worker")

        assert went == [("beta/1", "r1")]


async def test_keys_go_from_failure_to_failure(offline: ConsoleApp) -> None:
    async with offline.run_test(size=(80, 24)) as pilot:
        screen = await events_of(pilot)
        failures = [event(number, "task.failed") for number in (200, 300)]
        show_state(offline, state_of(30, failures[0], event(250), failures[1], event(350)))
        places = []
        for key in ("N", "N", "N", "n"):
            await pilot.press(key)
            places.append(screen.table.cursor_row)

        assert places == [failures[1], failures[0], failures[0], failures[1]]


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_what_jobs_say_is_never_markup_and_moves_no_cursor(
    offline: ConsoleApp, size: tuple[int, int]
) -> None:
    async with offline.run_test(size=size) as pilot:
        await events_of(pilot)
        show_state(offline, state_of(1, event(2, "run.failed", text="[bold]\x1b[2J [/red]\nnext")))
        await until_shown(pilot, "[bold]?[2J [/red]?next")


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_a_text_that_the_table_cuts_is_shown_whole_below_it(
    offline: ConsoleApp, size: tuple[int, int]
) -> None:
    long = event(60, "run.failed", text=f"{'so odd ' * 40}at the [end]")
    async with offline.run_test(size=size) as pilot:
        screen = await events_of(pilot)
        show_state(offline, state_of(50, long))
        await until_shown(pilot, "at the [end]")
        await until_shown(pilot, "✗ run failed")
        await pilot.press("up")
        await until(pilot, lambda: "at the [end]" not in screen_text(pilot), "the text to be gone")
        await until_shown(pilot, "✗ run failed")

        assert not screen.query_one(EventText).display


async def test_an_event_that_leads_nowhere_says_so(offline: ConsoleApp) -> None:
    async with offline.run_test(size=(80, 24), notifications=True) as pilot:
        await events_of(pilot)
        show_state(offline, state_of(3))
        await pilot.press("enter")

        await until_shown(pilot, "This event has no job")


async def test_a_failure_leads_to_its_place_in_the_pane(
    lend_cluster: Callable[[], Cluster], make_console: MakeConsole
) -> None:
    cluster = lend_cluster()
    cluster.project(MAP_FAILING, REDUCE_TOTAL)
    cluster.feed("alpha", "a.txt", "one")
    app = make_console(cluster)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: app.state.events, "the first events")
        await pilot.press("6")
        name = cluster.submit(max_attempts=1)
        await until_shown(pilot, "✗ run failed")
        await until(pilot, lambda: any("so odd" in toast.message for toast in app._notifications), "a toast")
        await pilot.press("end", "enter")
        await until(pilot, lambda: app.current_mode == "attach", "the output")
        attach = cast(AttachScreen, app.shown_screen)
        await until_shown(pilot, "so odd")

        assert attach.worker == "alpha/0"
        assert attach.run_id.startswith(name)


async def test_other_events_lead_to_their_job_or_peer(
    lend_cluster: Callable[[], Cluster], make_console: MakeConsole
) -> None:
    app = make_console(lend_cluster())
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.state.peers) == 3, "the peers")
        await pilot.press("6")
        screen = cast(EventsScreen, app.shown_screen)
        screen._open(event(1, "peer.joined", peer="beta"))
        await until(pilot, lambda: app.current_mode == "peers", "the peers")
        peers = cast(PeersScreen, app.shown_screen)
        await until(
            pilot, lambda: peers.table.cursor_row and peers.table.cursor_row.row.name == "beta", "beta"
        )
        screen._open(event(1, "run.started", job_name="some"))
        await until(pilot, lambda: app.current_mode == "jobs", "the jobs")


def test_only_failures_have_a_colour() -> None:
    cells = {kind: cast(Any, event_cell(event(1, kind), "kind")) for kind in ("run.failed", "run.started")}

    assert str(cells["run.failed"]) == "✗ run failed"
    assert cells["run.failed"].spans[0].style == "$error"
    assert cells["run.started"] == "▶ run started"
    assert event_cell(event(1, "queue.emptied"), "kind") == "· queue emptied"


def test_times_of_other_days_have_their_date() -> None:
    old = event(1, time=1_000_000_000.0)

    assert event_columns([old])[0].width == len(str(event_cell(old, "time"))) == 16
    assert event_columns([event(1)])[0].width == 8


def test_failures_from_before_are_not_told_of_and_many_are_told_in_few_words() -> None:
    failures = Failures()
    before = [event(1, "run.failed")]
    new = [event(number, "run.failed") for number in range(3, 9)]

    assert failures.new_in(before) == []
    assert failures.new_in([*before, event(2, "task.failed")]) == []
    assert failures.new_in([*before, event(2, "task.failed"), *new]) == [
        ("event number 0003", True),
        ("event number 0004", True),
        ("event number 0005", True),
        ("and 3 more: see 6 Events", True),
    ]


def test_a_worker_at_a_breakpoint_is_told_of_at_once_and_is_no_failure() -> None:
    failures, stopped = Failures(), event(2, "run.breakpoint", worker="beta/1", run_id="r1")
    failures.new_in([event(1)])

    assert failures.new_in([event(1), stopped]) == [(stopped.text, False)]
    again = [event(number, "run.breakpoint", worker="beta/1", run_id="r1") for number in (3, 4)]
    assert failures.new_in([stopped, again[0]], ("beta/1", "r1")) == []
    assert failures.new_in([stopped, *again], ("beta/1", "r0")) == [(again[1].text, False)]
    assert str(event_cell(stopped, "kind")) == "◆ run breakpoint"
    assert len("◆ run breakpoint") <= next(one.width for one in event_columns(()) if one.key == "kind")

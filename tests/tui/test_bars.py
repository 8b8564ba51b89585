"""The bars that all screens have: the cluster above; below, the keys, which a mouse presses too."""

from __future__ import annotations

import pytest
from asked_console import asked_console
from job_samples import job
from textual.pilot import Pilot
from waiting import screen_text, until, until_shown

from tui.screens.dialogs.help import Help
from tui.screens.jobs import JobsScreen

ROWS = (job("count", "failed"),)


def keys(pilot: Pilot[None]) -> str:
    return screen_text(pilot).split("\n")[-1]


async def click(pilot: Pilot[None], words: str) -> None:
    await pilot.click(offset=(keys(pilot).index(words) + 1, pilot.app.size.height - 1))
    await pilot.pause()


async def test_keys_of_the_screen_and_of_the_console_are_clicked() -> None:
    async with asked_console(ROWS, (120, 30)) as (app, pilot):
        await click(pilot, "? help")
        await until(pilot, lambda: isinstance(app.screen, Help), "the help")
        await pilot.press("escape")
        await click(pilot, "p pause")
        await until_shown(pilot, "Pause the queue?")
        await pilot.press("y")
        await until(pilot, lambda: "pause" in app.queue.asked, "the pause")
        await click(pilot, "r retry")
        await until(pilot, lambda: "retry count" in app.queue.asked, "the retry")
        await click(pilot, "/ filter")
        screen = app.shown_screen
        assert isinstance(screen, JobsScreen)
        await until(pilot, lambda: screen.filter_line.display, "the filter")


async def test_the_most_wanted_keys_are_told_of_at_80_columns() -> None:
    async with asked_console(ROWS) as (_, pilot):
        told = keys(pilot)

    words = ["/ filter", "a attach", "s submit", "e edit", "d delete", "r retry", "? help", "q quit"]
    places = [told.find(word) for word in words]
    assert -1 not in places
    assert places == sorted(places)


async def test_the_other_keys_of_the_jobs_screen_are_told_of_where_there_is_room() -> None:
    async with asked_console(ROWS, (160, 30)) as (_, pilot):
        told = keys(pilot)

    assert told.index("p pause") < told.index("next problem") < told.index("o sort") < told.index("? help")


async def test_the_key_that_pauses_says_resume_while_the_queue_is_paused() -> None:
    async with asked_console(ROWS, (120, 30)) as (app, pilot):
        before = keys(pilot)
        app.tell(ROWS, paused=True)
        await until(pilot, lambda: "p resume" in keys(pilot), "the other word")
        app.tell(ROWS)
        await until(pilot, lambda: "p pause" in keys(pilot), "the first word again")

    assert "p pause" in before


@pytest.mark.parametrize(("size", "kept"), [((80, 24), ""), ((200, 30), "epoch 12")])
async def test_what_is_out_of_the_ordinary_is_told_of_before_the_epoch(
    size: tuple[int, int], kept: str
) -> None:
    async with asked_console(ROWS, size, is_read_only=True) as (app, pilot):
        app.tell(ROWS, paused=True, name="harbour-of-the-north-sea")
        await pilot.pause()
        first = screen_text(pilot).split("\n")[0]

    assert "queue paused" in first
    assert "read only" in first
    assert kept in first


async def test_workers_at_a_breakpoint_are_counted_on_every_screen() -> None:
    async with asked_console(ROWS) as (app, pilot):
        app.tell(ROWS, breakpoints=("beta/1",))
        await pilot.pause()
        one = screen_text(pilot).split("\n")[0]
        await pilot.press("6")
        app.tell(ROWS, breakpoints=("beta/1", "beta/2"))
        await pilot.pause()
        two = screen_text(pilot).split("\n")[0]

    assert "1 at a breakpoint" in one
    assert "2 at a breakpoint" in two


async def test_of_a_leader_that_does_not_answer_itself_nobody_counts_the_peers() -> None:
    """Until another one leads, the peer that answers in its place knows of none."""
    async with asked_console(ROWS, (100, 30)) as (app, pilot):
        app.tell(ROWS, peer="beta", peers_alive=0, workers_busy=0)
        await pilot.pause()
        line = screen_text(pilot).split("\n")[0]

    assert "leader alpha" in line and "peers unknown" in line
    assert "/3" not in line and "busy" not in line


async def test_without_redis_nothing_is_called_live_and_no_peer_missing() -> None:
    async with asked_console(ROWS, (100, 30)) as (app, pilot):
        app.tell(ROWS)  # what is known is fresh, however long the start took
        await pilot.pause()
        before = screen_text(pilot).split("\n")[0]
        app.tell(
            ROWS, leader="", peers_alive=1, workers_busy=0, problem="Redis at x does not answer: start it"
        )
        await pilot.pause()
        away, banner = (screen_text(pilot).split("\n")[line] for line in (0, 2))

    assert "leader alpha" in before and "3/3 peers" in before and before.endswith("live")
    assert "no leader   " in away and "peers unknown" in away and away.endswith("nothing is scheduled")
    assert "live" not in away and "1/3" not in away and "busy" not in away
    assert "Redis at x does not answer" in banner


@pytest.mark.parametrize(("count", "told"), [(99, "◆ 99 at a breakpoint"), (100, "◆ 100+ at a breakpoint")])
async def test_breakpoints_beyond_those_that_the_cluster_tells_of_are_not_counted(
    count: int, told: str
) -> None:
    async with asked_console(ROWS) as (app, pilot):
        app.tell(ROWS, breakpoints=tuple(f"alpha/{slot}" for slot in range(count)))
        await until_shown(pilot, told)

"""The grid of workers on a real cluster: live tiles, filters, moving, and the way to a pane."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cluster.clusters import Cluster
from textual.pilot import Pilot
from waiting import screen_text, until, until_shown

from pymr.wire.rows import PeerRow
from tui.app import ConsoleApp
from tui.model.state import ClusterState
from tui.screens.attach import AttachScreen
from tui.screens.workers import WorkersScreen, why_none
from tui.widgets.pane.tile import PaneTile

Lend = Callable[..., Cluster]
Make = Callable[..., ConsoleApp]

TALKING = """
    def words(line, auxiliary_data):
        print("[bold]seen[/]", line)
        breakpoint()
        return []
"""
TOTAL = """
    def total(group, auxiliary_data):
        return [(group.key, sum(group.values))]
"""


def talking(cluster: Cluster) -> str:
    """The worker that has put out a line and waits."""
    cluster.project(TALKING, TOTAL)
    cluster.feed("alpha", "text.txt", "one line")
    cluster.submit()

    def look() -> str | None:
        return next((row.name for row in cluster.client.workers() if row.state == "breakpoint"), None)

    name: str = cluster.wait_for(look, what="a worker at its breakpoint")
    return name


def workers_of(pilot: Pilot[object]) -> WorkersScreen:
    assert isinstance(pilot.app, ConsoleApp)
    assert isinstance(pilot.app.shown_screen, WorkersScreen)
    return pilot.app.shown_screen


def tiles(pilot: Pilot[object]) -> list[str]:
    """The workers of the tiles that are visible."""
    found = workers_of(pilot).query(PaneTile)
    return [tile.worker.name for tile in found if tile.visible and tile.worker is not None]


def focused(pilot: Pilot[object]) -> str:
    tile = pilot.app.focused
    return tile.worker.name if isinstance(tile, PaneTile) and tile.worker is not None else ""


@pytest.mark.parametrize(
    ("peers", "said"),
    [
        ((), "Waiting for the cluster"),
        ((PeerRow(name="a", address="", data_address="", workers=2, alive=True),), "Waiting for the cluster"),
        ((PeerRow(name="a", address="", data_address="", workers=2),), "No peer that is alive has a worker"),
        ((PeerRow(name="a", address="", data_address="", alive=True),), "No peer that is alive has a worker"),
    ],
)
def test_that_there_are_no_workers_is_said_only_when_it_is_known(
    peers: tuple[PeerRow, ...], said: str
) -> None:
    assert why_none(ClusterState(peers=peers, answered_at=1.0)).startswith(said)


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_every_worker_has_a_live_tile_and_the_busy_one_is_first(
    lend_cluster: Lend, make_console: Make, size: tuple[int, int]
) -> None:
    cluster = lend_cluster()
    busy = talking(cluster)
    async with make_console(cluster).run_test(size=size) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "[bold]seen[/] one line")
        await until_shown(pilot, f"◆ {busy} breakpoint")
        await until_shown(pilot, "3 workers, 1 busy")

        assert tiles(pilot)[0] == busy
        assert sorted(tiles(pilot)) == ["alpha/0", "beta/0", "gamma/0"]
        assert max(map(len, screen_text(pilot).split("\n"))) <= size[0]


async def test_enter_attaches_and_back_leads_to_the_same_tile(lend_cluster: Lend, make_console: Make) -> None:
    cluster = lend_cluster()
    async with make_console(cluster).run_test(size=(120, 35)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: focused(pilot), "a tile to be focused")
        await pilot.press("right")
        await until(pilot, lambda: focused(pilot) == tiles(pilot)[1], "the second tile")
        chosen = focused(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, AttachScreen), "the attach screen")
        screen = pilot.app.screen
        assert isinstance(screen, AttachScreen)
        await until(pilot, lambda: screen.worker == chosen, "its pane")
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is not screen, "the workers")
        await pilot.pause()

        assert focused(pilot) == chosen


async def test_filters_by_text_job_and_peer(lend_cluster: Lend, make_console: Make) -> None:
    cluster = lend_cluster()
    busy = talking(cluster)
    async with make_console(cluster).run_test(size=(120, 35)) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "3 workers, 1 busy")
        await pilot.press("j")
        await until(pilot, lambda: tiles(pilot) == [busy], "the workers of the job")
        by_job = screen_text(pilot)
        await pilot.press("j", "n")
        await until(pilot, lambda: tiles(pilot) == ["alpha/0"], "those of the first peer")
        await pilot.press("escape", "slash", *"gamma")
        await until(pilot, lambda: tiles(pilot) == ["gamma/0"], "those that are filtered")
        await pilot.press("enter")
        await until(pilot, lambda: focused(pilot) == "gamma/0", "the tile to have the keys")
        await pilot.press("escape")
        await until(pilot, lambda: len(tiles(pilot)) == 3, "all of them")

        assert f"job {cluster.job}" in by_job


async def test_the_console_opens_it_for_a_job_or_a_peer(lend_cluster: Lend, make_console: Make) -> None:
    cluster = lend_cluster()
    console = make_console(cluster)
    async with console.run_test(size=(120, 35)) as pilot:
        await until_shown(pilot, "live")
        console.open_workers(peer="beta")
        await until_shown(pilot, "peer beta")
        await until(pilot, lambda: tiles(pilot) == ["beta/0"], "the workers of beta")


async def test_pages_when_there_is_room_for_one_only(lend_cluster: Lend, make_console: Make) -> None:
    cluster = lend_cluster()
    async with make_console(cluster).run_test(size=(40, 12)) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "page 1 of 3")
        first = tiles(pilot)
        await until(pilot, lambda: focused(pilot), "a tile to be focused")
        await pilot.press("pagedown")
        await until_shown(pilot, "page 2 of 3")
        second = tiles(pilot)
        await pilot.resize_terminal(200, 50)
        await until(pilot, lambda: len(tiles(pilot)) == 3, "all of them to fit")

        assert len(first) == len(second) == 1
        assert first != second
        assert focused(pilot) == second[0]


async def test_a_double_click_attaches(lend_cluster: Lend, make_console: Make) -> None:
    cluster = lend_cluster()
    async with make_console(cluster).run_test(size=(120, 35)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: len(tiles(pilot)) == 3, "the tiles")
        name = tiles(pilot)[1]
        await pilot.click(list(workers_of(pilot).query(PaneTile))[1], times=2)
        await until(pilot, lambda: isinstance(pilot.app.screen, AttachScreen), "the attach screen")
        screen = pilot.app.screen
        assert isinstance(screen, AttachScreen)
        await until(pilot, lambda: screen.worker, "its pane")

        assert screen.worker == name


async def test_nothing_is_read_while_another_screen_is_shown(lend_cluster: Lend, make_console: Make) -> None:
    cluster = lend_cluster()
    console = make_console(cluster)
    async with console.run_test(size=(120, 35)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: len(tiles(pilot)) == 3, "the tiles")
        wanted = dict(console.pane_feed._watches)
        await pilot.press("4")
        await until(pilot, lambda: not console.pane_feed._watches, "nothing to be wanted")

        assert len(wanted) == 3

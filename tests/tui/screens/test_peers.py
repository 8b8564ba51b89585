"""The screen of peers: what it says of a machine, and the ways from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from asked_console import asked_console
from cluster.clusters import Cluster
from job_samples import ANSWERED_AT
from still_cluster import still_state
from textual.content import Content
from textual.pilot import Pilot
from waiting import screen_text, show_state, until, until_shown

from pymr.wire.protocol import MachineFigures
from pymr.wire.rows import PeerRow
from tui.app import ConsoleApp
from tui.model.state import ClusterState
from tui.render import peer_cells
from tui.render.peer_cells import (
    PEER_COLUMNS,
    PeerLine,
    figure_of,
    peer_cell,
    peer_lines,
    sorted_lines,
    spark_of,
)
from tui.render.styled_line import MUTED
from tui.render.table_columns import place_columns
from tui.screens.peers import PeersScreen
from tui.screens.workers import WorkersScreen
from tui.settings.options import Options
from tui.widgets.peer_card import PeerCard
from tui.widgets.table import Table

MakeConsole = Callable[..., ConsoleApp]

MACHINE = MachineFigures(
    cpu_percent=43.2, memory_bytes=8_000_000_000, memory_used_bytes=3_100_000_000, disk_bytes=50_000_000_000,
    disk_free_bytes=20_000_000_000, network_received_per_second=1_500_000.0, load=1.25,
)  # fmt: skip


def peer(name: str = "alpha", **fields: Any) -> PeerRow:
    values: dict[str, Any] = {
        "name": name, "address": "127.0.0.1:7700", "data_address": "127.0.0.1:7701", "alive": True,
        "state": "alive", "heard": 0.3, "workers": 2, "busy": 1, "version": "1.0",
        "pid": 77, "machine": MACHINE,
    }  # fmt: skip
    return PeerRow(**(values | fields))


def replace_machine(**figures: Any) -> MachineFigures:
    return msgspec.structs.replace(MACHINE, **figures)


def told(row: PeerRow) -> dict[str, str]:
    """What its cells say."""
    line = PeerLine(row, (row.machine,), False)
    return {column.key: str(peer_cell(line, column.key)) for column in PEER_COLUMNS}


async def test_figures_of_peers_that_nobody_tells_of_any_more_say_from_when_they_are() -> None:
    async with asked_console(size=(120, 36)) as (app, pilot):
        first = replace(still_state()[0], peers_at=ANSWERED_AT)
        app.state = first
        await pilot.press("4")
        await until_shown(pilot, "beta ★ leads")
        fresh = screen_text(pilot)
        app.state = replace(first, peers_at=time.monotonic() - 42.0)
        app.show_on(app.shown_screen)
        await until_shown(pilot, "As of ")
        lines = [line for line in app.screen.query_one(Table).rows if isinstance(line, PeerLine)]
        app.state = first
        app.show_on(app.shown_screen)
        await until(pilot, lambda: "As of" not in screen_text(pilot), "fresh figures again")

    assert "As of" not in fresh
    assert [line.is_old for line in lines] == [True] * 3
    cell = peer_cell(lines[1], "state")
    assert isinstance(cell, Content) and [span.style for span in cell.spans] == [MUTED]


def test_figures_of_a_machine_are_written_for_people() -> None:
    cells = told(peer(leader=True, epoch=5))

    assert cells["name"] == "alpha ★ leads"
    assert cells["state"] == "✓ alive"
    assert cells["busy"] == "1/2"
    assert cells["cpu"] == "43%"
    assert cells["memory"] == "3.1/8.0 GB"
    assert cells["disk"] == "20.0 GB"
    assert cells["received"] == "1.5 MB/s"
    assert cells["load"] == "1.2"
    assert cells["heard"] == "0.3 s"
    assert (cells["pid"], cells["epoch"], cells["version"]) == ("77", "5", "1.0")


def test_a_peer_that_is_gone_shows_no_figures_of_before() -> None:
    cells = told(peer(alive=False, state="dead", heard=40.0))

    assert cells["state"] == "✗ dead"
    assert {cells[name] for name in ("busy", "cpu", "memory", "disk", "load", "received")} == {"-"}
    assert cells["cpu_spark"] == ""
    assert told(peer(alive=False, state="unknown", heard=None))["heard"] == "-"
    since_new_leader = peer(alive=False, state="dead", heard=None, unheard=185.0)
    assert told(since_new_leader)["heard"] == ">3:05"
    assert told(peer(heard=None, unheard=999_999.0))["heard"] == ">12 days"


def test_the_card_of_a_peer_says_what_is_wrong_with_its_disk() -> None:
    row = peer(machine=replace_machine(disk_problem="disk full: /data/alpha has 0 bytes free"))
    words = str(PeerCard()._disk(PeerLine(row, (), False)))

    assert words.split("   ", 1)[0].startswith("disk")
    assert words.endswith("disk full: /data/alpha has 0 bytes free")


@pytest.mark.parametrize(
    ("heard", "alive", "colour"),
    [(0.5, True, []), (2.5, True, ["$warning"]), (6.0, True, ["$error"]), (0.5, False, ["$error"])],
)
def test_a_late_heartbeat_is_seen(heard: float, alive: bool, colour: list[str]) -> None:
    cell = cast(Any, peer_cell(PeerLine(peer(heard=heard, alive=alive), (), False), "heard"))

    assert [span.style for span in cell.spans if span.style] == colour


def test_a_version_other_than_that_of_most_is_marked() -> None:
    state = ClusterState(peers=(peer("a"), peer("b", version="0.9"), peer("c"), peer("d", version="")))
    versions = [str(peer_cell(line, "version")) for line in peer_lines(state)]

    assert versions == ["1.0", "0.9 ≠", "1.0", "-"]


def test_sparklines_end_with_the_newest_sample() -> None:
    samples = [MachineFigures(cpu_percent=percent) for percent in (0.0, 50.0, 100.0)]
    idle = [MachineFigures(network_sent_per_second=900.0)]

    assert spark_of(samples, "cpu", 5) == "   ▄▇"
    assert spark_of(samples, "cpu", 2) == "▄▇"
    assert spark_of([], "memory", 4) == "    "
    assert spark_of(idle, "sent", 2) == " ▁"
    assert figure_of(MachineFigures(), "memory") == "-"


@pytest.mark.parametrize("width", [80, 120, 200])
def test_columns_fit_and_the_most_wanted_are_there(width: int) -> None:
    placed = place_columns(PEER_COLUMNS, width)

    assert all(one.x + one.width < width for one in placed)
    assert {"name", "state", "busy", "cpu", "cpu_spark", "memory", "heard"} <= {
        one.column.key for one in placed
    }
    assert len(placed) == len(PEER_COLUMNS) or width < 200


@pytest.fixture
async def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConsoleApp:
    monkeypatch.setenv("PYMR_TUI_CONFIG", str(tmp_path / "none.toml"))
    return ConsoleApp(Options(), None, "There is none.")


async def peers_of(pilot: Pilot[Any]) -> PeersScreen:
    """The screen, of a console without a cluster."""
    await until_shown(pilot, "There is no cluster yet")
    pilot.app.pop_screen()
    await pilot.press("4")
    return cast(PeersScreen, pilot.app.screen)


async def test_hundreds_of_peers_scroll_and_keep_the_cursor(offline: ConsoleApp) -> None:
    async with offline.run_test(size=(80, 24)) as pilot:
        screen = await peers_of(pilot)
        state = ClusterState(peers=tuple(peer(f"peer-{number:03}") for number in range(300)))
        show_state(offline, state)
        await pilot.press("end")
        await until_shown(pilot, "peer-299")
        without_first = replace(state, peers=state.peers[10:])
        show_state(offline, without_first)
        await pilot.pause()

        assert screen.table.cursor_row is not None
        assert screen.table.cursor_row.row.name == "peer-299"
        assert " peer-299   ✓ alive   127.0.0.1:7700" in screen_text(pilot)


def test_peers_are_sorted_by_a_column_and_those_without_a_figure_stand_last() -> None:
    def names(column: str, is_reverse: bool = False) -> list[str]:
        busy = replace_machine(cpu_percent=99.0)
        rows = (peer("b"), peer("dead", alive=False, machine=busy), peer("a", machine=busy, busy=2))
        return [
            line.row.name for line in sorted_lines(peer_lines(ClusterState(peers=rows)), column, is_reverse)
        ]

    assert names("") == ["b", "dead", "a"]
    assert names("name") == ["a", "b", "dead"]
    assert names("cpu") == ["b", "a", "dead"]
    assert names("cpu", True) == ["a", "b", "dead"]
    assert {one.key for one in PEER_COLUMNS if one.may_sort} == set(peer_cells._SORT_KEYS)


async def test_keys_and_headers_sort_and_the_cursor_stays_on_its_peer(offline: ConsoleApp) -> None:
    async with offline.run_test(size=(80, 24)) as pilot:
        screen = await peers_of(pilot)
        show_state(offline, ClusterState(peers=(peer("beta"), peer("alpha"), peer("gamma"))))
        await pilot.press("o")
        await until_shown(pilot, "PEER ▲")
        ascending = [line.row.name for line in screen.table.rows]
        await pilot.press("O")
        await until_shown(pilot, "PEER ▼")
        descending = [line.row.name for line in screen.table.rows]
        selected = screen.table.cursor_row
        await pilot.click(screen.table, offset=(2, 0))
        await until(pilot, lambda: screen.table.rows[0].row.name == "beta", "the order of the configuration")
        await pilot.press("o", "o", "o")
        await until_shown(pilot, "BUSY▲")

        assert ascending == ["alpha", "beta", "gamma"]
        assert descending == ["gamma", "beta", "alpha"]
        assert selected is not None and selected.row.name == "beta"


@pytest.mark.parametrize("heard", [0.3, 59.0, 3_599.0, 99_999.0, 999_999.0])
def test_how_long_a_peer_was_not_heard_is_not_cut(heard: float) -> None:
    column = next(column for column in PEER_COLUMNS if column.key == "heard")

    assert len(told(peer(heard=heard))["heard"]) <= column.width


@pytest.mark.parametrize(("size", "has_card"), [((80, 24), True), ((60, 15), False), ((30, 8), False)])
async def test_in_a_low_terminal_the_table_has_all_of_the_room(
    offline: ConsoleApp, size: tuple[int, int], has_card: bool
) -> None:
    async with offline.run_test(size=(80, 24)) as pilot:
        screen = await peers_of(pilot)
        show_state(offline, ClusterState(peers=tuple(peer(f"peer-{number}") for number in range(9))))
        await pilot.resize_terminal(*size)
        await until(pilot, lambda: screen.query_one(PeerCard).display == has_card, "the card to fit")
        await until_shown(pilot, "peer-0")

        assert ("127.0.0.1:7700" in screen_text(pilot)) == has_card


async def test_a_peer_is_not_sought_for_ever(offline: ConsoleApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.screens.peers.SEEK_SECONDS", -1.0)
    async with offline.run_test(size=(80, 24)) as pilot:
        screen = await peers_of(pilot)
        show_state(offline, ClusterState(peers=(peer("alpha"), peer("beta"))))
        screen.select_peer("late")
        show_state(offline, ClusterState(peers=(peer("alpha"), peer("beta"), peer("late"))))

        assert screen.table.cursor == 0


async def test_a_peer_leads_to_its_workers(
    lend_cluster: Callable[[], Cluster], make_console: MakeConsole
) -> None:
    cluster = lend_cluster()
    app = make_console(cluster)
    async with app.run_test(size=(120, 35)) as pilot:
        await pilot.press("4")
        await until_shown(pilot, f"{cluster.leader()} ★ leads")
        await until(pilot, lambda: len(app.state.peers) == 3, "all peers")
        for key in ("w", "enter"):
            await pilot.press("4", "end", key)
            await until(pilot, lambda: app.current_mode == "workers", "the workers")

            assert cast(WorkersScreen, app.shown_screen)._peer == "gamma"


async def test_a_peer_that_is_silent_is_marked(
    lend_cluster: Callable[[], Cluster], make_console: MakeConsole
) -> None:
    cluster = lend_cluster()
    app = make_console(cluster)
    silent = cluster.followers()[0]
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: len(app.state.peers) == 3, "all peers")
        cluster.pause(silent)
        await until_shown(pilot, "✗ dead", timeout_s=30)
        cluster.resume(silent)
        await until(pilot, lambda: all(row.alive for row in app.state.peers), "the peer to be back", 30)

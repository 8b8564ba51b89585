"""One pane on a real cluster: following, searching, saving, typing, and what finished runs have left."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster.clusters import Cluster, ordered
from textual.pilot import Pilot
from textual.widgets import Input
from waiting import cursor_cell, screen_text, until, until_shown

from pymr.wire.rows import PanePlace, WorkerRow
from tui.app import ConsoleApp
from tui.screens.attach import AttachScreen

Lend = Callable[..., Cluster]
Make = Callable[..., ConsoleApp]

TOTAL = """
    def total(group, auxiliary_data):
        return [(group.key, sum(group.values))]
"""
BREAKING = """
    def words(line, auxiliary_data):
        if line.startswith("odd"):
            breakpoint()
        return [(word, 1) for word in line.split()]
"""
TALKING = """
    def words(line, auxiliary_data):
        for number in range(60_000):
            print(f"{number:06d} of many lines that are put out by this function")
            if number == 777:
                print("a \\x1b[33mneedle\\x1b[0m in them")
        return [(word, 1) for word in line.split()]
"""
FAILING = """
    def words(line, auxiliary_data):
        for number in range(2_000):
            print("before", number)
        return [(line, 1 / int(line))]
"""

CRASHING = """
    def words(line, auxiliary_data):
        import os, sys
        for number in range(200):
            print("before", number)
        sys.stdout.flush()
        os.kill(os.getpid(), 11)
        return []
"""
FAILING_SCRIPT = """for number in range(2_000):
    print("before", number)
{}["CHF"]
"""


def attach_of(pilot: Pilot[object]) -> AttachScreen:
    assert isinstance(pilot.app, ConsoleApp)
    assert isinstance(pilot.app.shown_screen, AttachScreen)
    return pilot.app.shown_screen


async def opened(
    pilot: Pilot[object], worker: str, run_id: str = "", offset: int | None = None
) -> AttachScreen:
    """The attach screen with a pane."""
    await until_shown(pilot, "live")
    assert isinstance(pilot.app, ConsoleApp)
    pilot.app.open_pane(worker, run_id, offset)
    await until(pilot, lambda: isinstance(pilot.app.screen, AttachScreen), "the attach screen")
    screen = attach_of(pilot)
    await until(pilot, lambda: screen.view.buffer.end and screen.run_id, "output")
    return screen


def at_breakpoint(cluster: Cluster) -> WorkerRow:
    """A worker that waits at a breakpoint()."""
    cluster.project(BREAKING, TOTAL)
    cluster.feed("alpha", "text.txt", "even line", "odd line", "even line")
    cluster.submit(task_timeout_seconds=1, max_attempts=1)

    def look() -> WorkerRow | None:
        return next((row for row in cluster.client.workers() if row.state == "breakpoint"), None)

    found: WorkerRow = cluster.wait_for(look, what="a worker at its breakpoint")
    return found


def plain(pane: bytes) -> bytes:
    """A pane as it is saved."""
    return re.sub(rb"\x1b\[[0-9;]*m", b"", pane).replace(b"\r\n", b"\n")


def has_talked(cluster: Cluster) -> tuple[str, str, bytes]:
    """(worker, run, all that it has put out) of a run that has ended."""
    cluster.project(TALKING, TOTAL)
    cluster.feed("alpha", "text.txt", "one line")
    cluster.submit()
    run_id = cluster.succeed().run_id
    assert run_id is not None
    worker, pane = cluster.client.panes_of(run_id)[0], b""
    while (piece := cluster.client.read_pane(worker, run_id, len(pane))).data:
        pane += piece.data
    return worker, run_id, pane


async def test_a_breakpoint_is_answered_and_the_keyboard_given_back(
    lend_cluster: Lend, make_console: Make
) -> None:
    cluster = lend_cluster()
    worker = at_breakpoint(cluster).name
    async with make_console(cluster).run_test(size=(120, 35)) as pilot:
        screen = await opened(pilot, worker)
        await until_shown(pilot, "Stopped at a breakpoint: press i to answer")
        await until_shown(pilot, "(Pdb)")
        await pilot.press("i")
        await until_shown(pilot, f"Every key goes to {worker}")
        await until_shown(pilot, "you type")
        await pilot.press(*"p line", "enter")
        await until_shown(pilot, "'odd line'")
        await pilot.press("q", "1", "ctrl+u", "ctrl+p", "escape", "ctrl+u")
        still = pilot.app.screen
        await pilot.press("ctrl+a", "d")
        await until(pilot, lambda: not screen.is_typing and not screen.takes_keys, "the keyboard to be free")
        await until(pilot, lambda: not cluster.client.worker(worker).holder, "nobody to hold it")
        await pilot.press("i")
        await until_shown(pilot, f"Every key goes to {worker}")
        await pilot.press("enter", "c", "enter")
        await until(pilot, lambda: not screen.is_typing, "typing to end with the run", 30.0)

        assert still is screen
        assert ordered(cluster.output()) == [["even", 2], ["line", 3], ["odd", 1]]


async def test_lines_are_edited_at_a_breakpoint_and_the_cursor_is_seen(
    lend_cluster: Lend, make_console: Make
) -> None:
    cluster = lend_cluster()
    worker = at_breakpoint(cluster).name
    async with make_console(cluster).run_test(size=(100, 30)) as pilot:
        screen = await opened(pilot, worker)
        await until_shown(pilot, "(Pdb)")
        unseen = cursor_cell(pilot)
        await pilot.press("i")
        await until_shown(pilot, f"Every key goes to {worker}")
        await pilot.press(*"p auxil", "tab", *" or lne")
        await until_shown(pilot, "p auxiliary_data or lne")
        await pilot.press("left", "left", "i")
        await until_shown(pilot, "p auxiliary_data or line")
        await until(pilot, lambda: (cursor_cell(pilot) or ())[1:] == (28, "n"), "the cursor on the n")
        await pilot.press("end", *" * 2", "enter")
        await until_shown(pilot, "'odd lineodd line'")
        await pilot.press("up", "backspace", "3", "enter")
        await until_shown(pilot, "'odd lineodd lineodd line'")
        await pilot.press("c", "enter")
        await until(pilot, lambda: not screen.is_typing, "typing to end with the run", 30.0)

        assert unseen is None
        assert cursor_cell(pilot) is None


async def test_who_types_is_told_and_nobody_else_may(lend_cluster: Lend, make_console: Make) -> None:
    cluster = lend_cluster()
    worker = at_breakpoint(cluster).name
    cluster.client.attach(worker, "bob@elsewhere:7")
    async with make_console(cluster).run_test(size=(120, 35)) as pilot:
        screen = await opened(pilot, worker)
        await pilot.press("i")
        await until_shown(pilot, "bob@elsewhere")
        await until(pilot, lambda: "typing into" in screen.notice.words, "the refusal")

        assert not screen.takes_keys


async def test_a_console_that_changes_nothing_does_not_type(lend_cluster: Lend, make_console: Make) -> None:
    cluster = lend_cluster()
    worker = at_breakpoint(cluster).name
    async with make_console(cluster, is_read_only=True).run_test(size=(120, 35), notifications=True) as pilot:
        screen = await opened(pilot, worker)
        await pilot.press("i")
        await until_shown(pilot, "--read-only")

        assert not screen.is_typing


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_the_output_of_a_finished_run_is_read_searched_and_saved(
    lend_cluster: Lend,
    make_console: Make,
    size: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    cluster = lend_cluster()
    worker, run_id, pane = has_talked(cluster)
    async with make_console(cluster).run_test(size=size) as pilot:
        screen = await opened(pilot, worker, run_id)
        await until_shown(pilot, "059999 of many lines")
        await pilot.press("slash", *"a needle", "enter")
        await until_shown(pilot, "went on from the beginning")
        await until_shown(pilot, "a needle in them")
        lines = screen_text(pilot).split("\n")
        place = next(index for index, line in enumerate(lines) if "needle in" in line)
        await pilot.press("escape", "home")
        await until_shown(pilot, pane.split(b"\r\n")[0].decode())
        await pilot.press("S")
        await until_shown(pilot, ".log")
        await pilot.press("enter")
        await until(pilot, lambda: not screen.prompt.display, "the pane to be saved")
        saved = next(tmp_path.glob("*.log"))
        await pilot.press("S", "enter")
        await until_shown(pilot, "Enter replaces")
        await pilot.press("escape")

        assert "000777" in lines[place - 1]
        assert "000778" in lines[place + 1]
        assert size[1] // 3 <= place <= size[1] * 2 // 3
        assert saved.name == f"{worker.replace('/', '-')}-{run_id}.log"
        assert saved.read_bytes() == plain(pane)


@pytest.mark.parametrize("size", [(80, 24), (120, 35)])
async def test_what_cannot_be_saved_is_told_and_nothing_is_replaced(
    lend_cluster: Lend, make_console: Make, size: tuple[int, int], tmp_path: Path
) -> None:
    cluster = lend_cluster()
    worker, run_id, pane = has_talked(cluster)
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "other").write_text("other")
    async with make_console(cluster).run_test(size=size) as pilot:
        screen = await opened(pilot, worker, run_id)
        entry, told = screen.prompt.query_one(Input), ""
        await pilot.press("S")
        for path, reason in [
            ("~no-such-user/x", "there is no such user"),
            (f"/tmp/{'n' * 300}", "File name too long"),
            ("a\0b", "characters that no path can have"),
            ("/dev/full", "no regular file has that name"),
            (str(tmp_path), "a folder has that name"),
            ("/proc/no/such", "No such file"),
        ]:
            entry.value = path
            await pilot.press("enter")
            await until_shown(pilot, reason if size[0] > 80 else reason[:12])
            told += screen.prompt.purpose
        entry.value = str(tmp_path / "mine")
        await pilot.press("enter")
        await until_shown(pilot, "Enter replaces")
        entry.value = str(tmp_path / "other")
        await pilot.press("enter")
        await pilot.pause()
        kept = (tmp_path / "other").read_text()
        await pilot.press("enter")
        await until(pilot, lambda: not screen.prompt.display, "the pane to be saved")

        assert told == "save" * 6
        assert (tmp_path / "mine").read_text() == "mine"
        assert kept == "other"
        assert (tmp_path / "other").read_bytes() == plain(pane)


async def test_what_is_above_is_loaded_while_scrolling(lend_cluster: Lend, make_console: Make) -> None:
    cluster = lend_cluster()
    worker, run_id, pane = has_talked(cluster)
    async with make_console(cluster).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, worker, run_id)
        await until_shown(pilot, "059999 of many lines")
        before = screen.view.buffer.size
        screen.view.action_move(-screen.view.buffer.line_count)
        await until(pilot, lambda: screen.view.buffer.size > before, "more to be loaded")

        assert screen.view.buffer.end == len(pane)
        assert not screen.view.is_following


def failure_of(cluster: Cluster) -> PanePlace:
    """Where the job's run has failed, at its end."""
    cluster.finish()
    place = cluster.client.history(cluster.job)[0].failed_at
    assert place is not None
    return place


async def test_a_failure_is_shown_from_its_traceback_on(lend_cluster: Lend, make_console: Make) -> None:
    cluster = lend_cluster()
    cluster.project(FAILING, TOTAL)
    cluster.feed("alpha", "text.txt", "0")
    cluster.submit(max_attempts=1)
    place = failure_of(cluster)
    async with make_console(cluster).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, place.worker, place.run_id, place.offset)
        await until_shown(pilot, "Traceback (most recent call last)")
        await until_shown(pilot, "ZeroDivisionError")

        assert not screen.view.is_following


async def test_another_run_of_the_worker_is_chosen(lend_cluster: Lend, make_console: Make) -> None:
    cluster = lend_cluster()
    worker, run_id, _ = has_talked(cluster)
    cluster.project(BREAKING, TOTAL)
    cluster.feed("alpha", "text.txt", "odd line")
    async with make_console(cluster).run_test(size=(120, 35)) as pilot:
        screen = await opened(pilot, worker, run_id)
        await pilot.press("i")
        await until_shown(pilot, "This run has ended")
        await pilot.press("h")
        await until_shown(pilot, f"Runs that {worker} has output of")
        await until_shown(pilot, "succeeded")
        await pilot.press("enter")
        await until(pilot, lambda: pilot.app.screen is screen, "the dialog to close")
        await until_shown(pilot, "059999 of many lines")
        await pilot.press("right_square_bracket")
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.current_mode == "jobs", "the screen before")

        assert screen.run_id == run_id


async def test_without_a_pane_the_workers_are_offered(lend_cluster: Lend, make_console: Make) -> None:
    cluster = lend_cluster()
    async with make_console(cluster).run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "live")
        await pilot.press("3")
        await until_shown(pilot, "gamma/0")
        await pilot.press("down", "enter")
        await until(pilot, lambda: attach_of(pilot).worker, "a worker to be chosen")

        assert attach_of(pilot).worker == "beta/0"


async def test_a_crash_is_shown_from_what_python_says_of_it(lend_cluster: Lend, make_console: Make) -> None:
    cluster = lend_cluster()
    cluster.project(CRASHING, TOTAL)
    cluster.feed("alpha", "text.txt", "one line")
    cluster.submit(max_attempts=1)
    place = failure_of(cluster)
    async with make_console(cluster).run_test(size=(80, 24)) as pilot:
        await opened(pilot, place.worker, place.run_id, place.offset)
        await until_shown(pilot, "Fatal Python error: Segmentation fault")


async def test_a_script_that_fails_is_shown_from_its_traceback_on(
    lend_cluster: Lend, make_console: Make, tmp_path: Path
) -> None:
    cluster = lend_cluster()
    script = tmp_path / "clean.py"
    script.write_text(FAILING_SCRIPT)
    job = {"job_type": "script", "job_name": cluster.job, "job_priority": 1, "run_once": True}
    cluster.client.submit({**job, "script_location": str(script)}, tmp_path)
    place = failure_of(cluster)
    async with make_console(cluster).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, place.worker, place.run_id, place.offset)
        await until_shown(pilot, "Traceback (most recent call last)")
        await until_shown(pilot, "KeyError: 'CHF'")

        assert not screen.view.is_following

"""The threads of the disk: what is short waits for nothing long, and a run is removed in its turn."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from pymr.peer.loop import disk_threads
from pymr.peer.loop.disk_threads import Disk

LIMIT_S = 30.0


class Desk:
    """A disk, and what came of its work; `turn` is the loop."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self.disk = Disk(self._calls.put)
        self.done: list[str] = []
        self.errors: list[Exception] = []
        self._gates: list[threading.Event] = []

    def held(self, name: str) -> tuple[Callable[[], str], threading.Event]:
        """Work that goes on until the event is set."""
        gate = threading.Event()
        self._gates.append(gate)

        def work() -> str:
            assert gate.wait(LIMIT_S)
            return name

        return work, gate

    def do(self, kind: Any, work: Callable[[], str], run_id: str = "") -> None:
        self.disk.do(kind, work, self.done.append, self.errors.append, run_id=run_id)

    def until(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline, f"not in time; {self.done}, {self.errors}"
            self.turn(0.05)

    def turn(self, seconds: float = 0.0) -> None:
        try:
            self._calls.get(timeout=max(seconds, 0.001))()
        except Empty:
            return

    def end(self) -> None:
        for gate in self._gates:
            gate.set()
        self.disk.stop(LIMIT_S)


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.end()


@pytest.mark.parametrize("long", ["ask", "project", "plan", "publish", "clean"])
def test_what_is_short_does_not_wait_for_what_is_long(desk: Desk, long: Any) -> None:
    work, gate = desk.held("long")
    desk.do(long, work, "run-1")
    began = time.monotonic()
    desk.do("short", lambda: "short", "run-1")
    desk.until(lambda: desk.done)
    took = time.monotonic() - began
    before = list(desk.done)
    gate.set()
    desk.until(lambda: len(desk.done) == 2)

    assert (before, desk.done) == (["short"], ["short", "long"])
    assert took < 5.0, "a few milliseconds on a machine that is not busy"


def test_a_piece_of_short_work_that_hangs_holds_up_none_of_the_others(desk: Desk) -> None:
    work, _ = desk.held("hangs")
    desk.do("short", work)
    for number in range(20):
        desk.do("short", lambda number=number: f"{number}")  # type: ignore[misc]
    desk.until(lambda: len(desk.done) == 20)

    assert "hangs" not in desk.done


def test_a_removal_delays_no_other_run(desk: Desk) -> None:
    work, gate = desk.held("removed run-1")
    desk.disk.remove_run("run-1", work, desk.errors.append)
    desk.do("publish", lambda: "published run-2", "run-2")
    desk.disk.plan("run-3", lambda: "planned run-3", desk.done.append, desk.errors.append)
    desk.until(lambda: len(desk.done) == 2)
    gate.set()

    assert sorted(desk.done) == ["planned run-3", "published run-2"]


def test_a_run_is_removed_after_all_that_was_asked_for_it_before_and_before_what_comes_then(
    desk: Desk,
) -> None:
    order: list[str] = []

    def noting(name: str) -> Callable[[], str]:
        return lambda: order.append(name) or name  # type: ignore[func-returns-value]

    publishing, published = desk.held("published")
    writing, written = desk.held("written")
    desk.do("publish", publishing, "run-1")
    desk.do("short", writing, "run-1")
    desk.disk.remove_run("run-1", noting("removed"), desk.errors.append)
    desk.do("short", noting("folder made anew"), "run-1")
    desk.do("short", noting("other run"), "run-2")
    desk.until(lambda: order)
    written.set()
    desk.until(lambda: "written" in desk.done)
    before = list(order)
    published.set()
    desk.until(lambda: "folder made anew" in desk.done)

    assert before == ["other run"]
    assert order == ["other run", "removed", "folder made anew"]


def test_a_removal_that_fails_lets_the_others_go_on(desk: Desk) -> None:
    def fail() -> None:
        raise OSError("no")

    desk.disk.remove_run("run-1", fail, desk.errors.append)
    desk.do("short", lambda: "next", "run-1")
    desk.until(lambda: desk.done)

    assert (desk.done, [str(error) for error in desk.errors]) == (["next"], ["no"])


def test_a_plan_of_a_run_that_is_removed_meanwhile_is_not_made_and_not_told_of(desk: Desk) -> None:
    made: list[str] = []
    first, let_go = desk.held("planned run-1")
    desk.disk.plan("run-1", first, desk.done.append, desk.errors.append)
    desk.disk.plan("run-2", lambda: made.append("run-2"), desk.done.append, desk.errors.append)
    for run_id in ("run-1", "run-2"):
        desk.disk.remove_run(run_id, lambda run_id=run_id: made.append(f"no {run_id}"), desk.errors.append)  # type: ignore[misc]
    desk.do("short", lambda: "seen", "run-2")
    let_go.set()
    desk.until(lambda: desk.done and len(made) == 2)

    assert sorted(made) == ["no run-1", "no run-2"]
    assert (desk.done, desk.errors) == (["seen"], [])


def test_nothing_is_left_of_runs_that_are_over(desk: Desk) -> None:
    for number in range(50):
        desk.do("short", lambda: "x", f"run-{number}")
        desk.disk.remove_run(f"run-{number}", lambda: None, desk.errors.append)
    desk.until(lambda: not desk.disk._runs)

    assert len(desk.done) == 50


def test_slow_work_is_logged_by_its_name_and_its_result_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is called may be any callable, also one without a name of its own."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(disk_threads, "LONG_SECONDS", -1.0)
    monkeypatch.setattr(disk_threads, "_LOG_SECONDS", 0.0)
    desk.do("short", partial(str, "one"))
    desk.until(lambda: desk.done)

    assert desk.done == ["one"]
    assert desk.errors == []
    assert "the disk is slow: str took 0.0 s" in caplog.messages

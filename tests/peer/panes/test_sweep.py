"""The sweep of panes: by age, then by size, and last what tells of failures; never what is being written."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from pymr.config.cluster import PanesConfig
from pymr.peer.panes.panes import PaneStore, latest_run, read_pane
from pymr.peer.panes.sweep import SWEEP_SECONDS, KeptPane, PaneSweep, kept_panes, panes_to_remove

DAY_SECONDS = 86_400.0
NOW = 1_000 * DAY_SECONDS
KIB = 1 << 10


class AtOnce:
    """A thread that does things as they are asked for; with `store`, one that asks that."""

    def __init__(self, store: object | None = None) -> None:
        self._store = store

    def do(self, _: str, work: Callable[[], Any], on_done: Callable[[Any], object], on_error: object) -> None:
        on_done(work())

    def ask(
        self,
        work: Callable[[Any], Any],
        on_done: Callable[[Any], object],
        on_error: Callable[[Exception], object],
        timeout_s: float,
    ) -> None:
        try:
            answer = work(self._store)
        except OSError as error:
            on_error(error)
        else:
            on_done(answer)


class Runs:
    """What Redis knows of runs. failed: those that failed; None while it is out of reach."""

    def __init__(self) -> None:
        self.failed: set[str] | None = set()

    def failed_among(self, run_ids: Collection[str]) -> set[str]:
        if self.failed is None:
            raise OSError("out of reach")
        return self.failed & set(run_ids)


class Swept:
    """A folder of panes with its sweep, at the time NOW."""

    def __init__(self, folder: Path, keep_bytes: int = 1 << 30) -> None:
        self.folder = folder
        self.panes = PaneStore(folder)
        self.redis = Runs()
        self.present: list[str] = []
        self.tick: Callable[[], object]
        self.sweep = PaneSweep(
            self.panes, PanesConfig(keep_bytes=keep_bytes), AtOnce(self.redis), AtOnce(),  # type: ignore[arg-type]
            lambda: self.present, self._call_every, lambda: NOW,
        )  # fmt: skip

    def _call_every(self, seconds: float, function: Callable[[], object]) -> None:
        self.every = seconds
        self.tick = function

    def put(self, run_id: str, days_old: float, size: int = 1, slot: int = 0, *, closed: bool = True) -> None:
        pane = self.panes.open(slot, run_id)
        pane.append(b"x" * size)
        if closed:
            pane.close()
        folder = self.folder / str(slot) / run_id
        for path in (*folder.iterdir(), folder):
            os.utime(path, (NOW - days_old * DAY_SECONDS,) * 2)

    def kept(self) -> set[str]:
        return {pane.run_id for pane in kept_panes(self.folder)}


def test_output_goes_when_it_is_a_week_old(tmp_path: Path) -> None:
    swept = Swept(tmp_path)
    swept.put("run-old", 7.1)
    swept.put("run-failed-long-ago", 8)
    swept.redis.failed = {"run-failed-long-ago"}
    swept.put("run-new", 6.9)
    swept.put("run-other-slot", 7.1, slot=3)
    swept.sweep.sweep()

    assert swept.kept() == {"run-new"}


def test_output_of_failed_runs_goes_last_for_want_of_room(tmp_path: Path) -> None:
    swept = Swept(tmp_path, keep_bytes=1 << 20)
    swept.redis.failed = {"run-1", "run-3"}
    for number, days_old in enumerate([6, 5, 4, 3, 2, 1]):
        swept.put(f"run-{number}", days_old, 300 * KIB)
    swept.sweep.sweep()

    assert swept.kept() == {"run-1", "run-3", "run-5"}
    swept.put("run-6", 0, 900 * KIB)
    swept.redis.failed |= {"run-6"}
    swept.sweep.sweep()
    assert swept.kept() == {"run-6"}


def test_any_number_of_runs_is_kept_where_there_is_room(tmp_path: Path) -> None:
    swept = Swept(tmp_path)
    for number in range(100):
        swept.put(f"run-{number}", 1)
    swept.sweep.sweep()

    assert len(swept.kept()) == 100
    assert latest_run(tmp_path, 0) == "run-99"


def test_what_is_written_to_or_of_a_present_run_stays(tmp_path: Path) -> None:
    swept = Swept(tmp_path, keep_bytes=1 << 20)
    swept.put("run-open", 30, 2 << 20, closed=False)
    swept.put("run-present", 20, 2 << 20)
    swept.put("run-gone", 1, 2 << 20)
    swept.present = ["run-present"]
    swept.sweep.sweep()

    assert swept.kept() == {"run-open", "run-present"}


def test_nothing_goes_for_want_of_room_while_redis_cannot_say_what_failed(tmp_path: Path) -> None:
    swept = Swept(tmp_path, keep_bytes=1 << 20)
    swept.put("run-old", 8)
    swept.put("run-large", 2, 2 << 20)
    swept.redis.failed = None
    swept.sweep.sweep()

    assert swept.kept() == {"run-large"}
    swept.redis.failed = set()
    swept.sweep.sweep()
    assert swept.kept() == set()


@pytest.mark.parametrize("is_much", [True, False])
def test_much_output_is_looked_at_sooner(tmp_path: Path, is_much: bool) -> None:
    swept = Swept(tmp_path, keep_bytes=16 << 20)
    swept.tick()  # the first look is at once
    swept.put("run-old", 8, (1 << 20) + 1 if is_much else 1)
    swept.tick()

    assert (swept.kept() == set()) is is_much
    for _ in range(int(SWEEP_SECONDS / swept.every)):
        swept.tick()
    assert swept.kept() == set()


def test_small_panes_count_with_the_room_that_they_take(tmp_path: Path) -> None:
    swept = Swept(tmp_path)
    swept.put("run-1", 1, 1)
    (pane,) = kept_panes(tmp_path)

    assert pane.bytes >= 4 * KIB
    assert read_pane(tmp_path, 0, "run-1", 0, 10).data == b"x"


def test_no_more_is_removed_than_has_to_be() -> None:
    panes = [KeptPane(Path(f"0/run-{number}"), 10, number) for number in range(5)]

    assert panes_to_remove(panes, {"run-0"}, 15) == panes[1:3]
    assert panes_to_remove(panes, {"run-0"}, 0) == []
    assert panes_to_remove(panes, {"run-0"}, 100) == [*panes[1:], panes[0]]

"""Nothing is done under an epoch that could be forgotten; a disk that is full ends no peer."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster.small_disks import small_disk

from pymr.control.follower.events import EndWorker, PeerCommand, ReadJobs, Remember, SendReport
from pymr.peer.disk.local_state import LocalState
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.epoch_guard import COMMANDS_HELD_MAX, EpochGuard
from pymr.wire.protocol import Report


class Desk:
    """A guard with a disk that may be full, and a loop. done: what was carried out, and remembered."""

    def __init__(self) -> None:
        self.is_full = self.hangs = False
        self.kept = 0
        self.done: list[PeerCommand | int] = []
        self.ended = 0
        self.later: list[Callable[[], object]] = []
        self.under_way: list[tuple[Any, Any, Any]] = []
        self.guard = EpochGuard(
            "a",
            "/data/a/state",
            memory=self,
            do=self.do,
            carry_out=self.done.append,
            call_later=lambda seconds, function: self.later.append(function),
            end=self.end,
        )

    def has(self, incarnation: str, epoch: int) -> bool:
        return epoch <= self.kept

    def remember(self, incarnation: str, epoch: int) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.kept = epoch
        self.done.append(epoch)

    def do(self, work: Any, on_done: Any, on_error: Any) -> None:
        if self.hangs:
            self.under_way.append((work, on_done, on_error))
            return
        try:
            work()
        except OSError as error:
            on_error(error)
        else:
            on_done(None)

    def disk_goes_on(self) -> None:
        self.hangs = False
        under_way, self.under_way = self.under_way, []
        for work in under_way:
            self.do(*work)

    def end(self) -> None:
        self.ended += 1

    def pass_time(self) -> None:
        later, self.later = self.later, []
        for function in later:
            function()


def report() -> SendReport:
    told = Report(incarnation="i", epoch=2, peer="a", boot=1, sequence=1, version="1", pid=1, slots=1)
    return SendReport("b", told)


def test_commands_wait_in_their_order_until_the_epoch_is_written_down() -> None:
    desk = Desk()
    desk.guard.take(Remember("i", 1))
    desk.is_full = True
    for command in (EndWorker(0), Remember("i", 2), EndWorker(1), report(), Remember("i", 3), EndWorker(2)):
        desk.guard.take(command)
    desk.pass_time()

    assert desk.done == [1, EndWorker(0)]
    assert (
        "a takes no part" in desk.guard.problem
        and "disk full: writing to /data/a/state" in desk.guard.problem
    )

    desk.is_full = False
    desk.pass_time()

    assert desk.done == [1, EndWorker(0), 2, EndWorker(1), 3, EndWorker(2)]
    assert (desk.guard.problem, desk.later, desk.ended) == ("", [], 0)


def test_behind_a_disk_that_hangs_all_but_reports_waits_for_the_epoch() -> None:
    desk = Desk()
    desk.guard.take(Remember("i", 1))
    desk.hangs = True
    told = report()
    for command in (Remember("i", 1), EndWorker(0), Remember("i", 2), EndWorker(1), told, Remember("i", 3)):
        desk.guard.take(command)
    desk.guard.take(EndWorker(2))

    assert desk.done == [1, EndWorker(0), told]
    assert desk.guard.problem == ""

    desk.disk_goes_on()

    assert desk.done == [1, EndWorker(0), told, 2, EndWorker(1), 3, EndWorker(2)]


def test_an_epoch_that_the_thread_of_the_lease_has_kept_delays_nothing() -> None:
    desk = Desk()
    desk.kept = 2
    desk.hangs = True
    desk.guard.take(Remember("i", 2))
    desk.guard.take(EndWorker(0))

    assert desk.done == [EndWorker(0)]


def test_a_peer_for_which_too_much_would_wait_ends() -> None:
    desk = Desk()
    desk.is_full = True
    desk.guard.take(Remember("i", 2))
    for _ in range(COMMANDS_HELD_MAX):
        desk.guard.take(EndWorker(1))

    assert desk.ended == 1 and desk.done == []


def test_the_job_table_is_read_while_the_disk_is_full_however_long_that_is() -> None:
    desk = Desk()
    desk.is_full = True
    desk.guard.take(Remember("i", 2))
    for number in range(COMMANDS_HELD_MAX + 1):
        desk.guard.take(ReadJobs(number))

    assert desk.ended == 0 and len(desk.done) == COMMANDS_HELD_MAX + 1


def test_a_peer_that_ends_behind_a_disk_that_hangs_says_why(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.hangs = True
    desk.guard.take(Remember("i", 2))
    for _ in range(COMMANDS_HELD_MAX + 1):
        desk.guard.take(EndWorker(1))

    assert desk.ended == 1
    assert caplog.messages == [
        "the epoch has not been written to /data/a/state yet, and too much waits for that: this peer ends"
    ]


def test_the_state_is_written_down_on_a_full_disk_as_space_is_kept_for_it(tmp_path: Path) -> None:
    with small_disk(tmp_path / "a") as disk:
        state = LocalState(PeerPaths(str(disk.folder)))
        disk.fill()
        state.remember("life", 7)
        state.remember("life", 8)
        state.close()
        again = LocalState(PeerPaths(str(disk.folder)))

        assert (again.incarnation, again.epoch, again.boot) == ("life", 8, state.boot + 1)

        again.close()

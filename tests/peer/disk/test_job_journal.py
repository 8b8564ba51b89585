"""The job table on a peer's disk: a snapshot, what has changed since, and what a loss of power leaves."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from pymr.base.errors import DiskError
from pymr.control.stored_state import JobChanges, JobRecord, JobState
from pymr.peer.disk import job_table
from pymr.peer.disk.job_journal import GatheredChanges, JobJournal, JobTableSnapshot
from pymr.peer.disk.job_table import KEEP_SECONDS, SNAPSHOT_SECONDS, JobTableCopy
from pymr.peer.disk.local_state import LocalState
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.store.store import StoreUnavailable

LIFE = "life-1"


def job(name: str, change: int, **fields: Any) -> JobRecord:
    return JobRecord(
        name=name, version=1, change=change, fields={"job_name": name, **fields}, project_hash="",
        submitted_at=1.5, cycle=2, seconds=0.5,
    )  # fmt: skip


def changed(change: int, *jobs: JobRecord, deleted: tuple[str, ...] = (), **more: Any) -> JobChanges:
    return JobChanges(change, jobs, deleted, more.pop("is_whole", False), False, **more)


TABLE = JobTableSnapshot(LIFE, 7, (job("a", 3), job("b", 7)), 2, {"a": JobState("a-000001", "x")}, True)


@pytest.fixture
def kept(tmp_path: Path) -> JobJournal:
    return JobJournal(str(tmp_path / "jobs"))


def reopened(kept: JobJournal) -> JobJournal:
    """As the next life of the daemon finds it."""
    kept.close()
    return JobJournal(kept._path)


def test_a_table_is_kept_with_its_cycle_and_what_was_consumed(kept: JobJournal) -> None:
    kept.write(TABLE)

    assert reopened(kept).load() == TABLE


def test_what_has_changed_since_is_read_with_it(kept: JobJournal) -> None:
    kept.write(TABLE)
    kept.add(LIFE, changed(8, job("a", 8, job_priority=3), states={"b": JobState("b-000002", "y")}))
    kept.add(LIFE, changed(9, job("c", 9), deleted=("b",), cycle=3))
    again = reopened(kept)
    table = again.load()
    again.add(LIFE, changed(10, job("d", 10), cycle=3))
    later = reopened(again).load()

    assert table is not None and later is not None
    assert (table.change, table.cycle, table.paused) == (9, 3, False)
    assert table.jobs == (job("a", 8, job_priority=3), job("c", 9))
    assert table.states == {"a": JobState("a-000001", "x"), "b": JobState("b-000002", "y")}
    assert later.change == 10 and [one.name for one in later.jobs] == ["a", "c", "d"]


def test_a_table_of_another_life_takes_the_place_of_all(kept: JobJournal) -> None:
    kept.write(TABLE)
    kept.add(LIFE, changed(8, job("c", 8)))
    kept.add("life-2", changed(2, job("z", 2), is_whole=True))
    kept.add("life-2", changed(3, job("y", 3)))
    table = reopened(kept).load()

    assert table is not None
    assert (table.incarnation, table.change, table.states) == ("life-2", 3, {})
    assert [one.name for one in table.jobs] == ["z", "y"]


def test_a_torn_end_costs_that_change_and_no_other_wherever_it_is_torn(kept: JobJournal) -> None:
    kept.write(TABLE)
    kept.add(LIFE, changed(8, job("c", 8)))
    journal = Path(kept._journal_path)
    before = journal.stat().st_size
    kept.add(LIFE, changed(9, job("d", 9)))
    whole = journal.read_bytes()
    for length in range(before, len(whole)):
        for tail in (b"", bytes(len(whole) - length)):
            journal.write_bytes(whole[:length] + tail)
            again = reopened(kept)
            table = again.load()
            again.add(LIFE, changed(9, job("e", 9)))
            later = reopened(again).load()

            assert table is not None and table.change == 8
            assert later is not None and [one.name for one in later.jobs] == ["a", "b", "c", "e"]


def test_a_journal_of_an_earlier_table_says_nothing(
    kept: JobJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        if name == "jobs.between":
            raise OSError(errno.EIO, "the power fails here")

    kept.write(JobTableSnapshot(LIFE, 1, ()))
    kept.add("life-0", changed(5, job("old", 5), is_whole=True))
    monkeypatch.setattr("pymr.peer.disk.job_journal.fault_point", fail)
    with pytest.raises(DiskError):
        kept.write(TABLE)
    again = reopened(kept)

    assert again.load() == TABLE
    assert again.journal_bytes is None, "a whole table is written next"


@pytest.mark.parametrize("at", [0, 8, 20, -1])
def test_a_damaged_table_is_none(kept: JobJournal, at: int) -> None:
    kept.write(TABLE)
    data = bytearray(Path(kept._path).read_bytes())
    data[at] ^= 1
    Path(kept._path).write_bytes(data)

    assert reopened(kept).load() is None


def test_a_table_of_an_earlier_release_is_read_and_written_anew(kept: JobJournal) -> None:
    record = {
        "name": "words",
        "version": 3,
        "change": 7,
        "fields": {},
        "project_hash": "",
        "submitted_at": 1.5,
    }
    earlier = {"incarnation": LIFE, "change": 7, "jobs": [{**record, "status": "succeeded"}]}
    Path(kept._path).write_bytes(msgspec.msgpack.encode(earlier))
    table = kept.load()

    assert table is not None and (table.cycle, table.states, table.paused) == (1, {}, False)
    assert (table.jobs[0].status, table.jobs[0].cycle, table.jobs[0].seconds) == ("succeeded", 0, None)
    assert kept.journal_bytes is None


def test_what_the_disk_refuses_to_add_is_not_tried_again_but_written_whole(
    kept: JobJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.write(TABLE)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "bad")))
        with pytest.raises(DiskError, match=r"jobs\.journal"):
            kept.add(LIFE, changed(8, job("c", 8)))

    assert kept.journal_bytes is None


# ---- what is written when ----


class Desk:
    """A copy of a table of 10,000 jobs, with a Redis, a disk and a clock of the test's own."""

    def __init__(self, folder: Path, jobs: int = 10_000) -> None:
        self.now = 0.0
        self.state = LocalState(PeerPaths(str(folder)))
        self.state.remember(LIFE, 1)
        self.changes = changed(jobs, *(job(f"job-{n:05d}", n + 1) for n in range(jobs)), is_whole=True)
        self.timers: list[tuple[float, Callable[[], object]]] = []
        self.hangs = self.refuses = False
        self.waiting: list[tuple[Any, Any, Any]] = []
        self.folder = Path(self.state.jobs._path).parent
        self.copy = JobTableCopy(
            self.state, cast(Any, self), cast(Any, self), lambda: LIFE, self.later, lambda: self.now
        )

    def later(self, seconds: float, function: Callable[[], object]) -> None:
        self.timers.append((self.now + seconds, function))

    def ask(self, work: Any, on_done: Callable[[Any], object], on_error: Any, **_: Any) -> None:
        on_done(self.changes)

    def do(self, work: Callable[[], Any], on_done: Any, on_error: Any) -> None:
        if self.refuses:
            on_error(StoreUnavailable("too much is waiting already"))
        elif self.hangs:
            self.waiting.append((work, on_done, on_error))
        else:
            on_done(work())

    def change(self, name: str = "job-00042") -> None:
        """A job changes, and this peer reads that."""
        number = self.changes.change + 1
        self.changes = changed(number, job(name, number))
        self.copy.refresh(lambda: None, lambda _: None)

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while self.timers and min(self.timers)[0] <= until:
            due = min(self.timers, key=lambda timer: timer[0])
            self.timers.remove(due)
            self.now = due[0]
            due[1]()
        self.now = until

    def sizes(self) -> tuple[int, int, int]:
        """The inode of the whole table, its size, and that of the journal."""
        status = (self.folder / "jobs").stat()
        return status.st_ino, status.st_size, (self.folder / "jobs.journal").stat().st_size


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    desk = Desk(tmp_path)
    desk.copy.refresh(lambda: None, lambda _: None)
    desk.pass_time(KEEP_SECONDS)
    yield desk
    desk.state.close()


def test_of_ten_thousand_jobs_only_the_one_that_changes_is_written(desk: Desk) -> None:
    inode, whole, before = desk.sizes()
    for _ in range(100):
        desk.change()
        desk.pass_time(KEEP_SECONDS)
    after = desk.sizes()

    assert after[:2] == (inode, whole) and whole > 1_000_000
    assert 0 < after[2] - before < 100 * 500
    table = JobJournal(desk.state.jobs._path).load()
    assert table is not None and (len(table.jobs), table.change) == (10_000, desk.changes.change)


def test_what_changes_within_a_second_is_written_together(desk: Desk) -> None:
    before = desk.sizes()[2]
    for _ in range(50):
        desk.change()
        desk.pass_time(KEEP_SECONDS / 100)
    during = desk.sizes()[2]
    desk.pass_time(KEEP_SECONDS)

    assert during == before
    assert 0 < desk.sizes()[2] - before < 500, "of a job that has changed often, the last is enough"


def test_a_long_journal_becomes_a_whole_table_every_fifteen_seconds_at_most(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_table, "JOURNAL_BYTES_MIN", 0)
    desk.state.jobs.snapshot_bytes = 0
    inodes = []
    for _ in range(40):
        desk.change()
        desk.pass_time(1.0)
        inodes.append(desk.sizes()[0])
        desk.state.jobs.snapshot_bytes = 0
    writes = [n for n in range(1, 40) if inodes[n] != inodes[n - 1]]

    assert len(writes) >= 2
    assert all(later - earlier >= SNAPSHOT_SECONDS for earlier, later in pairwise(writes))


def test_while_the_disk_hangs_changes_gather_and_one_write_waits(desk: Desk) -> None:
    desk.hangs = True
    for _ in range(30):
        desk.change()
        desk.pass_time(KEEP_SECONDS)
    waiting = len(desk.waiting)
    desk.hangs = False
    work, on_done, _ = desk.waiting.pop()
    on_done(work())
    desk.pass_time(KEEP_SECONDS)
    table = JobJournal(desk.state.jobs._path).load()

    assert waiting == 1
    assert table is not None and table.change == desk.changes.change


def test_changes_of_one_job_are_put_together_by_the_last_of_them() -> None:
    gathered = GatheredChanges()
    gathered.add(LIFE, changed(1, job("a", 1), job("b", 1)))
    gathered.add(LIFE, changed(2, job("a", 2), deleted=("b",)))
    gathered.add(LIFE, changed(3, job("b", 3), states={"b": JobState("b-000001", "x")}))
    incarnation, changes = gathered.take()

    assert (incarnation, changes.change, bool(gathered)) == (LIFE, 3, False)
    assert changes.jobs == (job("a", 2), job("b", 3)) and changes.deleted == ("b",)
    assert set(changes.states) == {"b"}


def test_a_journal_that_cannot_be_gone_on_with_is_read_all_the_same(
    kept: JobJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.write(TABLE)
    kept.add(LIFE, changed(8, job("c", 8)))
    again = reopened(kept)
    with monkeypatch.context() as patched:
        patched.setattr(os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(errno.EROFS, "no")))
        table = again.load()

    assert table is not None and (table.change, [one.name for one in table.jobs]) == (8, ["a", "b", "c"])
    assert again.journal_bytes is None, "a whole table is written next"


def test_after_changes_that_were_not_written_the_whole_table_is(desk: Desk) -> None:
    desk.pass_time(60)
    desk.refuses = True
    desk.change("job-00007")
    desk.pass_time(KEEP_SECONDS)
    desk.refuses = False
    desk.change("job-00042")
    desk.pass_time(SNAPSHOT_SECONDS + KEEP_SECONDS)
    desk.state.jobs.close()
    table = JobJournal(desk.state.jobs._path).load()

    assert table is not None
    changes = {one.name: one.change for one in table.jobs}
    assert (changes["job-00007"], changes["job-00042"]) == (10_001, 10_002)


def test_what_has_changed_last_is_written_before_the_peer_ends(desk: Desk) -> None:
    desk.pass_time(60)
    desk.change("job-00007")
    desk.copy.keep()
    desk.state.jobs.close()
    table = JobJournal(desk.state.jobs._path).load()

    assert table is not None and table.change == 10_001

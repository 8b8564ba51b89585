"""Panes: kept from the first byte, bounded in the middle, gone on with after a restart."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from pymr.peer.panes import marks as pane_marks
from pymr.peer.panes import panes
from pymr.peer.panes.marks import MARK_SECONDS, MARKS_READ_MAX, Mark
from pymr.peer.panes.panes import (
    HEAD_BYTES_MAX,
    SEGMENT_BYTES,
    TAIL_BYTES_MAX,
    OpenPane,
    PaneChunk,
    PaneStore,
    has_pane,
    latest_run,
    read_pane,
)


def numbered(size: int) -> bytes:
    """Bytes that show by themselves at which offset they stand."""
    return b"".join(b"%015d\n" % offset for offset in range(0, size, 16))


def whole(directory: Path, run_id: str = "run-1") -> bytes:
    return read_pane(directory, 0, run_id, 0, 1 << 30).data


def untimed(chunk: PaneChunk) -> PaneChunk:
    return replace(chunk, marks=())


class Timed:
    """A pane under a clock of the test's own. folder: of its files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.folder = directory / "0" / "run-1"
        self.now = 1_000.0
        self.pane = self.open()

    def open(self) -> OpenPane:
        return PaneStore(self.directory, lambda: self.now).open(0, "run-1")

    def say(self, data: bytes, after: float = 0.0) -> None:
        self.now += after
        self.pane.append(data)

    def marks(self, offset: int = 0, length: int = 1 << 30) -> list[Mark]:
        return list(read_pane(self.directory, 0, "run-1", offset, length).marks)


@pytest.fixture
def timed(tmp_path: Path) -> Timed:
    return Timed(tmp_path)


def test_what_is_appended_is_read_back_from_any_offset(tmp_path: Path) -> None:
    pane = PaneStore(tmp_path).open(0, "run-1")
    pane.append(b"hello ")
    pane.append(b"world")

    assert untimed(read_pane(tmp_path, 0, "run-1", 0, 100)) == PaneChunk(0, b"hello world", 11, 0)
    assert untimed(read_pane(tmp_path, 0, "run-1", 4, 3)) == PaneChunk(4, b"o w", 11, 0)
    assert read_pane(tmp_path, 0, "run-1", 11, 100) == PaneChunk(11, b"", 11, 0)
    assert read_pane(tmp_path, 0, "run-1", 99, 100) == PaneChunk(11, b"", 11, 0)
    assert untimed(read_pane(tmp_path, 0, "run-1", -5, 100)) == PaneChunk(6, b"world", 11, 0)


def test_a_pane_of_several_segments_is_read_across_them(tmp_path: Path) -> None:
    data = numbered(3 * SEGMENT_BYTES + 160)
    pane = PaneStore(tmp_path).open(0, "run-1")
    for start in range(0, len(data), 70_000):
        pane.append(data[start : start + 70_000])

    assert whole(tmp_path) == data
    assert read_pane(tmp_path, 0, "run-1", SEGMENT_BYTES - 16, 32).data == data[SEGMENT_BYTES - 16 :][:32]


def test_of_a_long_pane_the_beginning_and_the_end_are_kept(tmp_path: Path) -> None:
    size = 64 << 20
    data = numbered(size)
    pane = PaneStore(tmp_path).open(0, "run-1")
    for start in range(0, size, 1 << 16):
        pane.append(data[start : start + (1 << 16)])
    head = read_pane(tmp_path, 0, "run-1", 0, size)
    tail = read_pane(tmp_path, 0, "run-1", HEAD_BYTES_MAX + 5, size)
    on_disk = sum(path.stat().st_size for path in tmp_path.rglob("*.out"))

    assert untimed(head) == PaneChunk(0, data[:HEAD_BYTES_MAX], size, 0)
    assert tail.data == data[tail.offset :]
    assert len(tail.data) >= TAIL_BYTES_MAX
    assert tail.skipped == tail.offset - (HEAD_BYTES_MAX + 5) > 0
    assert on_disk <= HEAD_BYTES_MAX + TAIL_BYTES_MAX + SEGMENT_BYTES


@pytest.mark.parametrize("size", [10, SEGMENT_BYTES, SEGMENT_BYTES + 10])
def test_a_restart_goes_on_at_the_end(tmp_path: Path, size: int) -> None:
    first = PaneStore(tmp_path).open(0, "run-1")
    first.append(numbered(size)[:size])
    second = PaneStore(tmp_path).open(0, "run-1")
    second.append(b"more")

    assert whole(tmp_path) == numbered(size)[:size] + b"more"


def test_the_newest_run_is_the_last_one_opened(tmp_path: Path) -> None:
    store = PaneStore(tmp_path)
    for run_id in ("run-b", "run-c", "run-a"):
        store.open(3, run_id).close()

    assert store.newest(3) == latest_run(tmp_path, 3) == "run-a"
    store.open(3, "run-b").close()
    assert store.newest(3) == "run-b"
    assert store.newest(4) is None


@pytest.mark.parametrize("torn", [b"", b"run-", b"../run-a", b"\xff"])
def test_a_note_of_the_newest_run_that_was_not_written_whole_does_no_harm(
    tmp_path: Path, torn: bytes
) -> None:
    store = PaneStore(tmp_path)
    store.open(3, "run-a").close()
    (tmp_path / "3" / ".newest").write_bytes(torn)

    assert latest_run(tmp_path, 3) in (None, "run-")
    store.open(3, "run-b").close()
    assert latest_run(tmp_path, 3) == "run-b"


def test_a_worker_that_put_out_nothing_is_told_from_one_whose_output_is_gone(tmp_path: Path) -> None:
    PaneStore(tmp_path).open(0, "run-1").close()

    assert has_pane(tmp_path, 0, "run-1")
    assert not has_pane(tmp_path, 1, "run-1")
    assert not has_pane(tmp_path, 0, "run-2")


def test_a_full_disk_costs_output_and_is_noted_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pane = PaneStore(tmp_path).open(0, "run-1")
    pane.append(b"before")
    write, is_full = os.write, True

    def refuse(descriptor: int, data: bytes) -> int:
        if is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    monkeypatch.setattr(panes.os, "write", refuse)
    pane.append(b"x" * 1_000)
    pane.append(b"y" * 500)
    is_full = False
    pane.append(b"after")
    pane.append(b"!")

    note = b"\r\n[pymr: 1,500 bytes of output are lost here: No space left on device]\r\n"
    assert whole(tmp_path) == b"before" + note + b"after!"


def test_a_pane_whose_folder_is_taken_away_never_raises(tmp_path: Path) -> None:
    pane = PaneStore(tmp_path).open(0, "run-1")
    pane.append(b"a" * SEGMENT_BYTES)
    shutil.rmtree(tmp_path / "0")
    pane.append(b"b")
    pane.close()

    assert read_pane(tmp_path, 0, "run-1", SEGMENT_BYTES, 10).data == b"b"


def test_a_pane_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_pane(tmp_path, 0, "run-1", 7, 10) == PaneChunk(0, b"", 0, 0)
    assert latest_run(tmp_path / "nowhere", 0) is None


@pytest.mark.parametrize("run_id", ["", ".", "..", "../other", "a/b", "/etc", "a\0b", "a\n"])
def test_what_is_no_id_of_a_run_leads_nowhere(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(ValueError, match="cannot be the id of a run"):
        read_pane(tmp_path, 0, run_id, 0, 10)


def test_the_end_of_a_pane_is_known_before_the_first_byte_and_after_the_last(tmp_path: Path) -> None:
    PaneStore(tmp_path).open(0, "run-1").append(b"before")
    pane = PaneStore(tmp_path).open(0, "run-1")
    ends = [pane.end]
    pane.append(b" and now")
    ends.append(pane.end)
    pane.close()

    assert [*ends, pane.end] == [6, 14, 14]


def test_marks_tell_when_bytes_came_and_are_no_closer_than_they_may(timed: Timed) -> None:
    timed.say(b"one")
    timed.say(b"two", MARK_SECONDS / 2)
    timed.say(b"three", MARK_SECONDS)
    timed.say(b"back", -500.0)

    assert timed.marks() == [(0, 1_000_000), (6, 1_000_150), (11, 500_150)]
    assert os.path.getsize(timed.folder / f"{0:020d}.times") == 3 * 16


def test_of_a_piece_the_last_mark_before_it_comes_first(timed: Timed) -> None:
    for _ in range(10):
        timed.say(b"12345", 1.0)

    assert timed.marks(22, 9) == [(20, 1_005_000), (25, 1_006_000), (30, 1_007_000)]
    assert timed.marks(25, 5) == [(25, 1_006_000)]
    assert timed.marks(-3) == [(45, 1_010_000)]
    assert timed.marks(50) == []


def test_each_segment_begins_with_a_mark_that_goes_with_it(timed: Timed) -> None:
    for _ in range(24):
        timed.say(b"x" * (SEGMENT_BYTES // 2), 0.01)
    kept = {path.stem for path in timed.folder.glob("*.out")}
    first = read_pane(timed.directory, 0, "run-1", HEAD_BYTES_MAX + 1, 10)

    assert first.skipped
    assert first.marks[0][0] <= first.offset
    assert {path.stem for path in timed.folder.glob("*.times")} == kept
    assert timed.marks(0, HEAD_BYTES_MAX) == [(0, 1_000_010), (SEGMENT_BYTES, 1_000_030)]


def test_a_torn_mark_is_passed_over_and_written_over(timed: Timed) -> None:
    timed.say(b"one")
    timed.pane.close()
    with open(timed.folder / f"{0:020d}.times", "ab") as file:
        file.write(b"torn")
    torn = timed.marks()
    timed.pane = timed.open()
    timed.say(b"two", 1.0)

    assert torn == [(0, 1_000_000)]
    assert timed.marks() == [(0, 1_000_000), (3, 1_001_000)]


def test_marks_of_bytes_that_a_crash_of_the_machine_took_are_forgotten(timed: Timed) -> None:
    for _ in range(4):
        timed.say(b"12345", 1.0)
    timed.pane.close()
    os.truncate(timed.folder / f"{0:020d}.out", 7)
    timed.pane = timed.open()
    timed.say(b"again", 1.0)

    assert timed.marks() == [(0, 1_001_000), (5, 1_002_000), (7, 1_005_000)]


def test_marks_that_a_full_disk_refuses_are_missing(timed: Timed, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    timed.say(b"one")
    with monkeypatch.context() as patch:
        patch.setattr(pane_marks.os, "pwrite", refuse)
        timed.say(b"two", 1.0)
    timed.say(b"three", 1.0)

    assert whole(timed.directory) == b"onetwothree"
    assert timed.marks() == [(0, 1_000_000), (6, 1_002_000)]


def test_marks_are_bounded_on_the_disk_and_in_an_answer(
    timed: Timed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pane_marks, "MARKS_PER_SEGMENT_MAX", 5_000)
    for _ in range(6_000):
        timed.say(b".", 1.0)
    marks = timed.marks()

    assert os.path.getsize(timed.folder / f"{0:020d}.times") == 5_000 * 16
    assert len(marks) == MARKS_READ_MAX
    assert [offset for offset, _ in marks] == list(range(0, 5_000, 5))
    assert timed.marks(5_999) == [(4_999, 6_000_000)]


def test_a_pane_without_marks_is_read_without_times(timed: Timed) -> None:
    timed.say(b"one")
    (timed.folder / f"{0:020d}.times").unlink()

    assert read_pane(timed.directory, 0, "run-1", 0, 10) == PaneChunk(0, b"one", 3, 0)

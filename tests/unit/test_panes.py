"""Panes: kept from the first byte, bounded in the middle, gone on with after a restart."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from pymr.peer import panes
from pymr.peer.panes import (
    HEAD_BYTES_MAX,
    RUNS_PER_SLOT_MAX,
    SEGMENT_BYTES,
    TAIL_BYTES_MAX,
    PaneChunk,
    PaneStore,
    latest_run,
    read_pane,
)


def numbered(size: int) -> bytes:
    """Bytes that show by themselves at which offset they stand."""
    return b"".join(b"%015d\n" % offset for offset in range(0, size, 16))


def whole(directory: Path, run_id: str = "run-1") -> bytes:
    return read_pane(directory, 0, run_id, 0, 1 << 30).data


def test_what_is_appended_is_read_back_from_any_offset(tmp_path: Path) -> None:
    pane = PaneStore(tmp_path).open(0, "run-1")
    pane.append(b"hello ")
    pane.append(b"world")

    assert read_pane(tmp_path, 0, "run-1", 0, 100) == PaneChunk(0, b"hello world", 11, 0)
    assert read_pane(tmp_path, 0, "run-1", 4, 3) == PaneChunk(4, b"o w", 11, 0)
    assert read_pane(tmp_path, 0, "run-1", 11, 100) == PaneChunk(11, b"", 11, 0)
    assert read_pane(tmp_path, 0, "run-1", 99, 100) == PaneChunk(11, b"", 11, 0)
    assert read_pane(tmp_path, 0, "run-1", -5, 100) == PaneChunk(6, b"world", 11, 0)


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

    assert head == PaneChunk(0, data[:HEAD_BYTES_MAX], size, 0)
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


def test_the_newest_run_is_the_last_one_opened_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PaneStore(tmp_path)
    for run_id, clock in (("run-b", 2_000), ("run-c", 1_000), ("run-a", 500)):
        monkeypatch.setattr(panes.time, "time_ns", lambda clock=clock: clock)
        store.open(3, run_id).close()

    assert store.newest(3) == latest_run(tmp_path, 3) == "run-a"
    store.open(3, "run-b").close()
    assert store.newest(3) == "run-b"
    assert store.newest(4) is None


def test_a_slot_keeps_its_newest_runs_and_those_that_are_open(tmp_path: Path) -> None:
    store = PaneStore(tmp_path)
    opened = store.open(0, "run-first")
    opened.append(b"still here")
    for number in range(RUNS_PER_SLOT_MAX + 5):
        pane = store.open(0, f"run-{number:03d}")
        pane.append(b"x")
        pane.close()
    kept = sorted(os.listdir(tmp_path / "0"))

    assert kept == ["run-005", *(f"run-{number:03d}" for number in range(6, 25)), "run-first"]
    assert whole(tmp_path, "run-first") == b"still here"


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

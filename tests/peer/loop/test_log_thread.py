"""The log is written beside whoever logs: a disk that hangs holds up nobody."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from pymr.peer.loop import log_thread
from pymr.peer.loop.log_thread import LogThread

LIMIT_S = 30.0


class Disk(logging.Handler):
    """A log that can hang. lines: what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.is_writing = threading.Event()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.is_writing.set()
        assert self.goes_on.wait(LIMIT_S)
        self.lines.append(record.getMessage())


@pytest.fixture
def disk() -> Iterator[Disk]:
    root, disk = logging.getLogger(), Disk()
    before, root.handlers = root.handlers, [disk]
    yield disk
    disk.goes_on.set()
    root.handlers = before


def test_what_is_logged_while_the_disk_hangs_is_written_later_in_its_order(disk: Disk) -> None:
    log = LogThread()
    disk.goes_on.clear()
    for number in range(100):
        logging.getLogger("pymr").error("record %d", number)
    before = list(disk.lines)
    disk.goes_on.set()
    log.stop(LIMIT_S)
    logging.getLogger("pymr").error("at once")

    assert before == []
    assert disk.lines == [*(f"record {number}" for number in range(100)), "at once"]


def test_records_for_which_there_is_no_room_are_counted(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_thread, "RECORDS_MAX", 3)
    log = LogThread()
    disk.goes_on.clear()
    logging.getLogger("pymr").error("record 0")
    assert disk.is_writing.wait(LIMIT_S)
    for number in range(1, 8):
        logging.getLogger("pymr").error("record %d", number)
    disk.goes_on.set()
    while len(disk.lines) < 4:
        threading.Event().wait(0.005)
    logging.getLogger("pymr").error("record %d", 8)
    log.stop(LIMIT_S)

    assert disk.lines[:4] == [f"record {number}" for number in range(4)]
    assert disk.lines[4:] == ["[4 records are lost here: the disk takes none] record 8"]


def test_a_disk_that_hangs_for_ever_does_not_keep_a_daemon_from_ending(disk: Disk) -> None:
    log = LogThread()
    disk.goes_on.clear()
    logging.getLogger("pymr").error("lost")
    log.stop(0.05)

    assert disk.lines == []

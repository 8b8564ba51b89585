"""Panes are written beside the loop: a disk that hangs holds up the worker, and not the daemon."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest
from worker_bench import RUN, Bench

from pymr.peer.panes import writers
from pymr.peer.panes.panes import OpenPane, PaneStore, read_pane
from pymr.peer.panes.writers import PANE_BYTES_MAX, PaneWriter, PaneWriters
from pymr.peer.workers.events import WorkerFinished

LIMIT_S = 30.0


class Desk:
    """Panes with a disk that can be made to hang. goes_on: set while it does not."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.goes_on = threading.Event()
        self.goes_on.set()
        append = OpenPane.append

        def hang(pane: OpenPane, data: bytes) -> None:
            assert self.goes_on.wait(LIMIT_S)
            append(pane, data)

        monkeypatch.setattr(OpenPane, "append", hang)
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self.store = PaneStore(folder)
        self.writers = PaneWriters(self.store, self._calls.put)
        self.opened = 0

    def open(self, run_id: str = RUN) -> PaneWriter:
        def opened() -> None:
            self.opened += 1

        return self.writers.open(0, run_id, opened)

    def write_all(self) -> None:
        while self.writers.unwritten:
            self._calls.get(timeout=LIMIT_S)()

    def end(self) -> None:
        self.goes_on.set()
        self.writers.stop(LIMIT_S)

    def text(self) -> bytes:
        return read_pane(self.folder, 0, RUN, 0, 1 << 30).data


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    desk = Desk(tmp_path, monkeypatch)
    yield desk
    desk.end()


def test_what_is_appended_is_written_in_its_order_and_its_end_known_at_once(desk: Desk) -> None:
    pane = desk.open()
    desk.goes_on.clear()
    for number in range(100):
        pane.append(b"%d\n" % number)
    text = b"".join(b"%d\n" % number for number in range(100))
    end = pane.end
    desk.goes_on.set()
    desk.write_all()

    assert (end, pane.end) == (len(text), len(text))
    assert desk.text() == text and desk.opened == 1


def test_a_pane_that_is_gone_on_with_begins_at_its_end(desk: Desk) -> None:
    first = desk.open()
    first.append(b"before ")
    desk.goes_on.clear()
    first.append(b"closed")
    first.close()
    second = desk.open()
    second.append(b" and after")
    desk.goes_on.set()
    desk.write_all()

    assert desk.text() == b"before closed and after"
    assert (first.end, second.end) == (len(b"before closed"), len(b"before closed and after"))
    assert desk.store.open_runs() == {RUN}


def test_a_disk_that_hangs_costs_a_bounded_memory_and_what_is_lost_is_noted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "ALL_BYTES_MAX", 2 * PANE_BYTES_MAX)
    pane = desk.open()
    desk.goes_on.clear()
    pane.append(b"a" * (PANE_BYTES_MAX - 1))
    before = pane.is_full
    for letter in (b"b", b"c", b"d"):
        pane.append(letter * PANE_BYTES_MAX)
    full, unwritten = pane.is_full, desk.writers.unwritten
    desk.goes_on.set()
    desk.write_all()
    pane.append(b"end")
    desk.write_all()

    assert (before, full, unwritten) == (False, True, 2 * PANE_BYTES_MAX - 1)
    assert desk.text().endswith(
        b"bbb\r\n[pymr: 2,097,152 bytes of output are lost here: the disk takes none]\r\nend"
    )
    assert pane.end == len(desk.text())


def test_what_was_lost_at_the_end_of_a_pane_is_noted_when_it_is_closed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "ALL_BYTES_MAX", PANE_BYTES_MAX)
    pane = desk.open()
    desk.goes_on.clear()
    pane.append(b"a" * PANE_BYTES_MAX)
    pane.append(b"its last words")
    pane.close()
    desk.goes_on.set()
    desk.write_all()

    assert desk.text().endswith(b"aaa\r\n[pymr: 14 bytes of output are lost here: the disk takes none]\r\n")


def test_a_worker_waits_for_a_disk_that_hangs_and_the_daemon_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    append = OpenPane.append

    def hang(pane: OpenPane, data: bytes) -> None:
        assert goes_on.wait(LIMIT_S)
        append(pane, data)

    monkeypatch.setattr(OpenPane, "append", hang)
    bench = Bench(tmp_path)
    try:
        bench.do(f"for _ in range({4 * PANE_BYTES_MAX // 100}): print('x' * 98)")
        bench.until(lambda: bench.writers.unwritten >= PANE_BYTES_MAX)
        longest = 0.0
        for _ in range(20):
            began = time.monotonic()
            bench.turn()
            longest = max(longest, time.monotonic() - began)
        during, events = bench.writers.unwritten, list(bench.events)
        goes_on.set()
        finished = bench.event(WorkerFinished)
    finally:
        goes_on.set()
        bench.workers.close()
        bench.writers.stop(LIMIT_S)

    assert during < 2 * PANE_BYTES_MAX
    assert not any(isinstance(event, WorkerFinished) for event in events)
    assert longest < 5.0
    assert len(bench.pane()) == 4 * PANE_BYTES_MAX // 100 * 100
    assert finished.id.run_id == RUN

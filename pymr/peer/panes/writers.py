"""Pane writers: what workers print, on its way to the disk in a thread of its own; the loop never waits.

A disk that is slow or hangs holds up the worker, whose terminal is not read while its pane has enough to
write; the daemon goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pymr.peer.loop.threads import CallSoon, Thread
from pymr.peer.panes.panes import OpenPane, PaneStore

PANE_BYTES_MAX = 1 << 20
"""A pane that has so much to write counts as full. Higher: more memory while a disk hangs."""

ALL_BYTES_MAX = 64 << 20
"""Most that all panes together have to write, with the last words of workers that were ended meanwhile; what
comes then is lost, and noted."""


class PaneWriters:
    """Opens panes, and writes to them in the order of what was appended. Used in the loop's thread."""

    def __init__(self, store: PaneStore, call_soon: CallSoon) -> None:
        self.unwritten = 0  # bytes, of all panes
        self._store = store
        self._thread = Thread("panes", call_soon)

    def open(self, slot: int, run_id: str, on_open: Callable[[], object]) -> PaneWriter:
        """The pane of a run in a slot; on_open: called when it is open, and `end` known.

        Never fails for what the disk does: see Pane.append. Raises ValueError for no id of a run.
        """
        return PaneWriter(self, self._store.prepare(slot, run_id), self._thread, on_open)

    def stop(self, timeout_s: float) -> None:
        """Write what there is, as far as the disk takes it in that time."""
        self._thread.stop(timeout_s)


@dataclass(slots=True)
class _Batch:
    """What is written at once. is_last: the pane is closed then."""

    data: bytes
    is_last: bool = False


class PaneWriter:
    """A pane that is appended to. Made by PaneWriters.open."""

    def __init__(
        self, writers: PaneWriters, pane: OpenPane, thread: Thread, on_open: Callable[[], object]
    ) -> None:
        self._writers = writers
        self._pane = pane
        self._thread = thread
        self._on_open = on_open
        self._end = 0  # of what is on the disk
        self._unwritten = 0
        self._pieces: list[bytes] = []
        self._is_writing = True  # until it is open
        self._is_closed = False
        self._lost = 0
        thread.do(self._open, self._opened, self._opened)

    @property
    def end(self) -> int:
        """The offset behind all that was appended, also when it is closed; what the disk will not take does
        not count once that is known."""
        return self._end + self._unwritten

    @property
    def is_full(self) -> bool:
        """Whether nothing should be appended for now; what is, is taken all the same."""
        return self._unwritten >= PANE_BYTES_MAX

    def append(self, data: bytes) -> None:
        """Have it written, after what was appended before."""
        if self._writers.unwritten + len(data) > ALL_BYTES_MAX:
            self._lost += len(data)
            return
        self._take(self._note_of_lost() + data)
        self._write()

    def close(self) -> None:
        """Have it closed, after what was appended. To be called once."""
        self._is_closed = True
        self._take(self._note_of_lost())
        # Now, and not when the disk has done the rest: a pane of the same run may be opened before that.
        self._do(self._batch(is_last=True))

    def _note_of_lost(self) -> bytes:
        """What is to be read in the place of what was lost; nothing where nothing was."""
        lost, self._lost = self._lost, 0
        text = f"\r\n[pymr: {lost:,} bytes of output are lost here: the disk takes none]\r\n"
        return text.encode() if lost else b""

    def _take(self, data: bytes) -> None:
        self._count(len(data))
        self._pieces.append(data)

    def _opened(self, end: object) -> None:
        self._end = end if isinstance(end, int) else 0
        self._is_writing = False
        self._write()
        self._on_open()

    def _write(self) -> None:
        """All there is at once; while that is written, more gathers."""
        if not self._is_writing and self._pieces:
            self._is_writing = True
            self._do(self._batch())

    def _batch(self, *, is_last: bool = False) -> _Batch:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return _Batch(data, is_last)

    def _do(self, batch: _Batch) -> None:
        def done(end: int) -> None:
            self._written(batch, end)

        def fail(_: Exception) -> None:  # too much waits for the thread
            self._lost += len(batch.data)
            self._written(batch, self._end)

        self._thread.do(lambda: self._append(batch), done, fail)

    def _written(self, batch: _Batch, end: int) -> None:
        self._end = end
        self._count(-len(batch.data))
        self._is_writing = False
        if not self._is_closed:
            self._write()

    def _count(self, size: int) -> None:
        self._unwritten += size
        self._writers.unwritten += size

    # -- in the thread

    def _open(self) -> int:
        self._pane.mark_newest()
        return self._pane.end

    def _append(self, batch: _Batch) -> int:
        if batch.data:
            self._pane.append(batch.data)
        end = self._pane.end
        if batch.is_last:
            self._pane.close()
        return end

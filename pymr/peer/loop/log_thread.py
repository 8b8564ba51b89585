"""The log of a daemon, written by a thread of its own: a disk that hangs under it holds up nobody."""

from __future__ import annotations

import logging
import queue
import threading
from logging.handlers import QueueHandler

RECORDS_MAX = 10_000
"""Most records that wait for the disk; those that come then are counted, and not kept."""

_Records = queue.Queue[logging.LogRecord | None]


class LogThread:
    """Takes over from the handlers of the root logger, until `stop`.

    To be made when nothing is forked any more: a process that is forked then has the queue, and not the
    thread.
    """

    def __init__(self) -> None:
        self._root = logging.getLogger()
        self._handlers = list(self._root.handlers)
        self._records: _Records = queue.Queue(RECORDS_MAX)
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._root.handlers = [_Handler(self._records)]
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Write what there is, as far as the disk takes it in that time; after that, records are written at
        once."""
        try:
            self._records.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self._root.handlers = self._handlers

    def _run(self) -> None:
        while (record := self._records.get()) is not None:
            for handler in self._handlers:
                handler.handle(record)


class _Handler(QueueHandler):
    """Puts records into the queue, and never waits."""

    def __init__(self, records: _Records) -> None:
        super().__init__(records)
        self._lost = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        lost = self._lost
        if lost:  # its arguments are in its message already: see QueueHandler.prepare
            record.msg = record.message = (
                f"[{lost:,} records are lost here: the disk takes none] {record.msg}"
            )
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._lost += 1
        else:
            self._lost -= lost

"""The job table as this peer has it: it follows Redis, and is kept on the disk for a Redis that forgets."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

from pymr.control.job_queue import JobQueue
from pymr.control.stored_state import JobChanges
from pymr.peer.disk.job_journal import GatheredChanges, JobTableSnapshot
from pymr.peer.disk.local_state import LocalState
from pymr.peer.loop.threads import Thread
from pymr.peer.store.store import StoreForgot
from pymr.peer.store.thread import StoreThread

KEEP_SECONDS = 1.0
"""What changes is written to the disk together, this long after the first of it."""

SNAPSHOT_SECONDS = 15.0
"""Least time between two writes of the whole table; between them only what has changed is written."""

JOURNAL_BYTES_MIN = 256 << 10
"""A journal of what has changed is gone on with while it is shorter than this, or than the whole table."""

RETRY_SECONDS = 1.0
"""Between two tries to read what has changed."""

_log = logging.getLogger("pymr")


class JobTableCopy:
    """A copy that follows Redis. incarnation: asked for whenever something is read; while it is "",
    the one that the peer remembers holds: a table of any other must not take the place of the kept one."""

    def __init__(
        self,
        state: LocalState,
        store: StoreThread,
        disk: Thread,
        incarnation: Callable[[], str],
        call_later: Callable[[float, Callable[[], object]], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._changes = GatheredChanges()
        self._is_writing = False
        self._has_lost = False  # changes, of which nobody knows whether they were written
        self._snapshot_at = float("-inf")
        self._state = state
        self._store = store
        self._disk = disk
        self._incarnation = incarnation
        self._call_later = call_later
        self._is_keeping = self._is_retrying = False
        self.table = JobQueue()
        self._of = ""
        kept = state.jobs.load()
        if kept is not None and kept.incarnation == (state.incarnation or ""):
            self._of = kept.incarnation
            self.table.apply(
                JobChanges(
                    kept.change, kept.jobs, (), True, kept.paused, cycle=kept.cycle, states=kept.states
                )
            )
            state.change = kept.change

    def refresh(
        self, on_done: Callable[[], object], on_error: Callable[[Exception], object], timeout_s: float = 3.0
    ) -> None:
        """Read what has changed, then call."""
        incarnation = self._incarnation() or self._state.incarnation or ""
        after = self.table.change if incarnation == self._of else 0

        def take(changes: JobChanges) -> None:
            has_changed = changes.change != self.table.change or changes.is_whole
            if has_changed or self.table.unix_offset is None:
                if changes.is_whole:
                    self.table.change = 0
                self.table.apply(changes, time.monotonic())
                self._of = incarnation
                if incarnation == self._state.incarnation:
                    self._state.change = changes.change
                if has_changed:
                    self._changes.add(incarnation, changes)
                self._keep_soon()
            on_done()

        self._store.ask(lambda store: store.changes(after, incarnation), take, on_error, timeout_s=timeout_s)

    def follow(self) -> None:
        """Read what has changed, again and again until that is done; not from a Redis that has forgotten."""

        def again(error: Exception) -> None:
            if not isinstance(error, StoreForgot) and not self._is_retrying:
                self._is_retrying = True
                self._call_later(RETRY_SECONDS, retry)

        def retry() -> None:
            self._is_retrying = False
            self.follow()

        self.refresh(lambda: None, again)

    def as_kept(self) -> JobTableSnapshot:
        """The table as it goes to the disk."""
        table = self.table
        jobs, states = tuple(table.jobs.values()), dict(table.states)  # as another thread writes them down
        return JobTableSnapshot(self._of, table.change, jobs, table.cycle, states, table.is_paused)

    def _keep_soon(self, seconds: float = KEEP_SECONDS) -> None:
        if not self._is_keeping:
            self._is_keeping = True
            self._call_later(seconds, self.keep)

    def keep(self) -> None:
        """Have written what has changed, or the whole table, where that has to be or the journal is long
        enough. It happens by itself; to be called before the peer ends."""
        self._is_keeping = False
        if self._is_writing or not self._of:
            return  # once that is done; or there is no table yet
        kept, now = self._state.jobs, self._clock()
        journal_bytes = None if self._has_lost else kept.journal_bytes
        is_long = journal_bytes is None or journal_bytes > max(JOURNAL_BYTES_MIN, kept.snapshot_bytes)
        wait = self._snapshot_at + SNAPSHOT_SECONDS - now
        work: Callable[[], None]
        if is_long and wait <= 0:
            self._snapshot_at = now
            self._has_lost = False
            self._changes = GatheredChanges()
            work = partial(kept.write, self.as_kept())
        elif journal_bytes is None:
            self._keep_soon(wait)
            return
        elif self._changes:
            work = partial(kept.add, *self._changes.take())
        else:
            return
        self._is_writing = True
        self._disk.do(work, self._kept, self._kept)

    def _kept(self, error: object) -> None:
        self._is_writing = False
        if isinstance(error, Exception):
            self._has_lost = True
            _log.warning("the job table cannot be kept, and is tried again: %s", error)
        if self._changes or error is not None:
            self._keep_soon()

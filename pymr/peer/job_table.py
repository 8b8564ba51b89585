"""The job table as this peer has it: it follows Redis, and is kept on the disk for a Redis that forgets."""

from __future__ import annotations

import time
from collections.abc import Callable

from pymr.control.backlog import Backlog
from pymr.control.records import JobChanges
from pymr.peer.kept_state import JobTable, KeptState
from pymr.peer.store import StoreForgot
from pymr.peer.threads import StoreThread, Thread

KEEP_SECONDS = 1.0
"""Least time between two writes of the table to the disk."""

RETRY_SECONDS = 1.0
"""Between two tries to read what has changed."""


class JobTableCopy:
    """A copy that follows Redis. incarnation: asked for whenever something is read; while it is "",
    the one that the peer remembers holds: a table of any other must not take the place of the kept one."""

    def __init__(
        self,
        state: KeptState,
        store: StoreThread,
        disk: Thread,
        incarnation: Callable[[], str],
        call_later: Callable[[float, Callable[[], object]], object],
    ) -> None:
        self._state = state
        self._store = store
        self._disk = disk
        self._incarnation = incarnation
        self._call_later = call_later
        self._is_keeping = self._is_retrying = False
        self.table = Backlog()
        self._of = ""
        kept = state.kept_jobs()
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
            is_new = changes.change != self.table.change or self.table.unix_offset is None
            if is_new or changes.is_whole:
                if changes.is_whole:
                    self.table.change = 0
                self.table.apply(changes, time.monotonic())
                self._of = incarnation
                if incarnation == self._state.incarnation:
                    self._state.change = changes.change
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

    def as_kept(self) -> JobTable:
        """The table as it goes to the disk."""
        table = self.table
        jobs, states = tuple(table.jobs.values()), dict(table.states)  # as another thread writes them down
        return JobTable(self._of, table.change, jobs, table.cycle, states, table.is_paused)

    def _keep_soon(self) -> None:
        if not self._is_keeping:
            self._is_keeping = True
            self._call_later(KEEP_SECONDS, self._keep)

    def _keep(self) -> None:
        self._is_keeping = False
        table = self.as_kept()
        self._disk.do(lambda: self._state.keep_jobs(table), lambda _: None, lambda _: self._keep_soon())

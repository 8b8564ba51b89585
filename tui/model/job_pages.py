"""The jobs of a long queue, read a page at a time: what changes at its head at once, the rest in turns."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from pymr.wire.requests import JOBS_PER_PAGE, JobsView
from pymr.wire.rows import JobRow

TURN_SECONDS = 2.0
"""A further page is read so often. Lower: what changes far back in a long queue is seen sooner."""


class JobPages:
    """Keeps the pages of one cluster's queue.

    Reading 10,000 jobs takes a tenth of a second of a processor, which keys then wait for. So the first page
    is read each time, and all of them only when its jobs are not those that it had, or their number is
    another one: something has moved then. What has changed in the others is seen when their turn comes.
    """

    def __init__(self) -> None:
        self._pages: list[tuple[JobRow, ...]] = []
        self._total = -1
        self._turn = 0
        self._turned_at = 0.0

    def read(self, ask: Callable[[int], JobsView]) -> JobsView:
        """The whole queue, as far as it is known. ask: for the page that begins with a job's number."""
        first = ask(0)
        if not self._has_moved(first):
            self._pages[0] = first.rows
            self._take_turn(ask)
        else:
            self._pages, start = [first.rows], len(first.rows)
            while start < first.total and self._pages[-1]:
                self._pages.append(ask(start).rows)
                start += len(self._pages[-1]) or JOBS_PER_PAGE
            self._total = first.total
            self._turned_at = time.monotonic()
        if len(self._pages) == 1:
            return first
        rows = {row.fields["job_name"]: row for page in reversed(self._pages) for row in reversed(page)}
        return msgspec.structs.replace(first, rows=tuple(reversed(rows.values())))

    def _has_moved(self, first: JobsView) -> bool:
        if first.total != self._total or not self._pages or len(first.rows) != len(self._pages[0]):
            return True
        before = self._pages[0]
        return any(
            one.fields["job_name"] != other.fields["job_name"]
            for one, other in zip(first.rows, before, strict=True)
        )

    def _take_turn(self, ask: Callable[[int], JobsView]) -> None:
        now = time.monotonic()
        if len(self._pages) == 1 or now - self._turned_at < TURN_SECONDS:
            return
        self._turned_at = now
        self._turn = self._turn % (len(self._pages) - 1) + 1
        self._pages[self._turn] = ask(sum(map(len, self._pages[: self._turn]))).rows

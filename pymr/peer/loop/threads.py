"""Threads beside the loop, for what would hold it up: talking to Redis, work on the disk."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pymr.base.errors import RetryableError

RETRY_SECONDS = 0.1
"""Between two tries of what has to be written. Lower: sooner after a Redis has come back; more noise."""

WAITING_MAX = 10_000
"""Most things waiting for one thread; a cluster that asks for more of them has lost its Redis or its disk."""

CallSoon = Callable[[Callable[[], object]], None]
"""Calls a function in the loop's thread; may be used from any thread."""


class Unavailable(RetryableError):  # noqa: N818  # a state of what is asked
    """What a thread asks did not do it; ask again. may_be_done: it was asked, and has not answered."""

    may_be_done = False


class Job:
    """Something to be done in a thread. on_done and on_error are called in the loop."""

    __slots__ = ("deadline", "is_wanted", "on_done", "on_error", "work")

    def __init__(
        self,
        work: Callable[[], Any],
        on_done: Callable[[Any], object],
        on_error: Callable[[Exception], object],
        deadline: float,
        is_wanted: Callable[[], bool] | None,
    ) -> None:
        self.work = work
        self.on_done = on_done
        self.on_error = on_error
        self.deadline = deadline
        self.is_wanted = is_wanted


class Thread:
    """Does one thing after another, in the order in which they were asked for; with several `threads`, begins
    them in that order."""

    def __init__(self, name: str, call_soon: CallSoon, *, threads: int = 1) -> None:
        self._call_soon = call_soon
        self._queue: queue.Queue[Job | None] = queue.Queue(WAITING_MAX)
        self._is_stopped = False
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def do(
        self,
        work: Callable[[], Any],
        on_done: Callable[[Any], object],
        on_error: Callable[[Exception], object],
        *,
        timeout_s: float = float("inf"),
        is_wanted: Callable[[], bool] | None = None,
    ) -> None:
        """Ask for something. timeout_s: once it has waited so long, it is not begun and `on_error` is told.

        is_wanted: where Redis does not answer, it is tried again and again for as long as this says so.
        """
        try:
            self._queue.put_nowait(Job(work, on_done, on_error, time.monotonic() + timeout_s, is_wanted))
        except queue.Full:
            error = Unavailable("too much is waiting already; try again when there is less to do")
            self._call_soon(lambda: on_error(error))

    def stop(self, timeout_s: float) -> None:
        """Let it end after what it is at, and wait for that."""
        self._is_stopped = True
        deadline = time.monotonic() + timeout_s
        for _ in self._threads:
            with suppress(queue.Full):  # then there is far too much to wait for
                self._queue.put_nowait(None)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            self._do(job)

    def _do(self, job: Job) -> None:
        if time.monotonic() > job.deadline:
            text = "Redis was not asked, as it has not answered what it was asked before; see that it runs"
            self._tell(job.on_error, Unavailable(f"{text}, then try again"))
            return
        may_be_done = False
        while True:
            try:
                result = job.work()
            except Unavailable as error:
                error.may_be_done = may_be_done = may_be_done or error.may_be_done
                is_in_time = time.monotonic() + RETRY_SECONDS <= job.deadline and not self._is_stopped
                if is_in_time and job.is_wanted is not None and job.is_wanted():
                    time.sleep(RETRY_SECONDS)
                    continue
                self._tell(job.on_error, error)
            except Exception as error:
                self._tell(job.on_error, error)
            else:
                self._tell(job.on_done, result)
            return

    def _tell(self, function: Callable[[Any], object], what: Any) -> None:
        self._call_soon(lambda: function(what))

"""The disk of a peer: what it is asked for, in threads by kind, so that what is short waits for nothing long.

Everything here is called in the loop's thread; the work itself is done in the others.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from pymr.peer.loop.loop import name_of
from pymr.peer.loop.threads import CallSoon, Thread

Kind = Literal["short", "ask", "project", "plan", "publish", "clean"]
"""short: takes moments, and a task waits for it. ask: what a console wants to know. project: unpacks
projects, and checks what an earlier life of the daemon has left. plan: lists input. publish: puts outputs
together. clean: removes what is over.

Work of one kind is done in the order in which it was asked for, but for `short`, which has SHORT_THREADS."""

SHORT_THREADS = 4
"""Threads for what is short: a piece that takes longer than it should holds up a part of it only."""

LONG_SECONDS = 0.1
"""What is called short and takes longer is named in the log: others may have waited for it."""

_LOG_SECONDS = 10.0
_KINDS: tuple[Kind, ...] = ("ask", "project", "plan", "publish", "clean")
_log = logging.getLogger("pymr")

Done = Callable[[Any], object]
Failed = Callable[[Exception], object]
Begin = Callable[[], None]


class Disk:
    """Does what it is asked, and tells in the loop what came of it.

    What is done for a run names it (`run_id`), and its removal (`remove_run`) waits for all that was asked
    for the run before, of whatever kind; what is asked for that run afterwards waits for the removal. So
    nothing of a run is written once it was removed, and nobody works in a folder that is going. Otherwise
    kinds know nothing of each other: a publication is ordered after the attempts it is made of, and the next
    run of a job after the publication of the one before, by the leader, who hears of each before it gives
    the next order.
    """

    def __init__(self, call_soon: CallSoon) -> None:
        self._threads = {kind: Thread(f"disk-{kind}", call_soon) for kind in _KINDS}
        self._short = Thread("disk-short", call_soon, threads=SHORT_THREADS)
        self._runs: dict[str, _Run] = {}
        self._logged_at = float("-inf")

    def do(
        self,
        kind: Kind,
        work: Callable[[], Any],
        on_done: Done,
        on_error: Failed,
        *,
        run_id: str = "",
        timeout_s: float = float("inf"),
    ) -> None:
        """Do some work; one of the two is called with what came of it.

        run_id: of the run that it is for, if it is for one. timeout_s: see Thread.do.
        """
        thread = self._threads[kind] if kind != "short" else self._short
        if kind == "short":
            work = self._timed(work)
        if not run_id:
            thread.do(work, on_done, on_error, timeout_s=timeout_s)
            return
        run = self._runs.setdefault(run_id, _Run())

        def begin() -> None:
            done, failed = self._releasing(run_id, on_done), self._releasing(run_id, on_error)
            thread.do(work, done, failed, timeout_s=timeout_s)

        run.waiting.append((False, begin))
        self._admit(run_id)

    def plan(self, run_id: str, work: Callable[[], Any], on_done: Done, on_error: Failed) -> None:
        """As `do`, of the kind `plan`; none of both is called where the run is removed meanwhile, and a plan
        that was not begun by then is not made."""
        run = self._runs.setdefault(run_id, _Run())
        removals = run.removals

        def unless_removed(function: Callable[[Any], object]) -> Callable[[Any], object]:
            return lambda what: function(what) if run.removals == removals else None

        self.do(
            "plan",
            lambda: work() if run.removals == removals else None,
            unless_removed(on_done),
            unless_removed(on_error),
            run_id=run_id,
        )

    def remove_run(self, run_id: str, work: Callable[[], Any], on_error: Failed) -> None:
        """Remove what there is of a run, after all that was asked for it and before all that is to come."""
        run = self._runs.setdefault(run_id, _Run())
        run.removals += 1

        def begin() -> None:
            done, failed = self._releasing(run_id, _nothing), self._releasing(run_id, on_error)
            self._threads["clean"].do(work, done, failed)

        run.waiting.append((True, begin))
        self._admit(run_id)

    def stop(self, timeout_s: float) -> None:
        """Let the threads end after what they are at; wait for all of them together no longer than this."""
        deadline = time.monotonic() + timeout_s
        for thread in (self._short, *self._threads.values()):
            thread.stop(max(0.0, deadline - time.monotonic()))

    def _admit(self, run_id: str) -> None:
        """Begin what may be begun of what waits for a run, in the order in which it was asked for."""
        run = self._runs[run_id]
        while run.waiting and not run.is_removing:
            is_removal, begin = run.waiting[0]
            if is_removal and run.under_way:
                return
            run.waiting.popleft()
            run.under_way += 1
            run.is_removing = is_removal
            begin()

    def _releasing(self, run_id: str, function: Callable[[Any], object]) -> Callable[[Any], object]:
        """Let what waits for the run go on after the function."""

        def call(what: Any) -> None:
            try:
                function(what)
            finally:
                run = self._runs[run_id]
                run.under_way -= 1
                run.is_removing = False
                self._admit(run_id)
                if not run.under_way and not run.waiting:
                    self._runs.pop(run_id, None)

        return call

    def _timed(self, work: Callable[[], Any]) -> Callable[[], Any]:
        def timed() -> Any:
            began = time.monotonic()
            try:
                return work()
            finally:
                now = time.monotonic()
                if now - began > LONG_SECONDS and now - self._logged_at > _LOG_SECONDS:
                    self._logged_at = now
                    _log.info("the disk is slow: %s took %.1f s", name_of(work), now - began)

        return timed


class _Run:
    """What the disk has to do for a run. waiting: (whether it removes the run, what begins it)."""

    __slots__ = ("is_removing", "removals", "under_way", "waiting")

    def __init__(self) -> None:
        self.under_way = 0
        self.removals = 0
        self.is_removing = False
        self.waiting: deque[tuple[bool, Begin]] = deque()


def _nothing(_: object) -> None:
    pass

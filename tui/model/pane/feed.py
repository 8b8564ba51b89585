"""The pane feed: one thread that reads of the panes that are seen what is seen of them, and nothing else."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Protocol, Self

from pymr.base.errors import PymrError
from pymr.client import PaneBytes, RefusedError, UnreachableError
from tui.model.fault_log import log_fault
from tui.model.pane.search import lost_start

READ_SECONDS = 0.2
"""A pane is read so often at most. Lower: fresher, and more questions for its peer."""

ROUND_SECONDS = 0.05
"""Panes due within this time of one another are read, reported and drawn together."""

QUIET_SECONDS = 0.5
"""One that has put out nothing for QUIET_READS reads is read so often."""
QUIET_READS = 5

ANSWER_SECONDS = 1.5
"""A data service that takes longer holds up all panes meanwhile, so it is asked more and more seldom."""
RETRY_FIRST_SECONDS, RETRY_LAST_SECONDS = 0.5, 10.0
CLOSE_SECONDS = 0.8
PIECE_BYTES = 256 << 10
PIECES_PER_ROUND = 4
"""Of a range, or of a tail that has grown, so many pieces at most are read before the other panes' turn."""

RANGES_MAX = 16
NOT_KEPT = "What {worker} put out in {run_id} is no longer kept, if it took part in that run"
_BEYOND = 1 << 60


class PaneReader(Protocol):
    """What of client.Client is used here."""

    def read_pane(self, worker: str, run_id: str, offset: int, bytes_max: int = ...) -> PaneBytes: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class PaneWish:
    """A pane that is seen. run_id: "" for the worker's newest. tail_bytes: so much of its end is followed; 0:
    only how long it is. ranges: (start, stop) of what to read once, RANGES_MAX at most,
    each of PIECES_PER_ROUND * PIECE_BYTES at most."""

    worker: str
    run_id: str = ""
    tail_bytes: int = 0
    ranges: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class PaneNews:
    """What came of a wish. run_id: as it was wished. piece: None where it could not be read; problem: why."""

    worker: str
    run_id: str
    piece: PaneBytes | None
    problem: str = ""


@dataclass(slots=True)
class _Watch:
    """A pane that is read. wish, is_anew, due: written by both threads, under the lock; the rest by the
    reading one alone. is_anew: its tail restarts. next: where its tail continues; None before that."""

    wish: PaneWish
    is_anew: bool = False
    next: int | None = None
    found_run: str = ""
    end: int = -1
    is_fast: bool = False
    quiet_reads: int = 0
    due: float = 0.0
    retry_s: float = RETRY_FIRST_SECONDS
    problem: str = ""
    done: set[tuple[int, int]] = field(default_factory=set)
    lost_start: int | None = None


def _peer_of(watch: _Watch) -> str:
    return watch.wish.worker.rpartition("/")[0]


class PaneFeed:
    """Reads panes by turns. Never raises: an error of a pane is reported as its problem.

    make_client: called in the thread, with the seconds that an answer may take. notify: called in the thread
    when there is something to take, after a round of reads; has to be quick. A pane whose news are not taken
    is not read on, so what waits here is bounded: by PIECES_PER_ROUND pieces a pane.
    """

    def __init__(self, make_client: Callable[[float], PaneReader], notify: Callable[[], object]) -> None:
        self._make_client = make_client
        self._notify = notify
        self._lock = threading.Lock()
        self._watches: dict[tuple[str, str], _Watch] = {}
        self._news: deque[PaneNews] = deque()
        self._waiting: set[tuple[str, str]] = set()
        self._untold_since = 0.0
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pymr-tui panes", daemon=True)

    def close(self) -> None:
        """End the thread; a read that is under way is waited for CLOSE_SECONDS at most."""
        self._closed.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def want(self, wishes: Sequence[PaneWish]) -> None:
        """Read these panes from now on, and no others; the thread starts when there is a first one.

        State of panes that are requested again is kept, that of others dropped. Call from one thread
        only.
        """
        with self._lock:
            before = self._watches
            self._watches = {}
            for wish in wishes:
                key = wish.worker, wish.run_id
                watch = before.get(key) or _Watch(wish)
                if wish != watch.wish:
                    watch.due = 0.0
                    watch.is_anew |= bool(wish.tail_bytes and not watch.wish.tail_bytes)
                    watch.wish = wish
                self._watches[key] = watch
            self._news = deque(one for one in self._news if (one.worker, one.run_id) in self._watches)
            self._waiting &= self._watches.keys()
        self._wake.set()
        if wishes and self._thread.ident is None and not self._closed.is_set():
            self._thread.start()

    def take(self) -> list[PaneNews]:
        """What has come since it was last taken, in the order in which it came. From any thread."""
        with self._lock:
            news = [one for one in self._news if (one.worker, one.run_id) in self._watches]
            self._news.clear()
            self._waiting.clear()
        self._wake.set()
        return news

    # ---- in the thread

    def _run(self) -> None:
        pause_s, logged = RETRY_FIRST_SECONDS, ""
        while not self._closed.is_set():
            self._wake.clear()
            if not self._watches:
                self._pause(None)
                continue
            began = time.monotonic()
            try:
                with self._make_client(ANSWER_SECONDS) as client:
                    self._read_on(client)
                continue
            except PymrError as error:  # no such key, or a client that cannot be made
                problem = str(error)
            except Exception as error:  # the top of a thread: a fault of the console's, that must not end it
                problem = f"the console has a fault: {error!r}"
                if problem != logged:
                    log_fault("the panes could not be read", error)
                    logged = problem
            if time.monotonic() - began > RETRY_LAST_SECONDS:  # it went well for a while
                pause_s = RETRY_FIRST_SECONDS
            self._tell_all(problem)
            self._wake.clear()
            self._pause(pause_s)
            pause_s = min(pause_s * 2, RETRY_LAST_SECONDS)

    def _read_on(self, client: PaneReader) -> None:
        while not self._closed.is_set():
            self._wake.clear()
            with self._lock:
                watches = list(self._watches.items())
                waiting = set(self._waiting)
            for key, watch in watches:
                if self._closed.is_set():
                    return
                if watch.due <= time.monotonic() + ROUND_SECONDS and key not in waiting:
                    self._read(client, watch)
                    self._notify_of(ROUND_SECONDS)
            self._notify_of(0.0)
            with self._lock:
                dues = [watch.due for key, watch in self._watches.items() if key not in self._waiting]
            if dues:
                self._pause(max(0.01, min(dues) - time.monotonic()))
            else:  # nothing is seen, or nobody takes what has come
                self._pause(None)

    def _read(self, client: PaneReader, watch: _Watch) -> None:
        """Read a pane once, and when it is due again."""
        began, end = time.monotonic(), watch.end
        with self._lock:
            wish = watch.wish
            if watch.is_anew:
                watch.is_anew, watch.next = False, None
        watch.done &= set(wish.ranges)
        try:
            for start, stop in wish.ranges[:RANGES_MAX]:
                if (start, stop) not in watch.done and not self._closed.is_set():
                    self._read_range(client, watch, wish, start, stop)
                    watch.done.add((start, stop))
            if wish.tail_bytes:
                self._read_tail(client, watch, wish)
            else:
                self._look_at_end(client, watch, wish)
        except PymrError as error:
            self._failed(watch, wish, error)
            return
        watch.retry_s = RETRY_FIRST_SECONDS
        if watch.problem:
            watch.problem = ""
            self._tell(watch, PaneBytes(watch.found_run, max(watch.end, 0), b"", max(watch.end, 0)))
        watch.quiet_reads = watch.quiet_reads + 1 if watch.end == end else 0
        is_quiet = watch.quiet_reads >= QUIET_READS or not wish.tail_bytes
        self._set_due(watch, wish, began + (QUIET_SECONDS if is_quiet else READ_SECONDS))

    def _read_tail(self, client: PaneReader, watch: _Watch, wish: PaneWish) -> None:
        """Go on where the last read ended; from the end, where more has come than is followed."""
        tail_bytes, offset = wish.tail_bytes, watch.next
        if offset is None or watch.is_fast:
            piece = client.read_pane(wish.worker, wish.run_id, -tail_bytes, tail_bytes)
            watch.is_fast = offset is not None and piece.start > offset
            self._took(watch, piece)
            return
        for number in range(PIECES_PER_ROUND):
            piece = client.read_pane(wish.worker, wish.run_id, offset, min(tail_bytes, PIECE_BYTES))
            if piece.run_id != watch.found_run or piece.end < watch.end:
                watch.next = None  # another run has begun: from its end
                self._read_tail(client, watch, wish)
                return
            behind = piece.end - piece.next
            if behind > tail_bytes or (behind and number == PIECES_PER_ROUND - 1):
                watch.is_fast = True
                self._read_tail(client, watch, wish)
                return
            self._took(watch, piece)
            offset = piece.next
            if not behind:
                return

    def _look_at_end(self, client: PaneReader, watch: _Watch, wish: PaneWish) -> None:
        piece = client.read_pane(wish.worker, wish.run_id, _BEYOND, 1)
        if piece.end != watch.end or piece.run_id != watch.found_run:
            self._tell(watch, piece)
        watch.end, watch.found_run = piece.end, piece.run_id

    def _read_range(self, client: PaneReader, watch: _Watch, wish: PaneWish, start: int, stop: int) -> None:
        """Read PIECES_PER_ROUND pieces at most of a range, and find out what of it is not kept."""
        offset = start
        for _ in range(PIECES_PER_ROUND):
            if offset >= stop or self._closed.is_set():
                return
            piece = client.read_pane(wish.worker, wish.run_id, offset, min(stop - offset, PIECE_BYTES))
            if piece.skipped:
                if watch.lost_start is None:
                    watch.lost_start = lost_start(partial(client.read_pane, wish.worker, wish.run_id), offset)
                piece = replace(piece, skipped=piece.start - min(watch.lost_start, offset))
            self._tell(watch, piece)
            if not piece.data:
                return
            offset = piece.next

    def _took(self, watch: _Watch, piece: PaneBytes) -> None:
        is_new = bool(piece.data) or piece.run_id != watch.found_run or piece.end != watch.end
        watch.next, watch.found_run, watch.end = piece.next, piece.run_id, piece.end
        if is_new:
            self._tell(watch, piece)

    def _set_due(self, watch: _Watch, wish: PaneWish, due: float) -> None:
        """When it is due again, unless something else was wished meanwhile: then it is due now."""
        with self._lock:
            if watch.wish is wish:
                watch.due = due

    def _failed(self, watch: _Watch, wish: PaneWish, error: PymrError) -> None:
        """Ask again later, and what is of the same peer as well where that did not answer."""
        problem = str(error)
        if isinstance(error, RefusedError) and error.code == "missing":
            problem = NOT_KEPT.format(worker=wish.worker, run_id=wish.run_id)
        due = time.monotonic() + watch.retry_s
        watch.retry_s = min(watch.retry_s * 2, RETRY_LAST_SECONDS)
        peer = _peer_of(watch)
        others: list[_Watch] = []
        with self._lock:
            if isinstance(error, UnreachableError):
                others = [one for one in self._watches.values() if _peer_of(one) == peer and one is not watch]
            for one in others:
                one.due = due
        for one in others:
            one.retry_s = watch.retry_s
            self._tell_problem(one, str(error))
        self._set_due(watch, wish, due)
        self._tell_problem(watch, problem)

    def _tell_all(self, problem: str) -> None:
        with self._lock:
            watches = list(self._watches.values())
        for watch in watches:
            self._tell_problem(watch, problem)
        self._notify_of(0.0)

    def _tell_problem(self, watch: _Watch, problem: str) -> None:
        if watch.problem != problem:
            watch.problem = problem
            self._tell(watch, None)

    def _tell(self, watch: _Watch, piece: PaneBytes | None) -> None:
        key = watch.wish.worker, watch.wish.run_id
        with self._lock:
            if self._watches.get(key) is not watch:  # no longer requested, or requested again
                return
            self._news.append(PaneNews(*key, piece, watch.problem))
            self._waiting.add(key)
        self._untold_since = self._untold_since or time.monotonic()

    def _notify_of(self, seconds: float) -> None:
        """Announce news that have waited long enough."""
        if self._untold_since and time.monotonic() - self._untold_since >= seconds:
            self._untold_since = 0.0
            if not self._closed.is_set():
                self._notify()

    def _pause(self, seconds: float | None) -> None:
        if not self._closed.is_set():
            self._wake.wait(seconds)

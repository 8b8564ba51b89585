"""The loop of the daemon: one thread that waits for descriptors, sockets and times, and calls what is theirs.

Everything that a daemon knows is touched in this thread only; other threads hand over with `call_soon`.
"""  # fmt: skip

from __future__ import annotations

import contextlib
import heapq
import logging
import os
import selectors
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Protocol

Function = Callable[[], object]

CALLS_PER_TURN = 1_000
"""Most functions from `call_soon` in one turn; the others wait until descriptors and timers had theirs."""

CALLS_SECONDS = 0.1
"""What is left after this long of the functions from `call_soon` waits for the next turn, too."""

SLOW_SECONDS = 0.5
"""A function that takes longer is named in the log: nothing else happens meanwhile."""

_LOG_SECONDS = 1.0  # least time between two records of the same failing function
_log = logging.getLogger("pymr")


class HasFileno(Protocol):
    def fileno(self) -> int: ...


Descriptor = int | HasFileno


class PolledSocket(Protocol):
    """A ZeroMQ socket, as the loop sees it. Its descriptor tells of changes only, so it is asked as well."""

    def fileno(self) -> int: ...
    def has_pending(self) -> bool: ...
    def on_ready(self) -> None:
        """Deal with some of what has come; with the rest at the next turn."""


class Timer:
    """A call that is to come, once or again and again."""

    __slots__ = ("due", "function", "interval", "is_cancelled")

    def __init__(self, due: float, interval: float | None, function: Function) -> None:
        self.due = due
        self.interval = interval
        self.function = function
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Loop:
    """Calls functions one after the other; an exception in one is logged, and ends neither it nor the others.

    Only `call_soon` and `stop` may be used from other threads, and from signal handlers.
    turned_at: when the latest turn began, by time.monotonic(); to be read from any thread. A loop that waits
    for its timers turns with them; one in which a function hangs does not.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: list[PolledSocket] = []
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = count()
        self._calls: deque[Function] = deque()
        self._is_stopped = False
        self.turned_at = time.monotonic()
        self._failed_at: dict[str, float] = {}
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self.watch(self._wake_read, self._drain_wakes)

    def run(self) -> None:
        """Go on until `stop`. KeyboardInterrupt and SystemExit, and nothing else, come through."""
        self._is_stopped = False
        while not self._is_stopped:
            self._turn()

    def stop(self) -> None:
        """Let `run` return after the turn it is in."""
        self._is_stopped = True
        self._wake()

    def close(self) -> None:
        """Free the loop's own descriptors; what it has watched stays open."""
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def call_soon(self, function: Function) -> None:
        """Call a function in the loop's thread, in the order given."""
        self._calls.append(function)
        self._wake()

    def call_later(self, seconds: float, function: Function) -> Timer:
        return self._add(Timer(time.monotonic() + seconds, None, function))

    def call_every(self, seconds: float, function: Function) -> Timer:
        """Call a function again and again, first after `seconds` > 0. Missed calls are not made up for."""
        return self._add(Timer(time.monotonic() + seconds, seconds, function))

    def watch(self, descriptor: Descriptor, on_ready: Function) -> None:
        """Call `on_ready` once a turn while there is something to read, or an end. Replaces an older one."""
        self.unwatch(descriptor)
        self._selector.register(descriptor, selectors.EVENT_READ, on_ready)

    def unwatch(self, descriptor: Descriptor) -> None:
        """Stop watching; before the descriptor is closed. Nothing happens if it is not watched."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(descriptor)

    def watch_socket(self, endpoint: PolledSocket) -> None:
        self._sockets.append(endpoint)
        self.watch(endpoint.fileno(), _nothing)  # it wakes the loop, which then asks the endpoint itself

    def unwatch_socket(self, endpoint: PolledSocket) -> None:
        """Stop watching a socket; before it is closed."""
        self._sockets.remove(endpoint)
        self.unwatch(endpoint.fileno())

    def _turn(self) -> None:
        """One round: every descriptor, socket and timer that is ready has its call, and each only one."""
        ready = self._selector.select(self._seconds_to_wait())
        self.turned_at = time.monotonic()
        for key, _ in ready:
            if self._is_watched(key):
                self._call(key.data)
        for endpoint in tuple(self._sockets):
            if endpoint in self._sockets and endpoint.has_pending():
                self._call(endpoint.on_ready)
        self._call_timers()
        until = time.monotonic() + CALLS_SECONDS
        for _ in range(min(len(self._calls), CALLS_PER_TURN)):
            self._call(self._calls.popleft())
            if time.monotonic() > until:
                break

    def _is_watched(self, key: selectors.SelectorKey) -> bool:
        """Whether the call for another descriptor, in the same turn, has not ended this watch."""
        try:
            return self._selector.get_key(key.fileobj) is key
        except (KeyError, ValueError):
            return False

    def _seconds_to_wait(self) -> float | None:
        if self._calls or self._is_stopped or any(endpoint.has_pending() for endpoint in self._sockets):
            return 0.0
        while self._timers and self._timers[0][2].is_cancelled:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _call_timers(self) -> None:
        now = time.monotonic()
        due: list[Timer] = []
        while self._timers and self._timers[0][0] <= now:
            due.append(heapq.heappop(self._timers)[2])
        for timer in due:
            if timer.is_cancelled:
                continue
            if timer.interval is not None:
                on_time = timer.due + timer.interval
                timer.due = on_time if on_time > now else now + timer.interval
                self._add(timer)
            self._call(timer.function)

    def _add(self, timer: Timer) -> Timer:
        heapq.heappush(self._timers, (timer.due, next(self._numbers), timer))
        return timer

    def _call(self, function: Function) -> None:
        began = time.monotonic()
        try:
            function()
        except Exception:
            self._log_failure(function, began)
        seconds = time.monotonic() - began
        if seconds > SLOW_SECONDS:
            _log.warning("%s held up the loop for %.1f s", name_of(function), seconds)

    def _log_failure(self, function: Function, now: float) -> None:
        name = name_of(function)
        if now - self._failed_at.get(name, float("-inf")) >= _LOG_SECONDS:
            self._failed_at[name] = now
            _log.exception("%s failed; the loop goes on", name)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it will wake up anyway
            os.write(self._wake_write, b"\0")

    def _drain_wakes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 1 << 16)


def _nothing() -> None:
    pass


def name_of(function: Callable[[], object]) -> str:
    """What a callable is called in the log: a method has a name, a partial only what it calls."""
    called = getattr(function, "func", function)
    return getattr(called, "__qualname__", None) or repr(type(called))

"""The pulse of Redis: what is wrong, as measured, with one that the lease finds too slow or silent."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from pymr.peer.store.store import RedisConnection, StoreUnavailable

PULSE_TIMEOUT_SECONDS = 2.0
"""How long Redis may take to answer before it counts as silent, and not as slow."""

PULSE_SECONDS = 5.0
"""Between two measurements: each holds up the thread that would lead."""

_STEADY_FACTOR = 2.0  # a time that has changed by less is told as before


class Pinging(Protocol):
    """What is needed of a connection here."""

    shown_url: str

    def ask(self, *command: str) -> Any: ...

    def close(self) -> None: ...


class RedisPulse:
    """Tells a Redis that is slow from one that is silent. limit_s: within which the lease needs an answer."""

    def __init__(
        self,
        url: str,
        password: str | None,
        limit_s: float,
        *,
        connect: Callable[[str, str | None, float], Pinging] = RedisConnection,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = connect(url, password, PULSE_TIMEOUT_SECONDS)
        self._limit_s = limit_s
        self._clock = clock
        self._measured_at = float("-inf")
        self._took_s = 0.0
        self._text = ""
        self._is_known = False

    def note_answer(self) -> None:
        """Redis has answered in time."""
        self._is_known = False

    def describe(self, error: StoreUnavailable) -> str:
        """What is wrong, and what to do. The first time at once; then it takes PULSE_TIMEOUT_SECONDS at most
        for each of a few steps, every PULSE_SECONDS."""
        is_first, self._is_known = not self._is_known, True
        if is_first or not error.is_late:
            self._took_s = 0.0
            self._measured_at = float("-inf")
            return str(error)
        if self._clock() - self._measured_at >= PULSE_SECONDS:
            self._text = self._measure()
            self._measured_at = self._clock()
        return self._text

    def _measure(self) -> str:
        try:
            self._redis.ask("PING")  # connects
            began = self._clock()
            self._redis.ask("PING")
            took_s = self._clock() - began
        except StoreUnavailable as error:
            self._took_s = 0.0
            return str(error)
        finally:
            self._redis.close()
        if not self._took_s / _STEADY_FACTOR < took_s < self._took_s * _STEADY_FACTOR:
            self._took_s = took_s
        took, limit = f"{self._took_s:.2g} s", f"{self._limit_s:g} s"
        is_slow = self._took_s >= self._limit_s
        unsteady = f"has not answered within {limit}, a moment later in {took}"
        what = f"answers after {took}" if is_slow else unsteady
        return (
            f"Redis at {self._redis.shown_url} {what}, and no peer can lead while that takes more than "
            f"{limit}: see what slows Redis, its machine or the network down"
        )

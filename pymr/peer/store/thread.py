"""A Redis connection with a thread of its own, beside the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pymr.peer.loop.threads import CallSoon, Thread
from pymr.peer.store.store import Store


class StoreThread:
    """A Redis connection with a thread of its own."""

    def __init__(self, name: str, make_store: Callable[[], Store], call_soon: CallSoon) -> None:
        self._store = make_store()
        self._thread = Thread(name, call_soon)

    def ask(
        self,
        work: Callable[[Store], Any],
        on_done: Callable[[Any], object],
        on_error: Callable[[Exception], object],
        *,
        timeout_s: float = float("inf"),
        is_wanted: Callable[[], bool] | None = None,
    ) -> None:
        """As `Thread.do`, with the connection."""
        store = self._store
        self._thread.do(lambda: work(store), on_done, on_error, timeout_s=timeout_s, is_wanted=is_wanted)

    def stop(self, timeout_s: float) -> None:
        self._thread.stop(timeout_s)

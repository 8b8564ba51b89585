"""Absence: an engine whose workers are all gone does nothing, and would not say so."""

from __future__ import annotations

from pymr.base.errors import FatalError
from pymr.engines.core.run_watch import RunWatch

TOLD_SECONDS = 5.0
"""So long they may be away without a word: killed ones are replaced."""


class Absence:
    """Watches how many workers there are: tells when there are none, and fails the run in the end.

    where: the engine and its address, for people. grace_s: how long it is waited for workers.
    """

    def __init__(self, where: str, grace_s: float, watch: RunWatch) -> None:
        self._where = where
        self._grace_s = grace_s
        self._watch = watch
        self._since: float | None = None
        self._is_told = False

    def look(self, workers: int, now: float) -> None:
        """There are so many. now: monotonic seconds. Raises FatalError after `grace_s` without any."""
        if workers:
            if self._is_told:
                self._watch.note(f"{self._where} has workers again: {workers:,}")
            self._since, self._is_told = None, False
            return
        self._since = now if self._since is None else self._since
        away_s = now - self._since
        if away_s >= self._grace_s:
            raise FatalError(
                f"{self._where} has had no workers for {self._grace_s:,.0f} s "
                "(scheduler.machine_grace_seconds): start some, then run the job again"
            )
        if away_s >= min(TOLD_SECONDS, self._grace_s / 2) and not self._is_told:
            self._is_told = True
            left = f"the run fails in {self._grace_s - away_s:,.0f} s (scheduler.machine_grace_seconds)"
            self._watch.note(f"{self._where} has no workers any more: waiting for some; {left}")

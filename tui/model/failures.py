"""Which of the cluster's events are failures, and which events are reported to the operator at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pymr.wire.rows import EventRow

SHOWN_AT_ONCE_MAX = 3

TOLD_AT_ONCE = ("run.failed", "peer.lost", "run.breakpoint")
"""What nothing is done about unless somebody does it."""

FAILURES = ("run.failed", "peer.lost", "task.failed", "task.lost", "redis.lost")


def is_failure(event: EventRow) -> bool:
    return event.kind in FAILURES


class Notice(NamedTuple):
    """A notice for the operator."""

    text: str
    is_failure: bool


class Failures:
    """Remembers how far events were examined. Events from before the console's start are not reported."""

    def __init__(self) -> None:
        self._last_id: str | None = None

    def new_in(self, events: Sequence[EventRow], looked_at: tuple[str, str] = ("", "")) -> list[Notice]:
        """One for each event that is new, SHOWN_AT_ONCE_MAX at most, then one about the others. looked_at:
        (worker, run) whose breakpoints the operator sees anyway."""
        if not events:
            return []
        seen, self._last_id = self._last_id, events[-1].id
        if seen is None:
            return []
        new: list[Notice] = []
        for event in reversed(events):
            if event.id == seen:
                break
            is_seen = event.kind == "run.breakpoint" and (event.worker, event.run_id) == looked_at
            if event.kind in TOLD_AT_ONCE and not is_seen:
                new.append(Notice(event.text, is_failure(event)))
        told = new[::-1][:SHOWN_AT_ONCE_MAX]
        more = len(new) - len(told)
        return [*told, Notice(f"and {more} more: see 6 Events", True)] if more else told

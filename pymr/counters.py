"""User counters: `pymr.count("name")` in a map or reduce function, added up over all tasks of a run."""

from __future__ import annotations

from collections import Counter

_current: Counter[str] = Counter()


def count(name: str, number: int = 1) -> None:
    """Add `number` to the counter `name` of the task that is running.

    Counts of an attempt that fails are dropped with it, so a retried task counts once.
    """
    _current[name] += number


def take_counts() -> dict[str, int]:
    """The counts since the last call; starts again from nothing. The engine calls it at a task's ends."""
    counts = dict(_current)
    _current.clear()
    return counts

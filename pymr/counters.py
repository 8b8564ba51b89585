"""User counters: `pymr.count("name")` in a map or reduce function, added up over all tasks of a run."""

from __future__ import annotations

_current: dict[str, float] = {}


def count(name: str, number: float = 1) -> None:
    """Add `number` to the counter `name` of the task that is running.

    Counts of an attempt that fails are dropped with it, so a retried task counts once.
    Raises TypeError where `name` is no str or `number` no int or float.
    """
    if not isinstance(name, str) or not isinstance(number, int | float):
        raise TypeError(f"pymr.count takes a str and a number, not {name!r:.80} and {number!r:.80}")
    _current[name] = _current.get(name, 0) + number


def take_counts() -> dict[str, float]:
    """The counts since the last call; starts again from nothing. The engine calls it at a task's ends."""
    counts = dict(_current)
    _current.clear()
    return counts

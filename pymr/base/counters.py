"""User counters: `pymr.count("name")` in a map or reduce function, added up over all tasks of a run."""

from __future__ import annotations

import contextlib
import math
import sys

_INTEGER_MAX = (1 << 63) - 1
_current: dict[str, float] = {}


def count(name: str, number: float = 1) -> None:
    """Add `number` to the counter `name` of the task that is running.

    Counts of an attempt that fails are dropped with it, so a retried task counts once.
    Raises TypeError if `name` is not a str or `number` is not an int or float.
    """
    if not isinstance(name, str) or not isinstance(number, int | float):
        raise TypeError(f"pymr.count takes a str and a number, not {name!r:.80} and {number!r:.80}")
    _current[name] = _current.get(name, 0) + number


def take_counts() -> dict[str, float]:
    """The counts since the last call, see `finite`; starts again from nothing. The engine calls it at a
    task's ends. NaN counts as 0, with a warning on stderr."""
    counts = {name: finite(number) for name, number in _current.items()}
    for name, number in _current.items():
        if number != number:
            with contextlib.suppress(Exception):  # the user's stream
                print(f"the counter {name!r} is not a number (NaN); it counts as 0", file=sys.stderr)
    _current.clear()
    return counts


def finite(number: float) -> int | float:
    """The nearest number that 64 bits hold, and JSON has; 0 for NaN."""
    if isinstance(number, int) and abs(number) <= _INTEGER_MAX:
        return int(number)
    try:
        as_float = float(number)
    except OverflowError:
        as_float = math.inf if number > 0 else -math.inf
    return 0 if math.isnan(as_float) else max(-sys.float_info.max, min(as_float, sys.float_info.max))

"""File locks with a bounded wait."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable


def lock_within(
    descriptor: int, deadline: float, *, look_s: float, on_look: Callable[[], object] = lambda: None
) -> None:
    """Lock a file or folder for this process alone; the lock goes with the descriptor.

    deadline: by time.monotonic(). look_s: between two attempts, after each of which on_look is called.
    Raises BlockingIOError where another still has it at the deadline, OSError.
    """
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
        on_look()
        time.sleep(look_s)

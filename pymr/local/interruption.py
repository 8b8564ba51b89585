"""Interruption: the signals by which a user stops a run, and the moments in which they have to wait."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTING_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


@contextmanager
def uninterrupted(*, discard: bool = False) -> Iterator[None]:
    """Hold interrupting signals back; they come when the context ends, with `discard` not at all.

    Between a fork and the note of it, or a close and its, an interruption would lose a process or close what
    has become another's. What is done in here takes moments: no wait is longer than a process takes to die.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTING_SIGNALS)
    try:
        yield
    finally:
        while discard and signal.sigtimedwait(INTERRUPTING_SIGNALS - before, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

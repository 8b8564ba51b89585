"""Interruption: the signals by which a user stops a run, and the moments in which they have to wait."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from pymr.base.errors import Interrupted

INTERRUPTING_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})

_received: list[int] = []


def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    """The handler of these signals: the first raises Interrupted, further ones change nothing."""
    _received.append(number)
    for one in INTERRUPTING_SIGNALS:
        signal.signal(one, lambda *_: None)
    raise Interrupted


def was_interrupted() -> bool:
    """Whether `interrupt` was called."""
    return bool(_received)


def check_interruption() -> None:
    """Raise Interrupted once more after an interruption: the first was lost if it came while a library of C
    called back, or an object was being freed."""
    if _received:
        raise Interrupted


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

"""Forks that a user's function makes and does not end: they go on as if they were the worker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def end_fork(pid: int) -> None:
    """End this process, silently and at once, unless it is the one with this process id.

    Called before anything is written to files that the process which opened them, or is to open them, goes on
    writing: a fork shares their offsets, and would truncate what is there.
    """
    if os.getpid() != pid:
        os._exit(0)


@contextmanager
def ending_forks() -> Iterator[None]:
    """End a fork that comes to the end of this context, with or without an error. Also a decorator."""
    pid = os.getpid()
    try:
        yield
    finally:
        end_fork(pid)

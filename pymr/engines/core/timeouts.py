"""Timeouts: an attempt that makes no progress is reported as failed, and its process ends with it.

A function that hangs cannot be ended otherwise; engines start another process, and do again what that one
held.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pymr.engine.tasks import TaskWatch

LOOK_SECONDS_MAX = 1.0
"""Between two looks at the progress, or a tenth of what is allowed."""

STUCK_SECONDS = 10.0
"""So much longer a process lives in which no Python runs any more, as in a regular expression without end. It
ends without a word but its traceback, and the engine takes it for one that was killed."""


@contextmanager
def ended_without_progress(
    watch: TaskWatch,
    timeout_s: float,
    on_timeout: Callable[[], object],
    *,
    may_end: bool,
    is_wanted: Callable[[], bool] = lambda: True,
    stuck_s: float = STUCK_SECONDS,
) -> Iterator[None]:
    """Call `on_timeout` where nothing moves in the watch for `timeout_s` in here; then end this process.

    may_end: false where the process is not an engine's; then what is in here goes on. is_wanted: asked now
    and then; once it says no, the watch is told, and where the task does not end by that, the process ends
    after `stuck_s`. stuck_s: see STUCK_SECONDS. Cost: a thread.
    """
    is_over = threading.Event()
    lock = threading.Lock()  # what completes just then is not reported as failed

    def look() -> None:
        before = (watch.progress(), watch.ticks)
        left_s, pause_s = timeout_s, min(timeout_s / 10, LOOK_SECONDS_MAX)
        unwanted_s = 0.0
        while not is_over.wait(pause_s):
            if watch.is_over or not is_wanted():
                watch.is_over = True
                unwanted_s += pause_s
                if may_end and unwanted_s > stuck_s:
                    with lock:
                        if not is_over.is_set():
                            os.kill(os.getpid(), signal.SIGKILL)
                continue
            now = (watch.progress(), watch.ticks)
            left_s -= pause_s
            if now != before:
                before, left_s = now, timeout_s
                if may_end:
                    _arm(timeout_s + stuck_s)
            elif left_s <= 0:
                with lock:
                    if not is_over.is_set():
                        on_timeout()
                        if may_end:
                            os.kill(os.getpid(), signal.SIGKILL)
                return

    if may_end:
        _arm(timeout_s + stuck_s)
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with lock:
            is_over.set()
        if may_end:
            faulthandler.cancel_dump_traceback_later()
        thread.join()


def _arm(seconds: float) -> None:
    """End this process after a time, unless it is put off: by a thread that needs no Python."""
    with suppress(OSError, ValueError, AttributeError):  # of an output that is not a file
        faulthandler.dump_traceback_later(seconds, exit=True, file=sys.stdout)

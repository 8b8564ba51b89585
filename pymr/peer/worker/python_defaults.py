"""Python's defaults in a process that was forked from a running program: what functions of a project find is
what they would find in an interpreter of their own, whatever the daemon has set for itself."""

from __future__ import annotations

import locale
import logging
import signal
import sys
import threading
import warnings
from contextlib import suppress
from types import ModuleType

_IGNORED_BY_PYTHON = frozenset(
    number for name in ("SIGPIPE", "SIGXFSZ") if (number := getattr(signal, name, None)) is not None
)


def restore_python_defaults() -> None:
    """Undo what a program sets for its whole process: its log, warnings, hooks, signals, locale, arguments,
    event loop and `__main__`; and draw other random numbers than any other fork of it.

    What stays is what belongs to the machine or the account: environment, folder, limits, import path.
    """
    _restore_logging()
    _restore_warnings()
    _restore_hooks()
    _restore_signals()
    locale.setlocale(locale.LC_ALL, "C")
    with suppress(locale.Error):  # the environment names one that this machine has not; Python says nothing
        locale.setlocale(locale.LC_CTYPE, "")
    sys.argv[:] = [""]
    # multiprocessing would run the daemon's program again in each process that it spawns.
    sys.modules["__main__"] = ModuleType("__main__")
    _forget_event_loop()
    _draw_other_numbers()


def _restore_logging() -> None:
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for log_filter in list(root.filters):
        root.removeFilter(log_filter)
    root.setLevel(logging.WARNING)
    logging.getLogger("pymr").setLevel(logging.NOTSET)
    logging.disable(logging.NOTSET)
    logging.captureWarnings(False)


def _restore_warnings() -> None:
    """The filters of the interpreter's options and environment before those that every Python begins with."""
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category, append=True)
    warnings.filterwarnings("default", category=DeprecationWarning, module="__main__")
    warnings._processoptions(sys.warnoptions)  # type: ignore[attr-defined]


def _restore_hooks() -> None:
    sys.excepthook = sys.__excepthook__
    sys.displayhook = sys.__displayhook__
    sys.unraisablehook = sys.__unraisablehook__
    threading.excepthook = threading.__excepthook__
    sys.settrace(None)
    sys.setprofile(None)


def _restore_signals() -> None:
    """Also of those that whoever has started the daemon ignored, as a shell does for what it runs behind."""
    for number in signal.valid_signals():
        handler = signal.SIG_IGN if number in _IGNORED_BY_PYTHON else signal.SIG_DFL
        if number in (signal.SIGKILL, signal.SIGSTOP) or signal.getsignal(number) in (handler, None):
            continue
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else handler)


def _forget_event_loop() -> None:
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        asyncio.set_event_loop_policy(None)
        asyncio._set_running_loop(None)


def _draw_other_numbers() -> None:
    """The standard library's random numbers are new ones after every fork; those of numpy are not."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()

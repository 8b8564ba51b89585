"""The console's own log: its internal errors, for debugging; and notices
that their line had no room for."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path

LOG_BYTES_MAX = 1 << 20
"""A log of this size becomes `console.log.1`, in place of the one before it."""


def log_fault(what: str, error: BaseException) -> Path:
    """Append it with its traceback. Returns where; standard error has it where no file can be written."""
    path = _path()
    try:
        handler = _handler(path)
    except OSError:
        handler = logging.StreamHandler()
    _append(handler, logging.ERROR, what, error)
    return path


def log_notice(text: str) -> None:
    """Append a notice, if a file can be written."""
    with suppress(OSError):
        _append(_handler(_path()), logging.INFO, text)


def _path() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(home) / "pymr" / "console.log"


def _handler(path: Path) -> logging.Handler:
    path.parent.mkdir(parents=True, exist_ok=True)
    return RotatingFileHandler(path, maxBytes=LOG_BYTES_MAX, backupCount=1, encoding="utf-8")


def _append(handler: logging.Handler, level: int, text: str, error: BaseException | None = None) -> None:
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    with_traceback = None if error is None else (type(error), error, error.__traceback__)
    handler.handle(logging.LogRecord("pymr-tui", level, __file__, 0, text, None, with_traceback))
    handler.close()

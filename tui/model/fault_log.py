"""The console's own log: what went wrong in it by a fault of its own, for whoever mends that."""

from __future__ import annotations

import logging
import os
from pathlib import Path


def log_fault(what: str, error: BaseException) -> Path:
    """Append it with its traceback. Returns where; standard error has it where no file can be written."""
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    path = Path(home) / "pymr" / "console.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler: logging.Handler = logging.FileHandler(path)
    except OSError:
        handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("pymr-tui")
    logger.addHandler(handler)
    logger.error(what, exc_info=error)
    logger.removeHandler(handler)
    handler.close()
    return path

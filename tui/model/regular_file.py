"""Reading a file of this machine that somebody else may have put there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not hold us up


class NotRegularError(OSError):
    """A folder, a pipe or a device."""


def read_regular(path: Path, bytes_max: int) -> bytes:
    """Its first bytes. Raises OSError, and NotRegularError for what has no end or may keep one waiting.

    May wait for a slow disk; for nothing else.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularError(f"{path} is not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(bytes_max)
    finally:
        os.close(descriptor)

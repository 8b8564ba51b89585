"""Input changes: whether a file is still the one that was listed. Asked of the reader's open file."""

from __future__ import annotations

import os

from pymr.base.errors import InputGrownError, InputOutdatedError
from pymr.engine.input.files import InputFile

_WHAT_TO_DO = "run the job again, when nobody replaces or shortens its input"


def has_grown(status: os.stat_result, file: InputFile) -> bool:
    """Whether it is the same file, and longer than it was when it was listed."""
    return status.st_ino == file.inode and status.st_size > file.size


def refuse_changed(status: os.stat_result, file: InputFile, *, whole_files: bool) -> None:
    """Raise InputOutdatedError for a file that is neither as it was listed nor only longer.

    whole_files: one that is longer is refused too, by InputGrownError.
    """
    if (status.st_size, status.st_mtime_ns, status.st_ino) == (file.size, file.mtime_ns, file.inode):
        return
    lengths = f"{file.size:,} bytes when listed, {status.st_size:,} now"
    if has_grown(status, file):
        if whole_files:
            raise InputGrownError(f"{file.path} grew while it was being read: {lengths}", file.path)
        return
    change = lengths if status.st_ino == file.inode else "another file has its name now"
    raise InputOutdatedError(f"{file.path} changed while it was being read: {change}; {_WHAT_TO_DO}")


def refuse_gone(file: InputFile, error: OSError) -> None:
    """Raise InputOutdatedError for a file that is not there any more."""
    raise InputOutdatedError(f"{file.path} is not there any more; {_WHAT_TO_DO}") from error

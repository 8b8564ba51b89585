"""Durable: files and folders that are on the disk, and not only said to be written, when a call returns."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
_UNFINISHED_SUFFIX = ".unfinished"


def write_file(path: str, data: bytes) -> None:
    """Write a file and flush it to the disk. Its name is there for certain after a `sync_folder`."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: str, data: bytes) -> None:
    """Put a file of these bytes in the place of the present one, in one step that a crash cannot halve."""
    unfinished = path + _UNFINISHED_SUFFIX
    write_file(unfinished, data)
    os.rename(unfinished, path)
    sync_folder(os.path.dirname(path))


def sync_file(path: str) -> None:
    """Flush what was written to a file, by whomever, to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: str) -> None:
    """Flush the names in a folder to the disk: those made, renamed and removed in it."""
    sync_file(path or ".")


def make_folders(path: str) -> None:
    """Make a folder, and those above it that are missing, for good."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    make_folders(parent)
    os.makedirs(path, exist_ok=True)
    sync_folder(parent)


def link_or_copy(source: str, target: str) -> None:
    """Give a file a second name, which is new; where the file system has no links, to a copy on the disk."""
    try:
        os.link(source, target)
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError:
        shutil.copyfile(source, target)
        sync_file(target)


def exchange_folders(one: str, other: str) -> bool:
    """Swap two folders atomically (Linux, renameat2); False where the system cannot."""
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        return False
    names = os.fsencode(one), os.fsencode(other)
    if library.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(number, os.strerror(number), other)

"""Small file systems of their own, below a peer's data folder, that a test fills and frees."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_FILLER = "filler"
_PIECE = bytes(4 << 10)


class SmallDisk:
    """A mounted file system. Read-only or full until `free`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        """Leave no room for anything."""
        with open(self.folder / _FILLER, "ab", buffering=0) as file:
            try:
                while True:
                    file.write(_PIECE)
            except OSError:
                pass

    def lock(self) -> None:
        """Let nothing be written any more."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.folder)], check=True)

    def free(self) -> None:
        subprocess.run(["mount", "-o", "remount,rw", str(self.folder)], check=True)
        (self.folder / _FILLER).unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, options: str = "size=1m") -> Iterator[SmallDisk]:
    """A file system of its own in an empty folder, for as long as the context lasts."""
    if os.geteuid():
        pytest.skip("mounting a file system needs root")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)

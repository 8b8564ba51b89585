"""Disks in a file: a file system of one's own that can hang, and be seen as it is after a power failure."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

needs_loop_disks = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("mkfs.ext4") or not os.path.exists("/dev/loop-control"),
    reason="mounting a disk in a file needs root, mkfs.ext4 and /dev/loop-control",
)


class LoopDisk:
    """An ext4 file system in a file, mounted at `path`."""

    def __init__(self, image: Path, path: Path) -> None:
        self.image = image
        self.path = path
        self._is_frozen = False
        path.mkdir(exist_ok=True)
        _run("mount", "-o", "loop", image, path)

    def freeze(self) -> None:
        """Whoever writes to it, or flushes to it, waits from now on; and cannot be killed."""
        _run("fsfreeze", "--freeze", self.path)
        self._is_frozen = True

    def thaw(self) -> None:
        if self._is_frozen:
            _run("fsfreeze", "--unfreeze", self.path)
            self._is_frozen = False

    @contextmanager
    def after_power_failure(self) -> Iterator[Path]:
        """The folder as it would be if the power failed now: with what has reached the disk, and no more."""
        image = self.image.with_suffix(".later")
        shutil.copyfile(self.image, image)
        disk = LoopDisk(image, self.path.with_name(f"{self.path.name}-later"))
        try:
            yield disk.path
        finally:
            disk.close()

    def close(self) -> None:
        self.thaw()
        _run("umount", "--lazy", self.path)
        with suppress(OSError):
            self.path.rmdir()


@contextmanager
def loop_disk(folder: Path, megabytes: int = 32, path: Path | None = None) -> Iterator[LoopDisk]:
    """A new disk, mounted at `path` while in here; default: `folder`/disk. Its file lies in the folder."""
    image = folder / "disk.image"
    with open(image, "wb") as file:
        file.truncate(megabytes << 20)
    _run("mkfs.ext4", "-q", "-F", image)
    disk = LoopDisk(image, path or folder / "disk")
    try:
        yield disk
    finally:
        disk.close()


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)

"""Staging: a fetched resource becomes a file, which has its name only once all of it is there."""

from __future__ import annotations

import contextlib
import os

from pymr.base.faults import fault_point

PARTIAL_SUFFIX = ".partial"
FACTS_SUFFIX = ".facts"


class StagedFile:
    """A file that is being fetched: `target`.partial until `finish`. Raises OSError where the disk refuses.

    Never flushed to the disk: what a crash of the machine damages is found by the checksums of its blocks,
    and fetched again.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._partial = target + PARTIAL_SUFFIX
        self._descriptor: int | None = None
        self._exists = False

    def write(self, data: bytes | memoryview, offset: int) -> None:
        if self._descriptor is None:
            self._descriptor = self._open()
        fault_point("data.write")
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._descriptor, rest, offset)
            rest, offset = rest[written:], offset + written

    def close(self) -> None:
        """Free the descriptor for now; what has been written stays."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def finish(self, info: bytes) -> None:
        """Give the file its name, after its facts, if it has any, have theirs."""
        if self._descriptor is None and not self._exists:
            self._descriptor = self._open()
        self.close()
        if info:
            descriptor = os.open(
                self._target + FACTS_SUFFIX, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
            )
            with open(descriptor, "wb") as file:
                file.write(info)
        os.rename(self._partial, self._target)

    def discard(self) -> None:
        """Remove what has been written. Never raises."""
        self.close()
        if self._exists:
            with contextlib.suppress(OSError):
                os.unlink(self._partial)

    def _open(self) -> int:
        """The first time, what an earlier process may have left is overwritten."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (0 if self._exists else os.O_TRUNC)
        try:
            descriptor = os.open(self._partial, flags, 0o600)
        except FileNotFoundError:  # of the folders only the last is made: that of a removed run stays away
            with contextlib.suppress(FileExistsError):
                os.mkdir(os.path.dirname(self._partial))
            descriptor = os.open(self._partial, flags, 0o600)
        self._exists = True
        return descriptor

"""How far a transfer's step is: on its watch for the consoles, and in words in its pane."""

from __future__ import annotations

import time
from typing import Protocol

SAY_SECONDS = 5.0
"""How often the pane is told."""


class TransferWatch(Protocol):
    """What of engine.tasks.TaskWatch is used. moved: files and bytes."""

    moved: tuple[int, int]

    def tick(self) -> None: ...


class TransferProgress:
    """Counts what is done. what: the work as a participle, such as `copied`."""

    def __init__(self, watch: TransferWatch, what: str) -> None:
        self._watch = watch
        self._what = what
        self._files = self._bytes = self._skipped = 0
        self._files_total = self._bytes_total = 0
        self._began_at = self._said_at = time.monotonic()

    def begin(self, files: int, size: int) -> None:
        """Say how much there is to do, where that is known."""
        self._files_total, self._bytes_total = files, size
        self._began_at = self._said_at = time.monotonic()
        self._say(f"{files:,} files with {_megabytes(size)} are to be {self._what}")

    def add(self, files: int, size: int) -> None:
        self._files += files
        self._bytes += size
        self._note()

    def add_bytes(self, size: int) -> None:
        self._bytes += size
        self._note()

    def skip(self, size: int) -> None:
        """Note a file that need not be done. size: no longer to be counted with the rest."""
        self._skipped += 1
        self._files_total -= 1
        self._bytes_total -= size
        self.tick()

    def tick(self) -> None:
        """Note that something was done which neither number shows."""
        self._watch.tick()

    def end(self) -> None:
        """Say what was done."""
        seconds = max(time.monotonic() - self._began_at, 1e-3)
        skipped = f", {self._skipped:,} were there already" if self._skipped else ""
        self._say(
            f"{self._what} {self._files:,} files, {_megabytes(self._bytes)} in {seconds:.1f} s "
            f"({self._bytes / seconds / 1e6:.1f} MB/s, {self._files / seconds:,.0f} files/s){skipped}"
        )

    def _note(self) -> None:
        self._watch.moved = self._files, self._bytes
        self._watch.tick()
        now = time.monotonic()
        if now - self._said_at >= SAY_SECONDS:
            self._said_at = now
            self._say(self._so_far(now - self._began_at))

    def _so_far(self, seconds: float) -> str:
        rate = self._bytes / seconds
        of_files = f" of {self._files_total:,}" if self._files_total else ""
        of_bytes = f" of {_megabytes(self._bytes_total)}" if self._bytes_total else ""
        left = max(0, self._bytes_total - self._bytes)
        time_left = f", {left / rate:.0f} s left" if self._bytes_total and rate else ""
        return (
            f"{self._what} {self._files:,}{of_files} files, {_megabytes(self._bytes)}{of_bytes} "
            f"({rate / 1e6:.1f} MB/s{time_left})"
        )

    def _say(self, text: str) -> None:
        print(text, flush=True)  # into the pane


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"

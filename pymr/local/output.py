"""What workers of an embedded cluster print: read from their panes, as lines for the display of the run."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pymr.peer.panes.panes import read_pane

READ_BYTES_MAX = 1 << 20
"""Most of a pane that is shown at once; more of it at the next look."""

LINE_CHARACTERS_MAX = 64 << 10
"""A line longer than this is shown in pieces."""

QUIET_SECONDS = 1.0
"""How long to wait for the rest of a line before showing its beginning: a question, perhaps."""


class PaneLines:
    """The lines of one worker slot. show: called with some of them, without their ends."""

    def __init__(self, directory: Path, slot: int, run_id: str, show: Callable[[list[str]], None]) -> None:
        self._directory = directory
        self._slot = slot
        self._run_id = run_id
        self._show = show
        self._offset = 0
        self._gap_end = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = ""
        self._moved_at = time.monotonic()

    def look(self) -> bool:
        """Show what is new. Whether there may be more."""
        with suppress(OSError):
            chunk = read_pane(self._directory, self._slot, self._run_id, self._offset, READ_BYTES_MAX)
            if chunk.skipped:
                self._add(f"\n[pymr: {chunk.skipped:,} bytes of output were too much to keep]\n")
                self._gap_end = chunk.offset
            self._offset = chunk.offset + len(chunk.data)
            if chunk.data:
                self._add(self._decoder.decode(chunk.data))
                return True
        if self._begun and time.monotonic() - self._moved_at >= QUIET_SECONDS:
            self.end()
        return False

    def has_shown(self, size_bytes: int, end: int) -> bool:
        """Whether the output before an offset was shown that far, without a gap."""
        return self._gap_end <= max(end - size_bytes, 0) and end <= self._offset

    def end(self) -> None:
        """Show also a line that has no end."""
        if self._begun:
            self._show(_shown([self._begun]))
        self._begun = ""

    def _add(self, text: str) -> None:
        self._moved_at = time.monotonic()
        *lines, rest = (self._begun + text).split("\n")
        if len(rest) > LINE_CHARACTERS_MAX:
            lines.append(rest)
            rest = ""
        self._begun = rest
        if lines:
            self._show(_shown(lines))


def _shown(lines: list[str]) -> list[str]:
    """As a terminal would show them: of what overwrites itself, the last."""
    return [line.rstrip("\r").rpartition("\r")[2] for line in lines]

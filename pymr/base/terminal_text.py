"""What was written to a terminal, as text for a file or a pipe: the terminal's carriage returns, and where
that is wanted its escape sequences, are taken off again."""

from __future__ import annotations

import re

ESCAPE_BYTES_MAX = 4 << 10
"""A longer escape sequence is not waited for: what looks like its beginning is taken for text."""

# Cursor and colours; titles, links and the clipboard, which end with BEL or ESC \; others; what is none.
_ESCAPES = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-OQ-WYZ\\`-~])?"
)
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)\Z")


def without_escapes(data: bytes) -> bytes:
    """The bytes without what moves a cursor, sets colours, or speaks to the terminal in another way."""
    return _ESCAPES.sub(b"", data)


class TerminalText:
    """Takes terminal output in pieces, of any length, and gives them back as text with plain line ends.

    A terminal makes CR LF of every LF that is written to it; exactly that CR goes. Others stay.
    is_plain: escape sequences go as well.
    """

    def __init__(self, *, is_plain: bool = False) -> None:
        self._is_plain = is_plain
        self._unfinished = b""  # an escape sequence
        self._return = b""  # a CR at the end, or nothing

    def feed(self, data: bytes) -> bytes:
        """The text of a piece, but for an end of it that only the next one can explain."""
        if self._is_plain:
            data = self._unfinished + data
            unfinished = _UNFINISHED.search(data, max(0, len(data) - ESCAPE_BYTES_MAX))
            self._unfinished = unfinished[0] if unfinished else b""
            data = without_escapes(data[: len(data) - len(self._unfinished)])
        data = (self._return + data).replace(b"\r\n", b"\n")
        self._return = data[-1:] if data.endswith(b"\r") else b""
        return data[: len(data) - len(self._return)]

    def end(self) -> bytes:
        """What was held back, as nothing follows that could explain it."""
        data = self._return + without_escapes(self._unfinished)
        self._return = self._unfinished = b""
        return data

"""Rows that were drawn over from below, as several progress bars are: the cursor went up, over line ends.

Part of `stretch`. A row is known by where it was first begun, and is what was last written into it: so
it stays in place, however often it is drawn.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import MutableMapping
from functools import lru_cache

from tui.model.pane.ansi import LINE_BYTES_MAX, cursor_after

UP = re.compile(rb"\x1b\[\d*[AF]")
"""With which rows that were ended are gone back to."""

UNFINISHED = re.compile(rb"\x1b(?:\[\d*)?\Z")
UNFINISHED_BYTES_MAX = 12

PIECES_MAX = 64
"""Of a row so many of the times that it was written into are known; what is older was surely written over."""

_ROWS_UP_MAX = 500
_UNSEEN = re.compile(rb"(?:\r|\x1b\[[0-9;]*m)*")
_ERASED = b"\x1b[2K"
_MOVE = re.compile(rb"\n|\x1b\[(\d*)([ABEFJ])")

_cursor_after = lru_cache(256)(cursor_after)  # bars are erased with the same bytes again and again

Piece = tuple[int, int, bytes]
"""(start, stop, what is to be put before these bytes, so that they stand in their column)."""


class RedrawnRows:
    """Draws bytes of a stretch. data, starts: of the stretch, whose first byte has the offset `base`.

    cursor: the row of the next byte, if that row was drawn over; None for a new line.
    drawn: up to there; the rest is an escape sequence without its end. is_clamped: the cursor would have gone
    above the first row: what is before the stretch belongs to these rows, too.
    """

    __slots__ = ("_column", "cursor", "drawn", "is_clamped", "pieces")

    def __init__(self) -> None:
        self.pieces: MutableMapping[int, list[Piece]] = {}  # by the start of a row
        self.cursor: int | None = None
        self.drawn = 0
        self.is_clamped = False
        self._column = b""  # a Piece's third, of the next piece

    def begin(self, starts: array[int], up: int) -> None:
        """The cursor goes up, at the offset `up`, in the last row."""
        self.pieces[starts[-1]] = [(starts[-1], up, b"")]
        self.cursor, self._column = len(starts) - 1, b""

    def draw(self, data: bytearray, base: int, starts: array[int], offset: int) -> int:
        """Draw the bytes from an offset on, up to the end of the last row or of all bytes; where that is."""
        assert self.cursor is not None
        for move in _MOVE.finditer(data, offset - base):
            self._add(data, base, starts[self.cursor], offset, base + move.start())
            offset = base + move.end()
            if move[2] is not None:
                self._move(data, base, starts, int(move[1][:4] or 1), move[2])
            elif self.cursor == len(starts) - 1:
                self.cursor = None
                return offset
            else:
                self.cursor, self._column = self.cursor + 1, b"\r"
        rest = UNFINISHED.search(data, max(offset - base, len(data) - UNFINISHED_BYTES_MAX))
        self.drawn = base + (rest.start() if rest else len(data))
        self._add(data, base, starts[self.cursor], offset, self.drawn)
        return base + len(data)

    def bytes_of(self, data: bytearray, base: int, start: int) -> bytes:
        """A row that was drawn over, as a line that the cursor has gone back in."""
        return b"".join(
            column + data[first - base : stop - base] for first, stop, column in self.pieces[start]
        )

    def stop_of(self, start: int) -> int:
        """Behind the byte of a row that was written last."""
        pieces = self.pieces[start]
        return pieces[-1][1] if pieces else start

    def holds(self, start: int, offset: int) -> bool:
        """Whether a byte is, or recently was, part of a row."""
        return any(first <= offset < stop for first, stop, _ in self.pieces.get(start, ()))

    def take_cursor(self, other: RedrawnRows, rows: int) -> None:
        """Go on as other rows do, before which there are so many."""
        self.cursor = None if other.cursor is None else other.cursor + rows
        self.drawn, self._column = other.drawn, other._column

    def drop_before(self, offset: int, rows: int) -> None:
        """The first rows, and the bytes before an offset, are forgotten."""
        self.pieces = {start: pieces for start, pieces in self.pieces.items() if start >= offset}
        self.drawn = max(self.drawn, offset)
        if self.cursor is not None:
            self.is_clamped |= self.cursor < rows
            self.cursor = max(0, self.cursor - rows)

    def drop_from(self, offset: int) -> None:
        """What was written from an offset on is forgotten; what comes there begins a line."""
        self.cursor = None
        self.pieces = {
            start: [(first, min(stop, offset), column) for first, stop, column in pieces if first < offset]
            for start, pieces in self.pieces.items()
            if start < offset
        }

    def _add(self, data: bytearray, base: int, row: int, start: int, stop: int) -> None:
        """Write bytes into a row; LINE_BYTES_MAX of what was written last are kept of it."""
        if start >= stop:
            return
        unseen = _UNSEEN.match(data, start - base, stop - base)
        if unseen is not None and unseen.end() == stop - base:
            self._column = b"\r" if b"\r" in unseen[0] else self._column
            return
        pieces = self.pieces.get(row)
        if pieces is None:
            end = data.find(b"\n", row - base)
            pieces = self.pieces[row] = [(row, base + end, b"")] if end >= 0 else []
        if pieces and pieces[-1][1] == start and not self._column:
            pieces[-1] = (pieces[-1][0], stop, pieces[-1][2])
        else:
            if self._column and data.startswith(_ERASED, start - base):
                pieces.clear()
            elif len(pieces) == PIECES_MAX:
                del pieces[0]
            pieces.append((start, stop, self._column))
        self._column = b""
        size = sum(last - first for first, last, _ in pieces)
        while size > LINE_BYTES_MAX and len(pieces) > 1:
            first, last, _ = pieces.pop(0)
            size -= last - first
        if size > LINE_BYTES_MAX:
            pieces[0] = (stop - LINE_BYTES_MAX, stop, b"")

    def _move(self, data: bytearray, base: int, starts: array[int], count: int, final: bytes) -> None:
        assert self.cursor is not None
        if final == b"J":  # erases what is below
            for row in starts[self.cursor + 1 :]:
                self.pieces[row] = []
            return
        if final in b"EF":
            self._column = b"\r"
        elif not self._column:
            self._column = b"\x1b[%dG" % (self._column_of(data, base, starts[self.cursor]) + 1)
        count = min(max(count, 1), _ROWS_UP_MAX)
        if final in b"AF":
            self.is_clamped |= count > self.cursor
            self.cursor = max(0, self.cursor - count)
        else:
            self.cursor = min(len(starts) - 1, self.cursor + count)

    def _column_of(self, data: bytearray, base: int, row: int) -> int:
        """Of the cursor, behind what was written into a row last."""
        pieces = self.pieces.get(row)
        if not pieces:
            return 0
        first, stop, column = pieces[-1]
        begun = data.rfind(b"\r", first - base, stop - base)
        if begun >= 0:
            return _cursor_after(bytes(data[begun + 1 : stop - base]))
        if column:
            return _cursor_after(column + data[first - base : stop - base])
        return cursor_after(self.bytes_of(data, base, row))

"""A stretch: bytes of a pane without a hole, and where their lines begin. Part of `buffer`."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right

from tui.model.pane.ansi import LINE_BYTES_MAX
from tui.model.pane.redrawn import UNFINISHED, UNFINISHED_BYTES_MAX, UP, RedrawnRows

_ESCAPE_BYTES_MAX = 24
"""A sequence that a line's limit falls into is not cut when it is no longer than this."""

ROWS_LOOKED_AT_MAX = 64
"""Of lines that were drawn over: as many rows as progress bars take at most."""

_ESCAPE_END = re.compile(rb"[@-~]")


class Stretch:
    """start: offset of its first byte. Lines are known by their offsets; those of one are ascending.

    A line that was written over again and again, as a progress bar is, begins where it was last begun. One
    that was drawn over from a line below it stays where it is; see `redrawn`.
    """

    __slots__ = ("_redrawn", "_time_offsets", "_time_values", "data", "start", "starts")

    def __init__(self, start: int, data: bytes, times: tuple[tuple[int, float], ...] = ()) -> None:
        self.start = start
        self.data = bytearray(data)
        self.starts = array("Q")
        self._redrawn = RedrawnRows()
        self._parse(start)
        known = [(offset, value) for offset, value in times if offset < self.stop]
        if not known or known[0][0] > start:
            known.insert(0, (start, 0.0))
        self._time_offsets = array("Q", [offset for offset, _ in known])
        self._time_values = array("d", [value for _, value in known])

    @property
    def stop(self) -> int:
        """The offset behind the last byte."""
        return self.start + len(self.data)

    @property
    def line_count(self) -> int:
        return len(self.starts)

    def line(self, index: int) -> tuple[int, bytes]:
        """(offset, bytes with the line end if there is one)."""
        offset = self.starts[index]
        if offset in self._redrawn.pieces:
            return offset, self._redrawn.bytes_of(self.data, self.start, offset)
        stop = self.starts[index + 1] if index + 1 < len(self.starts) else self.stop
        found = self.data.find(b"\n", offset - self.start, stop - self.start)
        until = stop - self.start if found < 0 else found + 1
        return offset, bytes(self.data[offset - self.start : until])

    def index_of(self, offset: int) -> int:
        """The line that holds a byte; the first for one before it."""
        index = max(0, bisect_right(self.starts, offset) - 1)
        if self.redrawn_stop(index) is not None:
            above = range(index, max(-1, index - ROWS_LOOKED_AT_MAX), -1)
            return next((row for row in above if self._redrawn.holds(self.starts[row], offset)), index)
        return index

    def redrawn_stop(self, index: int) -> int | None:
        """Behind the byte that was written last of a line that was drawn over from below; None for others."""
        start = self.starts[index] if index < len(self.starts) else -1
        return self._redrawn.stop_of(start) if start in self._redrawn.pieces else None

    @property
    def has_redrawn(self) -> bool:
        """Whether any line was drawn over from below."""
        return bool(self._redrawn.pieces)

    @property
    def is_begun_before(self) -> bool:
        """Whether lines that were drawn over begin before this stretch."""
        return self._redrawn.is_clamped

    def is_drawn_on(self, index: int) -> bool:
        """Whether it is of lines that what comes next may draw over: the cursor is among them."""
        cursor = self._redrawn.cursor
        return (
            cursor is not None
            and index > cursor - ROWS_LOOKED_AT_MAX
            and self.redrawn_stop(index) is not None
        )

    def shows(self, index: int, offset: int) -> bool:
        """Whether a byte is of a line, and not of one that was begun and is gone."""
        start = self.starts[index]
        if start in self._redrawn.pieces:
            return self._redrawn.holds(start, offset)
        return offset < start + len(self.line(index)[1])

    def time_at(self, offset: int) -> float | None:
        """When that byte was put out, in Unix seconds; None where it is not known."""
        place = bisect_right(self._time_offsets, offset) - 1
        return (self._time_values[place] or None) if place >= 0 else None

    def join(self, other: Stretch) -> None:
        """Take in a stretch that begins in this one or right behind it."""
        if other.stop <= self.stop:
            return
        other.drop_before(self.stop)
        seam = self.stop
        is_whole = not self.data or self.data[-1] == 0x0A
        is_drawn_anew = self._is_drawn_on_by(other, is_whole=is_whole)
        self.data += other.data
        if is_drawn_anew:
            self._draw_on(seam, is_whole=is_whole)
        else:
            self.starts.extend(other.starts if is_whole else other.starts[1:])
            self._take_rows(other)
            if not is_whole:
                self._split_again(seam)
        for offset, value in zip(other._time_offsets, other._time_values, strict=True):
            if not self._time_offsets or offset > self._time_offsets[-1]:
                self._time_offsets.append(offset)
                self._time_values.append(value)

    def drop_before(self, offset: int) -> None:
        """Forget the bytes before an offset; the rest of a line begins there then."""
        if offset <= self.start:
            return
        place = bisect_left(self.starts, offset)
        value = self.time_at(offset)
        del self.data[: offset - self.start]
        self.start = offset
        del self.starts[:place]
        if self.data and (not self.starts or self.starts[0] != offset):
            self.starts.insert(0, offset)
            self._redrawn.drop_before(offset, place - 1)
        else:
            self._redrawn.drop_before(offset, place)
        place = bisect_right(self._time_offsets, offset)
        self._time_offsets = array("Q", [offset]) + self._time_offsets[place:]
        self._time_values = array("d", [value or 0.0]) + self._time_values[place:]

    def drop_from(self, offset: int) -> None:
        """Forget the bytes from an offset on."""
        if offset >= self.stop:
            return
        del self.data[offset - self.start :]
        del self.starts[bisect_left(self.starts, offset) :]
        self._redrawn.drop_from(offset)
        place = max(1, bisect_left(self._time_offsets, offset))
        del self._time_offsets[place:]
        del self._time_values[place:]

    def _parse(self, offset: int) -> None:
        """Find the lines from an offset on: that of a new line, or where drawing continues."""
        rows = self._redrawn
        while offset < self.stop:
            if rows.cursor is not None:
                offset = rows.draw(self.data, self.start, self.starts, offset)
                continue
            up = UP.search(self.data, offset - self.start)
            if up is None:
                self._split(offset, self.stop)
                return
            last = self.data.rfind(b"\n", offset - self.start, up.start()) + 1
            line, offset_of_up = (self.start + last if last else offset), self.start + up.start()
            self._split(offset, line)
            if line < offset_of_up:
                self._split(line, offset_of_up)
            else:
                self.starts.append(line)
            rows.begin(self.starts, offset_of_up)
            offset = offset_of_up

    def _is_drawn_on_by(self, other: Stretch, *, is_whole: bool) -> bool:
        """Whether what follows draws over lines that are here, or begins in the middle of one that was drawn
        over, or of a sequence: then its lines are others than they were by themselves."""
        is_redrawn = bool(self.starts) and not is_whole and self.starts[-1] in self._redrawn.pieces
        is_first_redrawn = not is_whole and other.redrawn_stop(0) is not None
        if self._redrawn.cursor is not None or other._redrawn.is_clamped or is_redrawn or is_first_redrawn:
            return True
        return UNFINISHED.search(self.data, max(0, len(self.data) - UNFINISHED_BYTES_MAX)) is not None

    def _draw_on(self, seam: int, *, is_whole: bool) -> None:
        """Find the lines from a seam on, going on with what is before it."""
        if self._redrawn.cursor is not None:
            self._parse(self._redrawn.drawn)
        elif is_whole or not self.starts:
            self._parse(seam)
        else:
            line = self.starts.pop()
            self._redrawn.pieces.pop(line, None)
            self._parse(line)

    def _take_rows(self, other: Stretch) -> None:
        """Take over which lines of a stretch that is joined were drawn over, and where its cursor is."""
        rows, taken = self._redrawn, other._redrawn
        rows.pieces.update(taken.pieces)
        rows.take_cursor(taken, len(self.starts) - len(other.starts))

    def _split_again(self, seam: int) -> None:
        """Find the lines again around a seam in the middle of one."""
        place = bisect_right(self.starts, seam - 1) - 1
        first = self.starts[place]
        after = self.starts[place + 1] if place + 1 < len(self.starts) else self.stop
        if after - first <= LINE_BYTES_MAX:
            return
        rest = self.starts[place + 1 :]
        del self.starts[place:]
        self._split(first, after)
        self.starts.extend(rest)

    def _split(self, offset: int, stop: int) -> None:
        """Add where the lines of a range begin."""
        data, base, starts = self.data, self.start, self.starts
        position, end = offset - base, stop - base
        begin = position
        while position < end:
            found = data.find(b"\n", position, min(end, position + LINE_BYTES_MAX))
            if found >= 0:
                starts.append(base + begin)
                begin = position = found + 1
            elif end - position <= LINE_BYTES_MAX:
                starts.append(base + begin)
                return
            else:
                begin, position = self._cut(begin, position, starts)

    def _cut(self, begin: int, position: int, starts: array[int]) -> tuple[int, int]:
        """(where a line begins, where to look on) after LINE_BYTES_MAX without an end."""
        data, limit = self.data, position + LINE_BYTES_MAX
        again = data.rfind(b"\r", position, limit - 1)
        if again >= 0:
            return again + 1, again + 1
        cut = limit
        escape = data.rfind(b"\x1b", limit - _ESCAPE_BYTES_MAX, limit)
        if escape >= 0 and not _ESCAPE_END.search(data, escape + 2, limit):
            cut = escape
        while cut > position and limit - cut < _ESCAPE_BYTES_MAX and data[cut] & 0xC0 == 0x80:
            cut -= 1  # not in the middle of a character
        starts.append(self.start + begin)
        return cut, cut


def whole_from(data: bytes | bytearray, at: int) -> int:
    """The first place from `at` on that is not in the middle of a character or of a sequence."""
    escape = data.rfind(b"\x1b", max(0, at - _ESCAPE_BYTES_MAX), at)
    if escape >= 0:
        end = _ESCAPE_END.search(data, escape + 2, escape + _ESCAPE_BYTES_MAX)
        if end and end.end() > at:
            return end.end()
    whole = at
    while whole < len(data) and whole - at < 3 and data[whole] & 0xC0 == 0x80:
        whole += 1
    return whole

"""Searching a whole pane: through all that is kept of it, piece by piece, in a thread."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event, Lock

from pymr.client import PaneBytes
from tui.model.pane.ansi import LINE_BYTES_MAX, styled_line
from tui.model.pane.needle import Needle
from tui.model.pane.redrawn import UP
from tui.model.pane.stretch import Stretch

PIECE_BYTES = 256 << 10
"""Read at once; more than two lines of LINE_BYTES_MAX, as that much of it is read again with the next."""

COUNT_BYTES_MAX = 16 << 20
"""Matches are counted in so much of a pane at a time."""

_SLOW_SECONDS = 0.005
_REST_SECONDS_MAX = 0.2

ReadPiece = Callable[[int, int], PaneBytes]
"""(offset, most bytes) -> a piece of the pane."""


@dataclass(frozen=True, slots=True)
class Found:
    """offset: of the match, or of another one in the same line that was written over; of a line that was
    drawn over from below, where it begins. has_wrapped: it was found after going on from the other end."""

    offset: int
    has_wrapped: bool = False


@dataclass(frozen=True, slots=True)
class _Part:
    """Of a pane what begins at `first` or after it, and before `stop`, and what its lines are around that.

    start: the offset of the first byte of `data`. goes_on: there is more behind it."""

    start: int
    data: bytes
    first: int
    stop: int
    goes_on: bool = False


def find_in_pane(
    read: ReadPiece,
    needle: Needle,
    start: int,
    *,
    backwards: bool,
    is_stopped: Event,
    on_progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> Found | None:
    """The nearest match that begins at `start` or after it, or backwards: before it; then on from the other
    end of the pane. Of those in one line, as it is shown, one is told. None where there is none, or when it
    was stopped.

    on_progress: is given (bytes searched, bytes of the pane). Raises what `read` does.
    """
    end = read(start, 1).end
    searched = 0
    ranges = [(0, start), (start, end)] if backwards else [(start, end), (0, start)]
    for number, (first, stop) in enumerate(ranges):
        parts = _parts_back(read, first, stop) if backwards else _parts(read, first, stop)
        for part in parts:
            if is_stopped.is_set():
                return None
            offset = next(_shown_matches(needle, part, is_stopped, backwards=backwards), None)
            if is_stopped.is_set():
                return None
            if offset is not None:
                return Found(offset, has_wrapped=number > 0)
            searched += part.stop - part.first
            on_progress(min(searched, end), end)
    return None


class MatchCount:
    """How many lines of a pane match, and the number of each, counted as far as the pane has been read.

    Bounded by the lines that a peer keeps of a pane. A line whose end has not come yet is read again.
    counted: the bytes up to which lines are counted. is_whole: whether that was all that there was.
    """

    def __init__(self, needle: Needle) -> None:
        self.needle = needle
        self._offsets = array("Q")
        self._end = 0  # up to here it is counted for good
        self.counted = 0
        self.is_whole = False
        self._lock = Lock()  # one that was stopped may still be at its last piece

    def read_on(
        self,
        read: ReadPiece,
        is_stopped: Event,
        on_progress: Callable[[int, int], object] = lambda _done, _total: None,
    ) -> bool:
        """Count what has come since, COUNT_BYTES_MAX at most. False when stopped. Raises what `read` does."""
        with self._lock:
            end = read(self._end, 1).end
            del self._offsets[bisect_left(self._offsets, self._end) :]
            first = self._end
            self.is_whole = False
            for part in _parts(read, first, end):
                if part.first - first >= COUNT_BYTES_MAX:
                    return True
                if is_stopped.is_set():
                    return False
                self._offsets.extend(_shown_matches(self.needle, part, is_stopped, backwards=False))
                if is_stopped.is_set():  # in the middle of it, which is counted again
                    return False
                self._end = max(
                    part.first, part.start + part.data.rfind(b"\n", 0, part.stop - part.start) + 1
                )
                self.counted = part.stop
                on_progress(part.stop, end)
            self.is_whole = True
        return True

    def number_of(self, offset: int) -> tuple[int, int]:
        """(which of the lines that match holds a byte, from 1 on; how many there are)."""
        return max(1, bisect_right(self._offsets, offset)), len(self._offsets)


def lost_start(read: ReadPiece, lost: int) -> int:
    """The first byte of a pane that is not kept, given the offset of one that is not.

    Cost: a read for each binary digit of the offset. A pane loses its middle, never its beginning.
    """
    low, high = 0, lost
    while low < high:
        middle = (low + high) // 2
        if read(middle, 1).skipped:
            high = middle
        else:
            low = middle + 1
    return high


def _parts(read: ReadPiece, start: int, stop: int) -> Iterator[_Part]:
    """What is kept between two offsets, ascending. Around each part LINE_BYTES_MAX are read as well: no match
    is cut in two, and what a line looks like is known."""
    offset = start
    while offset < stop:
        ahead = max(0, offset - LINE_BYTES_MAX)
        size = PIECE_BYTES  # behind `stop`, too: a line may have been drawn over from there
        piece = read(ahead, size)
        if piece.next <= offset:  # what is before a hole, or all that there is
            piece = read(offset, size)
            if not piece.data:
                return
        first = max(offset, piece.start)
        offset = piece.next - LINE_BYTES_MAX if len(piece.data) == size else piece.next
        cut = piece.data.rfind(b"\n", 0, first - piece.start) + 1
        if cut and UP.search(piece.data, cut):  # into lines before these, which are needed then
            cut = piece.data.find(b"\n") + 1 if piece.start else 0
        if first < stop:
            goes_on = piece.next < piece.end
            yield _Part(piece.start + cut, piece.data[cut:], first, min(stop, offset), goes_on)


def _parts_back(read: ReadPiece, start: int, stop: int) -> Iterator[_Part]:
    """The same from the end on."""
    while stop > start:
        first = max(start, stop - PIECE_BYTES + 2 * LINE_BYTES_MAX)
        parts = list(_parts(read, first, stop))
        yield from reversed(parts)
        is_kept = bool(parts) and parts[0].first == first
        stop = first if is_kept else lost_start(read, first)


def _shown_matches(needle: Needle, part: _Part, is_stopped: Event, *, backwards: bool) -> Iterator[int]:
    """Offsets of matches of a part, one for each line that shows the needle. Lines are those of a view."""
    if not needle.is_plain:
        yield from _matching_lines(needle, part, is_stopped, backwards=backwards)
        return
    matches = [
        match.span()
        for match in needle.in_bytes().finditer(part.data)
        if part.first <= part.start + match.start() < part.stop
    ]
    if not matches and not UP.search(part.data):
        return
    lines = Stretch(part.start, part.data)
    shown = _plain_matches(needle, part, lines, matches[::-1] if backwards else matches)
    if lines.has_redrawn:
        rows = _matching_lines(needle, part, is_stopped, backwards=False, is_redrawn_only=True)
        yield from sorted({*shown, *rows}, reverse=backwards)
    else:
        yield from shown


def _plain_matches(
    needle: Needle, part: _Part, lines: Stretch, matches: list[tuple[int, int]]
) -> Iterator[int]:
    """Those of a plain text that are shown, but for lines that were drawn over from below."""
    data, in_text, seen = part.data, needle.in_text(), -1
    for start, end in matches:
        index = lines.index_of(part.start + start)
        if lines.redrawn_stop(index) is not None:
            continue
        offset, line = lines.line(index)
        begin, stop = offset - part.start, offset - part.start + len(line)
        is_cut = end > stop  # goes on in the next of the lines that a long one is shown as
        if start >= stop or (index == seen and not is_cut):
            continue
        seen = index
        if in_text.first(styled_line(data[begin : max(stop, end)]).text):
            yield part.start + start


def _matching_lines(
    needle: Needle, part: _Part, is_stopped: Event, *, backwards: bool, is_redrawn_only: bool = False
) -> Iterator[int]:
    """Offsets of the lines of a part that match an expression; of one that was drawn over from below and
    begun before what is known, that of the byte written last. Cost: of each line as it is shown."""
    pattern, lines = needle.in_text(), Stretch(part.start, part.data)
    indexes = range(lines.line_count)
    for index in reversed(indexes) if backwards else indexes:
        if is_stopped.is_set():
            return
        offset, line = lines.line(index)
        redrawn_stop = lines.redrawn_stop(index)
        if (redrawn_stop is None and is_redrawn_only) or (part.goes_on and lines.is_drawn_on(index)):
            continue
        if redrawn_stop is not None and offset < part.first and lines.is_begun_before:
            offset = redrawn_stop - 1
        if not part.first <= offset < part.stop:
            continue
        began = time.monotonic()
        is_match = pattern.first(styled_line(line).text) is not None
        if (seconds := time.monotonic() - began) > _SLOW_SECONDS:
            time.sleep(min(seconds, _REST_SECONDS_MAX))  # matching holds up all other threads
        if is_match:
            yield offset

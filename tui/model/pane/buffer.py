"""What is known of one pane: stretches of its output with gaps between them, as lines; bounded in memory."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from pymr.client import PaneBytes
from tui.model.pane.ansi import LINE_BYTES_MAX, look_before
from tui.model.pane.ansi_colours import PLAIN, Look
from tui.model.pane.redrawn import UP
from tui.model.pane.stretch import Stretch, whole_from

BUFFER_BYTES_MAX = 16 << 20
"""Of an attached pane so much is held; that is more than a peer keeps of one."""

DROP_BYTES = 256 << 10
"""So much is dropped at once when there is too much."""

TAIL_BYTES_MAX = 64 << 10
"""Of a pane in a tile so much is held."""

REDRAWN_BYTES = 16 << 10
"""Of a pane in a tile so much is drawn, where lines are drawn over."""


@dataclass(frozen=True, slots=True)
class PaneLine:
    """offset: of its first byte. data: with its line end if it has one. look: the colours it begins with.

    redrawn_stop: behind the byte that was written last of one that was drawn over from a line below it, whose
    data are not all between the two offsets."""

    offset: int
    data: bytes
    time: float | None
    look: Look = PLAIN
    redrawn_stop: int | None = None

    @property
    def stop(self) -> int:
        """Behind its last byte."""
        return self.offset + len(self.data) if self.redrawn_stop is None else self.redrawn_stop


@dataclass(frozen=True, slots=True)
class GapLine:
    """Bytes that are not here, from `offset` to before `stop`. is_kept: whether they can be read."""

    offset: int
    stop: int
    is_kept: bool

    @property
    def size(self) -> int:
        return self.stop - self.offset

    def part(self, size: int, *, from_end: bool) -> tuple[int, int]:
        """(start, stop) of `size` bytes of it at most."""
        start = max(self.offset, self.stop - size) if from_end else self.offset
        return start, min(self.stop, start + size)


class PaneBuffer:
    """The lines of a pane from its first byte to its end: those that are loaded, and a line for each gap.

    Belongs to one thread. bytes_max: of what is held; what is farthest from the view is dropped, and is a gap
    again. Lines are addressed by index, from 0, which changes with loading, or by offset, which does not.
    """

    def __init__(self, bytes_max: int = BUFFER_BYTES_MAX) -> None:
        self.run_id = ""
        self.end = 0
        self.version = 0
        self._bytes_max = bytes_max
        self._stretches: list[Stretch] = []
        self._lost = (0, 0)
        self._sections: list[Stretch | GapLine] = []
        self._section_starts: list[int] = []  # offsets
        self._section_lines: list[int] = []  # how many lines are before each, and at last all

    def add(self, piece: PaneBytes, near: int | None = None) -> None:
        """Take in a piece. near: the offset that is looked at, far from which there may be forgotten; None
        for the end. A piece of another run makes everything before it forgotten."""
        if piece.run_id != self.run_id:
            self.run_id, self._stretches, self._lost, self.end = piece.run_id, [], (0, 0), 0
        self.end = max(self.end, piece.end, piece.next)
        if piece.skipped:
            lost = (piece.start - piece.skipped, piece.start)
            is_touching = self._lost[0] <= lost[1] and lost[0] <= self._lost[1] and self._lost != (0, 0)
            self._lost = (min(self._lost[0], lost[0]), max(self._lost[1], lost[1])) if is_touching else lost
        if piece.data:
            self._insert(Stretch(piece.start, piece.data, piece.times))
            self._drop_far(self.end if near is None else near)
        self._arrange()

    @property
    def line_count(self) -> int:
        return self._section_lines[-1] if self._section_lines else 0

    @property
    def size(self) -> int:
        """How many bytes are held."""
        return sum(len(stretch.data) for stretch in self._stretches)

    def line(self, index: int) -> PaneLine | GapLine:
        """Raises IndexError where there is none."""
        if not 0 <= index < self.line_count:
            raise IndexError(index)
        number = bisect_right(self._section_lines, index) - 1
        section = self._sections[number]
        if isinstance(section, GapLine):
            return section
        row = index - self._section_lines[number]
        offset, data = section.line(row)
        look = look_before(section.data, offset - section.start)
        return PaneLine(offset, data, section.time_at(offset), look, section.redrawn_stop(row))

    def index_of(self, offset: int) -> int:
        """The line, or gap, that holds a byte; the first or last for one outside of all. 0 without lines."""
        number = bisect_right(self._section_starts, offset) - 1
        if number < 0:
            return 0
        section, before = self._sections[number], self._section_lines[number]
        return before if isinstance(section, GapLine) else before + section.index_of(offset)

    def loaded(self, offset: int) -> tuple[int, bytes]:
        """(stop, bytes) of what is held from an offset on; (offset, b"") where it is not."""
        for stretch in self._stretches:
            if stretch.start <= offset < stretch.stop:
                return stretch.stop, bytes(stretch.data[offset - stretch.start :])
        return offset, b""

    def gap_at(self, offset: int) -> GapLine | None:
        """The gap that holds a byte."""
        number = bisect_right(self._section_starts, offset) - 1
        section = self._sections[number] if number >= 0 else None
        return section if isinstance(section, GapLine) and offset < section.stop else None

    def missing_around(self, offset: int, size: int) -> tuple[int, int] | None:
        """(start, stop) of what is not held, and kept, of the `size` bytes around an offset; of the first gap
        there. None where it is all held."""
        for place in (offset, max(0, offset - size // 4), offset + size // 4):
            gap = self.gap_at(place)
            if gap is not None and gap.is_kept:
                return max(gap.offset, offset - size // 2), min(gap.stop, offset + size // 2)
        return None

    def _insert(self, new: Stretch) -> None:
        stretches = self._stretches
        place = bisect_right(stretches, new.start, key=lambda stretch: stretch.start)
        if place and stretches[place - 1].stop >= new.start:
            place -= 1
            stretches[place].join(new)
        else:
            stretches.insert(place, new)
        while place + 1 < len(stretches) and stretches[place].stop >= stretches[place + 1].start:
            stretches[place].join(stretches.pop(place + 1))

    def _drop_far(self, near: int) -> None:
        """Drop what is farthest from an offset until the rest is small enough."""
        size = self.size
        while size > self._bytes_max:
            first, last = self._stretches[0], self._stretches[-1]
            bytes_too_many = size - self._bytes_max
            if near - first.start >= last.stop - near:
                drop = min(max(DROP_BYTES, bytes_too_many), len(first.data))
                line = first.index_of(first.start + drop - 1) + 1
                first.drop_before(first.starts[line] if line < first.line_count else first.stop)
            else:
                drop = min(max(DROP_BYTES, bytes_too_many), len(last.data))
                last.drop_from(last.starts[last.index_of(last.stop - drop)])
            self._stretches = [stretch for stretch in self._stretches if stretch.data]
            size = self.size

    def _arrange(self) -> None:
        self.version += 1
        self._sections = []
        position = 0
        for stretch in self._stretches:
            self._sections += self._gaps(position, stretch.start)
            self._sections.append(stretch)
            position = stretch.stop
        self._sections += self._gaps(position, self.end)
        self._section_starts = [
            section.start if isinstance(section, Stretch) else section.offset for section in self._sections
        ]
        self._section_lines = [0]
        for section in self._sections:
            count = section.line_count if isinstance(section, Stretch) else 1
            self._section_lines.append(self._section_lines[-1] + count)

    def _gaps(self, start: int, stop: int) -> list[GapLine]:
        """What is not held between two offsets: the part that is not kept is a gap of its own."""
        lost_start, lost_stop = self._lost
        cuts = sorted({start, stop, *(cut for cut in (lost_start, lost_stop) if start < cut < stop)})
        return [
            GapLine(first, last, is_kept=not lost_start <= first < lost_stop)
            for first, last in pairwise(cuts)
        ]


class PaneTail:
    """The last bytes of a pane, for a tile: nothing is looked for in them until it is drawn."""

    def __init__(self) -> None:
        self.run_id = ""
        self.end = 0
        self._data = bytearray()
        self._is_cut = False  # its first line may be without its beginning

    def add(self, piece: PaneBytes) -> None:
        stop = self.end
        if piece.run_id != self.run_id:
            self.run_id, self._data, stop, self._is_cut = piece.run_id, bytearray(), 0, False
        if piece.next < stop:
            return
        if piece.start > stop:
            self._data.clear()
            stop, self._is_cut = piece.start, True
        self._data += piece.data[stop - piece.start :]
        self.end = piece.next
        if len(self._data) > TAIL_BYTES_MAX:
            del self._data[: len(self._data) - TAIL_BYTES_MAX // 2]
            self._is_cut = True

    def last_lines(self, count: int) -> list[PaneLine]:
        """The last lines, at most `count`; a first one without its beginning only where there is no other.

        Cost: of those lines only, whatever is held before them."""
        data, stop = self._data, len(self._data)
        if UP.search(data, max(0, stop - REDRAWN_BYTES)):
            return self._last_redrawn(count)
        lines: list[PaneLine] = []
        while stop > 0 and len(lines) < count:
            start = data.rfind(b"\n", 0, stop - 1) + 1
            if start == 0 and self._is_cut and lines:
                break
            cut = start
            if stop - start > LINE_BYTES_MAX:
                cut = whole_from(data, stop - LINE_BYTES_MAX)
            offset = self.end - len(data) + cut
            lines.append(PaneLine(offset, bytes(data[cut:stop]), None, look_before(data, cut)))
            stop = start
        return lines[::-1]

    def _last_redrawn(self, count: int) -> list[PaneLine]:
        """The same of REDRAWN_BYTES, in which lines were drawn over from below."""
        first = max(0, len(self._data) - REDRAWN_BYTES)
        first = self._data.find(b"\n", first) + 1 if first else 0
        stretch = Stretch(self.end - len(self._data) + first, bytes(self._data[first:]))
        rows = range(max(0, stretch.line_count - count), stretch.line_count)
        return [PaneLine(*stretch.line(row), None, PLAIN, stretch.redrawn_stop(row)) for row in rows]

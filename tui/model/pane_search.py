"""Searching a whole pane and saving it: both go through what is kept of it, piece by piece, in a thread."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from pymr.client import PaneBytes
from tui.model.ansi import LINE_BYTES_MAX, styled_line

PIECE_BYTES = 256 << 10
NEEDLE_CHARACTERS_MAX = 200
_COLOURS_BETWEEN = rb"(?:\x1b\[[0-9;:]*[mK])*"

ReadPiece = Callable[[int, int], PaneBytes]
"""(offset, most bytes) -> a piece of the pane."""


@dataclass(frozen=True, slots=True)
class Needle:
    """What is searched for: as it stands where it has a capital letter, else in any case."""

    text: str

    @property
    def is_exact(self) -> bool:
        return self.text != self.text.lower()

    def in_text(self) -> re.Pattern[str]:
        """To be found in lines as they are shown."""
        return re.compile(re.escape(self.text), 0 if self.is_exact else re.IGNORECASE)

    def in_bytes(self) -> re.Pattern[bytes]:
        """To be found in what was put out, with colours between its letters. Finds more than is shown: what
        was written over, too."""
        letters = []
        for letter in self.text[:NEEDLE_CHARACTERS_MAX]:
            forms = {letter} if self.is_exact else {letter, letter.lower(), letter.upper()}
            letters.append(b"(?:" + b"|".join(re.escape(form.encode()) for form in sorted(forms)) + b")")
        return re.compile(_COLOURS_BETWEEN.join(letters))


@dataclass(frozen=True, slots=True)
class Found:
    """offset: of the beginning of the line. has_wrapped: it was found after going on from the other end."""

    offset: int
    has_wrapped: bool = False


def find_in_pane(
    read: ReadPiece,
    needle: Needle,
    start: int,
    *,
    backwards: bool,
    is_stopped: Event,
    on_progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> Found | None:
    """The nearest line with the needle that begins at `start` or after it, or backwards: before it; then on
    from the other end of the pane. None where there is none, or when it was stopped.

    on_progress: is given (bytes searched, bytes of the pane). Raises what `read` does.
    """
    end = read(start, 1).end
    searched = 0
    ranges = [(0, start), (start, end)] if backwards else [(start, end), (0, start)]
    for number, (first, stop) in enumerate(ranges):
        pieces = _pieces_back(read, first, stop) if backwards else _pieces(read, first, stop)
        for piece in pieces:
            if is_stopped.is_set():
                return None
            offsets = [offset for offset in _lines_with(needle, piece) if first <= offset < stop]
            if offsets:
                return Found(offsets[-1] if backwards else offsets[0], has_wrapped=number > 0)
            searched += len(piece.data)
            on_progress(min(searched, end), end)
    return None


def save_pane(
    read: ReadPiece,
    path: Path,
    *,
    over: bool,
    on_progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> int:
    """Write all that is kept of a pane, as it was put out, to a file, whole or not at all; its size.

    A line in it tells where something is not kept. over: replace a file that is there; FileExistsError else.
    Raises OSError, and what `read` does.
    """
    if path.exists() and not over:
        raise FileExistsError(f"{path} exists")
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            end = read(0, 1).end
            for piece in _pieces(read, 0, end):
                if piece.skipped:
                    note = f"\r\n[pymr: {piece.skipped:,} bytes of output are not kept here]\r\n"
                    file.write(note.encode())
                file.write(piece.data)
                on_progress(piece.next, end)
            size = file.tell()
        if over:
            os.replace(temporary, path)
        else:
            os.link(temporary, path)  # unlike a rename it fails where a file has come meanwhile
        return size
    finally:
        Path(temporary).unlink(missing_ok=True)


def _pieces(read: ReadPiece, start: int, stop: int) -> Iterator[PaneBytes]:
    """What is kept between two offsets, in pieces of whole lines where these are not very long."""
    offset = start
    while offset < stop:
        piece = read(offset, min(PIECE_BYTES, stop - offset))
        if not piece.data:
            return
        if piece.next < stop:
            cut = piece.data.rfind(b"\n") + 1
            if cut:
                data = piece.data[:cut]
                piece = PaneBytes(piece.run_id, piece.start, data, piece.end, piece.skipped, piece.times)
        yield piece
        offset = piece.next


def _pieces_back(read: ReadPiece, start: int, stop: int) -> Iterator[PaneBytes]:
    """The same from the end on. A line on a seam is read twice."""
    while stop > start:
        first = max(start, stop - PIECE_BYTES + LINE_BYTES_MAX)
        ahead = max(0, first - LINE_BYTES_MAX)
        piece = read(ahead, stop - ahead)
        if piece.start < stop and piece.data:
            cut = piece.data.rfind(b"\n", 0, max(0, first - piece.start)) + 1
            data = piece.data[cut : stop - piece.start]
            yield PaneBytes(piece.run_id, piece.start + cut, data, piece.end)
        stop = min(first, lost_start(read, ahead)) if piece.skipped else first


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


def _lines_with(needle: Needle, piece: PaneBytes) -> Iterator[int]:
    """Offsets of the lines of a piece that show the needle, ascending."""
    data, in_text = piece.data, needle.in_text()
    seen = -1
    for match in needle.in_bytes().finditer(data):
        start = data.rfind(b"\n", 0, match.start()) + 1
        if start == seen:
            continue
        seen = start
        start = max(start, match.start() - LINE_BYTES_MAX)
        stop = data.find(b"\n", match.start(), match.start() + LINE_BYTES_MAX)
        line = data[start : len(data) if stop < 0 else stop]
        if in_text.search(styled_line(line[: 2 * LINE_BYTES_MAX]).text):
            yield piece.start + start

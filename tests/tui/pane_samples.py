"""Panes in memory, read as a client reads them."""

from __future__ import annotations

from pymr.client import PaneBytes
from tui.model.pane.search import ReadPiece


def reader(pane: bytes, lost: tuple[int, int] = (0, 0)) -> ReadPiece:
    """Reads a pane in memory of which a range is not kept."""

    def read(offset: int, bytes_max: int) -> PaneBytes:
        at = min(offset, len(pane))
        start = lost[1] if lost[0] <= at < lost[1] else at
        data = pane[start : start + bytes_max]
        data = data[: lost[0] - start] if start < lost[0] < start + len(data) else data
        return PaneBytes("r1", start, data, len(pane), start - at)

    return read

"""Marks: when the bytes of a pane came, in a small file beside each of its segments. Part of `panes`.

A mark is (offset, Unix milliseconds): the bytes from there on came no earlier than then, up to the next mark.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from contextlib import suppress

from pymr.data.contents import Mark

MARK_SECONDS = 0.1
"""Marks are no closer than this. Lower: output is timed more finely, 16 bytes for each mark."""

MARKS_PER_SEGMENT_MAX = 65_536
"""As many as take the room of the segment itself. Of output that trickles for hours the last one goes on."""

MARKS_READ_MAX = 1_000
"""Most that are read at once; of more, some spread over all."""

_MARK = struct.Struct("<QQ")


class MarkWriter:
    """Adds marks to the file of one segment. A mark that the disk refuses is missing; nothing is raised.

    path: may hold marks of an earlier writer. end: of the pane; marks beyond it are of bytes that were lost.
    """

    def __init__(self, path: str, end: int) -> None:
        self._descriptor: int | None = None
        self._count = 0
        self._marked_at: float | None = None
        try:
            self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            self._count = bisect_right(_Offsets(self._descriptor), end)
            os.ftruncate(self._descriptor, self._count * _MARK.size)
        except OSError:
            self.close()  # no marks, rather than wrong ones

    def mark(self, offset: int, now: float) -> None:
        """Bytes come at an offset. now: Unix seconds. Costs nothing where the last mark is young enough."""
        if self._marked_at is not None and 0.0 <= now - self._marked_at < MARK_SECONDS:
            return
        self._marked_at = now
        if self._descriptor is None or self._count >= MARKS_PER_SEGMENT_MAX:
            return
        with suppress(OSError):
            data = _MARK.pack(offset, max(0, int(now * 1_000)))
            if os.pwrite(self._descriptor, data, self._count * _MARK.size) == _MARK.size:
                self._count += 1

    def close(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None


def read_marks(path: str, start: int, end: int) -> list[Mark]:
    """The marks of a segment from the last one at or before `start` to the last one before `end`, ascending.

    Never raises: where they cannot be read there are none. Cost: some 20 reads, and one of 1 MiB at most.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        offsets = _Offsets(descriptor)
        first = max(0, bisect_right(offsets, start) - 1)
        last = bisect_left(offsets, end, lo=first)
        data = os.pread(descriptor, (last - first) * _MARK.size, first * _MARK.size)
        whole = len(data) - len(data) % _MARK.size
        return list(_MARK.iter_unpack(data[:whole]))
    except OSError:
        return []
    finally:
        os.close(descriptor)


def thinned(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """MARKS_READ_MAX at most, with the first one; of several at one offset the last."""
    kept = list(dict(marks).items())
    step = -(-len(kept) // MARKS_READ_MAX)
    return tuple(kept[:: max(1, step)])


class _Offsets(Sequence[int]):
    """The offsets in a file of marks, read one by one. A last mark that is not whole does not count."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._length = os.fstat(descriptor).st_size // _MARK.size

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> int:  # type: ignore[override]  # no slices are asked for
        data = os.pread(self._descriptor, _MARK.size, index * _MARK.size)
        if len(data) < _MARK.size:
            raise OSError("a file of marks has become shorter")
        return int(_MARK.unpack(data)[0])

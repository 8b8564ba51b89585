"""Panes: what workers print, as files of 1 MiB named by their offset, for each slot and run; with times.

The daemon appends; the data service reads, in a process of its own, knowing nothing but the folder. Of a long
pane the beginning and the end are kept, and offsets stay what they were.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from pymr.data.contents import Mark
from pymr.peer.panes.marks import MarkWriter, read_marks, thinned

SEGMENT_BYTES = 1 << 20

HEAD_BYTES_MAX = 2 << 20
"""Of the beginning of a pane so much is kept. Both: multiples of SEGMENT_BYTES."""

TAIL_BYTES_MAX = 8 << 20
"""Of the end of a pane at least so much is kept, and less than a segment more."""

_NEWEST_FILE = ".newest"  # in the folder of a slot: the run whose pane was opened last
_SUFFIX = ".out"
_MARKS_SUFFIX = ".times"
_OFFSET_DIGITS = 20
_READ_ATTEMPTS_MAX = 4
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


class PaneChunk(msgspec.Struct, frozen=True):
    """A piece of a pane. offset: of `data`. skipped: bytes before it that were asked for and are not kept.

    end: of the pane, now. marks: when the bytes came, from the last one at or before `offset` on.
    """

    offset: int
    data: bytes
    end: int
    skipped: int
    marks: tuple[Mark, ...] = ()


class PaneStore:
    """The panes that a daemon writes, each by one worker at a time. clock: gives Unix seconds."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self._clock = clock
        self._open: dict[OpenPane, Path] = {}
        self.bytes_appended = 0
        """To all panes, since this was made."""

    def open(self, slot: int, run_id: str) -> OpenPane:
        """The pane of a run in a slot, at its end; the newest of the slot from now on.

        Never raises for what the disk does: see Pane.append. Raises ValueError for no id of a run.
        """
        pane = self.prepare(slot, run_id)
        pane.mark_newest()
        return pane

    def prepare(self, slot: int, run_id: str) -> OpenPane:
        """As `open`, without a look at the disk; Pane.mark_newest does the rest, from any thread."""
        folder = _folder(self.directory, slot, run_id)
        pane = OpenPane(folder, self._clock, self._on_append, lambda: self._open.pop(pane, None))
        self._open[pane] = folder
        return pane

    def newest(self, slot: int) -> str | None:
        """The run whose pane is the newest of a slot."""
        return latest_run(self.directory, slot)

    def open_runs(self) -> set[str]:
        """The runs of which a pane is open."""
        return {folder.name for folder in list(self._open.values())}  # others close panes meanwhile

    def _on_append(self, bytes_written: int) -> None:
        self.bytes_appended += bytes_written


class OpenPane:
    """One pane, open for appending. Made by PaneStore.open."""

    def __init__(
        self,
        folder: Path,
        clock: Callable[[], float],
        on_append: Callable[[int], None],
        on_close: Callable[[], object],
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._on_append = on_append
        self._on_close = on_close
        self._descriptor: int | None = None
        self._marks: MarkWriter | None = None
        self._starts: list[int] = []
        self._end = 0
        self._lost_bytes = 0
        self._lost_why = ""

    @property
    def end(self) -> int:
        """The offset behind all that was appended, also when it is closed."""
        if self._descriptor is None:
            with contextlib.suppress(OSError):
                return _end_of(_segments(self._folder))
        return self._end

    def mark_newest(self) -> None:
        """Make it the newest of its slot. Never raises for what the disk does."""
        slot_folder, run_id = self._folder.parent, self._folder.name
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            new = slot_folder / f"{_NEWEST_FILE}.new"
            new.write_text(run_id)
            new.replace(slot_folder / _NEWEST_FILE)

    def append(self, data: bytes) -> None:
        """Add to the end. What the disk refuses is lost, and noted in the pane once it takes something again.

        Not forced to the disk: the cost is that of a write into the page cache.
        """
        note = b""
        if self._lost_bytes:
            text = f"\r\n[pymr: {self._lost_bytes:,} bytes of output are lost here: {self._lost_why}]\r\n"
            note = text.encode()
        rest = memoryview(note + data)
        now = self._clock()
        try:
            while rest:
                if self._descriptor is None or self._end >= self._starts[-1] + SEGMENT_BYTES:
                    self._open_segment()
                    continue
                if self._marks is not None:
                    self._marks.mark(self._end, now)
                room = self._starts[-1] + SEGMENT_BYTES - self._end
                written = os.write(self._descriptor, rest[:room])
                self._end += written
                self._on_append(written)
                rest = rest[written:]
            self._lost_bytes = 0
        except OSError as error:
            is_noted = len(rest) <= len(data)
            self._lost_bytes = len(rest) if is_noted else self._lost_bytes + len(data)
            self._lost_why = error.strerror or str(error)

    def close(self) -> None:
        """To be called once."""
        self._close_segment()
        self._on_close()

    def _open_segment(self) -> None:
        """The last segment, where a pane is gone on with; a new one where that is full or there is none."""
        if self._descriptor is None:
            segments = _segments(self._folder)
            self._starts = [start for start, _ in segments]
            self._end = _end_of(segments)
        self._close_segment()
        start = self._starts[-1] if self._starts else 0
        if self._end >= start + SEGMENT_BYTES:
            start = self._end
        self._folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(_segment_path(self._folder, start), flags, 0o600)
        self._marks = MarkWriter(_marks_path(self._folder, start), self._end)
        if start not in self._starts:
            self._starts.append(start)
            self._drop_middle()

    def _close_segment(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None
        if self._marks is not None:
            self._marks.close()
            self._marks = None

    def _drop_middle(self) -> None:
        for start in self._starts[:-1]:
            if start >= HEAD_BYTES_MAX and start + SEGMENT_BYTES <= self._end - TAIL_BYTES_MAX:
                for path in (_segment_path(self._folder, start), _marks_path(self._folder, start)):
                    with contextlib.suppress(OSError):
                        os.unlink(path)
                self._starts.remove(start)


def read_pane(directory: Path, slot: int, run_id: str, offset: int, length: int) -> PaneChunk:
    """Up to `length` bytes at `offset`, or where those are not kept, at the next offset that is.

    offset: negative counts from the end; beyond the end is the end. A pane that is not there is empty.
    Never waits. Raises ValueError for no id of a run, OSError when the disk fails.
    """
    folder = _folder(directory, slot, run_id)
    for _ in range(_READ_ATTEMPTS_MAX):
        segments = _segments(folder)
        end = _end_of(segments)
        at = max(0, end + offset) if offset < 0 else min(offset, end)
        with contextlib.suppress(FileNotFoundError):  # dropped since it was listed
            return _read_from(folder, segments, at, length)
    return PaneChunk(at, b"", end, 0)


def has_pane(directory: Path, slot: int, run_id: str) -> bool:
    """Whether a slot has a pane of a run, be it empty. Raises ValueError for no id of a run."""
    return _folder(directory, slot, run_id).is_dir()


def latest_run(directory: Path, slot: int) -> str | None:
    """The run whose pane was the last to be opened in a slot; None where there is none."""
    try:
        run_id = (directory / str(slot) / _NEWEST_FILE).read_text()
    except (OSError, ValueError):
        return None
    return run_id if _RUN_ID.fullmatch(run_id) else None


def folders_of_panes(directory: Path) -> Iterator[Path]:
    """The folder of each pane, in no order: it is named after its run, and lies in that of its slot."""
    for slot_folder in _folders_in(directory):
        yield from (folder for folder in _folders_in(slot_folder) if _RUN_ID.fullmatch(folder.name))


def _read_from(folder: Path, segments: list[tuple[int, int]], at: int, length: int) -> PaneChunk:
    """segments: (start, size), ascending."""
    position, data = at, b""
    marks: list[Mark] = []
    for start, size in segments:
        if start + size <= position:
            continue
        if start > position:
            if data:
                break  # the gap begins here: for the next read
            position = start
        wanted = length - len(data)
        if wanted <= 0:
            break
        with open(_segment_path(folder, start), "rb", buffering=0) as file:
            piece = os.pread(file.fileno(), min(wanted, SEGMENT_BYTES), position - start)
        marks += read_marks(_marks_path(folder, start), position, position + len(piece))
        data += piece
        position += len(piece)
    offset = position - len(data)
    return PaneChunk(offset, data, max(_end_of(segments), position), offset - at, thinned(marks))


def _folder(directory: Path, slot: int, run_id: str) -> Path:
    if not _RUN_ID.fullmatch(run_id):
        raise ValueError(f"{run_id[:200]!r} cannot be the id of a run")
    return directory / str(slot) / run_id


def _segment_path(folder: Path, start: int) -> str:
    return os.path.join(folder, f"{start:0{_OFFSET_DIGITS}d}{_SUFFIX}")


def _marks_path(folder: Path, start: int) -> str:
    return os.path.join(folder, f"{start:0{_OFFSET_DIGITS}d}{_MARKS_SUFFIX}")


def _end_of(segments: list[tuple[int, int]]) -> int:
    return sum(segments[-1]) if segments else 0


def _segments(folder: Path) -> list[tuple[int, int]]:
    """(start, size) of every segment of a pane, ascending."""
    segments = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name.removesuffix(_SUFFIX)
            if name != entry.name and name.isdecimal():
                with contextlib.suppress(FileNotFoundError):
                    segments.append((int(name), entry.stat().st_size))
    return sorted(segments)


def _folders_in(directory: Path) -> list[Path]:
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []

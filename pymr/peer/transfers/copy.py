"""Copying: the files that lists name come from their peers and appear below a folder of this one.

What an earlier attempt has finished, and, if that is asked for, what is there already, is not copied again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pymr.base.errors import DiskError
from pymr.base.faults import fault_point
from pymr.config.cluster import format_bytes
from pymr.data.stream import Bytes, Range
from pymr.peer.disk.file_lists import Entry
from pymr.peer.disk.leftovers import clear_leftovers
from pymr.peer.disk.packs import is_same_file
from pymr.peer.disk.rooted_files import RootedFiles
from pymr.peer.disk.step_journal import Journal
from pymr.peer.transfers.progress import TransferProgress
from pymr.peer.transfers.sources import Sources
from pymr.peer.transfers.walk import digest_of
from pymr.peer.transfers.writer import BATCH_BYTES, TreeWriter
from pymr.wire.protocol import StepInput


@dataclass(frozen=True, slots=True)
class Portion:
    """A piece of a list that is to be copied. wanted: (number in it, entry, path it is to get), in order.

    all_entries: of the piece, which say where each begins in the stream. root: the folder that they lie in on
    their machine.
    """

    step: StepInput
    name: str
    all_entries: Sequence[Entry]
    wanted: Sequence[tuple[int, Entry, str]]
    root: str = ""

    @property
    def key(self) -> str:
        """Names it in the journal."""
        return f"{self.step.task}-{self.step.attempt}/{self.name}"


@dataclass(frozen=True, slots=True)
class CopyRules:
    """How to copy. run_id, peer: who copies. is_alive: tells of a run's id whether that is still going on.

    own_sources: the folders of this machine that are copied from, as far as they may be deleted afterwards.
    """

    run_id: str
    peer: str
    is_bulk: bool
    reload_files: bool
    compress: bool
    is_alive: Callable[[str], bool]
    own_sources: Sequence[str] = ()

    @property
    def tag(self) -> str:
        """Of the temporary names."""
        return f"{self.run_id}@{self.peer}"


@dataclass(slots=True)
class Copied:
    """What there was to do, and what has been done."""

    files: int = 0
    bytes: int = 0
    skipped: int = 0


class Copy:
    """Copies portions into a folder. Raises as `Sources`, `TreeWriter`; InputError, DiskError.

    portions: gives them anew each time it is called, as they may be too many for memory.
    """

    def __init__(
        self,
        folder: RootedFiles,
        sources: Sources,
        journal: Journal,
        rules: CopyRules,
        progress: TransferProgress,
    ) -> None:
        self.done = Copied()
        self._folder = folder
        self._sources = sources
        self._journal = journal
        self._rules = rules
        self._progress = progress

    def run(self, portions: Callable[[], Iterable[Portion]]) -> Copied:
        self._prepare(portions())
        writer = TreeWriter(self._folder, self._rules.tag, is_bulk=self._rules.is_bulk, on_done=self._on_done)
        try:
            for portion in portions():
                self._copy(portion, writer)
            writer.finish()
        except BaseException:
            writer.discard()
            raise
        self._progress.end()
        return self.done

    def _prepare(self, portions: Iterable[Portion]) -> None:
        """Look, before anything is written, whether it can be, and clear away what killed attempts left."""
        needed = files = total = largest = replaced = 0
        folders = {""}
        for portion in portions:
            self._progress.tick()
            finished = self._journal.done(portion.key)
            for number, entry, path in portion.wanted:
                folders.add(path.rpartition("/")[0])
                files += 1
                total += entry.size
                present = self._folder.check_place(path)
                if number not in finished or present != (entry.size, entry.mtime_ns):
                    largest = max(largest, entry.size)
                    there = present[0] if present else 0
                    needed += max(0, entry.size - there)
                    replaced += there
        self._progress.begin(files, total)
        clear_leftovers(
            self._folder, sorted(folders), self._rules.run_id, self._rules.peer, self._rules.is_alive
        )
        self._check_space(needed + min(replaced, largest + BATCH_BYTES))

    def _check_space(self, wanted: int) -> None:
        """wanted: with what lies there beside the files it replaces for a moment. Also makes the folder."""
        free = self._folder.free_bytes()
        if wanted > free:
            raise DiskError(
                f"disk full: {self._folder.root} on peer {self._rules.peer} has {format_bytes(free)} free "
                f"({free:,} bytes), and the transfer needs {format_bytes(wanted)} ({wanted:,} bytes): free "
                "some space, and it goes on",
                self._folder.root,
                is_unwritable=True,
            )

    def _copy(self, portion: Portion, writer: TreeWriter) -> None:
        missing = [one for one in portion.wanted if self._is_missing(portion, *one)]
        starts = _starts(portion.all_entries)
        ranges = _joined((starts[number], entry.size) for number, entry, _ in missing)
        content = self._sources.content(portion.step, portion.name, ranges, compress=self._rules.compress)
        buffer = Buffer(content, self._progress.add_bytes)
        for number, entry, path in missing:
            writer.write((portion.key, number), entry, path, buffer.take(entry.size))

    def _is_missing(self, portion: Portion, number: int, entry: Entry, path: str) -> bool:
        """Whether a file is still to be copied; one that is not is counted."""
        if number in self._journal.done(portion.key) and self._folder.check_place(path) == (
            entry.size,
            entry.mtime_ns,
        ):
            self.done.files += 1
            self.done.bytes += entry.size
            self._progress.add(1, entry.size)
            return False
        if not self._rules.reload_files and self._is_there(portion, entry, path):
            self.done.skipped += 1
            self._progress.skip(entry.size)
            return False
        return True

    def _is_there(self, portion: Portion, entry: Entry, path: str) -> bool:
        """Raises PathRefusedError for what is the listed file itself, and no copy of it."""
        present = self._folder.check_place(path)
        if present is None or present[0] != entry.size:
            return False
        descriptor = self._folder.open(path)
        try:
            status = os.fstat(descriptor)
            roots = [*self._rules.own_sources, *([portion.root] if is_same_file(status, entry) else ())]
            for source in (os.path.join(root, entry.path) for root in roots if root):
                if _is_at(status, source):
                    raise self._folder.refusal(path, f"is the same file as {source!r}, and no copy of it")
            return digest_of(descriptor, lambda _: self._progress.tick()) == (entry.size, entry.digest)
        finally:
            os.close(descriptor)

    def _on_done(self, keys: list[tuple[str, int]], size: int) -> None:
        pieces: dict[str, list[int]] = {}
        for piece, number in keys:
            pieces.setdefault(piece, []).append(number)
        for piece, numbers in pieces.items():
            self._journal.add(piece, numbers)
        fault_point("transfer.after_journal")
        self.done.files += len(keys)
        self.done.bytes += size
        self._progress.add(len(keys), 0)


def _is_at(status: os.stat_result, path: str) -> bool:
    """Whether a file is the one at a path of this machine, by whatever way that leads to it."""
    try:
        return os.path.samestat(status, os.stat(path))
    except OSError:  # mostly as it is on another machine
        return False


class Buffer:
    """Gives the bytes that come in pieces of any length as those of one file after the other."""

    def __init__(self, pieces: Iterator[Bytes], on_bytes: Callable[[int], object]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")
        self._on_bytes = on_bytes

    def take(self, count: int) -> Iterator[memoryview]:
        while count:
            if not self._left:
                self._left = memoryview(next(self._pieces, b""))
                if not self._left:
                    return  # its length and checksum will tell
                self._on_bytes(len(self._left))
            piece = self._left[:count]
            self._left = self._left[count:]
            count -= len(piece)
            yield piece


def _starts(entries: Sequence[Entry]) -> list[int]:
    starts = []
    start = 0
    for entry in entries:
        starts.append(start)
        start += entry.size
    return starts


def _joined(ranges: Iterable[Range]) -> Iterator[Range]:
    """The same bytes, neighbouring ranges as one."""
    begin = end = 0
    for offset, length in ranges:
        if offset != end:
            if end > begin:
                yield begin, end - begin
            begin = offset
        end = offset + length
    if end > begin:
        yield begin, end - begin

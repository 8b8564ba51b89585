"""Writing: files appear below a folder under their names only when they are whole, verified and on the disk.

One by one, or, as bulk transfers do it, in batches of many small files that are flushed together.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from xxhash import xxh3_64, xxh3_64_intdigest

from pymr.errors import RetryableError
from pymr.faults import fault_point
from pymr.peer.rooted_files import RootedFiles
from pymr.peer.transfer_lists import Entry
from pymr.peer.transfer_walk import TEMPORARY_PREFIX

BATCH_FILES = 5_000
BATCH_BYTES = 128 << 20
"""Of a batch in a bulk transfer. Larger: fewer flushes; smaller: less is done again after a kill."""

SYNC_FOLDERS_MAX = 8
"""Folders of a batch that are flushed one by one; of more, the whole disk is."""

_TEMPORARY_NAME = re.compile(re.escape(TEMPORARY_PREFIX) + r"(.+)@(.+)\.([0-9]+)")
_UNFINISHED_MODE = 0o600


@dataclass(frozen=True, slots=True)
class _Written:
    """A file that has all its bytes and not yet its name."""

    folder: str
    temporary: str
    name: str
    key: tuple[str, int]
    size: int


class TreeWriter:
    """Writes files below a folder. on_done: called with (piece, numbers, bytes) of files that are finished.

    tag: of the temporary names, `RUN@PEER`. is_bulk: in batches. Raises PathRefusedError, RetryableError for
    bytes that are not those listed, OSError; `discard` then removes what has no name yet.
    """

    def __init__(
        self,
        folder: RootedFiles,
        tag: str,
        *,
        is_bulk: bool,
        on_done: Callable[[list[tuple[str, int]], int], object],
    ) -> None:
        self._folder = folder
        self._tag = tag
        self._is_bulk = is_bulk
        self._on_done = on_done
        self._written: list[_Written] = []
        self._written_bytes = 0
        self._number = 0
        self._unfinished: tuple[str, str] | None = None
        self._thread = ThreadPoolExecutor(1, "finish") if is_bulk else None
        self._finishing: tuple[list[_Written], Future[None]] | None = None

    def write(self, key: tuple[str, int], entry: Entry, path: str, content: Iterable[memoryview]) -> None:
        """Write a file that is to be called `path`. key: what it is called in `on_done`."""
        folder, name = self._folder.split(path)
        temporary = f"{TEMPORARY_PREFIX}{self._tag}.{self._number}"
        self._number += 1
        descriptor = self._folder.create(folder, temporary, _UNFINISHED_MODE)
        self._unfinished = folder, temporary
        try:
            size, digest = _write_all(descriptor, content)
            if (size, digest) != (entry.size, entry.digest):
                raise RetryableError(
                    f"{os.path.join(self._folder.root, path)!r} did not arrive as it was listed: "
                    f"{size:,} bytes with checksum {digest:016x}, not {entry.size:,} with {entry.digest:016x}"
                )
            os.fchmod(descriptor, entry.mode)
            os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
            if not self._is_bulk:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fault_point("transfer.after_write")
        self._unfinished = None
        self._written.append(_Written(folder, temporary, name, key, size))
        self._written_bytes += size
        is_full = len(self._written) >= BATCH_FILES or self._written_bytes >= BATCH_BYTES
        if is_full or not self._is_bulk:
            self._finish_batch()

    def finish(self) -> None:
        """Give all files their names, for good."""
        self._finish_batch()
        self._await_finishing()
        if self._thread is not None:
            self._thread.shutdown()

    def discard(self) -> None:
        """Remove what has no name yet."""
        if self._thread is not None:
            self._thread.shutdown()
        left = [*self._written, *(self._finishing[0] if self._finishing else ())]
        names = [(file.folder, file.temporary) for file in left]
        for folder, temporary in [*names, *([self._unfinished] if self._unfinished else ())]:
            with suppress(OSError):  # it has its name already; or there is a worse problem, which is known
                self._folder.unlink(_join(folder, temporary))

    def _finish_batch(self) -> None:
        """In bulk: in a thread, while the next batch is written; there is never more than one such."""
        self._await_finishing()
        written, self._written, self._written_bytes = self._written, [], 0
        if not written:
            return
        if self._thread is None:
            self._finishing = written, Future()
            self._give_names(written, self._folder)
            self._finishing = None
            self._tell(written)
        else:
            self._finishing = written, self._thread.submit(self._finish_apart, written, self._folder.again())

    def _await_finishing(self) -> None:
        if self._finishing is not None:
            written, future = self._finishing
            future.result()
            self._finishing = None
            self._tell(written)

    def _finish_apart(self, written: list[_Written], folder: RootedFiles) -> None:
        with folder:
            self._give_names(written, folder)

    def _give_names(self, written: list[_Written], folder: RootedFiles) -> None:
        folders = dict.fromkeys(file.folder for file in written)
        is_synced = self._is_bulk and folder.sync_all()
        if self._is_bulk and not is_synced:
            for file in written:
                _sync_file(folder, file)
        fault_point("transfer.before_rename")
        for file in written:
            folder.rename(file.folder, file.temporary, file.name)
        fault_point("transfer.after_rename")
        if len(folders) <= SYNC_FOLDERS_MAX or not folder.sync_all():
            for path in folders:
                folder.sync(path)

    def _tell(self, written: list[_Written]) -> None:
        self._on_done([file.key for file in written], sum(file.size for file in written))


def _sync_file(folder: RootedFiles, file: _Written) -> None:
    descriptor = folder.open(_join(file.folder, file.temporary))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clear_leftovers(
    folder: RootedFiles, folders: Iterable[str], run_id: str, peer: str, is_alive: Callable[[str], bool]
) -> int:
    """Remove what killed attempts have left in these folders: of this run, and of runs that are no more.

    is_alive: whether a run of that id is. Returns how many there were.
    """
    removed = 0
    for path in folders:
        for name in _names_in(folder, path):
            match = _TEMPORARY_NAME.fullmatch(name)
            if match and match[2] == peer and (match[1] == run_id or not is_alive(match[1])):
                folder.unlink(_join(path, name))
                removed += 1
    return removed


def _names_in(folder: RootedFiles, path: str) -> list[str]:
    try:
        with os.scandir(folder.folder(path)) as entries:
            return [entry.name for entry in entries if entry.name.startswith(TEMPORARY_PREFIX)]
    except FileNotFoundError:
        return []


def _write_all(descriptor: int, content: Iterable[memoryview]) -> tuple[int, int]:
    """(bytes, xxh3-64) of what was written."""
    pieces: Iterator[memoryview] = iter(content)
    first = next(pieces, memoryview(b""))
    second = next(pieces, None)
    _write(descriptor, first)
    if second is None:
        return len(first), xxh3_64_intdigest(first)
    size, digest = len(first), xxh3_64(first)
    while second is not None:
        _write(descriptor, second)
        digest.update(second)
        size += len(second)
        second = next(pieces, None)
    return size, digest.intdigest()


def _write(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name

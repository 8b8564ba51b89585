"""Writing: files appear below a folder under their names only when they are whole, verified and on the disk.

One by one, or, as bulk transfers do it, in batches of many small files that are flushed together.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from xxhash import xxh3_64, xxh3_64_intdigest

from pymr.base.errors import RetryableError
from pymr.base.faults import fault_point
from pymr.peer.disk.file_lists import Entry
from pymr.peer.disk.leftovers import temporary_name
from pymr.peer.disk.rooted_files import PathRefusedError, RootedFiles
from pymr.peer.transfers.walk import READ_BYTES

BATCH_FILES = 5_000
BATCH_BYTES = 128 << 20
"""Of a batch in a bulk transfer. Larger: fewer flushes; smaller: less is done again after a kill."""

SYNC_FOLDERS_MAX = 8
"""Folders of a batch that are flushed one by one; of more, the whole disk is."""

_UNFINISHED_MODE = 0o600


@dataclass(frozen=True, slots=True)
class _Written:
    """A file that has all its bytes and not yet its name. number: of its temporary name."""

    number: int
    folder: str
    name: str
    key: tuple[str, int]
    size: int


class TreeWriter:
    """Writes files below a folder. on_done: called with (piece, numbers, bytes) of files that are finished.

    What has no name yet lies in one hidden folder there. tag: of that, `RUN@PEER`. is_bulk: in batches.
    Raises PathRefusedError, RetryableError for bytes that are not those listed and for a folder that somebody
    has removed meanwhile, OSError; `discard` then removes what has no name yet.
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
        self._temporaries = temporary_name(tag)
        self._is_bulk = is_bulk
        self._on_done = on_done
        self._written: list[_Written] = []
        self._written_bytes = 0
        self._number = 0
        self._root = os.dup(folder.folder("", create=True))  # kept open, so that no other gets its inode
        self._thread = ThreadPoolExecutor(1, "finish") if is_bulk else None
        self._finishing: tuple[list[_Written], Future[None]] | None = None

    def write(self, key: tuple[str, int], entry: Entry, path: str, content: Iterable[memoryview]) -> None:
        """Write a file that is to be called `path`. key: what it is called in `on_done`."""
        folder, name = self._folder.split(path)
        self._number += 1
        descriptor = self._folder.create(self._temporaries, str(self._number), _UNFINISHED_MODE)
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
        self._written.append(_Written(self._number, folder, name, key, size))
        self._written_bytes += size
        is_full = len(self._written) >= BATCH_FILES or self._written_bytes >= BATCH_BYTES
        if is_full or not self._is_bulk:
            self._finish_batch()

    def finish(self) -> None:
        """Give all files their names, for good."""
        self._finish_batch()
        self._await_finishing()
        self._check_places(self._folder, {})
        self._folder.remove(self._temporaries)
        self._close()

    def discard(self) -> None:
        """Remove what has no name yet."""
        self._close()
        with suppress(OSError, PathRefusedError):  # there is a worse problem, which is known
            self._folder.remove(self._temporaries)

    def _close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown()
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

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
        folders: dict[str, tuple[int, int]] = {}
        is_synced = self._is_bulk and folder.sync_all()
        if self._is_bulk and not is_synced:
            for file in written:
                _sync_file(folder, self._temporary(file))
        fault_point("transfer.before_rename")
        for file in written:
            self._give_name(file, folder)
            if file.folder not in folders:
                folders[file.folder] = folder.identity(file.folder)
        fault_point("transfer.after_rename")
        if len(folders) <= SYNC_FOLDERS_MAX or not folder.sync_all():
            for path in folders:
                folder.sync(path)
        self._check_places(folder, folders)

    def _give_name(self, file: _Written, folder: RootedFiles) -> None:
        try:
            folder.move(self._temporary(file), _join(file.folder, file.name))
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy_across(folder, self._temporary(file), file, temporary_name(self._tag, file.number))

    def _temporary(self, file: _Written) -> str:
        return f"{self._temporaries}/{file.number}"

    def _check_places(self, folder: RootedFiles, folders: dict[str, tuple[int, int]]) -> None:
        """Raise RetryableError where one of the folders in which files got their names, or the root, does not
        have its own name any more: the files are not where they should be."""
        root = os.fstat(self._root)
        with folder.again() as now:
            for path, identity in {**folders, "": (root.st_dev, root.st_ino)}.items():
                try:
                    is_same = now.identity(path) == identity
                except (OSError, PathRefusedError):
                    is_same = False
                if not is_same:
                    where = os.path.join(folder.root, path) if path else folder.root
                    raise RetryableError(
                        f"{where!r} was removed or replaced while files were written to it: "
                        "another transfer deletes it, perhaps"
                    )

    def _tell(self, written: list[_Written]) -> None:
        self._on_done([file.key for file in written], sum(file.size for file in written))


def _copy_across(folder: RootedFiles, temporary: str, file: _Written, beside: str) -> None:
    """Give a file its name in a folder on another disk, which is mounted there."""
    descriptors = [folder.open(temporary)]
    try:
        descriptors.append(folder.create(file.folder, beside, _UNFINISHED_MODE))
        source, target = descriptors
        while data := os.read(source, READ_BYTES):
            _write(target, memoryview(data))
        status = os.fstat(source)
        os.fchmod(target, status.st_mode & 0o777)
        os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))
        os.fsync(target)
        folder.move(_join(file.folder, beside), _join(file.folder, file.name))
    except BaseException:
        with suppress(OSError):
            folder.unlink(_join(file.folder, beside))
        raise
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    folder.unlink(temporary)


def _sync_file(folder: RootedFiles, path: str) -> None:
    descriptor = folder.open(path)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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

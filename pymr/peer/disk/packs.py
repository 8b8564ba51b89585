"""Packs: the files of a list as one stream of bytes, of which a range may span thousands of small files.

Read by a data service for other machines, and by a transfer's steps directly where they see the same disk.
"""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_right
from collections import OrderedDict

from pymr.base.errors import DamagedFileError
from pymr.data.protocol import DataRefused
from pymr.peer.disk.file_lists import PACK_NAME, Entry, FileList, parse_list, sums_of
from pymr.peer.disk.rooted_files import PathRefusedError, RootedFiles

PACKS_OPEN_MAX = 8
"""Lists that are kept in memory, with open folders."""

LIST_BYTES_MAX = 64 << 20
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)


class OpenPack:
    """The files of a list, one behind the other in its order. size: of them all in bytes."""

    def __init__(self, files: FileList) -> None:
        self._entries = files.entries
        self._ends = list(sums_of(files.entries))
        self._is_packed = files.is_packed
        self._folder = RootedFiles(files.root)
        self.size = self._ends[-1] if self._ends else 0

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes at `offset`, or up to the end.

        Raises DataRefused: `changed` for a file that is not as it was listed, `unreadable` for now.
        """
        pieces = []
        number = bisect_right(self._ends, offset)
        while length > 0 and number < len(self._entries):
            entry = self._entries[number]
            start = offset - (self._ends[number] - entry.size)
            count = min(length, entry.size - start)
            if count:
                pieces.append(self._read_file(entry, start, count))
                offset += count
                length -= count
            number += 1
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        self._folder.close()

    def _read_file(self, entry: Entry, offset: int, length: int) -> bytes:
        path = PACK_NAME if self._is_packed else entry.source or entry.path
        offset += entry.start
        try:
            descriptor = self._folder.open(path)
            try:
                if not self._is_packed and not is_same_file(os.fstat(descriptor), entry):
                    raise self._changed(path, "it has been written to or replaced")
                data = os.pread(descriptor, length, offset)
                while len(data) < length:
                    more = os.pread(descriptor, length - len(data), offset + len(data))
                    if not more:
                        raise self._changed(path, "it has become shorter")
                    data += more
            finally:
                os.close(descriptor)
        except PathRefusedError as error:
            raise self._changed(path, str(error)) from error
        except OSError as error:
            if error.errno in _GONE:
                raise self._changed(path, "it is gone") from error
            what = os.path.join(self._folder.root, path)
            raise DataRefused("unreadable", f"{what} cannot be read: {error.strerror or error}") from error
        return data

    def _changed(self, path: str, how: str) -> DataRefused:
        what = os.path.join(self._folder.root, path)
        return DataRefused("changed", f"{what} is not as it was when the transfer began: {how}")


class Packs:
    """The packs that were read last, by the path of their list. To be used in one thread."""

    def __init__(self) -> None:
        self._packs: OrderedDict[str, OpenPack] = OrderedDict()

    def get(self, list_path: str, descriptor: int) -> OpenPack:
        """descriptor: of the list, open for reading. A finished attempt, and so its lists, never changes."""
        if list_path in self._packs:
            self._packs.move_to_end(list_path)
            return self._packs[list_path]
        size = os.fstat(descriptor).st_size
        if size > LIST_BYTES_MAX:
            raise DamagedFileError(f"the list {list_path} has {size:,} bytes")
        with open(os.dup(descriptor), "rb") as file:
            pack = OpenPack(parse_list(file.read(), list_path))
        self._packs[list_path] = pack
        if len(self._packs) > PACKS_OPEN_MAX:
            self._packs.popitem(last=False)[1].close()
        return pack

    def close(self) -> None:
        for pack in self._packs.values():
            pack.close()
        self._packs.clear()


def is_same_file(status: os.stat_result, entry: Entry) -> bool:
    """Whether a file is still the one that was listed, and unchanged."""
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_size == entry.size
        and status.st_mtime_ns == entry.mtime_ns
        and status.st_ino == entry.inode
    )

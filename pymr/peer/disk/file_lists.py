"""Lists: which files a transfer moves, as its steps tell each other in files of their attempts' folders.

A list comes in pieces of bounded length, `files-00000`, `files-00001`...; the file `summary` says how many.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec
from msgspec import msgpack
from xxhash import xxh3_64_digest

from pymr.base.durable import write_file
from pymr.base.errors import DamagedFileError
from pymr.wire.output_shares import OutputRead

ENTRIES_PER_PIECE = 10_000
"""Most files that a piece names: a reader has one in memory, a data service a few."""

FILES = "files"
"""The list of what is to be moved from a peer."""

THERE = "there"
"""The list of what an upload finds at its destination on a peer. Digests are not taken."""

PATH_BYTES_MAX = 4_096
"""Of a file below the folder that is moved: a piece of a list stays well below what a reader takes."""

LEVELS_MAX = 200
"""Most folders in each other, below the one that is moved."""

TEMPORARY_PREFIX = ".pymr-"
"""Begins the names of what a transfer is writing; no transfer moves them."""

NAMES_SHOWN_MAX = 50
"""So many of the names that cannot be moved are listed in an error; of the rest, how many there are."""

SUMMARY_NAME = "summary"
PACK_NAME = "pack"
_CHECKSUM_BYTES = 8


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A file as it was listed. path: below the root; source: where it really is, if `path` is a link to that.

    mode: its permissions. digest: xxh3-64 of its content. start: where it begins, in a packed list.
    """

    path: str
    size: int
    mtime_ns: int
    inode: int
    mode: int
    digest: int
    source: str = ""
    start: int = 0


class FileList(msgspec.Struct, frozen=True, array_like=True):
    """A piece of a list, sorted by path. root: the folder that the paths begin in, without links.

    is_packed: the files lie one behind another in the file PACK_NAME of that folder.
    """

    root: str
    entries: list[Entry]
    is_packed: bool = False


class Summary(msgspec.Struct, frozen=True):
    """pieces: how many each list has, by its name. files, bytes: of all. is_found: the folder is there.

    outputs: of jobs, that are listed with it.
    """

    pieces: dict[str, int]
    files: int = 0
    bytes: int = 0
    is_found: bool = True
    outputs: tuple[OutputRead, ...] = ()


Content = TypeVar("Content")
_LISTS = msgpack.Decoder(FileList)
_SUMMARIES = msgpack.Decoder(Summary)


def name_problem(path: str) -> str:
    """Why no file of this path can be moved, for whichever way it takes; "" where it can."""
    if "\n" in path or "\r" in path:
        return "has a line end in it"
    if any(character < " " or character == "\x7f" for character in path):
        return "has a control character in it"
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    return f"has {size:,} bytes, and may have {PATH_BYTES_MAX:,}" if size > PATH_BYTES_MAX else ""


class RefusedNames:
    """Which names below the folder `root` no transfer takes, and why: false while there are none, and as text
    the error that names them."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._count = 0
        self._shown: list[str] = []

    def add(self, path: str) -> bool:
        """Whether a path is refused for its name; it is noted then."""
        problem = name_problem(path)
        if problem:
            self._count += 1
            if self._count <= NAMES_SHOWN_MAX:
                whole = os.path.join(self._root, path)
                self._shown.append(f"{whole if is_text(path) else os.fsencode(whole)!r} {problem}")
        return bool(problem)

    def __bool__(self) -> bool:
        return self._count > 0

    def __str__(self) -> str:
        if self._count == 1:
            return f"the name of {self._shown[0]}; give it another one"
        more = [f"... and {self._count - len(self._shown):,} more"] if self._count > len(self._shown) else []
        listed = "".join(f"\n  {line}" for line in self._shown + more)
        return f"{self._count:,} names cannot be moved; give each another one:{listed}"


def is_text(path: str) -> bool:
    """Whether a path is UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def destination_list(number: int) -> str:
    """The name of the list of what goes to the peer of that number."""
    return f"for-{number:05d}"


def piece_name(name: str, piece: int) -> str:
    return f"{name}-{piece:05d}"


class ListWriter:
    """Writes lists into a folder piece by piece; `finish` writes the summary. Raises OSError."""

    def __init__(self, folder: str, root: str, *, is_packed: bool = False) -> None:
        self._is_packed = is_packed
        self.files = 0
        self.bytes = 0
        self._folder = folder
        self._root = root
        self._pieces: dict[str, int] = {}

    def write(self, name: str, entries: Iterable[Entry], *, is_counted: bool = True) -> None:
        """Write a whole list. entries: sorted by path."""
        piece: list[Entry] = []
        self._pieces.setdefault(name, 0)
        for entry in entries:
            piece.append(entry)
            if is_counted:
                self.files += 1
                self.bytes += entry.size
            if len(piece) == ENTRIES_PER_PIECE:
                self._write_piece(name, piece)
                piece = []
        if piece:
            self._write_piece(name, piece)

    def finish(self, *, is_found: bool = True, outputs: tuple[OutputRead, ...] = ()) -> None:
        summary = Summary(self._pieces, self.files, self.bytes, is_found, outputs)
        write_file(os.path.join(self._folder, SUMMARY_NAME), sealed(summary))

    def _write_piece(self, name: str, entries: list[Entry]) -> None:
        path = os.path.join(self._folder, piece_name(name, self._pieces[name]))
        write_file(path, sealed(FileList(self._root, entries, self._is_packed)))
        self._pieces[name] += 1


def parse_list(data: bytes, path: str) -> FileList:
    """What `ListWriter` wrote. path: for the error. Raises DamagedFileError."""
    return _parse(data, path, _LISTS)


def parse_summary(data: bytes, path: str) -> Summary:
    """As `parse_list`."""
    return _parse(data, path, _SUMMARIES)


def sums_of(entries: Iterable[Entry]) -> Iterator[int]:
    """Where each file ends in the stream of them all."""
    end = 0
    for entry in entries:
        end += entry.size
        yield end


def sealed(content: FileList | Summary) -> bytes:
    """What `parse_list` and `parse_summary` read."""
    body = msgpack.encode(content)
    return xxh3_64_digest(body) + body


def _parse(data: bytes, path: str, decoder: msgpack.Decoder[Content]) -> Content:
    body = memoryview(data)[_CHECKSUM_BYTES:]
    if xxh3_64_digest(body) != data[:_CHECKSUM_BYTES]:
        raise DamagedFileError(f"the list {path} does not have the bytes that were written")
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise DamagedFileError(f"the list {path} is damaged: {error}") from error

"""Walking: what lies below a folder becomes the entries of a list, or an error that says why it cannot."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Container, Iterator

from xxhash import xxh3_64, xxh3_64_intdigest

from pymr.base.errors import InputChangedError, InputError
from pymr.peer.disk.file_lists import (
    LEVELS_MAX,
    NAMES_SHOWN_MAX,
    TEMPORARY_PREFIX,
    Entry,
    RefusedNames,
    is_text,
)
from pymr.peer.disk.paths import is_below
from pymr.peer.disk.rooted_files import PathRefusedError, RootedFiles, kind_of

READ_BYTES = 1 << 20
_MODE_BITS = 0o777


def walk_files(
    folder: RootedFiles, ignored: Container[str], on_bytes: Callable[[int], object]
) -> Iterator[Entry]:
    """Every file below the folder, deep, sorted by path, with its digest.

    ignored: names that are passed over. on_bytes: called with how much has been read.
    Raises InputError for what cannot be moved: a link that leads out or to a folder, a FIFO, device or
    socket, what cannot be read, and names with control characters or that are not UTF-8, naming all of these;
    InputChangedError.
    """
    refused, links = RefusedNames(folder.root), _Links()
    for path, entry in _walk(folder, "", ignored, refused):
        if refused:
            continue  # nothing will be moved: only names are looked at any more
        source = links.source_of(folder, path) if entry.is_symlink() else ""
        if source is not None and not links.count:
            yield examine_file(folder, path, source, on_bytes)
    if refused:
        raise InputError(str(refused))
    if links.count:
        raise InputError(str(links))


def walk_names(folder: RootedFiles) -> Iterator[Entry]:
    """Everything below the folder that is no folder, sorted by path, whatever it is, without a digest."""
    for path, entry in _walk(folder, "", (), RefusedNames(folder.root)):
        status = entry.stat(follow_symlinks=False)
        if is_text(path):  # else nothing that is to be moved can have this name
            yield Entry(path, status.st_size, status.st_mtime_ns, status.st_ino, status.st_mode, 0)


def examine_file(folder: RootedFiles, path: str, source: str, on_bytes: Callable[[int], object]) -> Entry:
    """The entry of a file. source: where it really is, if not at `path`. Raises as `walk_files`."""
    shown = os.path.join(folder.root, path)
    try:
        descriptor = folder.open(source or path)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{shown!r} is {kind_of(status.st_mode)}; only regular files can be moved")
            size, digest = _digest(descriptor, status.st_size, on_bytes)
        finally:
            os.close(descriptor)
    except PathRefusedError as error:
        raise InputError(str(error)) from error
    except OSError as error:  # also of a socket, which cannot be opened
        raise InputError(f"{shown!r} cannot be read: {error.strerror or error}") from error
    if size != status.st_size:
        raise InputChangedError(f"{shown!r} was written to while it was being read; move it when it is whole")
    mode = status.st_mode & _MODE_BITS
    return Entry(path, size, status.st_mtime_ns, status.st_ino, mode, digest, source)


def _digest(descriptor: int, size: int, on_bytes: Callable[[int], object]) -> tuple[int, int]:
    """As `digest_of`, with one call for a small file. What changes in the meantime is seen when it is moved,
    by its size or time."""
    if size >= READ_BYTES:
        return digest_of(descriptor, on_bytes)
    data = os.read(descriptor, size + 1)
    on_bytes(len(data))
    return len(data), xxh3_64_intdigest(data)


def digest_of(descriptor: int, on_bytes: Callable[[int], object] = lambda _: None) -> tuple[int, int]:
    """(bytes, xxh3-64) of what a descriptor has from where it stands to the end."""
    data = os.read(descriptor, READ_BYTES)
    on_bytes(len(data))
    if len(data) < READ_BYTES and not os.read(descriptor, 1):
        return len(data), xxh3_64_intdigest(data)
    os.lseek(descriptor, len(data), os.SEEK_SET)
    size, digest = len(data), xxh3_64(data)
    while data := os.read(descriptor, READ_BYTES):
        digest.update(data)
        size += len(data)
        on_bytes(len(data))
    return size, digest.intdigest()


def digest_of_range(descriptor: int, offset: int, length: int) -> int | None:
    """xxh3-64 of a range of a file; None where that ends before."""
    digest = xxh3_64()
    while length:
        data = os.pread(descriptor, min(length, READ_BYTES), offset)
        if not data:
            return None
        digest.update(data)
        offset += len(data)
        length -= len(data)
    return digest.intdigest()


def _walk(
    folder: RootedFiles, path: str, ignored: Container[str], refused: RefusedNames
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """(path, what is there) of everything that is no folder, in the order of the paths as texts.

    What is in a folder of a name that no transfer takes is left out. Such names are added to `refused`.
    """
    check_level(folder.root, path)
    try:
        with os.scandir(folder.folder(path)) as found:
            entries = [(_order(entry), entry) for entry in found]
    except OSError as error:
        shown = os.path.join(folder.root, path)
        raise InputError(f"the folder {shown!r} cannot be read: {error.strerror or error}") from error
    entries.sort(key=lambda pair: pair[0])
    for name, entry in entries:
        if entry.name.startswith(TEMPORARY_PREFIX) or entry.name in ignored:
            continue
        below = f"{path}/{entry.name}" if path else entry.name
        if refused.add(below):
            continue
        if name.endswith("/"):
            yield from _walk(folder, below, ignored, refused)
        else:
            yield below, entry


def check_level(root: str, path: str) -> None:
    """Raise InputError for a folder that lies too deep below the root."""
    if path.count("/") >= LEVELS_MAX:
        shown = os.path.join(root, path)
        raise InputError(
            f"{shown!r:.200}... lies more than {LEVELS_MAX} folders deep below {root!r:.200}; move it up, or "
            "pack it into an archive"
        )


def _order(entry: os.DirEntry[str]) -> str:
    """The name with which the paths of what is in there compare with the names beside it."""
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name


class _Links:
    """The links that cannot be followed: how many there are, and as text the error that names them."""

    def __init__(self) -> None:
        self.count = 0
        self._shown: list[str] = []

    def source_of(self, folder: RootedFiles, path: str) -> str | None:
        """Where the file is that a link leads to; None for one that is noted as wrong."""
        try:
            return _source_of(folder, path)
        except InputError as error:
            self.count += 1
            if self.count <= NAMES_SHOWN_MAX:
                self._shown.append(str(error))
            return None

    def __str__(self) -> str:
        if self.count == 1:
            return self._shown[0]
        more = [f"... and {self.count - len(self._shown):,} more"] if self.count > len(self._shown) else []
        listed = "".join(f"\n  {line}" for line in self._shown + more)
        return f"{self.count:,} links cannot be moved:{listed}"


def _source_of(folder: RootedFiles, path: str) -> str:
    """Where the file is that a link leads to, if that is below the folder too. Raises InputError."""
    shown = os.path.join(folder.root, path)
    try:
        real = os.path.realpath(shown, strict=True)
    except OSError as error:
        raise InputError(
            f"{shown!r} is a link that leads nowhere ({error.strerror or error}); remove the link, "
            "or restore what it leads to"
        ) from error
    if not is_below(real, (folder.root,)):
        raise InputError(f"{shown!r} is a link to {real!r}, which is not below {folder.root}")
    if os.path.isdir(real):
        raise InputError(f"{shown!r} is a link to a folder, which is not followed; move that folder itself")
    return os.path.relpath(real, folder.root)

"""Uploads: what consoles send to a peer lies in `uploads/UPLOAD_ID` of its data folder, until it is moved on.

The data service's side. `list` and `pack` are written from front to back, and again from where they end.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import time
from collections.abc import Container
from contextlib import suppress

from pymr.base.errors import FatalError
from pymr.config.cluster import ClusterConfig, format_bytes
from pymr.data.protocol import READ_BYTES_MAX, DataRefused, Discard, Write, checksum_of
from pymr.peer.disk.file_lists import PACK_NAME
from pymr.peer.disk.rooted_files import RootedFiles

UPLOADS = "uploads"
LIST_NAME = "list"
STALE_SECONDS = 3_600.0
"""What nobody has written or read for so long, and no job names, was left by a console that is gone."""

RESERVE_BYTES = 256 << 20
"""Of the disk, which no upload uses up: the peer needs some to go on."""

_UPLOAD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{7,63}")
_WRITE_FLAGS = (  # a FIFO must not hold us up
    os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
)
_NO_FILE = (errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ENODEV)
"""Of opening a link, a FIFO or socket, a folder, a device."""


def upload_folder(upload_id: str) -> tuple[str, str]:
    """The way to it from the data folder. Raises FatalError."""
    if not _UPLOAD_ID.fullmatch(upload_id):
        raise FatalError(f"{upload_id!r:.200} is no id of an upload")
    return UPLOADS, upload_id


class Uploads:
    """The uploads of all peers that share the host of `peer_name`. To be used in one thread."""

    def __init__(self, config: ClusterConfig, peer_name: str) -> None:
        host = next(peer.host for peer in config.peers if peer.name == peer_name)
        self._data_dirs = {peer.name: peer.data_dir for peer in config.peers if peer.host == host}

    def write(self, write: Write, payload: bytes) -> int:
        """The size of the file afterwards. What is there already stays as it is. Raises DataRefused."""
        if write.name not in (LIST_NAME, PACK_NAME) or len(payload) > READ_BYTES_MAX:
            raise DataRefused("invalid", f"{write.name!r:.100} is no file of an upload, or too much of one")
        if checksum_of(payload, b"") != write.checksum:
            raise DataRefused("unreadable", "the bytes came damaged")
        try:
            with self._folder(write) as folder:
                descriptor = os.open(write.name, _WRITE_FLAGS, 0o600, dir_fd=folder.folder("", create=True))
                try:
                    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                        raise _no_file(folder, write.name)
                    return _append(descriptor, write.offset, payload, folder)
                finally:
                    os.close(descriptor)
        except FatalError as error:
            raise DataRefused("invalid", str(error)) from error
        except OSError as error:
            if error.errno in _NO_FILE:
                raise _no_file(folder, write.name) from error
            raise DataRefused("full", f"the upload cannot be written: {error.strerror or error}") from error

    def discard(self, discard: Discard) -> None:
        """Remove an upload, if there is one. Raises DataRefused."""
        try:
            with self._folder(discard) as folder:
                os.fstat(folder.folder(""))  # it is a folder, and no link is on the way
                shutil.rmtree(folder.root)
        except FileNotFoundError:
            return
        except FatalError as error:
            raise DataRefused("invalid", str(error)) from error
        except OSError as error:
            raise DataRefused("unreadable", f"the upload cannot be removed: {error.strerror}") from error

    def _folder(self, question: Write | Discard) -> RootedFiles:
        data_dir = self._data_dirs.get(question.peer)
        if data_dir is None:
            raise DataRefused("invalid", f"{question.peer!r:.100} is no peer of this host")
        return RootedFiles(data_dir, "/".join(upload_folder(question.upload_id)))


def touch_upload(data_dir: str, upload_id: str) -> None:
    """Note that a console still has use for an upload. Raises FatalError."""
    with suppress(OSError):  # what reads it next will tell
        os.utime(os.path.join(data_dir, *upload_folder(upload_id)), follow_symlinks=False)


def stale_uploads(data_dir: str) -> list[str]:
    """The ids of what nobody has touched for STALE_SECONDS."""
    uploads = os.path.join(data_dir, UPLOADS)
    if os.path.islink(uploads) or not os.path.isdir(uploads):
        return []
    with os.scandir(uploads) as found:
        return [entry.name for entry in found if _UPLOAD_ID.fullmatch(entry.name) and _is_stale(entry.path)]


def remove_stale_uploads(data_dir: str, wanted: Container[str]) -> None:
    """Remove those that `stale_uploads` names, but for the wanted ones. Raises OSError."""
    for upload_id in stale_uploads(data_dir):
        if upload_id not in wanted:
            with suppress(FileNotFoundError):  # its console has removed it
                shutil.rmtree(os.path.join(data_dir, UPLOADS, upload_id))


def _is_stale(folder: str) -> bool:
    with suppress(OSError):  # it is no folder, or another one has removed it
        is_folder = stat.S_ISDIR(os.lstat(folder).st_mode)
        return is_folder and time.time() - _touched_at(folder) > STALE_SECONDS
    return False


def _touched_at(folder: str) -> float:
    """When a file was last written to, or put there."""
    with os.scandir(folder) as entries:
        times = [entry.stat(follow_symlinks=False).st_mtime for entry in entries]
    return max([os.stat(folder).st_mtime, *times])


def _no_file(folder: RootedFiles, name: str) -> DataRefused:
    return DataRefused("invalid", f"{os.path.join(folder.root, name)} is no regular file: remove it")


def _append(descriptor: int, offset: int, payload: bytes, folder: RootedFiles) -> int:
    size = os.fstat(descriptor).st_size
    if offset > size or offset + len(payload) <= size:
        return size
    free = folder.free_bytes()
    if free < RESERVE_BYTES + len(payload):
        raise DataRefused(
            "full",
            f"{folder.root} has {format_bytes(free)} free, of which {format_bytes(RESERVE_BYTES)} are kept "
            "for the peer: free some space there, or upload by another peer",
        )
    rest = memoryview(payload)[size - offset :]
    while rest:
        count = os.pwrite(descriptor, rest, size)
        size, rest = size + count, rest[count:]
    return size

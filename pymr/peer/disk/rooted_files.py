"""Rooted files: what lies below one folder, reached folder by folder without following a link.

Names come from lists that another machine may have written, or that somebody changed since: whatever they
say, and whatever lies on the way, nothing outside the folder is opened, made or removed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
import sys
from collections import OrderedDict
from types import TracebackType

from pymr.base.errors import FatalError

FOLDERS_OPEN_MAX = 64
"""Folders that are kept open. Files come sorted by path, so most are found in the folder of the last one."""

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not hold us up
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_LEADS_ELSEWHERE = "has a part that leads elsewhere: it was refused"
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


class PathRefusedError(FatalError):
    """A path that leads, or may lead, out of its folder, or to something other than a regular file."""


class RootedFiles:
    """Files below the folder `base` of `root`, by paths relative to it. To be used in one thread, and closed.

    root: links on the way to it are followed. base: relative to it; links in it are not. "" for the root.
    Raises PathRefusedError for a link or a file where a folder should be, else OSError.
    """

    def __init__(self, root: str, base: str = "") -> None:
        self.root = os.path.join(root, base) if base else root
        self._path = root
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._base = tuple(part for part in base.split("/") if part)
        self._open: OrderedDict[str, int] = OrderedDict()
        self._unsynced: set[str] = set()

    def __enter__(self) -> RootedFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def place(self) -> tuple[str, str]:
        """(root, base) with which it was opened."""
        return self._path, "/".join(self._base)

    def again(self) -> RootedFiles:
        """The same folder, for another thread; it knows too what `sync` has to make last."""
        other = RootedFiles(*self.place)
        other._unsynced = set(self._unsynced)
        return other

    def close(self) -> None:
        for descriptor in (*self._open.values(), self._root):
            os.close(descriptor)
        self._open.clear()

    def folder(self, path: str, *, create: bool = False) -> int:
        """A descriptor of a folder, "" for that of the whole; valid until the next call.

        create: make what is missing on the way; `sync` makes that last.
        """
        descriptor = self._open.get(path)
        if descriptor is not None:
            self._open.move_to_end(path)
            return descriptor
        descriptor = self._descend(path, create=create)
        self._open[path] = descriptor
        if len(self._open) > FOLDERS_OPEN_MAX:
            os.close(self._open.popitem(last=False)[1])
        return descriptor

    def open(self, path: str) -> int:
        """A descriptor for reading; whether it is a regular file is for the caller to look at."""
        folder, name = self.split(path)
        try:
            return os.open(name, _READ_FLAGS, dir_fd=self.folder(folder))
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise self.refusal(path, "is a symbolic link, which is not followed") from error
            raise

    def create(self, folder: str, name: str, mode: int) -> int:
        """A descriptor for writing of a new file."""
        return os.open(name, _CREATE_FLAGS, mode, dir_fd=self.folder(folder, create=True))

    def status(self, path: str) -> os.stat_result | None:
        """What there is by that name, itself and not what it may link to; None for nothing."""
        folder, name = self.split(path)
        try:
            return os.stat(name, dir_fd=self.folder(folder), follow_symlinks=False)
        except FileNotFoundError:
            return None

    def check_place(self, path: str) -> tuple[int, int] | None:
        """(size, mtime in ns) of the file that has this name already, if there is one.

        Raises PathRefusedError if something other than a file exists there: a file must not replace it.
        """
        try:
            status = self.status(path)
        except FileNotFoundError:
            return None
        if status is None:
            return None
        if not stat.S_ISREG(status.st_mode):
            reason = f"is {kind_of(status.st_mode)}, in whose place no file is put: remove it first"
            raise self.refusal(path, reason)
        return status.st_size, status.st_mtime_ns

    def move(self, path: str, new_path: str) -> None:
        """Give a file another name, in the place of what had it; makes folders that are missing."""
        folder, name = self.split(path)
        new_folder, new_name = self.split(new_path)
        target = self.folder(new_folder, create=True)
        os.rename(name, new_name, src_dir_fd=self.folder(folder), dst_dir_fd=target)

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with its contents. It is not an error if there is none."""
        folder, name = self.split(path)
        self.forget(path)
        try:
            descriptor = self.folder(folder)
            if stat.S_ISDIR(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                shutil.rmtree(name, dir_fd=descriptor)
            else:
                os.unlink(name, dir_fd=descriptor)
        except FileNotFoundError:
            return

    def identity(self, path: str) -> tuple[int, int]:
        """(device, inode) of a folder as it is open here; see `again` for the one that has its name now."""
        status = os.fstat(self.folder(path))
        return status.st_dev, status.st_ino

    def unlink(self, path: str) -> None:
        folder, name = self.split(path)
        os.unlink(name, dir_fd=self.folder(folder))

    def split(self, path: str) -> tuple[str, str]:
        """(folder, name) of a file. Raises PathRefusedError where the name would lead elsewhere."""
        folder, _, name = path.rpartition("/")
        if name in ("", ".", "..") or "\0" in name:
            raise self.refusal(path, _LEADS_ELSEWHERE)
        return folder, name

    def sync(self, folder: str) -> None:
        """Flush the names in a folder to the disk, and those of folders made on the way to it."""
        while True:
            os.fsync(self.folder(folder))
            self._unsynced.discard(folder)
            if not folder or folder.rpartition("/")[0] not in self._unsynced:
                break
            folder = folder.rpartition("/")[0]

    def sync_all(self) -> bool:
        """Flush everything on the disk of the folder (Linux); False where the system cannot.

        Cost: also what others have written there.
        """
        if sys.platform != "linux":
            return False
        library = ctypes.CDLL(None, use_errno=True)
        if library.syncfs(self.folder("")) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), self.root)
        self._unsynced.clear()
        return True

    def free_bytes(self) -> int:
        """Of its disk, for those who are not root."""
        status = os.fstatvfs(self.folder("", create=True))
        return status.f_bavail * status.f_frsize

    def forget(self, path: str) -> None:
        """Close the open descriptors of a folder that is about to be removed."""
        descriptor = self._open.pop(path, None)
        if descriptor is not None:
            os.close(descriptor)

    def refusal(self, path: str, reason: str) -> PathRefusedError:
        return PathRefusedError(f"{os.path.join(self.root, path)!r} {reason}")

    def _descend(self, path: str, *, create: bool) -> int:
        names = [*self._base, *(path.split("/") if path else ())]
        descriptor = os.dup(self._root)
        try:
            for number, name in enumerate(names):
                if name in ("", ".", "..") or "\0" in name:
                    raise self.refusal(path, _LEADS_ELSEWHERE)
                below = self._enter(descriptor, name, names[: number + 1], create=create)
                os.close(descriptor)
                descriptor = below
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _enter(self, descriptor: int, name: str, way: list[str], *, create: bool) -> int:
        try:
            return os.open(name, _FOLDER_FLAGS, dir_fd=descriptor)
        except FileNotFoundError:
            if not create:
                raise
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise self._no_folder(descriptor, name, way) from error
            raise
        self._make(descriptor, name, way)
        return os.open(name, _FOLDER_FLAGS, dir_fd=descriptor)

    def _make(self, descriptor: int, name: str, way: list[str]) -> None:
        try:
            os.mkdir(name, dir_fd=descriptor)
        except FileExistsError:  # somebody else was faster
            return
        above = way[len(self._base) : -1]
        if len(way) > len(self._base):
            self._unsynced.add("/".join(above))
        else:
            os.fsync(descriptor)

    def _no_folder(self, descriptor: int, name: str, way: list[str]) -> PathRefusedError:
        kind = kind_of(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode)
        shown = os.path.join(self.root, *way[len(self._base) :])
        if len(way) <= len(self._base):
            shown = f"{self.root}, at {name}"
        return PathRefusedError(f"{shown!r} is {kind}, where a folder should be: it is not followed")


def kind_of(mode: int) -> str:
    """What a file is, in words."""
    return next((kind for test, kind in _KINDS if test(mode)), "a regular file")

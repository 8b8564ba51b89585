"""Unpacked projects: the packages of a peer's jobs as folders, each believed after a look at its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pymr.base.errors import ProjectError
from pymr.peer.disk.paths import PeerPaths, plain
from pymr.peer.loop.disk_threads import Disk
from pymr.peer.store.thread import StoreThread
from pymr.projects.packages import forget_byte_code, has_content, unpack_project

_PACKAGE_RETRY_S = 0.3


class UnpackedProjects:
    """The folder `projects` of a peer.

    That a project's folder is there does not say that its files are: a power failure may have emptied them
    (of an earlier release, which flushed nothing), or anything else. So what is in it is compared with its
    hash once in the life of the daemon, and from then on only looked for.
    """

    def __init__(
        self,
        paths: PeerPaths,
        disk: Disk,
        store: StoreThread,
        call_later: Callable[[float, Callable[[], object]], object],
    ) -> None:
        self._paths = paths
        self._disk = disk
        self._store = store
        self._call_later = call_later
        self._checked: set[Path] = set()

    def folder(self, content_hash: str, name: str) -> Path:
        """Where a project is or will be. Raises FatalError for what cannot be the name of one."""
        return Path(self._paths.project(content_hash), plain(name))

    def check(
        self,
        content_hash: str,
        name: str,
        on_done: Callable[[bool], object],
        on_error: Callable[[Exception], object],
    ) -> None:
        """Tell whether a project is there, whole. Raises FatalError as `folder`."""
        folder = self.folder(content_hash, name)
        if folder in self._checked:
            self._disk.do("short", folder.is_dir, on_done, on_error)
            return

        def work() -> bool:
            is_whole = has_content(folder, content_hash)
            if is_whole:
                forget_byte_code(folder)
            return is_whole

        def take(is_whole: bool) -> None:
            if is_whole:
                self._checked.add(folder)
            on_done(is_whole)

        self._disk.do("project", work, take, on_error)

    def prepare(
        self,
        content_hash: str,
        name: str,
        on_done: Callable[[], object],
        on_error: Callable[[Exception], object],
        is_wanted: Callable[[], bool],
    ) -> None:
        """Have a project there, whole, by its package in Redis if need be; one of the two is called, neither
        once `is_wanted` says that nobody waits for it. Raises FatalError as `folder`."""
        folder = self.folder(content_hash, name)

        def again() -> None:
            if is_wanted():
                self.prepare(content_hash, name, on_done, on_error, is_wanted)

        def look(is_whole: bool) -> None:
            if is_whole:
                on_done()
                return
            self._store.ask(
                lambda store: store.package(content_hash),
                unpack,
                # Later, and not again and again: consoles wait for the same thread.
                lambda _: self._call_later(_PACKAGE_RETRY_S, again),
            )

        def unpack(package: bytes | None) -> None:
            if package is None:
                text = f"the package of project {name} is not in Redis any more; submit the job again"
                on_error(ProjectError(text))
                return
            self._disk.do("project", lambda: unpack_project(package, folder, content_hash), take, on_error)

        def take(_: object) -> None:
            self._checked.add(folder)
            on_done()

        self.check(content_hash, name, look, on_error)

"""Scratch folders: a locked folder of a process's own; if it is killed, the next one clears that away."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from types import TracebackType


class ScratchFolder:
    """A context; `path` is a new folder of mode 0700 in `parent`, gone at the end.

    prefix: begins the names of such folders. Those in `parent` whose process was killed are removed first.
    passed_over: which names that begin so are something else. Raises OSError.
    """

    def __init__(
        self, parent: str, prefix: str, *, passed_over: Callable[[str], bool] = lambda _: False
    ) -> None:
        self._parent = parent
        self._prefix = prefix
        self._passed_over = passed_over
        self._lock: int | None = None
        self.path = ""

    def __enter__(self) -> ScratchFolder:
        self._clear_abandoned()
        self._make()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)

    def _make(self) -> None:
        """Make the folder and lock it; again if another process took it for abandoned in between."""
        while True:
            self.path = tempfile.mkdtemp(prefix=self._prefix, dir=self._parent)
            try:
                lock = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.exists(self.path):
                self._lock = lock
                return
            os.close(lock)

    def _clear_abandoned(self) -> None:
        """Remove folders of this user that no living process has locked."""
        for name in os.listdir(self._parent):
            if not name.startswith(self._prefix) or self._passed_over(name):
                continue
            folder = os.path.join(self._parent, name)
            try:
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                if os.fstat(descriptor).st_uid == os.getuid():
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            except BlockingIOError:
                pass
            finally:
                os.close(descriptor)

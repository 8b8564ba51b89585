"""The output folder of a run: scratch space beside it, and its replacement in one step at the end."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

import orjson

from pymr.engine.outputs import Part
from pymr.engine.tasks import ReduceOutput
from pymr.errors import OutputError, disk_error
from pymr.faults import fault_point

MANIFEST_NAME = "_manifest.json"
BAD_RECORDS_NAME = "_bad_records.jsonl"

_SCRATCH_PREFIX = ".pymr-run-"
_PART_NAME = re.compile(r"part-(\d{5})-(\d{4,})(\.jsonl(?:\.gz|\.zst)?)")
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


class OutputFolder:
    """A context in which a run works: `scratch` is a folder of its own beside `path`, gone at the end.

    path: where the output belongs. It may be new, empty, or hold the output of an earlier run; it is not
    touched before `publish`, and then replaced as a whole. Scratch folders of runs that were killed are
    cleared away. Raises OutputError where `path` holds anything else, DiskError.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._parent = os.path.dirname(self.path)
        self._lock: int | None = None
        self.scratch = ""

    def __enter__(self) -> OutputFolder:
        self._refuse_foreign_files()
        try:
            os.makedirs(self._parent, exist_ok=True)
            self._clear_abandoned()
            self.scratch = tempfile.mkdtemp(prefix=_SCRATCH_PREFIX, dir=self._parent)
            self._lock = os.open(self.scratch, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as error:
            raise disk_error("preparing", self._parent, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)

    def publish(
        self,
        outputs: Iterable[ReduceOutput],
        bad_records_paths: Sequence[str],
        manifest: dict[str, Any],
        *,
        add: bool,
    ) -> list[Part]:
        """Make the parts of `outputs` the output. add: keep the parts that are there, number new ones on.

        Either all of it becomes visible or nothing does. Returns all parts in the folder.
        """
        staged = os.path.join(self.scratch, "output")
        try:
            os.mkdir(staged)
            parts = self._keep_parts(staged) if add else []
            parts += self._move_parts(staged, outputs, parts)
            _concatenate(bad_records_paths, os.path.join(staged, BAD_RECORDS_NAME))
            _write_durably(os.path.join(staged, MANIFEST_NAME), manifest | {"parts": parts})
            _sync_folder(staged)
            fault_point("publish.before_swap")
            self._swap(staged)
            _sync_folder(self._parent)
        except OSError as error:
            raise disk_error("publishing", self.path, error) from error
        return parts

    def _refuse_foreign_files(self) -> None:
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"the output folder {self.path} cannot be used: {error.strerror}") from error
        foreign = [name for name in names if not _is_ours(name)]
        if foreign or (names and MANIFEST_NAME not in names):
            raise OutputError(
                f"the output folder {self.path} holds files that no run of pymr wrote "
                f"({', '.join(sorted(foreign or names)[:3])}); name another with --output, or empty it"
            )

    def _clear_abandoned(self) -> None:
        """Remove scratch folders that no living run has locked."""
        for name in os.listdir(self._parent):
            if not name.startswith(_SCRATCH_PREFIX):
                continue
            folder = os.path.join(self._parent, name)
            try:
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            except OSError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            except BlockingIOError:
                pass
            finally:
                os.close(descriptor)

    def _keep_parts(self, staged: str) -> list[Part]:
        """Link the parts of the present output into the staged one."""
        try:
            with open(os.path.join(self.path, MANIFEST_NAME), "rb") as file:
                listed = orjson.loads(file.read())["parts"]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{self.path}/{MANIFEST_NAME} is damaged: {error}") from error
        parts = [Part(**entry) for entry in listed]
        for part in parts:
            os.link(os.path.join(self.path, part.name), os.path.join(staged, part.name))
        return parts

    def _move_parts(self, staged: str, outputs: Iterable[ReduceOutput], kept: Sequence[Part]) -> list[Part]:
        """Rename the parts of this run into the staged folder, numbered behind those of their partition."""
        used: dict[str, int] = {}
        for part in kept:
            partition, number, _ = _split_name(part.name)
            used[partition] = max(used.get(partition, 0), int(number) + 1)
        moved = []
        for output in outputs:
            for part in output.parts:
                partition, number, suffix = _split_name(part.name)
                name = f"part-{partition}-{int(number) + used.get(partition, 0):04d}{suffix}"
                os.rename(os.path.join(output.directory, part.name), os.path.join(staged, name))
                moved.append(Part(name, part.items, part.length))
        return moved

    def _swap(self, staged: str) -> None:
        """Put the staged folder where the output belongs, in one step where the system has one."""
        if not os.path.exists(self.path):
            os.rename(staged, self.path)
        elif not _exchange(staged, self.path):
            os.rename(self.path, os.path.join(self.scratch, "previous"))
            os.rename(staged, self.path)


def _is_ours(name: str) -> bool:
    return name in (MANIFEST_NAME, BAD_RECORDS_NAME) or _PART_NAME.fullmatch(name) is not None


def _split_name(name: str) -> tuple[str, str, str]:
    match = _PART_NAME.fullmatch(name)
    if match is None:
        raise OutputError(f"{name!r} is no name of a part file")
    return match[1], match[2], match[3]


def _concatenate(paths: Sequence[str], target: str) -> None:
    if paths:
        with open(target, "wb") as file:
            for path in paths:
                with open(path, "rb") as source:
                    shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())


def _write_durably(path: str, content: dict[str, Any]) -> None:
    with open(path, "wb") as file:
        file.write(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(one: str, other: str) -> bool:
    """Swap two folders atomically (Linux, renameat2); False where the system cannot."""
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        return False
    names = os.fsencode(one), os.fsencode(other)
    if library.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(number, os.strerror(number), other)

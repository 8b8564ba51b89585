"""The output folder of a run: scratch space beside it, and its replacement in one step at the end."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from types import TracebackType
from typing import Any

import orjson

from pymr.engine.inputs import BAD_RECORDS_NAME, MANIFEST_NAME
from pymr.engine.outputs import Part
from pymr.engine.tasks import ReduceOutput
from pymr.errors import OutputError, disk_error
from pymr.faults import fault_point

_SCRATCH_PREFIX = ".pymr-run-"
_PREVIOUS_SUFFIX = "-previous"
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
        self.path = os.path.realpath(path)  # what a link leads to is replaced, not the link
        self._parent = os.path.dirname(self.path)
        self._lock: int | None = None
        self._made_parent = False
        self.scratch = ""
        self.is_published = False

    def __enter__(self) -> OutputFolder:
        self._refuse_unfit_place()
        self._refuse_foreign_files()
        self._listed_parts()
        try:
            self._made_parent = not os.path.isdir(self._parent)
            os.makedirs(self._parent, exist_ok=True)
            self._clear_abandoned()
            self._make_scratch()
        except OSError as error:
            raise disk_error("preparing", self._parent, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
        if self._made_parent and not self.is_published:
            with suppress(OSError):  # it is not empty: somebody else uses it by now
                os.rmdir(self._parent)

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
            with _locked(self._parent):  # two runs that add at the same time must not drop each other's parts
                parts = self._keep_parts(staged) if add else []
                parts += self._move_parts(staged, outputs, parts)
                kept = [os.path.join(self.path, BAD_RECORDS_NAME)] * add
                _concatenate([*kept, *bad_records_paths], os.path.join(staged, BAD_RECORDS_NAME))
                _write_durably(os.path.join(staged, MANIFEST_NAME), manifest | {"parts": parts})
                _sync_folder(staged)
                fault_point("publish.before_swap")
                self._swap(staged)
            self.is_published = True
            _sync_folder(self._parent)
        except OSError as error:
            raise disk_error("publishing", self.path, error) from error
        return parts

    def _make_scratch(self) -> None:
        """Make the scratch folder and lock it; again if another run took it for abandoned in between."""
        while True:
            self.scratch = tempfile.mkdtemp(prefix=_SCRATCH_PREFIX, dir=self._parent)
            try:
                lock = os.open(self.scratch, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.exists(self.scratch):
                self._lock = lock
                return
            os.close(lock)

    def _refuse_unfit_place(self) -> None:
        reason = None
        if os.path.ismount(self.path):
            reason = "is a mount point, which cannot be replaced by another folder"
        elif os.path.commonpath([self.path, os.path.realpath(os.getcwd())]) == self.path:
            reason = "is the current folder, or one above it"
        elif os.path.exists(self.path) and not os.path.isdir(self.path):
            reason = "is no folder"
        if reason:
            raise OutputError(f"the output folder {self.path} {reason}; name another with --output")

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
            if not name.startswith(_SCRATCH_PREFIX) or name.endswith(_PREVIOUS_SUFFIX):
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

    def _listed_parts(self) -> list[Part]:
        """The parts of the present output, by its manifest. Raises OutputError where it is not whole."""
        manifest = os.path.join(self.path, MANIFEST_NAME)
        try:
            with open(manifest, "rb") as file:
                parts = [Part(**entry) for entry in orjson.loads(file.read())["parts"]]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"{manifest} is damaged ({error!r}); move that output away, or name another with --output"
            ) from error
        return parts

    def _keep_parts(self, staged: str) -> list[Part]:
        """Put the parts of the present output into the staged one as well."""
        parts = self._listed_parts()
        for part in parts:
            source, target = os.path.join(self.path, part.name), os.path.join(staged, part.name)
            try:
                os.link(source, target)
            except FileNotFoundError as error:
                raise OutputError(f"{source} is gone, which {MANIFEST_NAME} lists as a part") from error
            except OSError:  # a file system without links
                shutil.copyfile(source, target)
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
            previous = self.scratch + _PREVIOUS_SUFFIX  # outside of what is cleared away
            os.rename(self.path, previous)
            try:
                os.rename(staged, self.path)
            except OSError:
                os.rename(previous, self.path)
                raise
            shutil.rmtree(previous, ignore_errors=True)


def _is_ours(name: str) -> bool:
    return name in (MANIFEST_NAME, BAD_RECORDS_NAME) or _PART_NAME.fullmatch(name) is not None


def _split_name(name: str) -> tuple[str, str, str]:
    match = _PART_NAME.fullmatch(name)
    if match is None:
        raise OutputError(f"{name!r} is no name of a part file")
    return match[1], match[2], match[3]


def _concatenate(paths: Sequence[str], target: str) -> None:
    paths = [path for path in paths if os.path.exists(path)]
    if paths:
        with open(target, "wb") as file:
            for path in paths:
                with open(path, "rb") as source:
                    shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())


def _write_durably(path: str, content: dict[str, Any]) -> None:
    with open(path, "wb") as file:
        # By the json module, as counters may be larger than orjson takes.
        text = json.dumps(content, indent=2, ensure_ascii=False, default=asdict)
        file.write(text.encode("utf-8", "backslashreplace") + b"\n")
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Hold the folder's lock, which other runs ask for when they publish there; only for moments."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


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

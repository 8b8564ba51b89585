"""The output folder of a run: scratch space beside it, and its replacement in one step at the end."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any

from pymr.base.durable import sync_folder
from pymr.base.errors import OutputError, disk_error
from pymr.base.interruption import uninterrupted
from pymr.base.scratch_folder import ScratchFolder
from pymr.engine.input.files import BAD_RECORDS_NAME
from pymr.engine.outputs import Part
from pymr.engine.staged_output import (
    complete,
    keep_parts,
    listed_parts,
    locked,
    number_parts,
    refuse_foreign_files,
    swap,
)

_SCRATCH_PREFIX = ".pymr-run-"
_PREVIOUS_SUFFIX = "-previous"


class OutputFolder:
    """A context in which a run works: `scratch` is a folder of its own beside `path`, gone at the end.

    path: where the output belongs. It may be new, empty, or hold the output of an earlier run; it is not
    touched before `publish`, and then replaced as a whole. Scratch folders of runs that were killed are
    cleared away. Raises OutputError where `path` holds anything else, DiskError.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)  # what a link leads to is replaced, not the link
        self._parent = os.path.dirname(self.path)
        self._at_the_end = ExitStack()
        self._made_parent = False
        self.scratch = ""
        self.is_published = False

    def __enter__(self) -> OutputFolder:
        self._refuse_unfit_place()
        refuse_foreign_files(self.path, "name another with --output, or empty it")
        listed_parts(self.path)
        try:
            with uninterrupted():  # what was held back is raised at its end
                self._make_scratch()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._at_the_end.close()
        if self._made_parent and not self.is_published:
            with suppress(OSError):  # it is not empty: somebody else uses it by now
                os.rmdir(self._parent)

    def publish(
        self,
        outputs: Iterable[tuple[str, Sequence[Part]]],
        bad_records_paths: Sequence[str],
        manifest: dict[str, Any],
        *,
        add: bool,
    ) -> list[Part]:
        """Make the parts of `outputs` the output. add: keep the parts that are there, number new ones on.

        outputs: folders, and the parts in them. Either all of it becomes visible or nothing does.
        Returns all parts in the folder.
        """
        staged = os.path.join(self.scratch, "output")
        try:
            os.mkdir(staged)
            with locked(self._parent):  # two runs that add at the same time must not drop each other's parts
                parts = keep_parts(self.path, staged) if add else []
                for source, part in number_parts(outputs, list(parts)):
                    os.rename(source, os.path.join(staged, part.name))
                    parts.append(part)
                kept = [os.path.join(self.path, BAD_RECORDS_NAME)] * add
                complete(staged, manifest | {"parts": parts}, [*kept, *bad_records_paths])
                # The name in between lies outside of what is cleared away.
                swap(staged, self.path, self.scratch + _PREVIOUS_SUFFIX)
            self.is_published = True
            sync_folder(self._parent)
        except OSError as error:
            raise disk_error("publishing", self.path, error) from error
        return parts

    def _make_scratch(self) -> None:
        try:
            self._made_parent = not os.path.isdir(self._parent)
            os.makedirs(self._parent, exist_ok=True)
            scratch = ScratchFolder(self._parent, _SCRATCH_PREFIX, passed_over=_is_previous)
            self.scratch = self._at_the_end.enter_context(scratch).path
        except OSError as error:
            raise disk_error("preparing", self._parent, error) from error

    def _refuse_unfit_place(self) -> None:
        reason = None
        if os.path.ismount(self.path):
            reason = "is a mount point, which cannot be replaced by another folder"
        elif os.path.commonpath([self.path, os.path.realpath(os.getcwd())]) == self.path:
            reason = "is the current folder, or one above it"
        elif os.path.exists(self.path) and not os.path.isdir(self.path):
            reason = "is not a folder"
        if reason:
            raise OutputError(f"the output folder {self.path} {reason}; name another with --output")


def _is_previous(name: str) -> bool:
    """Whether a name is that of an output in the middle of its replacement."""
    return name.endswith(_PREVIOUS_SUFFIX)

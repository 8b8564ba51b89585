"""Leftovers: what a transfer that was ended has not finished at its destination, and how it is found again.

All of it has names that begin with TEMPORARY_PREFIX and tell the run and the peer. Where it lies is noted in
the run's folder before anything is written: whoever removes that folder clears it away, and, where that
failed, so does the next transfer into the same folder.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from pymr.base.durable import sync_folder
from pymr.base.errors import PymrError, RetryableError
from pymr.peer.disk.file_lists import TEMPORARY_PREFIX
from pymr.peer.disk.rooted_files import RootedFiles
from pymr.peer.disk.step_journal import lock_file

NOTE_PREFIX = "writes-"
"""Begins the names of the notes, `writes-copy-00001`. Whoever writes there has the note locked."""

END_SECONDS = 10.0
"""How long to wait for a worker that is being killed."""

_log = logging.getLogger("pymr")
_TEMPORARY_NAME = re.compile(re.escape(TEMPORARY_PREFIX) + r"(.+)@(.+)\.([0-9]+)")


def temporary_name(tag: str, number: int = 0) -> str:
    """tag: `RUN@PEER`. 0: of the one folder of what is not finished; others: of single files."""
    return f"{TEMPORARY_PREFIX}{tag}.{number}"


@contextmanager
def noted(
    run_dir: str, task: str, place: tuple[str, str], tag: str, tick: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """While in here, a step may leave its temporary folder at a place: (root, base) of the RootedFiles.

    Raises RetryableError where an earlier attempt has not ended yet, or the run is gone; OSError.
    """
    path = os.path.join(run_dir, NOTE_PREFIX + task)
    with open(path, "a+b", buffering=0) as file:
        lock_file(file.fileno(), path, tick)
        if not os.path.exists(path):  # the run was forgotten while we waited
            raise RetryableError(f"the run is over: its folder {run_dir} is gone")
        file.truncate(0)
        file.write(json.dumps([*place, temporary_name(tag)]).encode())
        os.fsync(file.fileno())
        sync_folder(run_dir)
        yield


def clear_noted(run_dir: str, seconds: float = END_SECONDS) -> None:
    """Clear away what the steps of a run that is over have left elsewhere. run_dir: perhaps renamed.

    seconds: to wait for each worker that still writes. What cannot be cleared is told of in the log.
    """
    try:
        names = sorted(name for name in os.listdir(run_dir) if name.startswith(NOTE_PREFIX))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        path = os.path.join(run_dir, name)
        try:
            with open(path, "r+b") as file:
                lock_file(file.fileno(), path, seconds=seconds)
                _clear(file.read())
        except (OSError, PymrError, ValueError) as error:
            _log.warning("what %s has left unfinished stays until the next transfer: %s", path, error)


def clear_leftovers(
    folder: RootedFiles, folders: Iterable[str], run_id: str, peer: str, is_alive: Callable[[str], bool]
) -> int:
    """Remove what killed attempts have left in these folders: of this run, and of runs that are no more.

    is_alive: whether a run of that id is. Returns how many there were.
    """
    removed = 0
    for path in folders:
        for name in _names_in(folder, path):
            match = _TEMPORARY_NAME.fullmatch(name)
            if match and match[2] == peer and (match[1] == run_id or not is_alive(match[1])):
                folder.remove(f"{path}/{name}" if path else name)
                removed += 1
    return removed


def _clear(note: bytes) -> None:
    if not note:  # it was ended before it could write anything
        return
    root, base, name = json.loads(note)
    if not name.startswith(TEMPORARY_PREFIX):
        raise ValueError(f"{name!r:.100} is no temporary name")
    try:
        with RootedFiles(root, base) as folder:
            folder.remove(name)
    except FileNotFoundError:
        return


def _names_in(folder: RootedFiles, path: str) -> list[str]:
    try:
        with os.scandir(folder.folder(path)) as entries:
            return [entry.name for entry in entries if entry.name.startswith(TEMPORARY_PREFIX)]
    except FileNotFoundError:
        return []

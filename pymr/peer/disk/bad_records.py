"""Bad records: what `max_bad_records` let pass in a run, kept on the disk beyond the run, and read back."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import BinaryIO

import orjson

from pymr.base.durable import make_folders, sync_folder
from pymr.engine.segments import BAD_RECORDS_FILE
from pymr.peer.disk.paths import HIDDEN_PREFIX, PeerPaths, attempt_of
from pymr.wire.outcomes import DRIVER

_log = logging.getLogger("pymr")

KEPT_BYTES_MAX = 64 << 20
"""Most that a peer keeps of a run; beyond, the number of what was left out stands in the last line."""

KEPT_RUNS_MAX = 100
"""Runs with bad records whose lists a peer keeps: the newest ones."""

PAGE_BYTES = 512 << 10
"""A page of lines ends before it is longer. A line is shorter: its parts are cut when it is written."""

LEFT_OUT = "left_out"
"""The one field of a last line that tells how many records are not in the list."""

_UNFINISHED_SUFFIX = ".unfinished"
_LIST_OF_FAILED = re.compile(re.escape(HIDDEN_PREFIX) + r"bad-records-((?:map|driver)-[0-9]+)\.jsonl")


def keep_list_of_failed(run_dir: str, task: str, attempt_dir: str) -> None:
    """Let the list of a map attempt, or driver, that fails outlive its folder, as the latest of its task."""
    try:
        os.replace(
            os.path.join(attempt_dir, BAD_RECORDS_FILE),
            os.path.join(run_dir, f"{HIDDEN_PREFIX}bad-records-{task}.jsonl"),
        )
    except FileNotFoundError:
        pass  # it has none
    except OSError as error:
        _log.warning("the bad records of %s in %s are lost: %s", task, run_dir, error)


def keep_bad_records(paths: PeerPaths, run_id: str) -> None:
    """Put the lists of a run's finished map attempts together, to be called before its folder is removed.

    Of several attempts at a task one is taken; of a task that is not done the one that had too many.
    Again it does the same; once the folder is gone, nothing.
    Raises OSError; then what was there before is left.
    """
    if not os.path.isdir(paths.run(run_id)):
        return
    path = paths.bad_records(run_id)
    lists = _lists_of_attempts(paths, run_id)
    if not lists:
        with suppress(FileNotFoundError):  # of another run of this id, in a cluster that is no more
            os.unlink(path)
        return
    make_folders(os.path.dirname(path))
    unfinished = path + _UNFINISHED_SUFFIX
    with open(unfinished, "wb") as file:
        left_out = sum(_copy(one, file) for one in lists)
        if left_out:
            file.write(orjson.dumps({LEFT_OUT: left_out}, option=orjson.OPT_APPEND_NEWLINE))
        file.flush()
        os.fsync(file.fileno())
    os.rename(unfinished, path)
    sync_folder(os.path.dirname(path))
    _remove_oldest(paths)


def read_bad_records(
    paths: Sequence[PeerPaths], run_id: str, start: int
) -> tuple[tuple[str, ...], int | None]:
    """(lines of JSON, where to go on), from the `start`-th byte of what a host has of a run; None at the end.

    paths: of all peers of the host. Also of a run that has not ended, as far as its tasks are done.
    Raises OSError.
    """
    lines: list[str] = []
    size = position = 0
    for path in [path for one in paths for path in _lists_of(one, run_id)]:
        end = position + os.path.getsize(path)
        if start < end:
            for at, line in _lines_from(path, start - position):
                if lines and size + len(line) > PAGE_BYTES:
                    return tuple(lines), position + at
                lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                size += len(line)
        position = end
    return tuple(lines), None


def _lists_of(paths: PeerPaths, run_id: str) -> list[str]:
    """What one peer has of a run: the list that is kept, else those of its attempts."""
    kept = paths.bad_records(run_id)
    return [kept] if os.path.exists(kept) else _lists_of_attempts(paths, run_id)


def _lists_of_attempts(paths: PeerPaths, run_id: str) -> list[str]:
    """Those of map attempts and drivers, one for each task, in the order in which they were written: as they
    are put together, so that who reads them page by page goes on at the right place."""
    found: dict[str, tuple[int, str]] = {}
    failed: dict[str, tuple[int, str]] = {}
    folder = paths.run(run_id)
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(folder)):
            match = _LIST_OF_FAILED.fullmatch(name)
            id = None if name.startswith(HIDDEN_PREFIX) else attempt_of(run_id, name)
            with suppress(FileNotFoundError):
                if match is not None:
                    path = os.path.join(folder, name)
                    failed[match[1]] = os.stat(path).st_mtime_ns, path
                elif id is not None and (id.is_map or id.kind == DRIVER):
                    path = os.path.join(folder, name, BAD_RECORDS_FILE)
                    found.setdefault(id.task, (os.stat(path).st_mtime_ns, path))
    return [path for _, path in sorted((failed | found).values())]


def _lines_from(path: str, offset: int) -> Iterator[tuple[int, bytes]]:
    """(offset, line) of each line that begins at this byte or behind it."""
    with open(path, "rb") as file:
        if offset > 0:
            file.seek(offset - 1)
            file.readline(PAGE_BYTES)  # to the end of the line before
        at = file.tell()
        while line := file.readline(PAGE_BYTES):
            yield at, line
            at += len(line)


def _copy(path: str, target: BinaryIO) -> int:
    """Append whole lines of a list, as many as there is room for. Returns how many are left out."""
    left_out = 0
    with open(path, "rb") as source:
        for line in source:
            if target.tell() + len(line) > KEPT_BYTES_MAX:
                left_out += 1
            else:
                target.write(line)
    return left_out


def _remove_oldest(paths: PeerPaths) -> None:
    """Keep the lists of the newest runs, and nothing that was left unfinished."""
    folder = paths.bad_records_of_runs
    lists = [os.path.join(folder, name) for name in os.listdir(folder)]
    whole = [path for path in lists if not path.endswith(_UNFINISHED_SUFFIX)]
    kept = set(sorted(whole, key=lambda path: os.stat(path).st_mtime_ns)[-KEPT_RUNS_MAX:])
    for path in lists:
        if path not in kept:
            os.unlink(path)

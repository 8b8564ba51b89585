"""Publishing: the content of an output folder is staged beside it, and takes its place in one step.

Used by `pymr run` and by the peers of a cluster.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import orjson

from pymr.base.durable import exchange_folders, link_or_copy, sync_folder, write_file
from pymr.base.errors import OutputError, OutputInTheWayError
from pymr.base.faults import fault_point
from pymr.engine.input.files import BAD_RECORDS_NAME, MANIFEST_NAME
from pymr.engine.outputs import Part

_PART_NAME = re.compile(r"part-(\d{5})-(\d{4,})(\.jsonl(?:\.gz|\.zst)?)")


def read_manifest(folder: str) -> dict[str, Any] | None:
    """The manifest of an output, its `parts` as Part; None if there is no output.

    Raises OutputError where it is not whole, DiskError is left to the caller as OSError.
    """
    path = os.path.join(folder, MANIFEST_NAME)
    try:
        with open(path, "rb") as file:
            manifest: dict[str, Any] = orjson.loads(file.read())
        return manifest | {"parts": [Part(**entry) for entry in manifest["parts"]]}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path} is damaged ({error!r}); move that output away, or name another") from error


def listed_parts(folder: str) -> list[Part]:
    """The parts of an output, by its manifest. Raises as `read_manifest`."""
    manifest = read_manifest(folder)
    return [] if manifest is None else list(manifest["parts"])


def refuse_foreign_files(folder: str, advice: str) -> None:
    """Raise OutputInTheWayError where a folder holds what no run wrote, and so must not be replaced.

    advice: what to do about it.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"the output folder {folder} cannot be used: {error.strerror}") from error
    foreign = [name for name in names if not _is_ours(name)]
    if foreign or (names and MANIFEST_NAME not in names):
        raise OutputInTheWayError(
            f"the output folder {folder} holds files that no run of pymr wrote "
            f"({', '.join(sorted(foreign or names)[:3])}); {advice}"
        )


def keep_parts(folder: str, staged: str, parts: list[Part] | None = None) -> list[Part]:
    """Put the parts of the present output, or these of them, into the staged one as well."""
    parts = listed_parts(folder) if parts is None else parts
    for part in parts:
        source = os.path.join(folder, part.name)
        try:
            link_or_copy(source, os.path.join(staged, part.name))
        except FileNotFoundError as error:
            raise OutputError(f"{source} is gone, which {MANIFEST_NAME} lists as a part") from error
    return parts


def number_parts(
    outputs: Iterable[tuple[str, Sequence[Part]]], kept: Sequence[Part]
) -> Iterator[tuple[str, Part]]:
    """(path, the part under its new name) for each part of a run, numbered behind those of its partition.

    outputs: folders, and the parts in them. kept: parts that were there before.
    """
    used: dict[str, int] = {}
    for part in kept:
        partition, number, _ = _split_name(part.name)
        used[partition] = max(used.get(partition, 0), int(number) + 1)
    for directory, parts in outputs:
        for part in parts:
            partition, number, suffix = _split_name(part.name)
            name = f"part-{partition}-{int(number) + used.get(partition, 0):04d}{suffix}"
            yield os.path.join(directory, part.name), Part(name, part.items, part.length)


def complete(staged: str, manifest: Mapping[str, Any], bad_records_paths: Sequence[str]) -> None:
    """Put beside the parts of a staged output what belongs to them, and flush it all to the disk."""
    concatenate(bad_records_paths, os.path.join(staged, BAD_RECORDS_NAME))
    # By the json module, as counters may be larger than orjson takes.
    text = json.dumps(manifest, indent=2, ensure_ascii=False, default=asdict)
    write_file(os.path.join(staged, MANIFEST_NAME), text.encode("utf-8", "backslashreplace") + b"\n")
    sync_folder(staged)


def swap(staged: str, folder: str, previous: str) -> None:
    """Put the staged output where it belongs, in one step where the system has one.

    The output that was there lies in `staged` afterwards, or is gone. previous: a name for it in between,
    where it takes two steps; see `undo_half_swap`.
    """
    fault_point("publish.before_swap")
    if not os.path.exists(folder):
        os.rename(staged, folder)
    elif not exchange_folders(staged, folder):
        os.rename(folder, previous)
        try:
            os.rename(staged, folder)
        except OSError:
            os.rename(previous, folder)
            raise
        shutil.rmtree(previous, ignore_errors=True)
    fault_point("publish.after_swap")


def undo_half_swap(folder: str, previous: str) -> None:
    """Bring an output back that a swap in two steps, ended in between, has left under another name."""
    if os.path.isdir(previous):
        if os.path.exists(folder):
            shutil.rmtree(previous, ignore_errors=True)
        else:
            os.rename(previous, folder)


@contextmanager
def locked(folder: str, *, wait: bool = True) -> Iterator[None]:
    """Hold the folder's lock, which others ask for when they publish there; only for moments.

    Raises BlockingIOError where it is held and `wait` is false.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def _is_ours(name: str) -> bool:
    return name in (MANIFEST_NAME, BAD_RECORDS_NAME) or _PART_NAME.fullmatch(name) is not None


def _split_name(name: str) -> tuple[str, str, str]:
    match = _PART_NAME.fullmatch(name)
    if match is None:
        raise OutputError(f"{name!r} is not the name of a part file")
    return match[1], match[2], match[3]


def concatenate(paths: Sequence[str], target: str) -> None:
    paths = [path for path in paths if os.path.exists(path)]
    if paths:
        with open(target, "wb") as file:
            for path in paths:
                with open(path, "rb") as source:
                    shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())

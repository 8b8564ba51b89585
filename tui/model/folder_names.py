"""What a path that is being typed may lead on to: the names in a folder of this machine."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

ENTRIES_MAX = 50_000
"""At most this many entries of a folder are read: the user of a larger one types the beginning of a name."""


@dataclass(frozen=True, slots=True)
class FolderNames:
    """folder: as it was typed, "" or with a `/` at its end; None where none was read. names: of what lies in
    it, sorted, each with the folder before it; those of folders end with a `/`."""

    folder: str | None = None
    names: tuple[str, ...] = ()


NOTHING_READ = FolderNames()


def folder_of(typed: str) -> str:
    """What of a path that was begun is a folder already: up to its last `/`."""
    return typed[: typed.rfind("/") + 1]


def read_folder(folder: str, bases: Sequence[str | Path], left_out: Collection[str] = ()) -> FolderNames:
    """The names in a folder, `~` being a home. bases: where a relative one may lie; it is looked for in each.
    left_out: names that are passed over.

    What cannot be read has no names; a name that no text can hold, or that would control a terminal, is left
    out. Never raises. May wait for a slow disk.
    """
    found: set[str] = set()
    for base in bases:
        try:
            with os.scandir(Path(base, Path(folder).expanduser())) as entries:
                found.update(
                    f"{entry.name}/" if entry.is_dir() else entry.name
                    for entry in islice(entries, ENTRIES_MAX)
                    if entry.name.isprintable() and entry.name not in left_out
                )
        except (OSError, ValueError, RuntimeError):  # a NUL in it; a home that there is not
            continue
    return FolderNames(folder, tuple(f"{folder}{name}" for name in sorted(found)))


def last_name(path: str) -> str:
    """The name at the end of a path, also where a `/` follows it."""
    return path.rstrip("/").rpartition("/")[2]

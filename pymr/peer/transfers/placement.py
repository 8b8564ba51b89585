"""Spreading: which peer gets which file of an upload, and which of a download's files get another name."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from pymr.base.errors import InputError, OutputError
from pymr.peer.disk.file_lists import Entry

Listed = tuple[str, Entry]
"""A file, and the peer on which it lies."""

DIFFERENT_PREFIX = "@"
"""Begins the folder, `@PEER`, of files whose path another peer uses for something else."""


class Spreading:
    """Gives each file of an upload to a peer. Memory: some 300 bytes for each file that is there already.

    peers: in the order of the configuration.
    """

    def __init__(self, peers: Sequence[str]) -> None:
        self._peers = peers
        self._homes: dict[str, list[int]] = {}
        self._sizes: list[dict[str, int]] = [{} for _ in peers]

    def add_present(self, number: int, entries: Iterable[Entry]) -> None:
        """Note what is at the destination on a peer already."""
        for entry in entries:
            self._homes.setdefault(entry.path, []).append(number)
            self._sizes[number][entry.path] = entry.size

    def spread(self, entries: Sequence[Entry]) -> list[list[Entry]]:
        """What each peer gets, sorted by path; in all, with what it has, as evenly as whole files allow.

        A file that is on a peer goes there again. Raises InputError for one that is on several.
        """
        new: list[Entry] = []
        gets: list[list[Entry]] = [[] for _ in self._peers]
        loads = [sum(sizes.values()) for sizes in self._sizes]
        for entry in entries:
            homes = self._homes.get(entry.path, ())
            if len(homes) > 1:
                names = " and ".join(self._peers[number] for number in homes)
                raise InputError(
                    f"output_dir: {entry.path!r} is on {names} already, so that it is not known which of "
                    "them to replace; delete all but one of them"
                )
            if homes:
                gets[homes[0]].append(entry)
                loads[homes[0]] += entry.size - self._sizes[homes[0]][entry.path]
            else:
                new.append(entry)
        new.sort(key=lambda entry: -entry.size)
        by_load = [(load, number) for number, load in enumerate(loads)]
        heapq.heapify(by_load)
        for entry in new:
            load, number = by_load[0]
            gets[number].append(entry)
            heapq.heapreplace(by_load, (load + entry.size, number))
        for entries_of_peer in gets:
            entries_of_peer.sort(key=lambda entry: entry.path)
        return gets


class DownloadMerge:
    """Under which paths the files of all peers lie beside each other: their own, wherever that is possible.

    Memory: for each folder, and for each file that needs another name or is not wanted.
    """

    def __init__(self, lists: Callable[[], Sequence[Iterator[Listed]]]) -> None:
        """lists: of each peer, sorted by path; given anew each time."""
        self._other: dict[tuple[str, str], str | None] = {}
        folders, tops = _folders_of(lists())
        merged = heapq.merge(*lists(), key=_path_of)
        for path, group in groupby(merged, key=_path_of):
            self._judge(path, list(group), path in folders, tops)

    def path_of(self, peer: str, entry: Entry) -> str | None:
        """The path that a peer's file gets; None for one that another peer's file is the same as."""
        return self._other.get((peer, entry.path), entry.path) if self._other else entry.path

    def _judge(self, path: str, group: list[Listed], is_folder: bool, tops: set[str]) -> None:
        first_of: dict[tuple[int, int], str] = {}
        for peer, entry in group:
            first_of.setdefault((entry.size, entry.digest), peer)
        is_clear = len(first_of) == 1 and not is_folder
        for peer, entry in group:
            if first_of[entry.size, entry.digest] != peer:
                self._other[peer, path] = None
            elif not is_clear:
                top = f"{DIFFERENT_PREFIX}{peer}"
                if top in tops:
                    raise OutputError(
                        f"{path!r} is not the same on all peers, and {top}/{path}, where that of {peer} "
                        "would go, is the name of another file; rename one of them"
                    )
                self._other[peer, path] = f"{top}/{path}"


def _folders_of(lists: Iterable[Iterator[Listed]]) -> tuple[set[str], set[str]]:
    """(all folders, the names at the top that begin as those of files with another name)."""
    folders: set[str] = set()
    tops: set[str] = set()
    for entries in lists:
        for _, entry in entries:
            folder = entry.path.rpartition("/")[0]
            while folder and folder not in folders:
                folders.add(folder)
                folder = folder.rpartition("/")[0]
            if entry.path.startswith(DIFFERENT_PREFIX):
                tops.add(entry.path.partition("/")[0])
    return folders, tops


def _path_of(listed: Listed) -> str:
    return listed[1].path

"""DiskSort: sorts and groups items by key, in memory as far as that goes, then on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pymr.base.errors import disk_error
from pymr.base.memory import MemoryBudget
from pymr.engine.disk.blocks import BLOCK_BYTES, Block
from pymr.engine.disk.disk_list import DiskList
from pymr.engine.disk.keys import Key
from pymr.engine.disk.merge import FAN_IN_MAX, fan_in_within, merge_runs
from pymr.engine.groups import Group
from pymr.engine.shuffler import MAX_ITEMS, Shuffler

_MEMORY_BYTES = 1 << 30


class DiskSort:
    """Takes (key, value) items in any order; gives them back as groups, ascending in key.

    items: what to begin with. directory: where its files lie (default: the system's temporary folder).
    max_items: most items held in memory. memory_bytes: bound of the whole process.
    Values of a group keep the order in which they were appended. Used by itself, or as a context manager
    that removes its files; a DiskSort that is dropped removes them as well.
    Raises RecordError (a key or value that cannot be carried), DiskError, CorruptBlockError.
    """

    def __init__(
        self,
        items: Iterable[tuple[Key, Any]] = (),
        *,
        directory: str | None = None,
        max_items: int = MAX_ITEMS,
        memory_bytes: int = _MEMORY_BYTES,
        fan_in_max: int = FAN_IN_MAX,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        if fan_in_max < 2:
            raise ValueError(f"fan_in_max is {fan_in_max}; a merge takes at least 2 runs at once")
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="pymr-sort-", dir=directory)
        except OSError as error:
            raise disk_error("making a folder in", directory or tempfile.gettempdir(), error) from error
        self._memory = MemoryBudget(memory_bytes)
        self._fan_in_max = fan_in_within(memory_bytes, block_bytes, fan_in_max)
        self._block_bytes = block_bytes
        self._shuffler = Shuffler(
            f"{self._folder.name}/runs", 1, self._memory, max_items=max_items, block_bytes=block_bytes
        )
        self._groups: Iterator[Group] | None = None
        self.extend(items)

    def append(self, item: tuple[Key, Any]) -> None:
        """Add one (key, value) item."""
        key, value = item
        self._check_open()
        self._shuffler.append(key, value)

    def extend(self, items: Iterable[tuple[Key, Any]]) -> None:
        """Add all items of an iterable; several times as fast as one by one."""
        self._check_open()
        self._shuffler.extend(items)

    def next_group(self) -> Group:
        """The group of the next key, `.key` and `.values`; the first call ends the appending.

        Raises StopIteration behind the last one. A group too large for memory has its values on disk.
        """
        if self._groups is None:
            self._groups = assemble_groups(self._blocks(), self._memory, self._folder.name)
        return next(self._groups)

    def __iter__(self) -> Iterator[Group]:
        while True:
            try:
                yield self.next_group()
            except StopIteration:
                return

    def close(self) -> None:
        """Remove the files."""
        self._groups = iter(())
        self._folder.cleanup()

    def __enter__(self) -> DiskSort:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._groups is not None:
            raise ValueError("this DiskSort gives out groups already; items come before the first of them")

    def _blocks(self) -> Iterator[Block]:
        return merge_runs(
            self._shuffler.close(),
            f"{self._folder.name}/merged",
            fan_in_max=self._fan_in_max,
            memory_bytes=self._memory.limit_bytes,
            block_bytes=self._block_bytes,
        )


def assemble_groups(blocks: Iterator[Block], memory: MemoryBudget, directory: str) -> Iterator[Group]:
    """Single groups out of an ascending stream of blocks."""
    for keys, lists in assemble_columns(blocks, memory, directory):
        yield from map(Group, keys, lists)


def assemble_columns(
    blocks: Iterator[Block], memory: MemoryBudget, directory: str
) -> Iterator[tuple[Sequence[Key], Sequence[Sequence[Any]]]]:
    """Columns of whole groups: keys, and the values of each, also of a key that spans blocks.

    Its values move to a DiskList in `directory` when they fill the memory.
    """
    open_values: list[Any] | DiskList | None = None  # of the key that spans blocks
    for keys, lists, continues in blocks:
        start, end = 0, len(keys)
        if open_values is not None:
            open_values.extend(lists[0])
            if continues and end == 1:
                open_values = _within_memory(open_values, memory, directory)
                continue
            yield keys[:1], (open_values,)
            open_values, start = None, 1
        if continues:
            end -= 1
            open_values = list(lists[end])
        if start < end:
            columns = [(keys[start:end], lists[start:end])]
            keys = lists = ()  # let go of before the next block is read
            yield columns.pop()


def _within_memory(
    values: list[Any] | DiskList, memory: MemoryBudget, directory: str
) -> list[Any] | DiskList:
    if isinstance(values, DiskList) or not memory.is_full():
        return values
    on_disk = DiskList(values, directory=directory)
    values.clear()
    memory.give_back()
    return on_disk

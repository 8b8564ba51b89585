"""The reducer: calls the user's reduce function over groups and says which key a failure came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from heapq import merge as merge_sorted
from itertools import chain, islice, repeat
from typing import Any

from pymr.engine.disk_list import DiskGroup, DiskList
from pymr.engine.failures import user_failure
from pymr.engine.groups import Group
from pymr.engine.keys import Key, check_keys, order_key, show
from pymr.engine.memory import MemoryBudget
from pymr.errors import PymrError, RecordError

Item = tuple[Key, Any]
ReduceFunction = Callable[[Any, Any], Iterable[Item]]
Columns = tuple[Sequence[Key], Sequence[Sequence[Any]]]

_EXPECTED = "it has to return an iterable of (key, value) pairs, such as [(group.key, value)]"

_SORT_CHUNK_VALUES = 100_000
"""Values of a group on disk are sorted this many at a time, then merged."""


class GroupReader:
    """Groups for the reduce function out of ascending columns, and which of them was handed out last.

    sort_values: the values of a group are sorted first, in the order of keys.
    disk_based: every group is a DiskGroup in `directory`, not only one that is large.
    """

    def __init__(
        self,
        columns: Iterator[Columns],
        memory: MemoryBudget,
        directory: str,
        *,
        sort_values: bool = False,
        disk_based: bool = False,
    ) -> None:
        self._columns = columns
        self._memory = memory
        self._directory = directory
        self._sort_values = sort_values
        self._disk_based = disk_based
        self._keys: Sequence[Key] = ()
        self._batch: Any = iter(())  # knows how many of its groups are still to come
        self._groups_before = 0
        self.values_read = 0

    def groups(self) -> Iterator[Group | DiskGroup]:
        """Every group, in order; driven in C but for one step of ours per batch of columns."""
        return chain.from_iterable(self._batches())

    @property
    def groups_read(self) -> int:
        """Groups handed out so far. May be asked from another thread."""
        left: int = self._batch.__length_hint__()
        return self._groups_before + len(self._keys) - left

    def current_key(self) -> Key:
        """The key of the group handed out last."""
        index = len(self._keys) - self._batch.__length_hint__() - 1
        return self._keys[max(index, 0)] if self._keys else None

    def _batches(self) -> Iterator[Iterator[Group | DiskGroup]]:
        for keys, lists in self._columns:
            if self._sort_values:
                lists = [self._sorted(key, values) for key, values in zip(keys, lists, strict=True)]
            self._keys = keys
            if self._disk_based:
                self._batch = iter(
                    [DiskGroup(key, values, self._directory) for key, values in zip(keys, lists, strict=True)]
                )
            else:
                self._batch = iter([*map(Group, keys, lists)])
            yield self._batch
            self.values_read += sum(map(len, lists))
            self._groups_before += len(keys)
            self._keys, self._batch = (), iter(())
            if self._memory.is_full():
                self._memory.give_back()

    def _sorted(self, key: Key, values: Sequence[Any]) -> Sequence[Any]:
        try:
            if not isinstance(values, DiskList):
                return _sort(values)
            return self._sort_on_disk(values)
        except TypeError as error:
            raise RecordError(
                f"the values of the key {show(key)} cannot be sorted ({error}); sort_values needs values "
                "that could be keys"
            ) from error

    def _sort_on_disk(self, values: DiskList) -> DiskList:
        source = iter(values)
        chunks = []
        while chunk := list(islice(source, _SORT_CHUNK_VALUES)):
            chunks.append(DiskList(_sort(chunk), directory=self._directory))
        return DiskList(merge_sorted(*chunks, key=order_key), directory=self._directory)


def reduce_groups(
    function: ReduceFunction, groups: Iterable[Group | DiskGroup], auxiliary_data: Any
) -> Iterator[Item]:
    """The items that `function` makes of `groups`: one loop, driven in C."""
    return chain.from_iterable(map(function, groups, repeat(auxiliary_data)))


def with_disk_output(function: ReduceFunction, directory: str) -> ReduceFunction:
    """A function with `disk_based_output`: it gets `(disk_list, auxiliary_data)` as its second argument,
    appends its items to that DiskList and returns it."""

    def reduce_to_disk(group: Any, auxiliary_data: Any) -> Iterator[Item]:
        with DiskList(directory=directory) as disk_list:
            yield from function(group, (disk_list, auxiliary_data))

    reduce_to_disk.__name__ = getattr(function, "__name__", "reduce_to_disk")
    return reduce_to_disk


@contextmanager
def reduce_failures(function: ReduceFunction, reader: GroupReader) -> Iterator[None]:
    """Around the loop that drains `reduce_groups`: turns what it raises into an error that names the key."""
    try:
        yield
    except PymrError:
        raise
    except (Exception, SystemExit) as error:
        where = f"the key {show(reader.current_key())}"
        raise user_failure("reduce", function, where, error, _EXPECTED) from error


def _sort(values: Sequence[Any]) -> list[Any]:
    """Values in the total order of keys; TypeError where they could be no keys."""
    try:
        return sorted(values)
    except TypeError as error:
        try:
            check_keys(values)
        except RecordError:
            raise error from None
        return sorted(values, key=order_key)

"""The reducer: calls the user's reduce function over groups and says which key a failure came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice, repeat
from typing import Any

from pymr.base.errors import Interrupted, PymrError, RecordError
from pymr.base.memory import MemoryBudget
from pymr.engine.disk.blocks import Singles, count_values
from pymr.engine.disk.disk_list import DiskGroup, DiskList
from pymr.engine.disk.keys import Key, check_keys, order_key, show
from pymr.engine.disk_sort import DiskSort
from pymr.engine.failures import is_ours, placed, user_failure
from pymr.engine.groups import Group, SingleGroup

Item = tuple[Key, Any]
ReduceFunction = Callable[[Any, Any], Iterable[Item]]
AnyGroup = Group | SingleGroup | DiskGroup
Columns = tuple[Sequence[Key], Sequence[Sequence[Any]]]

_SORT_BLOCK_BYTES = 32 << 10
"""Small blocks let more runs be merged at once within a small bound."""

_EXPECTED = "it has to return an iterable of (key, value) pairs, such as [(group.key, value)]"


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
        self._is_portion_over = False
        self.is_finished = False  # whether all groups were handed out
        self.values_read = 0

    def groups(self) -> Iterator[AnyGroup]:
        """Every group, in order; driven in C but for one step of ours per batch of columns."""
        return chain.from_iterable(filter(None, self._batches()))

    def portions(self) -> Iterator[Iterator[AnyGroup]]:
        """The same groups in portions: one ends when the process has grown, so that the caller can free what
        it has gathered. A caller that stops within a portion gets no further one."""
        batches = self._batches()
        self._is_portion_over = True
        while self._is_portion_over and not self.is_finished:
            self._is_portion_over = False
            yield chain.from_iterable(self._until_pause(batches))

    def _until_pause(self, batches: Iterator[Iterator[AnyGroup] | None]) -> Iterator[Iterator[AnyGroup]]:
        for batch in batches:
            if batch is None:
                break
            yield batch
        self._is_portion_over = True

    @property
    def groups_read(self) -> int:
        """Groups handed out so far. May be asked from another thread."""
        left: int = self._batch.__length_hint__()
        return self._groups_before + len(self._keys) - left

    def current_key(self) -> Key:
        """The key of the group handed out last."""
        index = len(self._keys) - self._batch.__length_hint__() - 1
        return self._keys[max(index, 0)] if self._keys else None

    def _batches(self) -> Iterator[Iterator[AnyGroup] | None]:
        """The groups of each batch of columns; None where a portion ends."""
        for keys, lists in self._columns:
            self._keys = keys
            self._batch = iter(keys)
            values = map(self._sorted, keys, lists) if self._sort_values else lists
            if isinstance(values, Singles) and not self._disk_based:
                yield map(SingleGroup, zip(zip(self._batch, values.values)))  # noqa: B905 - in step, as read
            elif self._disk_based:  # made one at a time, as each may have a file open
                yield map(DiskGroup, self._batch, values, repeat(self._directory))
            else:
                yield map(Group, self._batch, values)
            self.values_read += count_values(lists)
            self._groups_before += len(keys)
            self._keys, self._batch = (), iter(())
            keys = lists = values = ()  # let go of before the next are read
            if self._memory.has_grown():
                yield None
            if self._memory.is_full():
                self._memory.give_back()
        self.is_finished = True

    def _sorted(self, key: Key, values: Sequence[Any]) -> Sequence[Any]:
        try:
            return self._sort_on_disk(values) if isinstance(values, DiskList) else sort_values(values)
        except RecordError as error:
            raise RecordError(
                f"the values of the key {show(key)} cannot be sorted, as sort_values asks for: {error}"
            ) from error

    def _sort_on_disk(self, values: DiskList) -> DiskList:
        items = ((value, value) for value in values)  # of equal values, such as 1 and True, both are kept
        memory_bytes = self._memory.limit_bytes
        with DiskSort(
            items, directory=self._directory, memory_bytes=memory_bytes, block_bytes=_SORT_BLOCK_BYTES
        ) as disk_sort:
            return DiskList(
                chain.from_iterable(group.values for group in disk_sort), directory=self._directory
            )


def sort_values(values: Sequence[Any]) -> list[Any]:
    """Values in the total order of keys. Raises RecordError where one of them could be no key."""
    check_keys(values)
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=order_key)


def reduce_groups(
    function: ReduceFunction, groups: Iterable[AnyGroup], auxiliary_data: Any
) -> Iterator[Item]:
    """The items that `function` makes of `groups`: one loop, driven in C."""
    return chain.from_iterable(map(function, groups, repeat(auxiliary_data)))


def with_disk_output(function: ReduceFunction, directory: str) -> ReduceFunction:
    """A function with `disk_based_output`: it gets `(disk_list, auxiliary_data)` as its second argument,
    appends its items to that DiskList and returns it."""

    def reduce_to_disk(group: Any, auxiliary_data: Any) -> Iterator[Item]:
        disk_list = DiskList(directory=directory)
        return _drain(function(group, (disk_list, auxiliary_data)), disk_list)

    reduce_to_disk.__name__ = getattr(function, "__name__", "reduce_to_disk")
    return reduce_to_disk


def _drain(items: Iterable[Item], disk_list: DiskList) -> Iterator[Item]:
    with disk_list:
        yield from items


@contextmanager
def reduce_failures(
    function: ReduceFunction, reader: GroupReader, reread: Callable[[], GroupReader], auxiliary_data: Any
) -> Iterator[None]:
    """Around the loop that drains `reduce_groups`: turns what it raises into an error that names the key.

    reread: gives the same groups once more, to find the place of what has lost it.
    """
    try:
        yield
        if not reader.is_finished:  # map() takes a StopIteration of the function for the end of the groups
            raise StopIteration
    except Interrupted:
        raise
    except BaseException as error:
        where = f"the key {show(reader.current_key())}"
        if isinstance(error, PymrError) and is_ours(error):
            raise

        def call_again() -> object:
            group = next(islice(reread().groups(), reader.groups_read - 1, None), None)
            return group and function(group, auxiliary_data)

        error = placed(error, call_again)
        raise user_failure("reduce", function, where, error, _EXPECTED) from error

"""The shuffler: gathers items by key, and spills them as sorted runs, one per partition. Ends a map task."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from struct import Struct
from typing import Any

from xxhash import xxh3_64

from pymr.base.errors import Interrupted, RecordError
from pymr.base.forks import end_fork
from pymr.base.memory import MemoryBudget
from pymr.engine.disk.blocks import BLOCK_BYTES, BlockWriter, SortedRun, check_item
from pymr.engine.disk.keys import Key, show
from pymr.engine.failures import CombineError, check_pairs, name_of, user_failure
from pymr.engine.grouping import GroupedItems, ListedItems
from pymr.engine.groups import Group

MAX_ITEMS = 500_000

CombineFunction = Callable[[Group, Any], Iterable[tuple[Key, Any]]]

_EXPECTED = "it has to return an iterable of (key, value) pairs, as a reduce function does"

_LISTED_ITEMS_MAX = 65_536
"""Where nearly every key is new, gathering more saves nothing and falls out of the processor's cache: then
this many items are spilled at once, without being grouped first. Measured on 100-byte records: 0.7 us each,
against 2.4 us for groups of 500,000."""

_DISTINCT_SHARE = 0.75
_RECURRING_SHARE = 0.5
"""Items whose distinct keys are more than the first share are listed from then on; fewer than the second,
grouped again."""

_UNCOMBINED_FACTOR = 32
"""With a combine function, `max_items` bounds the keys held, and so what it leaves. Of items, this many times
as many are gathered before it is called, as far as the memory budget lets them: it is called per key."""

_COMBINED_SHARE = 0.5
"""What a combine function leaves stays in memory while it is at most this share of `max_items`."""

CUT_BY_MEMORY = "~"

_RUN = Struct("<QQ")  # of a digest: partition, length


class Shuffler:
    """Takes items one by one or in bulk, and leaves sorted runs in one file.

    path: the file; made when there is something to spill.
    partitions: a key goes to partition `partitions_of(key)`; a spill writes one run per partition.
    max_items: most items held, with `combine` most keys; the memory budget may be used up sooner.
    combine: a reduce function, applied with `auxiliary_data` to groups that are held before they are spilled:
        to any part of a key's items, any number of times, to a single item not at all.
    A repeated key costs one hash look-up and one list append; only distinct keys are sorted and encoded.
    Values of a key keep the order of their arrival, within a run and from run to run.
    Raises RecordError (a key or value that cannot be carried), DiskError.
    """

    def __init__(
        self,
        path: str,
        partitions: int,
        memory: MemoryBudget,
        *,
        max_items: int = MAX_ITEMS,
        combine: CombineFunction | None = None,
        auxiliary_data: Any = None,
        block_codec: str = "none",
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        if partitions < 1 or max_items < 1:
            raise ValueError(f"partitions = {partitions} and max_items = {max_items} have to be at least 1")
        self._path = path
        self._pid = os.getpid()
        self._partitions = partitions
        self._memory = memory
        self._max_items = max_items
        self._combine = combine
        self._auxiliary_data = auxiliary_data
        self._block_codec = block_codec
        self._block_bytes = block_bytes
        self._held: GroupedItems | ListedItems = GroupedItems()
        self._held_items = 0  # at least as many as are held, see extend
        self._distinct_look_at = _LISTED_ITEMS_MAX
        self._exhausted = False
        self._is_cut_by_memory = False
        self._writer: BlockWriter | None = None
        self.runs: list[SortedRun] = []

    def append(self, key: Key, value: Any) -> None:
        """Take one item. `extend` is several times as fast per item."""
        self._held.add(key, value)
        self._held_items += 1
        if self._held_items % min(64, self._memory.step_items) == 0 or self._room() <= 0:
            self._look()

    def extend(self, items: Iterable[tuple[Key, Any]]) -> None:
        """Take all items of an iterable, spilling whenever need be."""
        source = chain(items, self._mark_exhausted())
        self._exhausted = False
        while not self._exhausted:
            until_look = max(self._distinct_look_at - self._held_items, 1)  # single items may have passed it
            step = min(self._memory.step_items, self._room(), until_look)
            self._held.take(source, step)
            self._held_items += step  # too many where the source ended; _look counts before it matters
            self._look()
        self._exhausted = False

    def make_room(self, expected_bytes: int) -> None:
        """Spill if the memory is full, or would be with `expected_bytes` more. Between two calls of `extend`;
        it recounts what is held, so the result does not depend on how items were divided among calls."""
        self._held_items = self._held.count()
        if self._held_items and self._memory.is_full(expected_bytes):
            self._spill_for_memory()

    def close(self) -> list[SortedRun]:
        """Spill what is held. Returns all runs, in the order in which they were written."""
        self._combine_groups()
        self._spill()
        if self._writer is not None:
            self._writer.close()
        return self.runs

    @property
    def digest(self) -> str:
        """A hash, in hex, of all that `close` has left: its blocks, and to which partitions they belong.

        The same items give the same digest in any process, unless the memory budget asked for a spill: where
        that cuts runs depends on the process. Such a digest begins with CUT_BY_MEMORY; that it differs from
        another says nothing.
        """
        content = self._writer.content.copy() if self._writer is not None else xxh3_64()
        for run in self.runs:
            content.update(_RUN.pack(run.partition, run.length))
        return CUT_BY_MEMORY * self._is_cut_by_memory + content.hexdigest()

    def _mark_exhausted(self) -> Iterator[Any]:
        """Stands last in the chain of items, yields none, and so tells that they are used up."""
        self._exhausted = True
        yield from ()

    def _look(self) -> None:
        """Spill where a bound is reached, or where it makes no sense to gather more."""
        if self._memory.is_full():
            self._spill_for_memory()
        elif self._room() <= 0:
            self._held_items = self._held.count()
            if self._room() <= 0:
                self._relieve()
        elif self._held_items >= self._distinct_look_at and not self._exhausted:
            # After a fixed number of items, so that equal items give equal blocks.
            self._distinct_look_at = self._held_items + _LISTED_ITEMS_MAX
            if self._is_mostly_distinct():
                self._spill()

    def _spill_for_memory(self) -> None:
        self._is_cut_by_memory = True
        self._combine_groups()
        self._spill()
        self._memory.give_back()

    def _room(self) -> int:
        """How many items may still be taken."""
        if self._combine is not None and isinstance(self._held, GroupedItems):
            keys = len(self._held.groups)
            return min(self._max_items - keys, self._max_items * _UNCOMBINED_FACTOR - self._held_items)
        return self._max_items - self._held_items

    def _relieve(self) -> None:
        """Combine what is held; spill it unless that has made it small."""
        self._combine_groups()
        if self._held_items > self._max_items * _COMBINED_SHARE:
            self._spill()

    def _is_mostly_distinct(self) -> bool:
        if isinstance(self._held, ListedItems):
            return self._held.count() >= _LISTED_ITEMS_MAX
        return self._combine is None and len(self._held.groups) > _DISTINCT_SHARE * self._held_items

    def _combine_groups(self) -> None:
        """Put what the combine function makes of a group in that group's place.

        A single value is left alone: it may be the outcome of the last combine, and keys that nothing was
        added to since would cost more than those that something was.
        """
        if self._combine is None or not isinstance(self._held, GroupedItems):
            return
        groups = self._held.groups
        several = [(key, values) for key, values in groups.items() if len(values) > 1]
        key: Key = None
        try:
            for key, values in several:
                items = list(self._combine(Group(key, values), self._auxiliary_data))
                item = items[0] if len(items) == 1 else None
                if type(item) is tuple and len(item) == 2 and item[0] == key:
                    groups[key] = [item[1]]
                else:  # it has dropped or renamed the key, or kept several values
                    check_pairs(items)
                    del groups[key]
                    for new_key, value in items:
                        check_item(new_key, value)
                        groups[new_key].append(value)
        except Interrupted:
            raise
        except BaseException as error:
            failure = user_failure("combine", self._combine, f"the key {show(key)}", error, _EXPECTED)
            raise (CombineError(str(failure)) if isinstance(failure, RecordError) else failure) from error
        self._held_items = self._held.count()

    def _spill(self) -> None:
        """Write all that is held, sorted, one run per partition, and let go of it."""
        try:
            self._write_runs()
        except RecordError as error:
            if self._combine is None:
                raise
            raise CombineError(f"an item of combine function {name_of(self._combine)}: {error}") from error

    def _write_runs(self) -> None:
        end_fork(self._pid)
        distinct = 0
        weighs_values = self._memory.is_half_full()
        for partition, blocks in self._held.sorted_parts(self._partitions):
            if self._writer is None:
                self._writer = BlockWriter(self._path, codec=self._block_codec, block_bytes=self._block_bytes)
            self._writer.weighs_values = weighs_values
            self._writer.begin_run(partition)
            for block in blocks:
                self._writer.write(block)
            self.runs.append(self._writer.end_run())
            distinct += self.runs[-1].keys
        self._begin_anew(distinct)

    def _begin_anew(self, distinct: int) -> None:
        """Let go of what was spilled; hold the next items in the way that suits these."""
        items = self._held.count()
        share = _RECURRING_SHARE if isinstance(self._held, ListedItems) else _DISTINCT_SHARE
        is_listed = self._combine is None and distinct > share * items
        self._held = ListedItems() if is_listed else GroupedItems()
        self._held_items = 0
        self._distinct_look_at = _LISTED_ITEMS_MAX

"""Gathering: how the shuffler holds items until they are spilled. Two ways, by whether keys recur."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Any

from pymr.engine.disk.blocks import Block
from pymr.engine.disk.columns import part_column, sort_any_items
from pymr.engine.disk.keys import Key, check_key, sort_keys
from pymr.engine.failures import check_pairs


class GroupedItems:
    """Values gathered per key: a repeated key costs one hash look-up and one list append."""

    def __init__(self) -> None:
        self.groups: defaultdict[Key, list[Any]] = defaultdict(list)

    def add(self, key: Key, value: Any) -> None:
        """Hold one item."""
        try:
            self.groups[key].append(value)
        except TypeError:
            check_key(key)
            raise

    def take(self, source: Iterator[tuple[Key, Any]], items: int) -> None:
        """Hold up to `items` items of `source`: the loop that every item of a map task goes through."""
        groups = self.groups
        key: Key = None
        try:
            for key, value in islice(source, items):
                groups[key].append(value)
        except TypeError:
            check_key(key)  # it is the key if it cannot be hashed, else the source
            raise

    def count(self) -> int:
        """Items held, exactly. Cost: 20 ns per distinct key."""
        return sum(map(len, self.groups.values()))

    def sorted_parts(self, partitions: int) -> Iterator[tuple[int, list[Block]]]:
        """(partition, blocks of its keys in order, of any size) for each partition that has any.

        Raises RecordError for a key that cannot be used.
        """
        distinct = list(self.groups)
        for partition, keys in part_column(distinct, distinct, partitions):
            keys = sort_keys(keys)
            yield partition, [Block(keys, list(map(self.groups.__getitem__, keys)))]


class ListedItems:
    """Items held as they come: a third of the time of a group per item, where nearly all keys differ."""

    def __init__(self) -> None:
        self._items: list[tuple[Key, Any]] = []

    def add(self, key: Key, value: Any) -> None:
        """Hold one item."""
        self._items.append((key, value))

    def take(self, source: Iterator[tuple[Key, Any]], items: int) -> None:
        """Hold up to `items` items of `source`."""
        before = len(self._items)
        self._items.extend(islice(source, items))
        new = self._items[before:]
        if not set(map(type, new)) <= {tuple} or not set(map(len, new)) <= {2}:
            check_pairs(new)

    def count(self) -> int:
        """Items held."""
        return len(self._items)

    def sorted_parts(self, partitions: int) -> Iterator[tuple[int, list[Block]]]:
        """As of GroupedItems."""
        keys = list(map(itemgetter(0), self._items))
        for partition, items in part_column(self._items, keys, partitions):
            yield partition, sort_any_items(items)

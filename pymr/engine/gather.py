"""Gathering: how the shuffler holds items until they are spilled. Two ways, by whether keys recur."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from typing import Any

from pymr.engine.blocks import Block
from pymr.engine.columns import part_columns, part_keys, sort_any_columns
from pymr.engine.keys import Key, check_key, sort_keys


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

    def sorted_parts(self, partitions: int) -> Iterator[tuple[int, Block]]:
        """(partition, its keys in order with their values) for each partition that has any.

        Raises RecordError for a key that cannot be used.
        """
        for partition, keys in part_keys(list(self.groups), partitions):
            keys = sort_keys(keys)
            yield partition, Block(keys, list(map(self.groups.__getitem__, keys)))


class ListedItems:
    """Items held as they come: half the time and memory of a group per item, where nearly all keys differ."""

    def __init__(self) -> None:
        self._keys: list[Key] = []
        self._values: list[Any] = []

    def add(self, key: Key, value: Any) -> None:
        """Hold one item."""
        self._keys.append(key)
        self._values.append(value)

    def take(self, source: Iterator[tuple[Key, Any]], items: int) -> None:
        """Hold up to `items` items of `source`."""
        add_key, add_value = self._keys.append, self._values.append
        for key, value in islice(source, items):
            add_key(key)
            add_value(value)

    def count(self) -> int:
        """Items held."""
        return len(self._keys)

    def sorted_parts(self, partitions: int) -> Iterator[tuple[int, Block]]:
        """As of GroupedItems."""
        lists = list(zip(self._values))
        for partition, keys, values in part_columns(self._keys, lists, partitions):
            yield partition, sort_any_columns(keys, values)

"""Groups: what a reduce or combine function gets, all items of one key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any, overload

import msgspec

from pymr.engine.disk.keys import Key, show


class Group(msgspec.Struct, frozen=True, gc=False, eq=False):
    """The items of one key: a read-only sequence of (key, value), with `.key` and `.values`.

    values: a sequence, in the order of the input (sorted with `sort_values`); on disk when it is large.
    A msgspec struct, as it is made once per group and this is made in C (60 ns; a plain class 170 ns).
    """

    key: Key
    values: Sequence[Any]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[tuple[Key, Any]]:
        return zip(repeat(self.key), self.values)

    @overload
    def __getitem__(self, index: int) -> tuple[Key, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[Key, Any]]: ...
    def __getitem__(self, index: int | slice) -> tuple[Key, Any] | list[tuple[Key, Any]]:
        if isinstance(index, slice):
            return [(self.key, value) for value in self.values[index]]
        return self.key, self.values[index]

    __contains__ = Sequence.__contains__
    __reversed__ = Sequence.__reversed__
    index = Sequence.index
    count = Sequence.count

    def __repr__(self) -> str:
        return f"Group(key={show(self.key)}, values={len(self.values)})"


Sequence.register(Group)


class SingleGroup(tuple[tuple[Key, Any]]):
    """A group of one item, which most groups of distinct keys are: the tuple `((key, value),)`.

    It behaves as a Group and costs less than half of one to make and to go through, all in C.
    """

    __slots__ = ()

    @property
    def key(self) -> Key:
        return self[0][0]

    @property
    def values(self) -> tuple[Any]:
        return (self[0][1],)

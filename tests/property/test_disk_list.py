"""A DiskList is a list, whatever is done to it in whatever order."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from strategies import carried, values

from pymr.engine.disk.disk_list import DiskGroup, DiskList

some_values = st.integers(0, 9) | values
# Some large enough that a hundred of them fill a block, which is 256 KiB.
many = st.builds(
    lambda length, size: [(number, "x" * size) for number in range(length)],
    st.integers(0, 200),
    st.sampled_from([0, 3000, 100_000]),
).map(lambda items: items if len(items) < 10 or len(items[0][1]) < 100_000 else items[:9])
indices = st.integers(-1000, 1000)
bounds = st.none() | st.integers(-300, 300)
steps = st.sampled_from([None, 1, 2, 7, 64, -1, -3, -65])


class DiskListMachine(RuleBasedStateMachine):
    """Does the same to a DiskList and to a list."""

    def __init__(self) -> None:
        super().__init__()
        self.on_disk = DiskList()
        self.model: list[Any] = []

    @initialize(items=many)
    def begin_with(self, items: list[Any]) -> None:
        self.on_disk = DiskList(items)
        self.model = list(items)

    @rule(item=some_values)
    def append(self, item: Any) -> None:
        self.on_disk.append(item)
        self.model.append(carried(item))

    @rule(items=st.lists(some_values, max_size=5) | many)
    def extend(self, items: list[Any]) -> None:
        self.on_disk.extend(iter(items))
        self.model.extend(map(carried, items))

    @rule(index=indices)
    def index(self, index: int) -> None:
        try:
            expected = self.model[index]
        except IndexError:
            expected = IndexError
        try:
            found = self.on_disk[index]
        except IndexError:
            found = IndexError
        assert repr(found) == repr(expected)

    @rule(start=bounds, stop=bounds, step=steps)
    def slice(self, start: int | None, stop: int | None, step: int | None) -> None:
        assert repr(self.on_disk[start:stop:step]) == repr(self.model[start:stop:step])

    @rule()
    def iterate(self) -> None:
        assert repr(list(self.on_disk)) == repr(self.model)

    @rule()
    def iterate_backwards(self) -> None:
        assert repr(list(reversed(self.on_disk))) == repr(self.model[::-1])

    @rule(steps_before=st.integers(0, 200), items=many)
    def append_while_iterating(self, steps_before: int, items: list[Any]) -> None:
        found, iterator = [], iter(self.on_disk)
        for _, item in zip(range(steps_before), iterator, strict=False):
            found.append(item)
        self.on_disk.extend(items)
        self.model.extend(items)
        if len(found) == steps_before:
            assert repr([*found, *iterator]) == repr(self.model)

    @rule(item=st.integers(0, 9))
    def count_and_find(self, item: int) -> None:
        plain = [held for held in self.model if held == held]
        assert self.on_disk.count(item) == plain.count(item)
        assert (item in self.on_disk) == (item in plain)

    @rule()
    def close(self) -> None:
        self.on_disk.close()
        self.model.clear()

    @invariant()
    def has_the_same_length(self) -> None:
        assert len(self.on_disk) == len(self.model)

    def teardown(self) -> None:
        self.on_disk.close()


TestDiskListIsAList = DiskListMachine.TestCase
TestDiskListIsAList.settings = settings(deadline=None, max_examples=30, stateful_step_count=20)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 99), max_size=200), st.lists(st.integers(0, 99), max_size=200))
def test_equality_is_that_of_lists(one: list[int], other: list[int]) -> None:
    with DiskList(one) as on_disk, DiskList(other) as other_on_disk:
        assert (on_disk == other_on_disk) is (one == other)
        assert (on_disk == other) is (one == other)
        assert on_disk == one


@settings(max_examples=50)
@given(st.lists(some_values, max_size=150), st.integers(0, 150), indices)
def test_a_group_on_disk_is_a_list_of_items_and_of_values(held: list[Any], taken: int, index: int) -> None:
    group = DiskGroup("key", held[:taken])
    for value in held[taken:]:
        group.append(("key", value))
    items = [("key", carried(value)) for value in held]

    assert len(group) == len(items)
    assert repr(list(group)) == repr(items)
    assert repr(list(group.values)) == repr([value for _, value in items])
    assert repr(group[-index:index]) == repr(items[-index:index])
    assert repr(group.values[-index:index]) == repr([value for _, value in items][-index:index])
    if -len(items) <= index < len(items):
        assert repr(group[index]) == repr(items[index])
        assert repr(group.values[index]) == repr(items[index][1])

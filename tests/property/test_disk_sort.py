"""DiskSort gives what gathering all items in one dict gives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import carried, comparable_keys, exactly, few_keys, grouped, keys, values

from pymr.engine.disk_sort import DiskSort

sizes = st.sampled_from([1, 2, 3, 7, 64, 500])
fan_ins = st.integers(2, 5)
items_of_any_kind = st.lists(st.tuples(few_keys | keys, st.integers(0, 99) | values), max_size=60)


@settings(max_examples=60)
@given(items_of_any_kind, items_of_any_kind, sizes, fan_ins, st.sampled_from([1, 64, 4096]))
def test_items_come_back_grouped_sorted_and_in_the_order_they_came(
    one_by_one: list[tuple[Any, Any]],
    in_bulk: list[tuple[Any, Any]],
    max_items: int,
    fan_in_max: int,
    block_bytes: int,
) -> None:
    with DiskSort(max_items=max_items, fan_in_max=fan_in_max, block_bytes=block_bytes) as sort:
        for item in one_by_one:
            sort.append(item)
        sort.extend(iter(in_bulk))
        found = [(group.key, group.values) for group in sort]

    expected = grouped((key, carried(value)) for key, value in one_by_one + in_bulk)
    assert exactly(found) == exactly(expected)


@settings(max_examples=40)
@given(st.lists(st.tuples(comparable_keys, st.integers().map(lambda n: n % 1000)), max_size=200), sizes)
def test_next_group_gives_each_group_once_and_then_stops(
    items: list[tuple[int, int]], max_items: int
) -> None:
    with DiskSort(items, max_items=max_items, fan_in_max=2) as sort:
        found = [sort.next_group() for _ in grouped(items)]

        assert [(group.key, list(group.values)) for group in found] == grouped(items)
        for _ in range(2):
            with pytest.raises(StopIteration):
                sort.next_group()


@settings(max_examples=30)
@given(st.lists(st.tuples(comparable_keys, st.integers(0, 99)), min_size=1, max_size=100), st.integers(0, 20))
def test_iteration_goes_on_where_next_group_stopped(items: list[tuple[int, int]], taken: int) -> None:
    expected = grouped(items)
    with DiskSort(items, max_items=5) as sort:
        first = [sort.next_group() for _ in range(min(taken, len(expected)))]
        rest = list(sort)

    assert [(group.key, list(group.values)) for group in first + rest] == expected

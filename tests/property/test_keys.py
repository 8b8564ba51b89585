"""Keys have one total order, and equal keys one partition, everywhere."""

from __future__ import annotations

from functools import cmp_to_key
from itertools import permutations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from strategies import keys, numbers

from pymr.base.errors import RecordError
from pymr.engine.disk.keys import check_keys, order_key, partitions_of, sort_keys


def documented_order(one: Any, other: Any) -> int:
    """-1, 0 or 1, by the words of the documentation and nothing of the engine."""
    ranks = [
        0 if key is None
        else 1 if isinstance(key, int | float)
        else 2 if isinstance(key, str)
        else 3 if isinstance(key, bytes)
        else 4
        for key in (one, other)
    ]  # fmt: skip
    if ranks[0] != ranks[1]:
        return -1 if ranks[0] < ranks[1] else 1
    if ranks[0] == 0:
        return 0
    if ranks[0] < 4:
        return (one > other) - (one < other)
    for left, right in zip(one, other, strict=False):
        if sign := documented_order(left, right):
            return sign
    return (len(one) > len(other)) - (len(one) < len(other))


@given(keys, keys)
def test_the_order_is_the_documented_one(one: Any, other: Any) -> None:
    ranks = order_key(one), order_key(other)

    assert (ranks[0] > ranks[1]) - (ranks[0] < ranks[1]) == documented_order(one, other)


@given(keys, keys)
def test_the_order_is_total_and_antisymmetric_and_agrees_with_equality(one: Any, other: Any) -> None:
    ranks = order_key(one), order_key(other)

    assert (ranks[0] < ranks[1]) + (ranks[0] > ranks[1]) + (ranks[0] == ranks[1]) == 1
    assert (ranks[0] == ranks[1]) == (one == other)


@given(st.lists(keys, min_size=3, max_size=3))
def test_the_order_is_transitive(three: list[Any]) -> None:
    for one, two, other in permutations(map(order_key, three)):
        assert not (one <= two <= other) or one <= other


@given(st.lists(keys, max_size=20))
def test_keys_are_sorted_stably_in_the_total_order(several: list[Any]) -> None:
    found = sort_keys(several)

    assert list(map(repr, found)) == list(map(repr, sorted(several, key=order_key)))
    assert list(map(repr, found)) == list(map(repr, sorted(several, key=cmp_to_key(documented_order))))


@given(st.lists(st.tuples(numbers, st.none() | st.text(max_size=2) | numbers), max_size=20))
def test_tuples_that_python_can_only_partly_compare_are_sorted_in_the_total_order(several: list[Any]) -> None:
    found = sort_keys(several)

    assert list(map(repr, found)) == list(map(repr, sorted(several, key=order_key)))


@given(st.lists(keys, max_size=20))
def test_all_keys_of_the_documented_kinds_are_allowed(several: list[Any]) -> None:
    refused = []
    try:
        check_keys(several)
    except RecordError as error:
        refused.append(error)

    assert refused == []


@given(st.lists(keys | numbers, min_size=1, max_size=20), st.integers(1, 1000))
def test_equal_keys_go_to_the_same_partition_whatever_stands_beside_them(
    several: list[Any], partitions: int
) -> None:
    together = list(partitions_of(several, partitions))
    alone = [next(iter(partitions_of([key], partitions))) for key in several]

    assert together == alone
    assert all(0 <= number < partitions for number in together)
    for one, its_partition in zip(several, together, strict=True):
        for other, other_partition in zip(several, together, strict=True):
            assert one != other or its_partition == other_partition


@given(keys)
def test_the_same_number_in_another_type_goes_to_the_same_partition(key: Any) -> None:
    def in_other_types(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(map(in_other_types, part))
        if isinstance(part, int | float) and part == 0:
            return -0.0
        if isinstance(part, bool | float) and part == 1:
            return 1
        if isinstance(part, float) and part.is_integer():
            return int(part)
        return part

    other = in_other_types(key)

    assert other == key
    assert list(partitions_of([other], 1 << 32)) == list(partitions_of([key], 1 << 32))

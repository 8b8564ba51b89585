"""The shuffler loses nothing, keeps order, and holds no more than it may."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    Groups,
    comparable_keys,
    exactly,
    few_keys,
    full_memory,
    grouped,
    keys,
    roomy_memory,
    scratch_folder,
)

from pymr.base.memory import MemoryBudget
from pymr.engine.disk.blocks import SortedRun, read_blocks
from pymr.engine.disk.keys import order_key, partitions_of
from pymr.engine.disk.merge import merge_runs
from pymr.engine.disk_sort import assemble_columns
from pymr.engine.groups import Group
from pymr.engine.shuffler import Shuffler

items_of = st.lists(st.tuples(comparable_keys, st.integers(0, 99)), max_size=150)
mixed_items = st.lists(st.tuples(few_keys | keys, st.integers(0, 99)), max_size=80)
sizes = st.sampled_from([1, 2, 3, 10, 64, 1000])
partition_counts = st.sampled_from([1, 2, 3, 8, 9, 50, 257])


def shuffle(
    folder: str, items: Iterable[tuple[Any, Any]], partitions: int, memory: MemoryBudget, **options: Any
) -> list[SortedRun]:
    shuffler = Shuffler(os.path.join(folder, "runs"), partitions, memory, block_bytes=256, **options)
    shuffler.extend(items)
    return shuffler.close()


def merge_partition(folder: str, runs: list[SortedRun], partition: int) -> Groups:
    chosen = [run for run in runs if run.partition == partition]
    blocks = merge_runs(chosen, os.path.join(folder, f"merged-{partition}"))
    return [
        (key, list(values))
        for batch, lists in assemble_columns(blocks, roomy_memory(), folder)
        for key, values in zip(batch, lists, strict=True)
    ]


@given(mixed_items, partition_counts, sizes)
def test_each_partition_holds_exactly_its_keys_with_values_in_order(
    items: list[tuple[Any, int]], partitions: int, max_items: int
) -> None:
    with scratch_folder() as folder:
        runs = shuffle(folder, iter(items), partitions, roomy_memory(), max_items=max_items)
        found = {number: merge_partition(folder, runs, number) for number in {run.partition for run in runs}}

    expected: dict[int, list[tuple[Any, int]]] = {}
    for key, value in items:
        expected.setdefault(next(iter(partitions_of([key], partitions))), []).append((key, value))
    assert {number: exactly(groups) for number, groups in found.items()} == {
        number: exactly(grouped(held)) for number, held in expected.items()
    }


@given(items_of, sizes)
def test_no_spill_holds_more_items_than_it_may(items: list[tuple[int, int]], max_items: int) -> None:
    with scratch_folder() as folder:
        runs = shuffle(folder, items, 1, roomy_memory(), max_items=max_items)

    assert all(run.values <= max_items for run in runs)
    assert sum(run.values for run in runs) == len(items)
    assert len(runs) == -(-len(items) // max_items)


@settings(max_examples=50)
@given(mixed_items, partition_counts)
def test_each_run_ascends_and_tells_its_counts(items: list[tuple[Any, int]], partitions: int) -> None:
    with scratch_folder() as folder:
        runs = shuffle(folder, items, partitions, roomy_memory(), max_items=20)
        for run in runs:
            blocks = list(read_blocks(run))
            ranks = [order_key(key) for block in blocks for key in block.keys]

            assert ranks == sorted(ranks)
            assert run.values == sum(len(values) for block in blocks for values in block.lists)
            assert run.keys == len(set(ranks))


@settings(max_examples=50)
@given(mixed_items, mixed_items)
def test_items_taken_one_by_one_and_in_bulk_keep_their_order(
    one_by_one: list[tuple[Any, int]], in_bulk: list[tuple[Any, int]]
) -> None:
    with scratch_folder() as folder:
        shuffler = Shuffler(os.path.join(folder, "runs"), 1, full_memory())
        for key, value in one_by_one:
            shuffler.append(key, value)
        shuffler.extend(in_bulk)
        for key, value in one_by_one:
            shuffler.append(key, value)
        found = merge_partition(folder, shuffler.close(), 0)

    assert exactly(found) == exactly(grouped(one_by_one + in_bulk + one_by_one))


def total(group: Group, _auxiliary_data: Any) -> list[tuple[Any, int]]:
    return [(group.key, sum(group.values))]


def renaming(group: Group, modulus: int) -> list[tuple[Any, int]]:
    return [(group.key % modulus, sum(group.values))]


def multiplying(group: Group, _auxiliary_data: Any) -> Iterable[tuple[Any, int]]:
    yield group.key, sum(group.values) - 1
    yield group.key, 1
    yield -1 - group.key, 0


@given(items_of, partition_counts, sizes, st.booleans())
def test_a_combine_function_changes_no_total(
    items: list[tuple[int, int]], partitions: int, max_items: int, is_short_of_memory: bool
) -> None:
    expected: Counter[int] = Counter()
    for key, value in items:
        expected[key] += value
    with scratch_folder() as folder:
        memory = full_memory() if is_short_of_memory else roomy_memory()
        runs = shuffle(folder, items, partitions, memory, max_items=max_items, combine=total)
        found = [
            (key, sum(values))
            for number in range(partitions)
            for key, values in merge_partition(folder, runs, number)
        ]

    assert dict(found) == dict(expected)
    assert len(found) == len(expected)
    assert sum(run.values for run in runs) <= len(items)


@given(items_of, sizes, st.integers(1, 7), st.booleans())
def test_a_combine_function_may_rename_keys(
    items: list[tuple[int, int]], max_items: int, modulus: int, is_short_of_memory: bool
) -> None:
    expected: Counter[int] = Counter(dict.fromkeys(range(modulus), 0))
    for key, value in items:
        expected[key % modulus] += value
    with scratch_folder() as folder:
        memory = full_memory() if is_short_of_memory else roomy_memory()
        runs = shuffle(
            folder, items, 1, memory, max_items=max_items, combine=renaming, auxiliary_data=modulus
        )
        found: Counter[int] = Counter(dict.fromkeys(range(modulus), 0))
        for key, values in merge_partition(folder, runs, 0):
            found[key % modulus] += sum(values)

    assert found == expected


@given(items_of, sizes, st.booleans())
def test_a_combine_function_may_give_several_items(
    items: list[tuple[int, int]], max_items: int, is_short_of_memory: bool
) -> None:
    with scratch_folder() as folder:
        memory = full_memory() if is_short_of_memory else roomy_memory()
        runs = shuffle(folder, items, 1, memory, max_items=max_items, combine=multiplying)
        found = {key: sum(values) for key, values in merge_partition(folder, runs, 0) if key >= 0}

    assert found == {key: sum(values) for key, values in grouped(items)}


@given(items_of, sizes)
def test_a_combine_function_may_drop_keys(items: list[tuple[int, int]], max_items: int) -> None:
    def even_only(group: Group, _auxiliary_data: Any) -> list[tuple[Any, int]]:
        return [(group.key, sum(group.values))] if group.key % 2 == 0 else []

    with scratch_folder() as folder:
        runs = shuffle(folder, items, 1, roomy_memory(), max_items=max_items, combine=even_only)
        found = {key: sum(values) for key, values in merge_partition(folder, runs, 0) if key % 2 == 0}

    assert found == {key: sum(values) for key, values in grouped(items) if key % 2 == 0}

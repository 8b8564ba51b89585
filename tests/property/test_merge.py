"""A merge gives what gathering all items in one dict gives, however they lie."""

from __future__ import annotations

import os
from itertools import pairwise
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
    write_run,
)

from pymr.engine.disk.blocks import BLOCK_VALUES_MAX, Block, BlockWriter, SortedRun
from pymr.engine.disk.keys import order_key
from pymr.engine.disk.merge import merge_runs
from pymr.engine.disk_sort import assemble_columns

block_sizes = st.sampled_from([1, 16, 64, 256, 4096])
fan_ins = st.integers(2, 6)


def runs_of(key_strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[list[list[tuple[Any, int]]]]:
    return st.lists(
        st.lists(st.tuples(key_strategy, st.integers(0, 999)), min_size=1), min_size=1, max_size=12
    )


def write_runs(folder: str, parts: list[list[tuple[Any, int]]], block_bytes: int) -> list[SortedRun]:
    writer = BlockWriter(os.path.join(folder, "runs"), block_bytes=block_bytes)
    runs = [write_run(writer, part) for part in parts]
    writer.close()
    return runs


def merge_all(parts: list[list[tuple[Any, int]]], fan_in_max: int, block_bytes: int) -> Groups:
    with scratch_folder() as folder:
        blocks = merge_runs(
            write_runs(folder, parts, block_bytes),
            os.path.join(folder, "merged"),
            fan_in_max=fan_in_max,
            block_bytes=block_bytes,
        )
        return [
            (key, list(held))
            for batch_keys, lists in assemble_columns(blocks, roomy_memory(), folder)
            for key, held in zip(batch_keys, lists, strict=True)
        ]


@given(runs_of(comparable_keys), fan_ins, block_sizes)
def test_a_merge_of_comparable_keys_equals_the_reference(
    parts: list[list[tuple[Any, int]]], fan_in_max: int, block_bytes: int
) -> None:
    merged = merge_all(parts, fan_in_max, block_bytes)

    assert merged == grouped(item for part in parts for item in part)


@given(runs_of(keys | few_keys), fan_ins, block_sizes)
def test_a_merge_of_mixed_keys_equals_the_reference(
    parts: list[list[tuple[Any, int]]], fan_in_max: int, block_bytes: int
) -> None:
    merged = merge_all(parts, fan_in_max, block_bytes)

    assert merged == grouped(item for part in parts for item in part)


@given(runs_of(few_keys), fan_ins, block_sizes)
def test_of_equal_keys_of_different_types_the_first_to_arrive_is_shown(
    parts: list[list[tuple[Any, int]]], fan_in_max: int, block_bytes: int
) -> None:
    merged = merge_all(parts, fan_in_max, block_bytes)

    assert exactly(merged) == exactly(grouped(item for part in parts for item in part))


@settings(max_examples=40)
@given(runs_of(comparable_keys | few_keys), fan_ins, block_sizes)
def test_the_stream_of_blocks_ascends_and_tells_which_keys_go_on(
    parts: list[list[tuple[Any, int]]], fan_in_max: int, block_bytes: int
) -> None:
    with scratch_folder() as folder:
        runs = write_runs(folder, parts, block_bytes)
        blocks = list(
            merge_runs(runs, os.path.join(folder, "m"), fan_in_max=fan_in_max, block_bytes=block_bytes)
        )

    before = Block((), ())
    for block in blocks:
        assert len(block.keys) == len(block.lists) > 0
        ranks = list(map(order_key, block.keys))
        assert all(one < other for one, other in pairwise(ranks))
        if before.keys:
            last = order_key(before.keys[-1])
            assert last == ranks[0] if before.continues else last < ranks[0]
        before = block
    assert not before.continues


@settings(max_examples=10)
@given(
    st.lists(st.integers(0, 2 * BLOCK_VALUES_MAX + 5), min_size=1, max_size=5),
    fan_ins,
    st.sampled_from(["a", 0, None]),
    st.booleans(),
)
def test_a_key_whose_values_go_on_over_many_blocks_keeps_them_in_order(
    lengths: list[int], fan_in_max: int, key: Any, with_neighbours: bool
) -> None:
    parts: list[list[tuple[Any, int]]] = []
    for number, length in enumerate(lengths):
        part = [(key, number * 1_000_000 + at) for at in range(length)]
        parts.append([*part, ("z", number), (-1, number)] if with_neighbours or not part else part)

    merged = merge_all(parts, fan_in_max, 1 << 14)

    assert merged == grouped(item for part in parts for item in part)


@settings(max_examples=20)
@given(runs_of(comparable_keys), fan_ins)
def test_groups_that_go_to_disk_for_want_of_memory_equal_the_reference(
    parts: list[list[tuple[Any, int]]], fan_in_max: int
) -> None:
    with scratch_folder() as folder:
        blocks = merge_runs(
            write_runs(folder, parts, 1), os.path.join(folder, "m"), fan_in_max=fan_in_max, block_bytes=1
        )
        merged = [
            (key, list(held))
            for batch_keys, lists in assemble_columns(blocks, full_memory(), folder)
            for key, held in zip(batch_keys, lists, strict=True)
        ]

    assert merged == grouped(item for part in parts for item in part)

"""The merge: the cases that examples drawn at random hit too seldom."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from strategies import cpu_seconds_at_most, exactly, roomy_memory, write_run

from pymr.base.errors import CorruptBlockError
from pymr.engine.disk.blocks import Block, BlockWriter, SortedRun
from pymr.engine.disk.merge import merge_runs
from pymr.engine.disk_sort import assemble_columns


def written(folder: Path, *parts: list[tuple[Any, Any]], block_bytes: int = 1 << 18) -> list[SortedRun]:
    writer = BlockWriter(str(folder / "runs"), block_bytes=block_bytes)
    runs = [write_run(writer, part) for part in parts]
    writer.close()
    return runs


def merged(folder: Path, runs: list[SortedRun], **options: Any) -> list[tuple[Any, list[Any]]]:
    blocks = merge_runs(runs, str(folder / "merged"), **options)
    return [
        (key, list(values))
        for keys, lists in assemble_columns(blocks, roomy_memory(), str(folder))
        for key, values in zip(keys, lists, strict=True)
    ]


def test_no_runs_give_nothing(tmp_path: Path) -> None:
    assert merged(tmp_path, []) == []


def test_a_key_that_goes_on_in_a_later_run_is_shown_as_in_the_first(tmp_path: Path) -> None:
    writer = BlockWriter(str(tmp_path / "runs"))
    first = write_run(writer, [(True, "first"), (7, "other")])
    writer.begin_run(0)
    writer.write(Block([1], [["second"]], continues=True))
    writer.write(Block([1.0], [["third"]]))
    runs = [first, writer.end_run()]
    writer.close()

    assert exactly(merged(tmp_path, runs)) == exactly([(True, ["first", "second", "third"]), (7, ["other"])])


def test_keys_that_become_mixed_only_in_the_middle_are_merged(tmp_path: Path) -> None:
    numbers = [(number, "number") for number in range(200)]
    texts = [(str(number), "text") for number in range(200)]
    runs = written(tmp_path, numbers, [*numbers, *texts], texts, [((1,), 0), (None, 0)], block_bytes=64)

    found = merged(tmp_path, runs, fan_in_max=2, block_bytes=64)

    assert [key for key, _ in found] == [None, *range(200), *sorted(map(str, range(200))), (1,)]
    assert all(len(values) == (1 if key in (None, (1,)) else 2) for key, values in found)


def test_tuples_that_differ_only_in_kind_far_behind_are_merged(tmp_path: Path) -> None:
    keys = [("a", 1, None), ("a", 1, 2), ("a", 1, "b"), ("a", 1, b"c"), ("a", 1, ())]
    runs = written(tmp_path, *([(key, place)] for place, key in enumerate(reversed(keys))))

    assert merged(tmp_path, runs) == [(key, [4 - place]) for place, key in enumerate(keys)]


def test_values_keep_the_order_of_their_runs_through_several_passes(tmp_path: Path) -> None:
    runs = written(tmp_path, *([("key", number)] for number in range(50)))

    assert merged(tmp_path, runs, fan_in_max=3) == [("key", list(range(50)))]


def test_damage_is_found_while_merging(tmp_path: Path) -> None:
    runs = written(tmp_path, [("a", 1)], [("b", 2)])
    os.truncate(runs[1].path, runs[1].offset + 33)

    with pytest.raises(CorruptBlockError, match=f"byte {runs[1].offset} of {runs[1].path}"):
        merged(tmp_path, runs)


def test_a_fan_in_that_can_merge_nothing_is_refused(tmp_path: Path) -> None:
    runs = written(tmp_path, [("a", 1)], [("b", 1)])

    with cpu_seconds_at_most(0.1), pytest.raises(ValueError, match="fan_in_max"):
        merged(tmp_path, runs, fan_in_max=1)


@pytest.mark.parametrize("runs_count", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("memory_bytes", [None, 1, 40_000, 1 << 30])
def test_runs_with_large_values_are_merged_few_at_a_time(
    tmp_path: Path, runs_count: int, memory_bytes: int | None
) -> None:
    parts = [
        [(key, "x" * (10_000 if (key + number) % 3 == 0 else 1) + str(number)) for key in range(5)]
        for number in range(runs_count)
    ]
    runs = written(tmp_path, *parts, block_bytes=500)

    found = merged(tmp_path, runs, block_bytes=500, memory_bytes=memory_bytes)

    assert found == [(key, [part[key][1] for part in parts]) for key in range(5)]
    assert any(tmp_path.glob("merged-*")) == (memory_bytes in (1, 40_000) and runs_count > 2)

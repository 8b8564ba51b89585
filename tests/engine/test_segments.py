"""Segments: an index finds every run, tells what is damaged, and a digest tells equal content."""

from __future__ import annotations

import math
import os
import random
from pathlib import Path
from typing import Any

import pytest
from strategies import full_memory, items_of, roomy_memory

from pymr.base.errors import DamagedFileError
from pymr.base.memory import MemoryBudget
from pymr.engine.disk.blocks import SortedRun
from pymr.engine.outputs import Part
from pymr.engine.segments import read_index, read_reduce_index, write_index, write_reduce_index
from pymr.engine.shuffler import CUT_BY_MEMORY, Shuffler
from pymr.engine.tasks import MapOutput, ReduceOutput


def mapped(folder: Path, items: list[tuple[Any, Any]], partitions: int = 4, **options: Any) -> MapOutput:
    folder.mkdir(exist_ok=True)
    memory = options.pop("memory", None) or roomy_memory()
    shuffler = Shuffler(str(folder / "runs"), partitions, memory, **options)
    shuffler.extend(items)
    return MapOutput(tuple(shuffler.close()), len(items), 100, {"seen": 3}, digest=shuffler.digest)


def test_every_run_is_found_by_its_partition_in_the_order_of_writing(tmp_path: Path) -> None:
    items = [(number % 50, number) for number in range(1_000)]
    output = mapped(tmp_path / "map", items, max_items=100)
    write_index(str(tmp_path / "map"), output)
    index = read_index(str(tmp_path / "map"))

    assert len(output.runs) > 4
    for partition in range(4):
        assert index.runs(partition) == tuple(run for run in output.runs if run.partition == partition)
    assert index.runs(4) == ()
    assert index.partitions == [0, 1, 2, 3]
    assert sorted(items_of(run for partition in range(4) for run in index.runs(partition))) == sorted(items)


def test_index_found_elsewhere_leads_to_the_runs_beside_it(tmp_path: Path) -> None:
    """A folder is renamed when its attempt is done."""
    write_index(str(tmp_path / "map"), mapped(tmp_path / "map", [("a", 1)], 1))
    os.rename(tmp_path / "map", tmp_path / "renamed")

    assert items_of(read_index(str(tmp_path / "renamed")).runs(0)) == [("a", 1)]


def test_facts_come_back(tmp_path: Path) -> None:
    output = mapped(tmp_path / "map", [("a", 1), ("a", 2), ("b", 3)])
    info = write_index(str(tmp_path / "map"), output)

    assert read_index(str(tmp_path / "map")).info == info
    assert (info.records, info.bytes, info.values, info.counters) == (3, 100, 3, {"seen": 3})
    assert info.stored_bytes == os.path.getsize(tmp_path / "map" / "runs")
    assert info.digest == output.digest != ""


def test_counters_of_any_size_and_name_are_carried(tmp_path: Path) -> None:
    output = mapped(tmp_path / "map", [("a", 1)])
    counters = {"large": 1 << 80, "larger": -(10**400), "odd \ud800": 1.5, "infinite": math.inf}
    write_index(str(tmp_path / "map"), MapOutput(output.runs, 1, 1, counters))

    assert read_index(str(tmp_path / "map")).info.counters == {
        "large": float(1 << 80),
        "larger": -math.inf,
        "odd \\ud800": 1.5,
        "infinite": math.inf,
    }


@pytest.mark.parametrize("name", ["index", "runs"])
def test_index_or_runs_cut_short_are_named(tmp_path: Path, name: str) -> None:
    write_index(str(tmp_path / "map"), mapped(tmp_path / "map", [("a", 1), ("b", 2)]))
    path = tmp_path / "map" / name
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFileError, match=f"{path} is damaged"):
            read_index(str(tmp_path / "map"))


def test_every_flipped_bit_of_an_index_is_noticed(tmp_path: Path) -> None:
    write_index(str(tmp_path / "map"), mapped(tmp_path / "map", [("a", 1), ("b", 2)]))
    path = tmp_path / "map" / "index"
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DamagedFileError):
            read_index(str(tmp_path / "map"))


def test_index_of_many_runs_gives_those_of_a_partition(tmp_path: Path) -> None:
    runs = tuple(
        SortedRun("runs", partition, (spill * 1_000 + partition) * 7, 7, 2, 3)
        for spill in range(50)
        for partition in range(1_000)
    )
    (tmp_path / "runs").write_bytes(b"-" * 7 * len(runs))
    write_index(str(tmp_path), MapOutput(runs, 1, 1, {}))
    found = read_index(str(tmp_path)).runs(999)

    assert [run.offset for run in found] == [(spill * 1_000 + 999) * 7 for spill in range(50)]


def test_reduce_index_comes_back_and_knows_its_parts(tmp_path: Path) -> None:
    (tmp_path / "part-00003-0000.jsonl").write_bytes(b'["a",1]\n')
    output = ReduceOutput(str(tmp_path), (Part("part-00003-0000.jsonl", 1, 8),), 1, 2, {"n": 1})
    info = write_reduce_index(str(tmp_path), output)
    index = read_reduce_index(str(tmp_path))

    assert index.info == info
    assert index.parts == output.parts
    assert (info.groups, info.values, info.items, info.stored_bytes) == (1, 2, 1, 8)

    (tmp_path / "part-00003-0000.jsonl").write_bytes(b'["a"')
    with pytest.raises(DamagedFileError, match=r"part-00003-0000\.jsonl is damaged"):
        read_reduce_index(str(tmp_path))


SHAPES = {
    "few keys": [(number % 7, number) for number in range(3_000)],
    "distinct keys": [(f"key {number}", number) for number in range(75_000)],
    "nothing": [],
}


def budget_of_another_process(seed: int) -> MemoryBudget:
    """One that looks after other numbers of items, as the process grows in other steps; never full."""
    source = random.Random(seed)
    return MemoryBudget(1 << 30, resident_bytes=lambda: source.randrange(1 << 28))


@pytest.mark.parametrize("items", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("options", [{}, {"max_items": 70_000}, {"block_codec": "zstd"}], ids=str)
def test_equal_items_give_an_equal_digest_in_any_process(
    tmp_path: Path, items: list[tuple[Any, Any]], options: dict[str, Any]
) -> None:
    digests = {
        mapped(tmp_path / str(seed), items, memory=budget_of_another_process(seed), **options).digest
        for seed in range(3)
    }

    assert len(digests) == 1
    assert not digests.pop().startswith(CUT_BY_MEMORY)


def test_other_items_give_another_digest(tmp_path: Path) -> None:
    items = [("a", 1), ("b", 2), ("c", 3)]
    variants: list[list[tuple[Any, Any]]] = [
        items,
        items[:2],
        [*items, ("c", 3)],
        [("a", 1), ("b", 2), ("c", 4)],
        [("a", 1), ("b", 2), ("d", 3)],
    ]
    digests = [mapped(tmp_path / str(number), one).digest for number, one in enumerate(variants)]
    digests.append(mapped(tmp_path / "partitions", items, partitions=3).digest)

    assert len(set(digests)) == len(digests)


def test_digest_tells_that_the_memory_bound_has_cut_the_runs(tmp_path: Path) -> None:
    output = mapped(tmp_path / "map", [(number, 0) for number in range(10)], memory=full_memory())

    assert output.digest.startswith(CUT_BY_MEMORY)

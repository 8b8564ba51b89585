"""DiskSort: its refusals, its files, and groups larger than memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from strategies import cpu_seconds_at_most, full_memory, grouped, write_run

from pymr.base.errors import DiskError, RecordError
from pymr.engine.disk.blocks import BlockWriter, read_blocks
from pymr.engine.disk.disk_list import DiskList
from pymr.engine.disk_sort import DiskSort, assemble_groups


def test_an_empty_sort_has_no_group() -> None:
    with DiskSort() as sort:
        assert list(sort) == []
        with pytest.raises(StopIteration):
            sort.next_group()


@pytest.mark.parametrize("key", [[1], {"a": 1}, ([1],)])
def test_an_unhashable_key_is_refused_and_shown(key: object) -> None:
    with DiskSort() as sort:
        with pytest.raises(RecordError) as one_by_one:
            sort.append((key, 1))
        with pytest.raises(RecordError) as in_bulk:
            sort.extend([("fine", 0), (key, 1)])

    assert repr(key) in str(one_by_one.value)
    assert repr(key) in str(in_bulk.value)


@pytest.mark.parametrize("key", [float("nan"), (1, float("nan")), 1j, 1 << 64, "\ud800"])
def test_a_key_that_cannot_be_carried_is_refused_and_shown(key: object) -> None:
    with DiskSort() as sort:
        sort.extend([("fine", 0), (key, 1)])

        with pytest.raises(RecordError) as caught:
            sort.next_group()
    assert repr(key) in str(caught.value)


def test_a_value_that_cannot_be_carried_is_refused_and_shown() -> None:
    with DiskSort([("fine", 0), ("bad", {1})]) as sort, pytest.raises(RecordError) as caught:
        sort.next_group()

    assert "'bad'" in str(caught.value)
    assert "{1}" in str(caught.value)


def test_items_come_before_groups() -> None:
    with DiskSort([("a", 1)]) as sort:
        sort.next_group()

        with pytest.raises(ValueError, match="before the first"):
            sort.append(("b", 2))
        with pytest.raises(ValueError, match="before the first"):
            sort.extend([("b", 2)])


def test_files_are_removed_with_the_sort(tmp_path: Path) -> None:
    with DiskSort(((n, n) for n in range(100)), directory=str(tmp_path), max_items=20, fan_in_max=2) as sort:
        sort.next_group()
        assert os.listdir(tmp_path)

    assert os.listdir(tmp_path) == []


def test_a_folder_that_does_not_exist_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="absent"):
        DiskSort(directory=str(tmp_path / "absent"))


@pytest.mark.parametrize("options", [{"fan_in_max": 1}, {"max_items": 0}])
def test_bounds_that_allow_no_progress_are_refused(options: dict[str, int]) -> None:
    with cpu_seconds_at_most(0.2), pytest.raises(ValueError, match=next(iter(options))):
        DiskSort(**options)  # type: ignore[arg-type]


def test_what_an_iterable_gave_before_it_raised_is_kept() -> None:
    with DiskSort() as sort:
        with pytest.raises(ZeroDivisionError):
            sort.extend((n, 1 // (2 - n)) for n in range(4))

        assert [(group.key, list(group.values)) for group in sort] == [(0, [0]), (1, [1])]


def test_a_group_larger_than_memory_has_its_values_on_disk(tmp_path: Path) -> None:
    items = [("large", number) for number in range(2000)] + [("small", 1), ("z", 2)]
    writer = BlockWriter(str(tmp_path / "run"), block_bytes=100)
    run = write_run(writer, items)
    writer.close()

    groups = list(assemble_groups(read_blocks(run), full_memory(), str(tmp_path)))

    assert isinstance(groups[0].values, DiskList)
    assert [(group.key, list(group.values)) for group in groups] == grouped(items)

"""DiskList and DiskGroup: what a list does that is easily forgotten, and what goes wrong."""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from strategies import cpu_seconds_at_most

from pymr.base.errors import DiskError, RecordError
from pymr.engine.disk.disk_list import DiskGroup, DiskList


def large(number: int) -> tuple[int, str]:
    """An item of which some hundreds fill a block."""
    return number, "x" * 1000


def test_items_appended_while_iterating_are_iterated_once() -> None:
    with DiskList(map(large, range(10))) as items:
        found = []
        for item in items:
            found.append(item)
            for _ in range(2):
                if len(items) < 1000:
                    items.append(large(len(items)))

        assert found == list(map(large, range(1000)))


def test_extending_by_itself_doubles_a_list() -> None:
    with DiskList(map(large, range(400))) as items, cpu_seconds_at_most(1):
        items.extend(items)

        assert list(items) == [*map(large, range(400)), *map(large, range(400))]


def test_what_an_iterable_gave_before_it_raised_is_kept() -> None:
    def five_then_failure() -> Iterator[int]:
        yield from range(5)
        raise KeyError("gone")

    with DiskList() as items:
        with pytest.raises(KeyError):
            items.extend(five_then_failure())

        assert list(items) == [0, 1, 2, 3, 4]


def test_items_read_alike_from_memory_and_from_disk() -> None:
    with DiskList([[1, [2]], {"a": [3]}, "x" * 300_000, [1, [2]], {"a": [3]}]) as items:
        assert items[0] == items[3] == (1, (2,))
        assert items[1] == items[4] == {"a": (3,)}


def test_two_iterations_do_not_disturb_each_other() -> None:
    with DiskList(map(large, range(1000))) as items:
        assert [
            (one[0], two[0], three[0]) for one, two, three in zip(items, items, reversed(items), strict=True)
        ] == [(n, n, 999 - n) for n in range(1000)]


def test_an_item_that_cannot_be_carried_is_shown() -> None:
    with DiskList() as items, pytest.raises(RecordError) as caught:
        items.append({1, 2})
        list(items)

    assert "{1, 2}" in str(caught.value)
    assert "key" not in str(caught.value).partition("{1, 2}")[2].partition(" cannot")[0]


def test_large_items_do_not_gather_in_memory() -> None:
    tracemalloc.start()
    with DiskList() as items:
        for number in range(60):
            items.append(bytes([number]) * 200_000)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert peak_bytes < 5_000_000
        assert [item[0] for item in items] == list(range(60))


def test_large_items_after_many_small_ones_do_not_gather_in_memory() -> None:
    with DiskList(range(20_000)) as items:
        tracemalloc.start()
        for number in range(60):
            items.append(bytes([number]) * 200_000)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert peak_bytes < 5_000_000
        assert len(items) == 20_060


def test_no_file_is_left_behind(tmp_path: Path) -> None:
    items = DiskList(map(large, range(1000)), directory=str(tmp_path))
    seen_while_open = os.listdir(tmp_path)
    items.close()

    assert seen_while_open == os.listdir(tmp_path) == []


def test_a_dropped_list_gives_its_file_back(tmp_path: Path) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        DiskList(map(large, range(500)), directory=str(tmp_path))
    gc.collect()

    assert len(os.listdir("/proc/self/fd")) <= descriptors


def test_a_folder_that_does_not_exist_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="absent"):
        DiskList(map(large, range(1000)), directory=str(tmp_path / "absent"))


@pytest.mark.parametrize("index", [100, -101, 10**20])
def test_an_index_out_of_range_is_an_index_error(index: int) -> None:
    with DiskList(range(100)) as items, pytest.raises(IndexError):
        items[index]


def test_a_group_takes_items_in_bulk_as_it_takes_them_one_by_one() -> None:
    group = DiskGroup("key", [1])
    group.append(("key", 2))
    group.extend([("key", 3), ("key", 4)])

    assert list(group) == [("key", 1), ("key", 2), ("key", 3), ("key", 4)]


def test_a_group_refuses_an_item_of_another_key() -> None:
    group = DiskGroup("key", [1])

    with pytest.raises(ValueError, match="'other'"):
        group.append(("other", 2))
    assert len(group) == 1

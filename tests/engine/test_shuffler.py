"""The shuffler: what it refuses, with which words, and when it spills."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from strategies import full_memory, items_of, roomy_memory

from pymr.base import faults
from pymr.base.errors import DiskError, RecordError, UserFunctionError
from pymr.engine.groups import Group
from pymr.engine.shuffler import Shuffler

NAN = float("nan")
BAD_KEYS: list[Any] = [NAN, ("a", NAN), [1], ("a", [1]), {}, 1j, 1 << 64, "\ud800", object]
BAD_VALUES: list[Any] = [{1}, object, 1 << 64, "\ud800", [{1}], 1j]


def make(folder: Path, partitions: int = 4, **options: Any) -> Shuffler:
    return Shuffler(
        str(folder / "runs"), partitions, options.pop("memory", None) or roomy_memory(), **options
    )


@pytest.mark.parametrize("partitions", [1, 4, 100])
@pytest.mark.parametrize("key", BAD_KEYS, ids=repr)
def test_a_key_that_cannot_be_carried_is_shown(tmp_path: Path, key: Any, partitions: int) -> None:
    shuffler = make(tmp_path, partitions)

    with pytest.raises(RecordError) as caught:
        shuffler.extend([("fine", 1), (key, 2), (7, 3)])
        shuffler.close()
    assert repr(key) in str(caught.value)


@pytest.mark.parametrize("key", BAD_KEYS, ids=repr)
def test_a_key_that_cannot_be_carried_is_shown_when_all_keys_differ(tmp_path: Path, key: Any) -> None:
    shuffler = make(tmp_path, max_items=10)
    shuffler.extend((number, 0) for number in range(40))

    with pytest.raises(RecordError) as caught:
        shuffler.extend([("fine", 1), (key, 2), (7, 3)])
        shuffler.close()
    assert repr(key) in str(caught.value)


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("value", BAD_VALUES, ids=repr)
def test_a_value_that_cannot_be_carried_is_shown_with_its_key(
    tmp_path: Path, value: Any, partitions: int
) -> None:
    shuffler = make(tmp_path, partitions)

    with pytest.raises(RecordError) as caught:
        shuffler.extend([("fine", 1), ("bad", value)])
        shuffler.close()
    assert repr(value) in str(caught.value)
    assert "'bad'" in str(caught.value)


def test_nothing_taken_leaves_no_run_and_no_file(tmp_path: Path) -> None:
    shuffler = make(tmp_path)
    shuffler.extend([])

    assert shuffler.close() == []
    assert list(tmp_path.iterdir()) == []


def test_a_full_memory_spills_sooner_than_the_bound_of_items(tmp_path: Path) -> None:
    shuffler = make(tmp_path, 1, memory=full_memory(), max_items=1_000_000)
    shuffler.extend((number % 7, number) for number in range(20))
    runs = shuffler.close()

    assert len(runs) > 1
    assert sorted(value for _, value in items_of(runs)) == list(range(20))


def test_distinct_keys_are_spilled_in_large_runs_also_when_they_come_in_small_portions(
    tmp_path: Path,
) -> None:
    shuffler = make(tmp_path, 1, max_items=100_000)
    shuffler.extend((number, 0) for number in range(200_000))
    before = len(shuffler.runs)
    for number in range(300):
        shuffler.extend([(number, 1)])

    assert len(shuffler.close()) <= before + 2


def test_what_combine_leaves_is_no_more_than_the_bound_of_items(tmp_path: Path) -> None:
    def total(group: Group, _auxiliary_data: Any) -> list[tuple[Any, Any]]:
        return [(group.key, sum(group.values))]

    shuffler = make(tmp_path, 1, max_items=10, combine=total)
    shuffler.extend((number, 1) for number in range(500))
    runs = shuffler.close()

    assert max(run.values for run in runs) <= 10
    assert len(items_of(runs)) == 500


def test_combine_keeps_a_recurring_key_in_memory(tmp_path: Path) -> None:
    def total(group: Group, _auxiliary_data: Any) -> list[tuple[Any, Any]]:
        return [(group.key, sum(group.values))]

    shuffler = make(tmp_path, 1, max_items=10, combine=total)
    shuffler.extend((number % 3, 1) for number in range(999))

    assert items_of(shuffler.close()) == [(0, 333), (1, 333), (2, 333)]


def test_combine_gets_its_auxiliary_data_and_single_items_not_at_all(tmp_path: Path) -> None:
    seen = []

    def watching(group: Group, auxiliary_data: Any) -> list[tuple[Any, Any]]:
        seen.append((group.key, list(group.values), auxiliary_data))
        return list(group)

    shuffler = make(tmp_path, 1, combine=watching, auxiliary_data="data")
    shuffler.extend([("a", 1), ("b", 2), ("a", 3)])
    found = items_of(shuffler.close())

    assert seen == [("a", [1, 3], "data")]
    assert found == [("a", 1), ("a", 3), ("b", 2)]


def test_a_key_keeps_the_form_in_which_it_came_first(tmp_path: Path) -> None:
    shuffler = make(tmp_path, 1)
    shuffler.extend([(True, 1), (1, 2), (1.0, 3), (0.0, 4), (-0.0, 5), (False, 6)])

    assert (
        repr(items_of(shuffler.close())) == "[(0.0, 4), (0.0, 5), (0.0, 6), (True, 1), (True, 2), (True, 3)]"
    )


def raising(_group: Group, _auxiliary_data: Any) -> list[tuple[Any, Any]]:
    raise KeyError("gone")


def stopping(_group: Group, _auxiliary_data: Any) -> list[tuple[Any, Any]]:
    return [(1, next(iter(())))]


@pytest.mark.parametrize("combine", [raising, stopping])
def test_a_combine_function_that_raises_is_named_with_its_key(
    tmp_path: Path, combine: Callable[..., Any]
) -> None:
    shuffler = make(tmp_path, combine=combine)
    shuffler.extend([("the key", 1), ("the key", 2)])

    with pytest.raises(UserFunctionError, match=rf"combine function '{combine.__name__}'") as caught:
        shuffler.close()
    assert "'the key'" in str(caught.value)


@pytest.mark.parametrize(
    "returned",
    [None, 5, "text", ["text"], ["ab"], [("the key", 1, 2)], [("the key",)], [([1], 2)]],
    ids=repr,
)
def test_what_a_combine_function_returns_has_to_be_pairs(tmp_path: Path, returned: Any) -> None:
    shuffler = make(tmp_path, combine=lambda group, auxiliary_data: returned)
    shuffler.extend([("the key", 1), ("the key", 2)])

    with pytest.raises(RecordError, match="the key"):
        shuffler.close()


def test_a_full_disk_is_an_error_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "_faults", {"block.write": [("enospc", 1)]})
    monkeypatch.setattr(faults, "_passes", {})
    shuffler = make(tmp_path)
    shuffler.extend([("a", 1)])

    with pytest.raises(DiskError, match="free some space"):
        shuffler.close()


def test_a_folder_that_does_not_exist_is_an_error_of_the_disk(tmp_path: Path) -> None:
    shuffler = make(tmp_path / "absent")
    shuffler.extend([("a", 1)])

    with pytest.raises(DiskError, match="absent"):
        shuffler.close()

"""The reducer: what a group is, and that every failure names its key."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from strategies import full_memory, job_context, lines_of, roomy_memory, write_run

from pymr.base.errors import OutputError, PymrError, RecordError, UserFunctionError
from pymr.base.memory import MemoryBudget
from pymr.engine.disk.blocks import BlockWriter
from pymr.engine.disk.disk_list import DiskGroup, DiskList
from pymr.engine.groups import Group
from pymr.engine.reducer import GroupReader, reduce_failures
from pymr.engine.tasks import ReduceTask, TaskWatch, run_reduce_task

NAN = float("nan")


def reader_of(
    folder: Path, *groups: tuple[Any, Sequence[Any]], memory: MemoryBudget | None = None, **options: Any
) -> GroupReader:
    columns = [([key for key, _ in groups], [values for _, values in groups])] if groups else []
    return GroupReader(iter(columns), memory or roomy_memory(), str(folder), **options)


def run_reduce(
    folder: Path, function: Callable[..., Any], *groups: tuple[Any, Sequence[Any]], **options: Any
) -> list[Any]:
    """The lines that a reduce task writes."""
    writer = BlockWriter(str(folder / "runs"))
    run = write_run(writer, [(key, value) for key, values in groups for value in values])
    writer.close()
    context = job_context(None, function, **options)
    output = run_reduce_task(context, ReduceTask(0, (run,)), str(folder), TaskWatch())
    return lines_of(output)


def in_memory(folder: Path, values: Iterable[Any]) -> Group | DiskGroup:
    return Group("key", list(values))


def on_disk(folder: Path, values: Iterable[Any]) -> Group | DiskGroup:
    return DiskGroup("key", values, str(folder))


either_group = pytest.mark.parametrize("make", [in_memory, on_disk])


@either_group
def test_a_group_is_a_sequence_of_items(tmp_path: Path, make: Callable[..., Any]) -> None:
    group = make(tmp_path, range(200))
    items = [("key", number) for number in range(200)]

    assert isinstance(group, Sequence)
    assert len(group) == 200
    assert list(group) == list(group) == items
    assert (group[0], group[7], group[-1], group[-200]) == (items[0], items[7], items[-1], items[0])
    assert group[3:150:7] == items[3:150:7]
    assert group[::-1] == list(reversed(group)) == items[::-1]
    assert ("key", 150) in group
    assert ("key", 200) not in group
    assert group.index(("key", 150)) == 150
    assert group.count(("key", 150)) == 1


@either_group
def test_a_group_has_its_key_and_values(tmp_path: Path, make: Callable[..., Any]) -> None:
    group = make(tmp_path, range(200))

    assert group.key == "key"
    assert isinstance(group.values, Sequence)
    assert list(group.values) == list(range(200))
    assert len(group.values) == 200
    assert group.values[5:8] == [5, 6, 7]
    assert group.values[-1] == 199
    assert sum(group.values) == sum(range(200))


@either_group
@pytest.mark.parametrize("index", [3, -4])
def test_an_index_out_of_range_is_an_index_error(
    tmp_path: Path, make: Callable[..., Any], index: int
) -> None:
    with pytest.raises(IndexError):
        make(tmp_path, range(3))[index]


def test_the_key_of_a_group_cannot_be_changed() -> None:
    group = Group("key", [1])

    with pytest.raises(AttributeError):
        group.key = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        group[0] = ("key", 2)  # type: ignore[index]
    assert repr(group) == "Group(key='key', values=1)"


def test_every_group_is_reduced_once_with_the_auxiliary_data(tmp_path: Path) -> None:
    def reduce_function(group: Group, auxiliary_data: Any) -> list[tuple[Any, Any]]:
        return [(group.key, sum(group.values)), (auxiliary_data, 0)]

    lines = run_reduce(tmp_path, reduce_function, ("a", [1, 2]), ("b", [3]), auxiliary_data="x")

    assert lines == [["a", 3], ["x", 0], ["b", 3], ["x", 0]]


@pytest.mark.parametrize("disk_based", [False, True])
def test_values_are_sorted_when_asked_for(tmp_path: Path, disk_based: bool) -> None:
    reader = reader_of(
        tmp_path,
        ("a", [3, 1, 2]),
        ("b", ["b", None, (1,), b"x", 0.5]),
        sort_values=True,
        disk_based=disk_based,
    )

    assert [list(group.values) for group in reader.groups()] == [[1, 2, 3], [None, 0.5, "b", b"x", (1,)]]


def test_values_on_disk_are_sorted_on_disk(tmp_path: Path) -> None:
    values = [number * 7919 % 1009 for number in range(3000)]
    reader = reader_of(tmp_path, ("a", DiskList(values, directory=str(tmp_path))), sort_values=True)

    (group,) = reader.groups()

    assert isinstance(group.values, DiskList)
    assert list(group.values) == sorted(values)


@pytest.mark.parametrize("value", [{}, {"a": 1}, NAN, (1, NAN)], ids=repr)
@pytest.mark.parametrize("is_on_disk", [False, True])
def test_values_that_have_no_order_are_refused_with_their_key(
    tmp_path: Path, value: Any, is_on_disk: bool
) -> None:
    values = [(3,), value, (1,)] if isinstance(value, tuple) else [3.0, value, 1.0]
    held = DiskList(values) if is_on_disk else values
    reader = reader_of(tmp_path, ("the key", held), sort_values=True)

    with pytest.raises(RecordError, match="'the key' cannot be sorted"):
        list(reader.groups())


def test_groups_are_on_disk_when_asked_for(tmp_path: Path) -> None:
    reader = reader_of(tmp_path, ("a", [1, 2]), ("b", range(1000)), disk_based=True)

    groups = list(reader.groups())

    assert all(isinstance(group, DiskGroup) for group in groups)
    assert [(group.key, list(group.values)) for group in groups] == [("a", [1, 2]), ("b", list(range(1000)))]


def test_many_groups_on_disk_are_not_open_at_once(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = len(os.listdir("/proc/self/fd"))
    values = [bytes(150_000)] * 3
    reader = reader_of(tmp_path, *((number, values) for number in range(60)), disk_based=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 20, hard))
    try:
        lengths = [(group.key, len(group)) for group in reader.groups()]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert lengths == [(number, 3) for number in range(60)]


def test_a_function_with_disk_output_appends_to_the_list_it_gets(tmp_path: Path) -> None:
    def squares(group: Group, argument: tuple[DiskList, Any]) -> DiskList:
        disk_list, auxiliary_data = argument
        for value in group.values:
            disk_list.append((group.key, value * auxiliary_data))
        return disk_list

    lines = run_reduce(
        tmp_path, squares, ("a", range(300)), ("b", [1]), auxiliary_data=2, disk_based_output=True
    )

    assert lines == [*(["a", 2 * number] for number in range(300)), ["b", 2]]


def raising(group: Group, auxiliary_data: Any) -> Any:
    if group.key == "b":
        raise KeyError("gone")
    return [(group.key, 1)]


def raising_later(group: Group, auxiliary_data: Any) -> Any:
    yield group.key, 1
    if group.key == "b":
        raise KeyError("gone")


def stopping(group: Group, auxiliary_data: Any) -> Any:
    return [(group.key, next(iter([1] if group.key != "b" else [])))]


def exiting(group: Group, auxiliary_data: Any) -> Any:
    return [(group.key, 1)] if group.key != "b" else exit(0)


@pytest.mark.parametrize("with_output_on_disk", [False, True])
@pytest.mark.parametrize("function", [raising, raising_later, stopping, exiting])
def test_a_function_that_raises_is_named_with_the_key(
    tmp_path: Path, function: Callable[..., Any], with_output_on_disk: bool
) -> None:
    with pytest.raises(UserFunctionError) as caught:
        run_reduce(
            tmp_path, function, ("a", [1]), ("b", [2]), ("c", [3]), disk_based_output=with_output_on_disk
        )

    assert f"reduce function '{function.__name__}'" in str(caught.value)
    assert "the key 'b'" in str(caught.value)


@pytest.mark.parametrize(
    "returned", [None, 5, "text", ["text"], [5], [("a", 1, 2)], ["ab"], {"ab": 1}], ids=repr
)
def test_what_a_function_returns_has_to_be_pairs(tmp_path: Path, returned: Any) -> None:
    def reduce_function(group: Group, auxiliary_data: Any) -> Any:
        return returned if group.key == "b" else [(group.key, 1)]

    with pytest.raises(PymrError, match=r"pair") as caught:
        run_reduce(tmp_path, reduce_function, ("a", [1]), ("b", [2]), ("c", [3]))

    assert isinstance(caught.value, RecordError | OutputError)


def test_an_error_of_the_engine_passes_through(tmp_path: Path) -> None:
    error = PymrError("what happened")
    with (
        pytest.raises(PymrError) as caught,
        reduce_failures(raising, reader_of(tmp_path), lambda: reader_of(tmp_path), None),
    ):
        raise error

    assert caught.value is error


def test_memory_is_given_back_between_batches(tmp_path: Path) -> None:
    columns = [([number], [[number]]) for number in range(5)]
    reader = GroupReader(iter(columns), full_memory(), str(tmp_path))

    assert [list(group) for group in reader.groups()] == [[(number, number)] for number in range(5)]


def test_progress_counts_groups_handed_out(tmp_path: Path) -> None:
    reader = reader_of(tmp_path, ("a", [1, 2]), ("b", [3]))
    groups = reader.groups()
    seen = [(reader.groups_read, reader.current_key(), next(groups).key) for _ in range(2)]

    assert seen == [(0, None, "a"), (1, "a", "b")]
    assert next(groups, None) is None
    assert (reader.groups_read, reader.values_read) == (2, 3)

"""The mapper: no line is passed over, and every failure names the line it came from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from strategies import items_of, job_context

from pymr.base.errors import PymrError, RecordError, UserFunctionError
from pymr.engine.input.files import Split, list_input_files, plan_splits
from pymr.engine.input.records import RecordReader
from pymr.engine.mapper import check_items, map_failures, map_lines_tolerantly
from pymr.engine.tasks import MapTask, TaskWatch, run_map_task

LINES = [f"line {number}" for number in range(10)]


@pytest.fixture
def splits(tmp_path: Path) -> list[Split]:
    (tmp_path / "input.txt").write_text("".join(f"{line}\n" for line in LINES))
    return plan_splits(list_input_files([str(tmp_path / "input.txt")]))


def run_map(function: Callable[..., Any], splits: list[Split], **options: Any) -> list[Any]:
    """The items a map task leaves, in the order of the lines they came from."""
    folder = os.path.dirname(splits[0].file.path)
    task = MapTask(0, tuple(splits))
    output = run_map_task(job_context(function, **options), task, folder, TaskWatch())
    return items_of(output.runs)


def test_every_line_is_mapped_once_with_the_auxiliary_data(splits: list[Split]) -> None:
    items = run_map(lambda line, auxiliary_data: [(line, auxiliary_data)] * 2, splits, auxiliary_data="data")

    assert sorted(items) == [(line, "data") for line in LINES for _ in range(2)]


@pytest.mark.parametrize("give", [list, tuple, iter, lambda items: (item for item in items)])
def test_items_may_come_in_any_iterable(splits: list[Split], give: Callable[[Any], Any]) -> None:
    items = run_map(lambda line, auxiliary_data: give([(line, 1)]), splits)

    assert sorted(items) == [(line, 1) for line in LINES]


def raising_in(line_number: int, error: BaseException) -> Callable[..., Any]:
    def map_function(line: str, auxiliary_data: Any) -> Any:
        if line == LINES[line_number]:
            raise error
        return [(line, 1)]

    return map_function


def raising_later_in(line_number: int, error: BaseException) -> Callable[..., Any]:
    def map_function(line: str, auxiliary_data: Any) -> Any:
        yield line, 1
        if line == LINES[line_number]:
            raise error

    return map_function


@pytest.mark.parametrize("line_number", [0, 4, 9])
@pytest.mark.parametrize("make", [raising_in, raising_later_in])
@pytest.mark.parametrize(
    "error", [KeyError("gone"), SystemExit(0), RecursionError(), MemoryError()], ids=repr
)
def test_a_function_that_raises_is_named_with_the_line(
    splits: list[Split], make: Callable[..., Any], line_number: int, error: BaseException
) -> None:
    with pytest.raises(UserFunctionError) as caught:
        run_map(make(line_number, error), splits)

    assert "'map_function'" in str(caught.value)
    assert type(error).__name__ in str(caught.value)
    assert f"input.txt, byte {7 * line_number}: '{LINES[line_number]}'" in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("make", [raising_in, raising_later_in])
def test_a_function_that_raises_stop_iteration_does_not_end_the_input(
    splits: list[Split], make: Callable[..., Any]
) -> None:
    with pytest.raises(UserFunctionError, match="line 4") as caught:
        run_map(make(4, StopIteration()), splits)

    assert "'map_function'" in str(caught.value)


@pytest.mark.parametrize(
    "returned",
    [None, 5, "text", [5], [(1, 2, 3)], [(1,)], [None], [("a", 1), "abc"]],
    ids=repr,
)
def test_what_a_function_returns_has_to_be_pairs(splits: list[Split], returned: Any) -> None:
    def map_function(line: str, auxiliary_data: Any) -> Any:
        return returned if line == LINES[4] else [(line, 1)]

    with pytest.raises(PymrError, match="pairs") as caught:
        run_map(map_function, splits)

    assert "'map_function'" in str(caught.value)
    assert "input.txt, byte 28: 'line 4'" in str(caught.value)


@pytest.mark.parametrize(
    "item",
    [
        ([1], 1),
        (float("nan"), 1),
        (("a", float("nan")), 1),
        ("\ud800", 1),
        (1 << 64, 1),
        (1j, 1),
        ("a", {1}),
        ("a", "\ud800"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("line_number", [0, 4, 9])
def test_an_item_that_cannot_be_carried_is_found_with_its_line(
    splits: list[Split], item: Any, line_number: int
) -> None:
    def map_function(line: str, auxiliary_data: Any) -> Any:
        return [item] if line == LINES[line_number] else [(line, 1)]

    with pytest.raises(RecordError) as caught:
        run_map(map_function, splits)

    assert "'map_function'" in str(caught.value)
    assert f"input.txt, byte {7 * line_number}: '{LINES[line_number]}'" in str(caught.value)
    assert repr(item[0]) in str(caught.value)


def test_an_error_of_the_engine_passes_through(splits: list[Split]) -> None:
    error = PymrError("what happened")
    with pytest.raises(PymrError) as caught, map_failures(print, RecordReader(splits), None):
        raise error

    assert caught.value is error


def tolerantly(function: Callable[..., Any]) -> tuple[list[Any], list[Exception]]:
    bad: list[Exception] = []
    return list(map_lines_tolerantly(function, LINES, None, bad.append)), bad


@pytest.mark.parametrize("make", [raising_in, raising_later_in])
@pytest.mark.parametrize("error", [KeyError("gone"), StopIteration(), ValueError("\ud800")], ids=repr)
def test_a_bad_record_gives_no_item_at_all_and_the_others_all_of_theirs(
    make: Callable[..., Any], error: Exception
) -> None:
    items, bad = tolerantly(make(4, error))

    assert items == [(line, 1) for line in LINES if line != LINES[4]]
    assert len(bad) == 1


@pytest.mark.parametrize("returned", [None, "text", [5], [(1, 2, 3)]], ids=repr)
def test_a_record_for_which_no_pairs_are_returned_is_bad(returned: Any) -> None:
    items, bad = tolerantly(lambda line, auxiliary_data: returned if line == LINES[4] else [(line, 1)])

    assert len(items) == 9
    assert len(bad) == 1


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_no_bad_record(interruption: type[BaseException]) -> None:
    with pytest.raises(interruption):
        tolerantly(raising_in(4, interruption()))


@pytest.mark.parametrize("returned", [[], [("a", 1)], (("a", 1),), [["a", 1]], iter([(None, None)])])
def test_items_that_can_be_carried_pass(returned: Any) -> None:
    refused = check_items(returned)

    assert refused is None


@pytest.mark.parametrize("returned", [None, 5, "ab", b"ab", ["ab"], [5], [("a",)], [("a", 1, 2)]], ids=repr)
def test_items_that_are_no_pairs_are_shown(returned: Any) -> None:
    with pytest.raises(RecordError) as caught:
        check_items(returned)

    assert repr(returned) in str(caught.value) or repr(returned[0]) in str(caught.value)

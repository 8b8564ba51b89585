"""All stages together in one process: what the parts show only when they meet."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from strategies import job_context

import pymr
from pymr.base.errors import InputError, OutputError, PymrError, RecordError, UserFunctionError
from pymr.base.zstd import zstd
from pymr.engine.input.files import list_input_files
from pymr.engine.pipeline import map_all, reduce_all
from pymr.engine.tasks import (
    JobContext,
    MapOutput,
    ReduceOutput,
    TaskWatch,
    load_auxiliary,
    plan_map_tasks,
    plan_reduce_tasks,
    run_map_task,
)

TEXT = "".join(f"{number} apple pear {'plum ' * (number % 3)}\n" for number in range(100))


def words(line: str, auxiliary_data: Any) -> Any:
    return [(word, 1) for word in line.split()]


def total(group: Any, auxiliary_data: Any) -> Any:
    return [(group.key, sum(group.values))]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "text.txt").write_text(TEXT)
    return folder


def mapped(context: JobContext, corpus: Path, task_bytes: int = 1 << 20) -> list[MapOutput]:
    folder = corpus.parent / "work"
    folder.mkdir(exist_ok=True)
    return map_all(context, plan_map_tasks(list_input_files([str(corpus)]), task_bytes), str(folder))


def reduced(context: JobContext, corpus: Path, task_bytes: int = 1 << 20) -> list[ReduceOutput]:
    outputs = mapped(context, corpus, task_bytes)
    return reduce_all(context, plan_reduce_tasks(outputs), str(corpus.parent / "work"))


def lines(outputs: list[ReduceOutput]) -> list[bytes]:
    found: list[bytes] = []
    for output in outputs:
        for part in output.parts:
            data = Path(output.directory, part.name).read_bytes()
            if part.name.endswith(".gz"):
                data = gzip.decompress(data)
            elif part.name.endswith(".zst"):
                data = zstd.decompress(data)
            found += data.splitlines()
    return found


def expected_counts() -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in TEXT.split():
        counts[word] = counts.get(word, 0) + 1
    return counts


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"compress": True},
        {"compress": "zstd"},
        {"sort_values": True},
        {"disk_based_input": True},
        {"max_number_dumped_items_shuffler": 7, "max_number_dumped_items_reducer": 3},
        {"max_bad_records": 5},
    ],
    ids=repr,
)
@pytest.mark.parametrize("combine", [None, total])
def test_words_are_counted_alike_however_the_job_is_set(
    corpus: Path, fields: dict[str, Any], combine: Any
) -> None:
    context = job_context(words, total, combine=combine, partitions=3, **fields)

    outputs = reduced(context, corpus, task_bytes=300)

    assert dict(map(json.loads, lines(outputs))) == expected_counts()
    assert len(lines(outputs)) == len(expected_counts())
    assert sum(part.items for output in outputs for part in output.parts) == len(expected_counts())


@pytest.mark.parametrize(
    "engine", [{"merge_fan_in_max": 2}, {"block_bytes": 1}, {"block_codec": "zstd"}], ids=repr
)
def test_words_are_counted_alike_however_the_engine_is_set(corpus: Path, engine: dict[str, Any]) -> None:
    context = job_context(words, total, engine=engine, max_number_dumped_items_shuffler=10)

    assert dict(map(json.loads, lines(reduced(context, corpus, task_bytes=100)))) == expected_counts()


@pytest.mark.parametrize("compress", [False, True, "zstd"])
def test_two_runs_give_the_same_bytes(corpus: Path, tmp_path: Path, compress: Any) -> None:
    found = []
    for name in ("first", "second"):
        folder = tmp_path / name / "corpus"
        folder.mkdir(parents=True)
        (folder / "text.txt").write_text(TEXT)
        outputs = reduced(job_context(words, total, compress=compress), folder)
        found.append([Path(o.directory, part.name).read_bytes() for o in outputs for part in o.parts])

    assert found[0] == found[1]


def test_a_job_without_any_item_has_no_reduce_task(corpus: Path) -> None:
    outputs = mapped(job_context(lambda line, auxiliary_data: []), corpus)

    assert plan_reduce_tasks(outputs) == []
    assert [output.records for output in outputs] == [100]


def test_what_was_read_and_counted_is_told(corpus: Path) -> None:
    def counting(line: str, auxiliary_data: Any) -> Any:
        pymr.count("lines")
        pymr.count("words", len(line.split()))
        return words(line, auxiliary_data)

    outputs = mapped(job_context(counting), corpus, task_bytes=500)

    assert len(outputs) > 2
    assert sum(output.records for output in outputs) == 100
    assert sum(output.bytes for output in outputs) == len(TEXT)
    assert sum(output.counters["lines"] for output in outputs) == 100
    assert sum(output.counters["words"] for output in outputs) == len(TEXT.split())


@pytest.mark.parametrize(
    ("counted", "number"),
    [
        (float("nan"), 0),
        (float("inf"), sys.float_info.max),
        (-float("inf"), -sys.float_info.max),
        (10**400, sys.float_info.max),
        (7, 7),
        (0.5, 0.5),
        (True, 1),
    ],
)
def test_counters_are_numbers_that_json_has(
    corpus: Path, counted: float, number: float, capsys: pytest.CaptureFixture[str]
) -> None:
    def counting(line: str, auxiliary_data: Any) -> list[tuple[str, int]]:
        if line == TEXT.splitlines()[0]:
            pymr.count("once", counted)
        return []

    outputs = mapped(job_context(counting), corpus, task_bytes=len(TEXT))
    found = outputs[0].counters["once"]

    assert (found, type(found)) == (number, type(number))
    assert ("'once' is not a number (NaN); it counts as 0" in capsys.readouterr().err) == (counted != counted)


def place_in(function: Any) -> str:
    """The line of a traceback that leads to the first line of a function."""
    line = function.__code__.co_firstlineno + 1
    return f'test_pipeline.py", line {line}, in {function.__name__}'


def test_no_record_is_lost_to_a_function_that_raises_stop_iteration(corpus: Path) -> None:
    def first_plum(line: str, auxiliary_data: Any) -> Any:
        return [(next(word for word in line.split() if word == "plum"), 1)]

    with pytest.raises(UserFunctionError, match="raised StopIteration") as caught:
        mapped(job_context(first_plum), corpus)

    assert place_in(first_plum) in str(caught.value)


def test_no_group_is_lost_to_a_function_that_raises_stop_iteration(corpus: Path) -> None:
    def even(group: Any, auxiliary_data: Any) -> Any:
        return [(group.key, next(value for value in group.values if value % 2 == 0))]

    with pytest.raises(UserFunctionError, match="raised StopIteration") as caught:
        reduced(job_context(words, even), corpus)

    assert place_in(even) in str(caught.value)


def test_the_place_of_a_stop_iteration_is_told_wherever_it_comes_from(corpus: Path, tmp_path: Path) -> None:
    def even(group: Any, auxiliary_data: Any) -> Any:
        return [(group.key, next(value for value in group.values if value % 2 == 0))]

    def to_disk(group: Any, auxiliary_data: Any) -> Any:
        return even(group, None)

    def once(line: str, auxiliary_data: Any) -> Any:
        calls.append(line)
        return [(line, 1)] if len(calls) != 3 else [(line, next(iter(())))]

    calls: list[str] = []
    contexts = [
        job_context(words, even, disk_based_input=True),
        job_context(words, to_disk, disk_based_output=True),
        job_context(words, total, combine=even),
    ]
    told = []
    for number, context in enumerate(contexts):
        with pytest.raises(UserFunctionError, match="raised StopIteration") as caught:
            reduced(context, shutil.copytree(corpus, tmp_path / str(number) / "corpus"))
        told.append(str(caught.value))
    with pytest.raises(UserFunctionError, match="raised StopIteration") as caught:
        mapped(job_context(once), corpus)

    assert [place_in(even) in text for text in told] == [True] * 3
    assert "byte" in str(caught.value), "of a function that does not do it again, at least the record"


def test_the_place_of_a_stop_iteration_in_a_generator_is_told(corpus: Path, tmp_path: Path) -> None:
    def first_plum(line: str, auxiliary_data: Any) -> Any:
        yield next(word for word in line.split() if word == "plum"), 1

    def even(group: Any, auxiliary_data: Any) -> Any:
        yield group.key, next(value for value in group.values if value % 2 == 0)

    with pytest.raises(UserFunctionError, match="'first_plum' raised StopIteration") as in_map:
        mapped(job_context(first_plum), corpus)
    told = []
    for number, context in enumerate((job_context(words, even), job_context(words, total, combine=even))):
        with pytest.raises(UserFunctionError, match="'even' raised StopIteration") as caught:
            reduced(context, shutil.copytree(corpus, tmp_path / str(number) / "corpus"))
        told.append(str(caught.value))

    assert place_in(first_plum) in str(in_map.value)
    assert "byte 0" in str(in_map.value)
    assert [place_in(even) in text for text in told] == [True] * 2


def test_the_first_line_of_a_failure_says_what_is_wrong_and_the_next_one_where(
    corpus: Path, tmp_path: Path
) -> None:
    def none(line: str, auxiliary_data: Any) -> Any:
        return None

    def single(group: Any, auxiliary_data: Any) -> Any:
        return group.key

    def loose(group: Any, auxiliary_data: Any) -> Any:
        return [(group.key, b"raw")]

    def unhashable(group: Any, auxiliary_data: Any) -> Any:
        return [({}, 1)]

    told = []
    contexts = [
        job_context(none),
        job_context(words, single),
        job_context(words, loose),
        job_context(words, total, combine=unhashable),
    ]
    for number, context in enumerate(contexts):
        with pytest.raises(PymrError) as caught:
            reduced(context, shutil.copytree(corpus, tmp_path / str(number) / "corpus"))
        told.append(str(caught.value).split("\n"))

    assert [lines[0].partition(": it returned")[0] for lines in told[:2]] == [
        "map function 'none'",
        "reduce function 'single'",
    ]
    assert told[2][0].startswith("reduce function 'loose': the output item (")
    assert told[3][0].startswith("combine function 'unhashable': the key {} cannot be used")
    assert told[0][1].startswith("  at ") and "byte 0" in told[0][1]
    assert all(lines[1].startswith("  at the key ") for lines in told[1:])


@contextmanager
def failing_readably() -> Iterator[None]:
    """Around what might raise an error with text that has no UTF-8 form, which a test report cannot hold."""
    try:
        yield
    except PymrError as error:
        failure = ascii(str(error))
    else:
        return
    raise AssertionError(failure) from None


def failing_in_some(message: str) -> Any:
    def map_function(line: str, auxiliary_data: Any) -> Any:
        if line.startswith(("7 ", "8 ")):
            raise ValueError(message)
        return words(line, auxiliary_data)

    return map_function


@pytest.mark.parametrize(
    "message", ["broken", "\ud800 broken", "x" * 10**6, "\n\0"], ids=lambda text: repr(text[:9])
)
def test_bad_records_are_listed_with_file_offset_and_traceback(corpus: Path, message: str) -> None:
    with failing_readably():
        (output,) = mapped(job_context(failing_in_some(message), max_bad_records=2), corpus)

    assert output.bad_records == 2
    assert output.bad_records_path is not None
    listed = [json.loads(line) for line in Path(output.bad_records_path).read_bytes().splitlines()]
    assert [entry["file"] for entry in listed] == [str(corpus / "text.txt")] * 2
    assert [TEXT[entry["offset"] :].partition("\n")[0] for entry in listed] == [
        entry["line"] for entry in listed
    ]
    assert all("ValueError" in entry["error"] and "map_function" in entry["traceback"] for entry in listed)
    assert os.path.getsize(output.bad_records_path) < 100_000


def test_a_bad_record_in_a_file_whose_name_is_no_utf_8_is_listed(corpus: Path) -> None:
    os.rename(corpus / "text.txt", os.fsencode(corpus) + b"/\xff.txt")

    with failing_readably():
        (output,) = mapped(job_context(failing_in_some("broken"), max_bad_records=2), corpus)

    assert output.bad_records == 2


def test_one_bad_record_too_many_ends_the_task(corpus: Path) -> None:
    with pytest.raises(
        UserFunctionError, match=r"max_bad_records = 1 .*broken.*\n.*text\.txt, byte \d+: '8 "
    ) as caught:
        mapped(job_context(failing_in_some("broken"), max_bad_records=1), corpus)

    assert "map_function" in str(caught.value)


@pytest.mark.parametrize("downsample", [1.0, 0.4])
def test_a_bad_item_is_found_with_its_line_among_bad_and_left_out_records(
    corpus: Path, downsample: float
) -> None:
    def map_function(line: str, auxiliary_data: Any) -> Any:
        if line.startswith("1"):
            raise ValueError(line)
        return [(float("nan"), 1)] if line.startswith("9") else words(line, auxiliary_data)

    with pytest.raises(RecordError, match=r"map_function.*nan.*\n.*byte [\d,]+: '9") as caught:
        mapped(job_context(map_function, max_bad_records=100, downsample=downsample), corpus)

    assert "text.txt" in str(caught.value)


def test_a_sample_is_the_same_however_the_input_is_cut(corpus: Path) -> None:
    found = []
    for task_bytes in (50, 700, 1 << 20):
        context = job_context(words, total, downsample=0.5)
        found.append(sorted(lines(reduced(context, corpus, task_bytes))))
        for path in sorted((corpus.parent / "work").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    assert found[0] == found[1] == found[2]
    assert 0 < len(found[0]) < len(expected_counts())


def test_a_value_that_cannot_be_written_is_named(corpus: Path) -> None:
    with pytest.raises(PymrError, match="b'bytes'"):
        reduced(job_context(words, lambda group, auxiliary_data: [(group.key, b"bytes")]), corpus)


@pytest.mark.parametrize("to_disk", [False, True])
def test_a_result_that_is_no_number_is_named_by_its_key_or_written_as_null(
    corpus: Path, to_disk: bool
) -> None:
    def mean(group: Any, auxiliary_data: Any) -> Any:
        items = [(group.key, None), (group.key, float("nan") if group.key == "plum" else 1.0)]
        if to_disk:
            disk_list, _ = auxiliary_data
            disk_list.extend(items)
            return disk_list
        return items

    outputs = mapped(job_context(words), corpus)
    tasks, folders = plan_reduce_tasks(outputs), [corpus.parent / "strict", corpus.parent / "null"]
    for folder in folders:
        folder.mkdir()
    strict, null = (job_context(words, mean, disk_based_output=to_disk, nan=nan) for nan in ("error", "null"))
    with pytest.raises(
        OutputError, match=r"reduce function '\w+': .*nan = \"null\"[^\n]*\n  at the key 'plum'"
    ):
        reduce_all(strict, tasks, str(folders[0]))
    written = lines(reduce_all(null, tasks, str(folders[1])))

    assert written.count(b'["plum",null]') == 2
    assert b'["plum",1.0]' not in written


def test_a_function_that_ends_its_line_by_stop_iteration_is_named_wherever_that_is(corpus: Path) -> None:
    def stopping(line: str, auxiliary_data: Any) -> Any:
        if line == "last":
            raise StopIteration
        return [(line, 1)]

    (corpus / "text.txt").write_text("line\n" * 500_000 + "last\n" + "line\n" * 500_000)

    with pytest.raises(UserFunctionError, match=r"StopIteration.*\n?.*byte 2,500,000: 'last'"):
        mapped(job_context(stopping), corpus, 1 << 30)


def test_a_watch_tells_how_far_a_task_is(corpus: Path) -> None:
    watch = TaskWatch()
    seen = []

    def watching(line: str, auxiliary_data: Any) -> Any:
        seen.append(watch.progress()[0])
        return []

    (task,) = plan_map_tasks(list_input_files([str(corpus)]), 1 << 20)
    folder = corpus.parent / "task"
    folder.mkdir()
    before = watch.progress()
    run_map_task(job_context(watching), task, str(folder), watch)

    assert before == (0, 0)
    assert seen == list(range(1, 101))
    assert watch.progress() == (100, len(TEXT))


def test_tasks_are_numbered_in_the_order_of_their_input(corpus: Path) -> None:
    (corpus / "a.txt").write_text("first\n" * 100)
    tasks = plan_map_tasks(list_input_files([str(corpus)]), 250)

    assert [task.index for task in tasks] == list(range(len(tasks)))
    assert tasks[0].splits[0].file.name == "a.txt"
    assert sum(split.length for task in tasks for split in task.splits) == 600 + len(TEXT)


def test_auxiliary_data_is_read_and_what_is_missing_or_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "auxiliary").mkdir()
    (tmp_path / "auxiliary/good.data").write_text('{"a": [1, null]}')
    (tmp_path / "auxiliary/marked.data").write_bytes(b'\xef\xbb\xbf["a"]')
    (tmp_path / "auxiliary/bad.data").write_text("{")

    assert load_auxiliary(str(tmp_path), None) is None
    assert load_auxiliary(str(tmp_path), "good") == {"a": [1, None]}
    assert load_auxiliary(str(tmp_path), "marked") == ["a"]
    with pytest.raises(InputError, match=r"bad\.data is no JSON"):
        load_auxiliary(str(tmp_path), "bad")
    with pytest.raises(InputError, match=r"absent\.data cannot be read"):
        load_auxiliary(str(tmp_path), "absent")

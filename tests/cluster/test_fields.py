"""What each field of a job does to its output: with the workers of a cluster, and inline.

What needs a whole `pymr run` to be seen is in tests/local/test_fields.
"""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from cluster.running import files_of, parts_of
from cluster.shared import SharedPlace

from pymr.base.zstd import zstd


@pytest.fixture
def place(shared_place: SharedPlace) -> SharedPlace:
    return shared_place


MODES = {"workers": ["--workers", "2"], "inline": ["--inline"]}


in_both_modes = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)


@in_both_modes
def test_auxiliary_data_reach_mapper_combiner_and_reducer(place: SharedPlace, mode: list[str]) -> None:
    (place.folder / "auxiliary").mkdir()
    (place.folder / "auxiliary" / "stop.data").write_text('["the"]')
    (place.folder / "auxiliary" / "weights.data").write_text('{"factor": 10}')
    place.feed("the a a")
    place.job(
        auxiliary_data_name_mapper="stop",
        auxiliary_data_name_reducer="weights",
        combine_function_name="combine",
    )
    place.functions(
        "def words(line, stop):\n    return [(word, 1) for word in line.split() if word not in stop]\n",
        """
        def combine(group, weights):
            assert weights["factor"] == 10
            return [(group.key, sum(group.values))]

        def total(group, weights):
            return [(group.key, sum(group.values) * weights["factor"])]
    """,
    )
    place.succeed(*mode)

    assert place.counts() == {"a": 20}


def test_functions_without_auxiliary_data_get_none(place: SharedPlace) -> None:
    place.feed("a")
    place.functions(
        "def words(line, auxiliary_data):\n    return [(line, auxiliary_data)]\n",
        "def total(group, auxiliary_data):\n    return [(group.key, [auxiliary_data, *group.values])]\n",
    )
    place.succeed()

    assert place.counts() == {"a": [None, None]}


@in_both_modes
def test_disk_based_input_is_a_disk_list_of_items(place: SharedPlace, mode: list[str]) -> None:
    place.feed(*[f"{number}" for number in range(10_000)])
    place.job(disk_based_input=True)
    place.functions(
        "def words(line, auxiliary_data):\n    return [('key', int(line))]\n",
        """
        import pymr

        def total(group, auxiliary_data):
            assert isinstance(group, pymr.DiskList)
            yield "length", [len(group), len(group.values)]
            yield "ends", [group[0], group[-1], group.values[0], group.values[-1]]
            yield "slices", [group[5:7], group.values[9_998:]]
            yield "sum", sum(value for _, value in group)
            yield "again", sum(group.values)
            yield "key", group.key
    """,
    )
    place.succeed(*mode)

    assert place.counts() == {
        "length": [10_000, 10_000],
        "ends": [["key", 0], ["key", 9_999], 0, 9_999],
        "slices": [[["key", 5], ["key", 6]], [9_998, 9_999]],
        "sum": 49_995_000,
        "again": 49_995_000,
        "key": "key",
    }


@in_both_modes
def test_disk_based_output_is_appended_to_a_disk_list(place: SharedPlace, mode: list[str]) -> None:
    place.feed("a b")
    place.job(disk_based_output=True, auxiliary_data_name_reducer="more")
    (place.folder / "auxiliary").mkdir()
    (place.folder / "auxiliary" / "more.data").write_text("[7]")
    place.functions(
        reduce_source="""
        def total(group, disk_list_and_auxiliary_data):
            disk_list, auxiliary_data = disk_list_and_auxiliary_data
            for number in range(5_000):
                disk_list.append((group.key, number))
            disk_list.extend([(group.key, auxiliary_data)])
            return disk_list
    """
    )
    place.succeed(*mode)

    assert len(place.items()) == 10_002
    assert place.items().count(["a", [7]]) == 1
    assert [value for key, value in place.items() if key == "a"][:5_000] == list(range(5_000))


def test_disk_based_output_that_is_not_returned_is_an_error_that_names_the_key(place: SharedPlace) -> None:
    place.feed("a")
    place.job(disk_based_output=True)
    place.functions(
        reduce_source="""
        def total(group, disk_list_and_auxiliary_data):
            disk_list_and_auxiliary_data[0].append((group.key, 1))
    """
    )

    place.fail_everywhere(says=["reduce function 'total'", "the key 'a'"])


@pytest.mark.parametrize(
    ("value", "suffix"), [(True, ".gz"), ("gzip", ".gz"), ("zstd", ".zst"), (False, "")], ids=str
)
def test_output_is_compressed_as_asked_and_the_same_each_time(
    place: SharedPlace, value: Any, suffix: str
) -> None:
    place.feed("a b c d e f")
    place.succeed()
    expected = place.items()
    place.job(compress=value)
    place.succeed("--workers", "2")
    first = parts_of(place.output)
    place.succeed("--inline")

    assert list(first) and all(name.endswith(f".jsonl{suffix}") for name in first)
    assert place.items() == expected
    assert parts_of(place.output) == first
    opened = {".gz": gzip.decompress, ".zst": zstd.decompress, "": bytes}[suffix]
    assert all(opened(content).endswith(b"]\n") for content in first.values())


@pytest.mark.parametrize("compress", [True, "zstd"])
def test_compressed_output_is_the_input_of_another_job(place: SharedPlace, compress: Any) -> None:
    place.feed("a b a")
    place.job(compress=compress)
    place.succeed()
    place.job(input_dirs=[str(place.output)], map_function_name=None)
    second = place.output.with_name("second")
    place.succeed("--output", second)

    assert dict(place.items(second)) == {"a": 2, "b": 1}


@pytest.mark.parametrize("compress", [False, True, "zstd"])
def test_reduce_function_that_raises_under_compression_is_told_without_noise(
    place: SharedPlace, compress: Any
) -> None:
    place.feed("a b c")
    place.job(compress=compress, partitions=1)
    place.functions(
        reduce_source="""
        def total(group, auxiliary_data):
            for number in range(10_000):
                yield group.key, number
            if group.key == "b":
                raise ValueError("enough")
    """
    )
    finished = place.fail("--workers", "2", says=["ValueError: enough", "the key 'b'"])

    assert "Exception ignored" not in finished.out + finished.err


def test_each_output_file_has_at_most_the_items_asked_for(place: SharedPlace) -> None:
    place.feed(*[f"word-{number}" for number in range(100)])
    place.succeed("--inline")
    expected = sorted(map(json.dumps, place.items()))
    place.job(max_number_dumped_items_reducer=7)
    place.succeed("--workers", "2")
    sizes = {name: content.count(b"\n") for name, content in parts_of(place.output).items()}

    assert sorted(map(json.dumps, place.items())) == expected
    assert set(sizes.values()) <= set(range(1, 8))
    assert sum(size == 7 for size in sizes.values()) >= len(sizes) - 3
    assert "part-00000-0001.jsonl" in sizes


def raising_on_bad(place: SharedPlace) -> None:
    place.functions("""
        import pymr

        def words(line, auxiliary_data):
            pymr.count("calls")
            yield "all", 1
            if "bad" in line:
                raise ValueError("this is " + line)
            yield line, 1
    """)


@pytest.mark.parametrize("raised", ["ValueError('\\ud800')", "Odd()"])
def test_bad_record_whose_error_has_no_plain_text_is_listed(place: SharedPlace, raised: str) -> None:
    place.feed("bad")
    place.functions(f"""
        class Odd(Exception):
            def __str__(self):
                raise RuntimeError("no text")

        def words(line, auxiliary_data):
            raise {raised}
    """)
    place.job(max_bad_records=1)
    place.succeed("--workers", "2")

    assert json.loads((place.output / "_bad_records.jsonl").read_text())["line"] == "bad"


def test_output_without_bad_records_has_no_list_of_them(place: SharedPlace) -> None:
    raising_on_bad(place)
    place.feed("good", "bad")
    place.job(max_bad_records=1)
    place.succeed()
    place.feed("good")
    place.succeed()

    assert "_bad_records.jsonl" not in files_of(place.output)


@in_both_modes
def test_bytes_that_are_no_utf8_are_replaced_if_asked(place: SharedPlace, mode: list[str]) -> None:
    place.feed_bytes(b"caf\xe9\nplain\n\xff\xfe")
    place.job(encoding_errors="replace")
    place.succeed(*mode)

    assert place.counts() == {"caf\ufffd": 1, "plain": 1, "\ufffd\ufffd": 1}


@in_both_modes
def test_what_is_no_number_fails_the_job_or_becomes_null(place: SharedPlace, mode: list[str]) -> None:
    place.feed("a b")
    place.functions(
        reduce_source="""
            def total(group, auxiliary_data):
                return [(group.key, {"mean": float("inf") if group.key == "b" else None})]
        """
    )
    place.fail(*mode, says=["the key 'b'", "inf", 'nan = "null"'])
    place.job(nan="null")
    place.succeed(*mode)

    assert place.counts() == {"a": {"mean": None}, "b": {"mean": None}}


@pytest.mark.parametrize("partitions", [1, 2, 40])
def test_partitions_are_as_many_as_asked(place: SharedPlace, partitions: int) -> None:
    place.feed(" ".join(f"word{number}" for number in range(400)))
    place.job(partitions=partitions)
    place.succeed("--workers", "2")

    assert sorted(parts_of(place.output)) == [f"part-{n:05d}-0000.jsonl" for n in range(partitions)]
    assert len(place.counts()) == 400
    for content in parts_of(place.output).values():
        keys = [json.loads(line)[0] for line in content.splitlines()]
        assert keys == sorted(keys)

"""Every field of a mapreduce job that needs no cluster, by what `pymr run` makes of it."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from cluster.running import Place, files_of, parts_of, set_options

from pymr.engine.zstd import zstd

MODES = {"workers": ["--workers", "2"], "inline": ["--inline"]}
in_both_modes = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)


@in_both_modes
def test_combine_function_is_called_on_the_map_side(place: Place, mode: list[str]) -> None:
    place.feed("a a a b")
    place.job(combine_function_name="combine")
    place.functions(
        reduce_source="""
        import pymr

        def combine(group, auxiliary_data):
            pymr.count("combined", len(group))
            return [(group.key, sum(group.values))]

        def total(group, auxiliary_data):
            return [(group.key, list(group.values))]
    """
    )
    finished = place.succeed(*mode)

    assert place.counts() == {"a": [3], "b": [1]}
    assert "items shuffled  2" in finished.out
    assert "combined = 3" in finished.out


@in_both_modes
def test_auxiliary_data_reach_mapper_combiner_and_reducer(place: Place, mode: list[str]) -> None:
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


def test_functions_without_auxiliary_data_get_none(place: Place) -> None:
    place.feed("a")
    place.functions(
        "def words(line, auxiliary_data):\n    return [(line, auxiliary_data)]\n",
        "def total(group, auxiliary_data):\n    return [(group.key, [auxiliary_data, *group.values])]\n",
    )
    place.succeed()

    assert place.counts() == {"a": [None, None]}


@in_both_modes
@pytest.mark.parametrize("disk_based", [False, True])
def test_sorted_values_arrive_in_the_order_of_keys(place: Place, mode: list[str], disk_based: bool) -> None:
    place.feed("3", "'b'", "None", "(1, 2)", "'a'", "1.5", "True", "-2", "(1,)", "b'x'")
    place.job(sort_values=True, disk_based_input=disk_based)
    place.functions(
        "def words(line, auxiliary_data):\n    return [('key', eval(line))]\n",
        "def total(group, auxiliary_data):\n    return [(group.key, list(map(repr, group.values)))]\n",
    )
    place.succeed(*mode, *set_options(max_number_dumped_items_shuffler=3, engine__merge_fan_in_max=2))

    order = ["None", "-2", "True", "1.5", "3", "'a'", "'b'", "b'x'", "(1,)", "(1, 2)"]
    assert place.counts() == {"key": order}


@in_both_modes
def test_disk_based_input_is_a_disk_list_of_items(place: Place, mode: list[str]) -> None:
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
def test_disk_based_output_is_appended_to_a_disk_list(place: Place, mode: list[str]) -> None:
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


def test_disk_based_output_that_is_not_returned_is_an_error_that_names_the_key(place: Place) -> None:
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
def test_output_is_compressed_as_asked_and_the_same_each_time(place: Place, value: Any, suffix: str) -> None:
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
def test_compressed_output_is_the_input_of_another_job(place: Place, compress: Any) -> None:
    place.feed("a b a")
    place.job(compress=compress)
    place.succeed()
    place.job(input_dirs=[str(place.output)], map_function_name=None)
    second = place.output.with_name("second")
    place.succeed("--output", second)

    assert dict(place.items(second)) == {"a": 2, "b": 1}


@pytest.mark.parametrize("compress", [False, True, "zstd"])
def test_reduce_function_that_raises_under_compression_is_told_without_noise(
    place: Place, compress: Any
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


def test_each_output_file_has_at_most_the_items_asked_for(place: Place) -> None:
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


def raising_on_bad(place: Place) -> None:
    place.functions("""
        import pymr

        def words(line, auxiliary_data):
            pymr.count("calls")
            yield "all", 1
            if "bad" in line:
                raise ValueError("this is " + line)
            yield line, 1
    """)


@in_both_modes
def test_bad_records_within_the_bound_are_listed_and_left_out(place: Place, mode: list[str]) -> None:
    raising_on_bad(place)
    place.feed("good", "bad é 1", "good", name="a.txt")
    place.feed("bad 2", name="b.txt")
    place.job(max_bad_records=2)
    finished = place.succeed(*mode)
    listed = [json.loads(line) for line in (place.output / "_bad_records.jsonl").read_text().splitlines()]

    assert place.counts() == {"good": 2, "all": 2}
    assert [(one["file"], one["offset"], one["line"]) for one in listed] == [
        (str(place.input / "a.txt"), 5, "bad é 1"),
        (str(place.input / "b.txt"), 0, "bad 2"),
    ]
    assert listed[0]["error"] == "ValueError: this is bad é 1"
    assert "map_functions.py" in listed[0]["traceback"]
    assert "bad records     2, listed in _bad_records.jsonl" in finished.out


@pytest.mark.parametrize("split_bytes", [1, 1000])
def test_more_bad_records_than_allowed_end_the_job(place: Place, split_bytes: int) -> None:
    raising_on_bad(place)
    place.feed("good", "bad 1", "bad 2", "bad 3")
    place.job(max_bad_records=2)

    place.fail_everywhere(
        *set_options(engine__split_bytes=split_bytes), says=["max_bad_records", "'words'", "2"]
    )


def test_bad_records_are_listed_in_the_same_order_for_any_workers_and_splits(place: Place) -> None:
    raising_on_bad(place)
    place.feed(*[f"bad {number}" for number in range(50)])
    place.job(max_bad_records=50)
    place.succeed("--inline")
    listed = (place.output / "_bad_records.jsonl").read_bytes()
    place.succeed("--workers", "5", *set_options(engine__split_bytes=30))

    assert (place.output / "_bad_records.jsonl").read_bytes() == listed


def test_bad_record_in_a_file_whose_name_is_no_utf8_is_listed(place: Place) -> None:
    raising_on_bad(place)
    place.feed("bad", name="caf\udce9.txt")
    place.job(max_bad_records=1)
    place.succeed("--workers", "2")

    assert "this is bad" in (place.output / "_bad_records.jsonl").read_text()


@pytest.mark.parametrize("raised", ["ValueError('\\ud800')", "Odd()"])
def test_bad_record_whose_error_has_no_plain_text_is_listed(place: Place, raised: str) -> None:
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


def test_output_without_bad_records_has_no_list_of_them(place: Place) -> None:
    raising_on_bad(place)
    place.feed("good", "bad")
    place.job(max_bad_records=1)
    place.succeed()
    place.feed("good")
    place.succeed()

    assert "_bad_records.jsonl" not in files_of(place.output)


@in_both_modes
def test_bytes_that_are_no_utf8_are_replaced_if_asked(place: Place, mode: list[str]) -> None:
    place.feed_bytes(b"caf\xe9\nplain\n\xff\xfe")
    place.job(encoding_errors="replace")
    place.succeed(*mode)

    assert place.counts() == {"caf\ufffd": 1, "plain": 1, "\ufffd\ufffd": 1}


@pytest.mark.parametrize("partitions", [1, 2, 40])
def test_partitions_are_as_many_as_asked(place: Place, partitions: int) -> None:
    place.feed(" ".join(f"word{number}" for number in range(400)))
    place.job(partitions=partitions)
    place.succeed("--workers", "2")

    assert sorted(parts_of(place.output)) == [f"part-{n:05d}-0000.jsonl" for n in range(partitions)]
    assert len(place.counts()) == 400
    for content in parts_of(place.output).values():
        keys = [json.loads(line)[0] for line in content.splitlines()]
        assert keys == sorted(keys)


def test_partitions_are_as_many_as_workers_when_left_open(place: Place) -> None:
    place.feed(" ".join(f"word{number}" for number in range(400)))
    place.job(partitions=None)
    place.succeed("--workers", "4")

    assert len(parts_of(place.output)) == 4


def test_output_is_added_to_if_asked(place: Place) -> None:
    place.feed("a b c")
    place.job(delete_job_data=False, max_number_dumped_items_reducer=1)
    place.succeed()
    first = parts_of(place.output)
    place.feed("c d")
    place.succeed()
    place.succeed("--inline", *set_options(compress="zstd"))
    added = parts_of(place.output)

    assert {name: added[name] for name in first} == first
    assert sorted(map(json.dumps, place.items())) == sorted(
        map(json.dumps, [[key, 1] for key in "abc" + "cd" * 2])
    )
    manifest = json.loads((place.output / "_manifest.json").read_text())
    assert {part["name"] for part in manifest["parts"]} == set(added)


def test_output_replaces_the_one_before(place: Place) -> None:
    place.feed("a b c")
    place.succeed(*set_options(partitions=9, max_number_dumped_items_reducer=1))
    place.feed("z")
    place.succeed()

    assert place.counts() == {"z": 1}


def test_bad_records_of_the_output_that_is_added_to_stay_listed(place: Place) -> None:
    raising_on_bad(place)
    place.feed("good", "bad 1")
    place.job(delete_job_data=False, max_bad_records=5)
    place.succeed()
    place.feed("good", "bad 2")
    place.succeed()

    assert len((place.output / "_bad_records.jsonl").read_text().splitlines()) == 2


def test_failed_addition_leaves_the_output_as_it_was(place: Place) -> None:
    place.feed("a")
    place.job(delete_job_data=False)
    place.succeed()
    before = files_of(place.output)
    place.job(delete_job_data=False, reduce_function_name="absent")
    finished = place.run()

    assert finished.status == 1
    assert files_of(place.output) == before


def test_counters_of_an_attempt_that_failed_are_dropped_with_it(place: Place) -> None:
    mark = place.folder / "mark"
    place.feed(*"abc")
    place.functions(f"""
        import os

        import pymr

        def words(line, auxiliary_data):
            pymr.count("lines")
            if line == "c" and not os.path.exists({str(mark)!r}):
                open({str(mark)!r}, "w").close()
                raise RuntimeError("once")
            return [(line, 1)]
    """)
    finished = place.succeed("--workers", "1")

    assert "trying again" in finished.out
    assert "lines = 3\n" in finished.out


def test_job_that_needs_a_cluster_to_hold_its_state_says_so(place: Place) -> None:
    """Without a cluster nothing is remembered: passing over that in silence would count twice."""
    place.feed("a")
    place.job(hold_state=True)
    finished = place.run()

    assert "hold_state" in finished.out + finished.err

"""Every field of a mapreduce job that needs no cluster, by what `pymr run` makes of it.

Fields that only the engine heeds have their tests in test_fields.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from cluster.running import Place, files_of, parts_of, set_options

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


@pytest.mark.parametrize("compress", [True, "zstd"])
def test_compressed_output_is_the_input_of_another_job(place: Place, compress: Any) -> None:
    place.feed("a b a")
    place.job(compress=compress, auxiliary_data_name_mapper="stop")
    (place.folder / "auxiliary").mkdir()
    (place.folder / "auxiliary" / "stop.data").write_text('["b"]')
    place.functions(
        "def words(line, stop):\n    return [(word, 1) for word in line.split() if word not in stop]\n"
    )
    place.succeed("--workers", "2")
    place.job(input_dirs=[str(place.output)], map_function_name=None)
    second = place.output.with_name("second")
    place.succeed("--inline", "--output", second)

    assert dict(place.items(second)) == {"a": 2}


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


@pytest.mark.parametrize("split_bytes", [1])
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
    place.succeed("--inline", *set_options(partitions=9, max_number_dumped_items_reducer=1))
    place.feed("z")
    place.succeed()

    assert place.counts() == {"z": 1}


def test_bad_records_of_the_output_that_is_added_to_stay_listed(place: Place) -> None:
    raising_on_bad(place)
    place.feed("good", "bad 1")
    place.job(delete_job_data=False, max_bad_records=5)
    place.succeed("--inline")
    place.feed("good", "bad 2")
    place.succeed()

    assert len((place.output / "_bad_records.jsonl").read_text().splitlines()) == 2


def test_failed_addition_leaves_the_output_as_it_was(place: Place) -> None:
    place.feed("a")
    place.job(delete_job_data=False)
    place.succeed("--inline")
    before = files_of(place.output)
    place.job(delete_job_data=False, reduce_function_name="absent")
    finished = place.run()

    assert finished.status == 2  # a function that does not exist: see docs/cluster.md
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

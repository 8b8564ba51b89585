"""`pymr run` gives the same bytes whatever the workers, splits and memory; `--inline` is the oracle."""

from __future__ import annotations

import gzip
import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster.clusters import Cluster
from cluster.generated_items import keys, values
from cluster.inline import request_of, run_here
from cluster.running import PROJECTS, Place, parts_of, set_options
from cluster.shared import SharedPlace
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = ["access_log", "inverted_index", "join", "sort_records", "wordcount"]
TINY_ENGINE = {"memory_bytes_per_worker": 67_108_864, "merge_fan_in_max": 2, "block_bytes": 1}
TINY_JOB = {"max_number_dumped_items_shuffler": 7}
TINY = set_options(**{f"engine__{name}": value for name, value in TINY_ENGINE.items()}, **TINY_JOB)
VARIANTS: dict[str, tuple[int, dict[str, object], dict[str, object]]] = {
    "1 worker": (1, {}, {}),
    "2 workers": (2, {}, {}),
    "5 workers": (5, {}, {}),
    "tiny bounds": (2, TINY_ENGINE, TINY_JOB),
    "splits of 64 bytes": (2, {"split_bytes": 64}, {}),
    "splits of 1000 bytes, tiny bounds": (5, {"split_bytes": 1_000, **TINY_ENGINE}, TINY_JOB),
    "compressed blocks": (2, {"block_codec": "zstd"}, {}),
}
"""Workers, settings of the engine, fields of the job."""


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_gives_the_same_bytes_with_workers_and_inline(place: Place, name: str) -> None:
    job = PROJECTS / name / f"{name}.toml"
    expected = output_of(place, job, ["--inline"])

    assert sum(map(len, expected.values())) > 100
    assert output_of(place, job, ["--workers", "2"]) == expected
    assert output_of(place, job, ["--inline", *set_options(engine__split_bytes=64), *TINY]) == expected


@pytest.mark.parametrize(("workers", "engine", "fields"), VARIANTS.values(), ids=VARIANTS)
def test_every_job_gives_the_same_bytes_in_every_way(
    make_cluster: Callable[..., Cluster],
    make_shared_place: Callable[[Cluster], SharedPlace],
    workers: int,
    engine: dict[str, object],
    fields: dict[str, object],
) -> None:
    """The examples, and a job in which 1, 1.0 and True are one key: which of them it is written as hangs on
    the input alone, also where a group is larger than its blocks."""
    cluster = make_cluster(peers=1, workers=workers, settings={"engine": engine}).start()
    place = make_shared_place(cluster)
    place.functions(
        "def words(line, auxiliary_data):\n    return [(eval(line), line)]\n",
        "def total(group, auxiliary_data):\n    return [(group.key, list(group.values))]\n",
    )
    place.feed(*["1", "5", "True", "1.0", "0", "0.0", "False", "True"] * 10)
    jobs = [*(PROJECTS / name / f"{name}.toml" for name in EXAMPLES), place.folder / "job.toml"]
    options = set_options(**{f"engine__{name}": value for name, value in engine.items()}, **fields)
    expected = {job.name: output_of(place, job, ["--inline"]) for job in jobs}
    found = {job.name: output_of(place, job, options) for job in jobs}

    assert all(sum(map(len, parts.values())) > 20 for parts in expected.values())
    assert [name for name, parts in found.items() if parts != expected[name]] == []


def output_of(place: Place, job: Path, options: list[str]) -> dict[str, bytes]:
    place.succeed(*options, "--set", "partitions=3", job=job)
    return parts_of(place.output)


@pytest.mark.parametrize("split_bytes", [1, 64, 1000])
def test_every_split_size_gives_the_same_bytes(place: Place, split_bytes: int) -> None:
    """Endings of both kinds, lines longer than a split, characters of several bytes, no last line ending."""
    source = random.Random(3)
    words = ["a", "é", "☃", "𝄞", "long" * 30, "b"]
    lines = [" ".join(source.choices(words, k=source.randrange(5))) for _ in range(14)]
    place.feed_bytes("\n".join(lines).encode(), "unix.txt")
    place.feed_bytes("\r\n".join(lines[:7]).encode() + b"\r\n", "windows.txt")
    place.feed_bytes(b"", "empty.txt")
    place.functions(
        "def words(line, auxiliary_data):\n    return [(word, line) for word in line.split(' ')]\n",
        "def total(group, auxiliary_data):\n    return list(group)\n",
    )
    place.succeed("--inline")
    expected = parts_of(place.output)
    place.succeed("--workers", "2", *set_options(engine__split_bytes=split_bytes))

    assert parts_of(place.output) == expected
    assert not any(b"\\r" in content for content in expected.values())


def test_downsample_keeps_the_same_records_in_every_way(place: Place) -> None:
    for number in range(3):
        place.feed(*[f"line-{number}-{one}" for one in range(400)], name=f"{number}.txt")
    place.job(downsample=0.3)
    place.succeed("--inline")
    expected = parts_of(place.output)
    kept = len(place.items())

    assert 250 < kept < 470
    for options in (["--workers", "1"], ["--workers", "5", *set_options(engine__split_bytes=100)]):
        place.succeed(*options)
        assert parts_of(place.output) == expected

    place.succeed("--inline", *set_options(engine__downsample_seed=1))

    assert parts_of(place.output) != expected


def test_combined_job_gives_what_the_plain_one_gives(place: Place) -> None:
    source = random.Random(4)
    place.feed(*[" ".join(source.choices("abcdefgh", k=20)) for _ in range(200)])
    place.succeed("--inline")
    expected = parts_of(place.output)
    place.job(combine_function_name="total")
    for options in ([], TINY, set_options(engine__split_bytes=200)):
        place.succeed("--workers", "2", *options)
        assert parts_of(place.output) == expected


def test_key_keeps_its_first_form_where_its_values_fill_several_blocks(place: Place) -> None:
    place.functions(
        "def words(line, auxiliary_data):\n    return [(eval(line), line)]\n",
        "def total(group, auxiliary_data):\n    return [(group.key, len(group.values))]\n",
    )
    place.feed("1", "5", name="1.txt")
    place.feed_bytes(gzip.compress(b"True\n" * 300), "2.txt.gz")
    place.job(partitions=1)
    place.succeed("--inline")
    expected = parts_of(place.output)
    place.succeed("--workers", "2", *set_options(engine__block_bytes=30, engine__split_bytes=4))

    assert expected == {"part-00000-0000.jsonl": b"[1,301]\n[5,1]\n"}
    assert parts_of(place.output) == expected


records = st.lists(st.tuples(keys, values), max_size=120)

MAP_EVALUATED = """
    def words(line, auxiliary_data):
        return [eval(line, {"inf": float("inf")})]
"""
REDUCE_SHOWN = """
    def total(group, auxiliary_data):
        return [(repr(group.key), [repr(value) for value in group.values])]
"""


@given(
    items=records,
    workers=st.sampled_from([1, 2, 5]),
    split_bytes=st.sampled_from([1, 20, 64, 1000]),
    spill_items=st.integers(1, 9),
    fan_in=st.integers(2, 3),
    block_bytes=st.sampled_from([1, 30, 100_000]),
    sort_values=st.booleans(),
    disk_based=st.booleans(),
)
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_random_items_give_the_same_bytes_in_every_way(
    items: list[tuple[object, object]],
    workers: int,
    split_bytes: int,
    spill_items: int,
    fan_in: int,
    block_bytes: int,
    sort_values: bool,
    disk_based: bool,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        place.functions(MAP_EVALUATED, REDUCE_SHOWN)
        if sort_values:  # dicts have no order
            items = [(key, json.dumps(value)) for key, value in items]
        place.feed(*map(repr, items))
        place.job(sort_values=sort_values, disk_based_input=disk_based)
        inline = request_of(place.folder, "job.toml", "--inline", "--output", place.output)
        assert run_here(inline) == ""
        expected = parts_of(place.output)
        place.succeed(
            *("--workers", workers),
            *set_options(
                engine__split_bytes=split_bytes,
                engine__merge_fan_in_max=fan_in,
                engine__block_bytes=block_bytes,
                max_number_dumped_items_shuffler=spill_items,
            ),
        )

        assert parts_of(place.output) == expected
        assert place.left_files() == [] and place.left_processes() == []

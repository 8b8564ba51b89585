"""Generated jobs: keys, values, partitions, splits, bounds, combine and compression, drawn by hypothesis."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from cluster.generated_items import keys, values
from cluster.inline import request_of, run_here
from cluster.running import Place, parts_of
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from pymr.engines.core.driver import Engine

MAP_EVALUATED = """
    import pymr

    def words(line, auxiliary_data):
        pymr.count("lines")
        return [eval(line, {"inf": float("inf")})]
"""
REDUCE_SHOWN = """
    def total(group, auxiliary_data):
        return [(repr(group.key), [repr(value) for value in group.values])]

    def joined(group, auxiliary_data):
        return [(group.key, [one for value in group.values for one in _listed(value)])]

    def _listed(value):
        return value if isinstance(value, tuple) else [value]
"""

IN_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where the files of a job lie: on a disk, half of the time of these tests is waiting for it."""


@st.composite
def jobs(draw: st.DrawFn) -> tuple[list[str], dict[str, object], dict[str, object]]:
    """(input lines, fields of the job, settings of the engine)."""
    items = draw(st.lists(st.tuples(keys, values), max_size=24))
    sort_values = draw(st.booleans())
    if sort_values:  # dicts have no order
        items = [(key, json.dumps(value)) for key, value in items]
    fields = {
        "sort_values": sort_values,
        "disk_based_input": draw(st.booleans()),
        "combine_function_name": draw(st.sampled_from([None, None, "joined"])) if not sort_values else None,
        "compress": draw(st.sampled_from([False, False, "gzip", "zstd"])),
        "partitions": draw(st.integers(1, 5)),
        "max_number_dumped_items_shuffler": draw(st.integers(1, 9)),
        "max_number_dumped_items_reducer": draw(st.sampled_from([1, 3, 500_000])),
        "downsample": draw(st.sampled_from([1.0, 1.0, 0.5])),
    }
    engine = {
        "split_bytes": draw(st.sampled_from([20, 64, 1_000])),
        "merge_fan_in_max": draw(st.integers(2, 3)),
        "block_bytes": draw(st.sampled_from([1, 30, 100_000])),
        "block_codec": draw(st.sampled_from(["none", "zstd"])),
    }
    return list(map(repr, items)), fields, engine


def check_generated_jobs(engine: Engine, count: int, batch: int = 0) -> None:
    """That `count` jobs give the same bytes on an engine as inline. batch: which ones, always the same."""

    @seed(batch)
    @given(job=jobs())
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    def check(job: tuple[list[str], dict[str, object], dict[str, object]]) -> None:
        lines, fields, settings_of_engine = job
        with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
            place = Place(Path(folder))
            place.functions(MAP_EVALUATED, REDUCE_SHOWN)
            place.feed(*lines)
            place.job(**{name: value for name, value in fields.items() if value is not None})
            options = [f"--set=engine.{name}={value}" for name, value in settings_of_engine.items()]
            inline = request_of(place.folder, "job.toml", "--inline", *options, "--output", "inline")
            assert run_here(inline) == ""
            expected = parts_of(place.folder / "inline")
            there = replace(inline, inline=False, output_dir=str(place.folder / "there"))

            assert run_here(there, engine) == ""
            assert parts_of(place.folder / "there") == expected
            assert place.left_files() == []

    check()

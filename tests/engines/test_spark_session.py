"""A job in a SparkSession that somebody has already."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest
from cluster.running import Place, parts_of, set_options

import pymr.engines.spark
from pymr.base.errors import RunFailedError
from pymr.engines.core.opened import interrupting_handlers_kept

pytest.importorskip("pyspark")


def test_job_runs_in_a_session_that_goes_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyspark.sql import SparkSession

    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    place.feed("a b a", "c")
    place.succeed("--inline", *set_options(partitions=3))
    expected = parts_of(place.output)
    with interrupting_handlers_kept():  # Spark takes one for itself
        session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        with contextlib.chdir(place.folder):
            summary = pymr.engines.spark.run("job.toml", session, output="there")

        assert summary.groups == 3
        assert parts_of(Path(summary.output_dir)) == expected

        place.functions("def words(line, auxiliary_data):\n    return [(line, 1 // (line != 'c'))]\n")
        with contextlib.chdir(place.folder), pytest.raises(RunFailedError, match="ZeroDivisionError"):
            pymr.engines.spark.run("job.toml", session, output="there")

        assert session.range(3).count() == 3
        assert parts_of(Path(summary.output_dir)) == expected
    finally:
        session.stop()

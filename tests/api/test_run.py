"""`pymr.run`: what `pymr run` does, from Python."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.inline import request_of
from cluster.running import Place, parts_of
from written_projects import import_state

import pymr
from pymr.base.errors import JobError

__all__ = ["import_state"]


@pytest.fixture
def place(tmp_path: Path, import_state: None) -> Iterator[Place]:
    with contextlib.chdir(tmp_path):
        yield Place(tmp_path)


def test_job_of_a_file_and_job_of_a_dict_give_the_same(place: Place) -> None:
    place.feed("a b a")
    summary = pymr.run("job.toml", inline=True)
    fields = tomllib.loads((place.folder / "job.toml").read_text())
    again = pymr.run(fields, inline=True, output="again")

    assert summary.output_dir == str(place.folder / "output" / "job")
    assert (summary.records, summary.groups, again.groups) == (1, 2, 2)
    assert parts_of(place.folder / "again") == parts_of(Path(summary.output_dir)) != {}


def test_inputs_and_projects_are_those_that_are_named(place: Place) -> None:
    (place.folder / "other").mkdir()
    (place.folder / "other" / "text").write_text("x y z\n")
    (place.folder / "projects").rename(place.folder / "code")
    summary = pymr.run("job.toml", inline=True, inputs=["other"], projects="code", output="out")

    assert (summary.files, summary.groups) == (1, 3)


def test_engine_of_the_job_is_meant_where_no_other_is_named(place: Place) -> None:
    place.job(engine="ray")

    def chosen(*options: str) -> str | None:
        backend = request_of(place.folder, "job.toml", *options).backend
        return backend.name if backend is not None else None

    assert chosen() == "ray"
    assert chosen("--engine", "dask") == "dask"
    assert chosen("--set", "engine=pymr") is None and chosen("--inline") is None


def test_what_cannot_be_run_is_refused(place: Place) -> None:
    script = {"job_type": "script", "job_name": "s", "job_priority": 1, "script_location": "p/s.py"}
    with pytest.raises(JobError, match="only mapreduce jobs"):
        pymr.run(script)
    with pytest.raises(ValueError, match="dask, ray, spark"):
        pymr.run("job.toml", engine="hadoop")
    with pytest.raises(ValueError, match="exclude each other"):
        pymr.run("job.toml", engine="dask", inline=True)

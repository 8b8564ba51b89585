"""`pymr run` from Python: a job of a file or a dict, run to its end."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymr.base.errors import JobError, Problem
from pymr.config.cluster import load_config
from pymr.jobs.job import MapReduceJob, load_job, parse_job
from pymr.local.run import run_job
from pymr.runs.info import BACKENDS, Backend, RunSummary
from pymr.runs.phases import Phase
from pymr.runs.request import config_path, request_for

if TYPE_CHECKING:
    from pymr.engines.core.driver import Engine

JobSource = str | os.PathLike[str] | Mapping[str, Any]
"""The path of a job's TOML file, or its fields."""


def run(
    job: JobSource,
    *,
    engine: str | None = None,
    engine_address: str | None = None,
    engine_options: Mapping[str, Any] | None = None,
    projects: str | None = None,
    inputs: Sequence[str] = (),
    output: str | None = None,
    workers: int | None = None,
    inline: bool = False,
    config: str | None = None,
) -> RunSummary:
    """Run a mapreduce job and write its output into a folder, as `pymr run` does with the same options.

    job: relative paths in it are taken from the folder of its file, for fields from the current one. engine:
    "spark", "ray" or "dask"; None for what the job says, else workers of this machine.
    Returns what the run did; the parts lie in its `output_dir`. Raises PymrError with what failed and where,
    ValueError for an engine that does not exist.
    """
    if engine is not None and engine not in BACKENDS:
        raise ValueError(f"engine = {engine!r}: must be one of {', '.join(BACKENDS)}")
    if engine is not None and inline:
        raise ValueError("inline and engine exclude each other")
    options = tuple((key, str(value)) for key, value in (engine_options or {}).items())
    backend = Backend(engine, engine_address, options) if engine is not None else None
    request = request_for(
        *_read(job),
        load_config(config_path(config)),
        projects=projects,
        inputs=inputs,
        output=output,
        workers=workers,
        inline=inline,
        backend=backend,
    )
    return run_job(request, Nobody())


def run_with(
    engine: Engine,
    job: JobSource,
    *,
    projects: str | None = None,
    inputs: Sequence[str] = (),
    output: str | None = None,
    config: str | None = None,
) -> RunSummary:
    """The same on an engine that is open, and stays so."""
    settings = load_config(config_path(config))
    request = request_for(*_read(job), settings, projects=projects, inputs=inputs, output=output)
    return run_job(request, Nobody(), engine)


class Nobody:
    """To whom a run is shown that nobody looks at."""

    def on_phase(self, phase: Phase) -> None:
        """See Observer."""

    def on_output(self, worker: str, lines: list[str]) -> None:
        """See Observer."""

    def on_notice(self, text: str) -> None:
        """See Observer."""


def _read(job: JobSource) -> tuple[MapReduceJob, Path]:
    """The job, and the path that its own are relative to the folder of. Raises JobError."""
    if isinstance(job, Mapping):
        path, parsed = Path.cwd() / "job", parse_job(job)
    else:
        path, parsed = Path(job), load_job(job)
    if not isinstance(parsed, MapReduceJob):
        problem = Problem("job_type", parsed.job_type, "needs a cluster; only mapreduce jobs can be run")
        raise JobError(str(path), (problem,))
    return parsed, path

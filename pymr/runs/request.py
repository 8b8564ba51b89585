"""What a run of a job on this machine, or from it, is asked for: by `pymr run`, or from Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from pymr.config.cluster import BackendConfig, ClusterConfig
from pymr.config.kinds import split_at_equals
from pymr.jobs.external_engines import OWN_ENGINE
from pymr.jobs.job import MapReduceJob
from pymr.jobs.required_project import find_projects_dir
from pymr.runs.info import Backend, RunRequest

CONFIG_NAME = "cluster.toml"


def config_path(given: str | None) -> str | None:
    """The configuration of a run: the one that was named, else that of the current folder, if any."""
    return CONFIG_NAME if given is None and os.path.exists(CONFIG_NAME) else given


def request_for(
    job: MapReduceJob,
    job_path: Path,
    config: ClusterConfig,
    *,
    projects: str | None = None,
    inputs: Sequence[str] = (),
    output: str | None = None,
    workers: int | None = None,
    inline: bool = False,
    backend: Backend | None = None,
) -> RunRequest:
    """A job with where to run it. job_path: of its file; relative paths of the job are taken from its folder.

    Those of the other arguments are taken from the current folder. backend: None for what the job says.
    Raises ProjectError.
    """
    if backend is None and not inline and job.engine != OWN_ENGINE:
        backend = Backend(job.engine)
    data_dir = str(job_path.absolute().parent)
    if projects is None:
        beside = Path(config.source or CONFIG_NAME)
        projects = str(find_projects_dir(job_path, msgspec.structs.asdict(job), beside))
    folders = inputs or [os.path.join(data_dir, name) for name in job.input_dirs]
    return RunRequest(
        job=job,
        input_dirs=tuple(map(os.path.abspath, folders)),
        projects_dir=str(Path(projects).absolute()),
        data_dir=data_dir,
        output_dir=os.path.abspath(output or os.path.join("output", job.job_name)),
        workers=workers or cores(),
        engine=config.engine,
        inline=inline,
        backend=backend and configured_backend(backend, config),
        grace_s=config.scheduler.machine_grace_seconds,
    )


def configured_backend(backend: Backend, config: ClusterConfig) -> Backend:
    """The engine, with the configuration's values where the caller gives none."""
    section: BackendConfig = getattr(config, f"engine_{backend.name}")
    options = tuple(map(split_at_equals, section.options)) + backend.options
    return replace(backend, address=backend.address or section.address, options=options)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""The setup of a run: all that its tasks need, in a folder that every worker of the engine can read.

RUN_DIR/setup               msgpack of RunSetup
RUN_DIR/plan                the map tasks, see `engine.plans`
RUN_DIR/projects/NAME       the project as it was when the run began
RUN_DIR/auxiliary/NAME.data
RUN_DIR/attempts/           a folder for each reduce attempt; those that count are published
RUN_DIR/bad-records/, failures/, output/    what map tasks let pass, how attempts failed, what they printed
RUN_DIR/contents/           see `contents`
RUN_DIR/local/              files of single tasks, where all workers are on the driver's machine
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from pymr.base.durable import write_file
from pymr.base.errors import FatalError, disk_error
from pymr.config.cluster import EngineConfig, memory_bytes_per_worker
from pymr.engine.plans import write_plan
from pymr.engine.tasks import JobContext, MapTask, load_auxiliary
from pymr.engines.core.backends import this_worker
from pymr.jobs.job import MapReduceJob, job_to_dict, parse_job
from pymr.projects.project import load_functions, pack_project, unpack_project
from pymr.runs.info import RunRequest

SETUP_NAME, PLAN_NAME = "setup", "plan"
ATTEMPTS, BAD_RECORDS, CONTENTS = "attempts", "bad-records", "contents"
FAILURES, OUTPUT, LOCAL = "failures", "output", "local"


_FOLDERS = (ATTEMPTS, BAD_RECORDS, CONTENTS, FAILURES, OUTPUT, LOCAL, "projects", "auxiliary")


class RunSetup(msgspec.Struct, frozen=True):
    """What every task of a run has in common, but the functions and the data of the job.

    fields: of the job. workers: how many share a machine; None for one on each core. is_local: all of them
    are on the driver's machine, and end with the run. driver: its process. python, version: of it.
    """

    fields: dict[str, Any]
    engine: dict[str, Any]
    partitions: int
    map_tasks: int
    workers: int | None
    is_local: bool
    driver: str
    python: str
    version: str


def write_setup(
    request: RunRequest, run_dir: str, tasks: list[MapTask], partitions: int, *, is_local: bool
) -> RunSetup:
    """Fill the run's folder. is_local: all workers are on this machine, and end with the run.

    Raises ProjectError, InputError, DiskError.
    """
    job = request.job
    here = this_worker()
    setup = RunSetup(
        fields=job_to_dict(job),
        engine=msgspec.structs.asdict(request.engine),
        partitions=partitions,
        map_tasks=len(tasks),
        workers=request.workers if is_local else None,
        is_local=is_local,
        driver=worker_name(),
        python=here.python,
        version=here.version,
    )
    try:
        for name in _FOLDERS:
            os.mkdir(os.path.join(run_dir, name))
        package = pack_project(Path(request.projects_dir), job.project_name)
        unpack_project(package.data, Path(run_dir, "projects", job.project_name), package.content_hash)
        _copy_auxiliary(request, run_dir, {job.auxiliary_data_name_mapper, job.auxiliary_data_name_reducer})
        write_plan(os.path.join(run_dir, PLAN_NAME), tasks)
        write_file(os.path.join(run_dir, SETUP_NAME), msgspec.msgpack.encode(setup))
    except OSError as error:
        raise disk_error("preparing", run_dir, error) from error
    return setup


def worker_name() -> str:
    """The name of this process in messages."""
    return f"{os.uname().nodename}/{os.getpid()}"


def read_setup(run_dir: str) -> RunSetup:
    """The setup of a run, after a look at whether this worker is fit for it. Raises FatalError."""
    here = this_worker()
    path = os.path.join(run_dir, SETUP_NAME)
    try:
        with open(path, "rb") as file:
            setup = msgspec.msgpack.decode(file.read(), type=RunSetup)
    except OSError as error:
        raise FatalError(
            f"a worker on {here.host} cannot read {path}: {error.strerror}; the output folder has to lie "
            "where the driver and all workers see it under the same path: name such a folder with --output; "
            "for jobs in the queue of a cluster, `folder` in [engine_NAME] of cluster.toml"
        ) from error
    if setup.version != here.version:
        raise FatalError(
            f"a worker on {here.host} has pymr {here.version}, and the driver {setup.version}: install the "
            "same version of pymr-cluster on both"
        )
    if setup.python != here.python:
        raise FatalError(
            f"a worker on {here.host} runs Python {here.python}, and the driver {setup.python}: use the "
            "same on both"
        )
    return setup


def load_setup(run_dir: str) -> tuple[RunSetup, JobContext]:
    """The setup of a run and what its tasks are called with; runs the project's modules in this process.

    Raises FatalError, ProjectError, InputError.
    """
    setup = read_setup(run_dir)
    job = parse_job(setup.fields)
    assert isinstance(job, MapReduceJob)
    engine = msgspec.convert(setup.engine, EngineConfig)
    context = JobContext(
        job,
        load_functions(Path(run_dir, "projects"), job),
        engine,
        memory_bytes_per_worker(engine, setup.workers or os.cpu_count() or 1),
        setup.partitions,
        load_auxiliary(run_dir, job.auxiliary_data_name_mapper),
        load_auxiliary(run_dir, job.auxiliary_data_name_reducer),
    )
    return setup, context


def _copy_auxiliary(request: RunRequest, run_dir: str, names: Iterable[str | None]) -> None:
    for name in filter(None, names):
        load_auxiliary(request.data_dir, name)  # its errors name its own path
        source = os.path.join(request.data_dir, "auxiliary", f"{name}.data")
        shutil.copyfile(source, os.path.join(run_dir, "auxiliary", f"{name}.data"))

"""A submission, as far as it can be checked and made here: nothing of the user's code is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pymr.errors import ProjectError
from pymr.job_fields import Job, MapReduceJob
from pymr.jobs import job_to_dict, parse_job
from pymr.project_modules import MODULE_FILES, project_folder
from pymr.project_packages import ProjectPackage, pack_project

_IDENTITY = "identity"


def checked_job(job: Job | Mapping[str, Any]) -> Job:
    """The typed job. Raises JobError with all its problems."""
    return parse_job(job) if isinstance(job, Mapping) else job


def job_fields(job: Job) -> dict[str, Any]:
    """The fields that travel: those that have a value."""
    return {name: value for name, value in job_to_dict(job).items() if value is not None}


def packed_project(job: Job, projects_dir: Path) -> ProjectPackage | None:
    """The project of a job as a package; None for a job without one.

    Raises ProjectError where the project, or a module that the job's functions are looked for in, is missing.
    """
    if not isinstance(job, MapReduceJob):
        return None
    folder = project_folder(projects_dir, job.project_name)
    for kind, function_name in (("map", job.map_function_name), ("reduce", job.reduce_function_name)):
        name = MODULE_FILES[kind]  # type: ignore[index]  # both are kinds of functions
        if not (folder / name).is_file() and not (kind == "map" and function_name == _IDENTITY):
            raise ProjectError(
                f"project {job.project_name!r} has no {name}, where its {kind} function {function_name!r} "
                f"belongs: there is none in {folder}"
            )
    return pack_project(projects_dir, job.project_name)

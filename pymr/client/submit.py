"""A submission, as far as it can be checked and made here: nothing of the user's code is run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymr.base.errors import DefinitionError, JobError, Problem, ProjectError
from pymr.base.spelling import did_you_mean
from pymr.client.errors import ClientError, RefusedError
from pymr.client.link import new_id
from pymr.jobs.job import job_to_dict, parse_job
from pymr.jobs.job_types import Job, MapReduceJob, ScriptJob
from pymr.jobs.required_project import script_parts
from pymr.projects.modules import MODULE_FILES, FunctionKind, project_folder
from pymr.projects.packages import ProjectPackage, is_left_out, pack_project
from pymr.projects.source_names import module_names, names_in_words
from pymr.wire.requests import CheckJob, SubmitJob, Submitted

_IDENTITY = "identity"


def checked_job(job: Job | Mapping[str, Any]) -> Job:
    """The typed job. Raises JobError with all its problems."""
    checked = parse_job(job) if isinstance(job, Mapping) else job
    if isinstance(checked, MapReduceJob):
        output = f"jobs/{checked.job_name}/reduce"
        for path in checked.input_dirs:
            if os.path.normpath(path) in (".", output, *map(str, Path(output).parents)):
                reason = (
                    f"the output folder {output} of the job lies in it, so that the next run would read it"
                )
                raise JobError(checked.job_name, (Problem("input_dirs", path, reason),))
    return checked


@dataclass(frozen=True, slots=True)
class PackedJob:
    """A job that may be sent. project: None for a job without one."""

    name: str
    fields: dict[str, Any]
    project: ProjectPackage | None

    @property
    def content_hash(self) -> str:
        return self.project.content_hash if self.project is not None else ""


def packed_jobs(
    jobs: Sequence[tuple[Job | Mapping[str, Any], str | os.PathLike[str]]],
) -> list[PackedJob]:
    """Jobs with their projects. Raises DefinitionError with all that is wrong with any of them."""
    packed: list[PackedJob] = []
    errors: list[DefinitionError] = []
    for job, projects_dir in jobs:
        try:
            checked = checked_job(job)
            project = packed_project(checked, Path(projects_dir))
            packed.append(PackedJob(checked.job_name, job_fields(checked), project))
        except DefinitionError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        found = [(error.source, problem) for error in errors for problem in error.problems]
        problems = tuple(Problem(f"{name}: {one.field}", one.value, one.reason) for name, one in found)
        raise DefinitionError(", ".join(error.source for error in errors), problems)
    return packed


def submit_all(
    jobs: Sequence[tuple[Job | Mapping[str, Any], str | os.PathLike[str]]],
    put_package: Callable[[str, bytes], object],
    check: Callable[[CheckJob], object],
    submit: Callable[[SubmitJob], Submitted],
    over_version: int | None = None,
) -> Iterator[Submitted]:
    """Put jobs, each with its folder of projects, into the queue one after the other.

    All are packed, and of several each is checked by a peer, before the first is submitted: none is where one
    is wrong. over_version: the one to be replaced, of one job only; see `Client.submit`.
    Raises as `Client.submit` does; where something fails after that, as Redis may, with what was submitted.
    """
    packages = packed_jobs(jobs)
    for package in packages:
        if package.project is not None:
            put_package(package.content_hash, package.project.data)
    assert over_version is None or len(packages) == 1, "a version is that of one job"
    for package in packages if len(packages) > 1 else ():
        check(CheckJob(id=new_id(), fields=package.fields, project_hash=package.content_hash))
    for number, package in enumerate(packages):
        try:
            yield submit(
                SubmitJob(
                    id=new_id(),
                    fields=package.fields,
                    project_hash=package.content_hash,
                    over_version=over_version,
                )
            )
        except ClientError as error:
            raise _after_some(error, packages, number) from error


def _after_some(error: ClientError, jobs: Sequence[PackedJob], number: int) -> ClientError:
    """The error of a submission, with what became of the jobs before and after it."""
    if len(jobs) == 1:
        return error
    names = [job.name for job in jobs]
    is_sure = isinstance(error, RefusedError) and error.code != "unavailable"
    here = [] if is_sure else names[number : number + 1]
    states = [
        ("submitted before that", names[:number]),
        ("submitted or not, which nobody has said", here),
        ("not submitted", names[number + len(here) :]),
    ]
    text = "; ".join([str(error), *(f"{what}: {', '.join(some)}" for what, some in states if some)])
    return RefusedError(error.code, text) if isinstance(error, RefusedError) else type(error)(text)


def job_fields(job: Job) -> dict[str, Any]:
    """The fields that travel: those that have a value."""
    return {name: value for name, value in job_to_dict(job).items() if value is not None}


def packed_project(job: Job, projects_dir: Path) -> ProjectPackage | None:
    """The project of a job as a package; None for a job without one.

    Raises JobError where the project, or a function or script in it, is surely missing; ProjectError where it
    cannot be packed.
    """
    if isinstance(job, ScriptJob):
        return _packed_script(job, projects_dir)
    if not isinstance(job, MapReduceJob):
        return None
    try:
        folder = project_folder(projects_dir, job.project_name)
    except ProjectError as error:
        problem = Problem("project_name", job.project_name, str(error))
        raise JobError(job.job_name, (problem,)) from error
    problems = tuple(_problems_of_functions(job, folder))
    if problems:
        raise JobError(job.job_name, problems)
    return pack_project(projects_dir, job.project_name)


def _problems_of_functions(job: MapReduceJob, folder: Path) -> Iterator[Problem]:
    """What of a job's functions is surely missing: nothing of the project is run, and a class that hands its
    functions out is believed."""
    kinds: list[tuple[str, FunctionKind, str]] = [
        ("map_function_name", "map", job.map_function_name),
        ("reduce_function_name", "reduce", job.reduce_function_name),
    ]
    if job.combine_function_name:
        kinds.append(("combine_function_name", "reduce", job.combine_function_name))
    for field, kind, name in kinds:
        if kind == "map" and name == _IDENTITY:
            continue
        reason = _why_no_function(folder / MODULE_FILES[kind], kind, name)
        if reason:
            yield Problem(field, name, reason)


def _why_no_function(path: Path, kind: FunctionKind, name: str) -> str:
    """Why a module cannot have a function; "" where it may."""
    try:
        module = module_names(path.read_bytes(), kind)
    except FileNotFoundError:
        return f"there is no {path}, where it belongs"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    if module.problem:
        return f"{path} {module.problem}"
    if module.lacks(name):
        return f"there is no such function in {path}; {names_in_words(name, module.names)}"
    if name in module.lambdas:
        return f"is a lambda in {path}, which errors cannot name: write it as `def {name}(...)`"
    return ""


def _packed_script(job: ScriptJob, projects_dir: Path) -> ProjectPackage | None:
    """The project with the script; None for a script that is on the machines already."""
    project, path = script_parts(job.script_location)
    if not project:
        return None
    folder = projects_dir.absolute() / project
    if not path and folder.is_dir():
        reason = f"names a project and no file: a script in it is PROJECT/file.py, such as {project}/file.py"
        raise _not_there(job, reason)
    if not path or not folder.is_dir():
        folders = (
            [entry.name for entry in os.scandir(projects_dir) if entry.is_dir()]
            if (projects_dir.is_dir())
            else []
        )
        reason = (
            f"must be an absolute path, or PROJECT/file.py in the projects folder {projects_dir.absolute()}"
            f"{did_you_mean(project, folders)}"
        )
        raise _not_there(job, reason)
    problem = _why_not_packed(folder, path)
    if problem:
        raise _not_there(job, problem)
    return pack_project(projects_dir, project)


def _why_not_packed(folder: Path, path: str) -> str:
    """Why a file would not be in the package of its project; "" where it is."""
    if not {"", "."}.isdisjoint(path.split("/")):
        return "has an empty part between two `/`, or one that is a dot: write PROJECT/file.py"
    if any(is_left_out(part) or part == ".." for part in path.split("/")):
        return "names what is not packed with a project: hidden files, byte code, and what lies above it"
    script = folder / path
    if script.is_dir():
        return f"{script} is a folder and not a file"
    if script.is_file():
        return ""
    beside = script.parent
    names = sorted(entry.name for entry in os.scandir(beside)) if beside.is_dir() else []
    return f"there is no {script}{did_you_mean(script.name, names)}"


def _not_there(job: ScriptJob, reason: str) -> JobError:
    return JobError(job.job_name, (Problem("script_location", job.script_location, reason),))

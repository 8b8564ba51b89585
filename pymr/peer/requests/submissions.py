"""Submissions: what a peer checks of a job, and fills in, before it goes into the queue."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from pymr.base.errors import JobError, Problem
from pymr.base.spelling import did_you_mean
from pymr.config.kinds import check_name
from pymr.jobs.external_engines import why_out_of_reach
from pymr.jobs.job import job_to_dict, parse_job
from pymr.jobs.job_types import FileTransferJob, Job, ScriptJob
from pymr.jobs.required_project import project_of, script_parts

JOB_BYTES_MAX = 256 << 10
"""Longest definition of a job: those of all runs go to every peer with each of its orders, in one frame."""

ANYWHERE = ("leader", "all")
"""What `run_on` may be besides the name of a peer."""

_SHORTER = {
    "mapreduce": "name folders instead of files in input_dirs",
    "script": "let a file hold what is in script_arguments",
}


@dataclass(frozen=True, slots=True)
class CheckedSubmission:
    """A job that may go into the queue. project: whose package it needs; "" for none."""

    fields: dict[str, Any]
    project: str
    project_hash: str


def check_submission(
    fields: Mapping[str, Any],
    project_hash: str,
    *,
    peers: Collection[str],
    asked: str,
    hosts: Collection[str] = (),
    shared: Collection[str] = (),
) -> CheckedSubmission:
    """A job as it goes into the queue. peers: all of the configuration. asked: the one that was asked, whose
    disk a transfer means by "local" where it does not say. hosts: those of the peers. shared: the folders of
    `storage.shared`.

    Raises JobError with all that is wrong, each by its field.
    """
    job = parse_job(fields, str(fields.get("job_name", "job")))
    if isinstance(job, FileTransferJob) and job.local_peer is None:
        job = msgspec.structs.replace(job, local_peer=asked)
    checked = job_to_dict(job)
    project = project_of(checked)
    problems = [*_place_problems(job, peers), *_size_problems(job, checked)]
    entry, why_not = why_out_of_reach(checked, hosts, shared)
    if why_not:
        problems.append(Problem("input_dirs", entry, why_not))
    if project and not project_hash and not problems:
        problems = [_without_package(job, project)]
    if problems:
        raise JobError(job.job_name, tuple(problems))
    return CheckedSubmission(checked, project, project_hash if project else "")


def _place_problems(job: Job, peers: Collection[str]) -> list[Problem]:
    """What names a machine, or a place on one."""
    if isinstance(job, FileTransferJob):
        return [] if job.local_peer in peers else [_no_peer("local_peer", str(job.local_peer), peers)]
    if not isinstance(job, ScriptJob):
        return []
    problems = []
    if job.run_on not in (*ANYWHERE, *peers):
        problems.append(_no_peer("run_on", job.run_on, (*ANYWHERE, *peers)))
    if not _is_script(job.script_location):
        reason = "must be an absolute path, or PROJECT/file.py in the projects folder"
        problems.append(Problem("script_location", job.script_location, reason))
    return problems


def _is_script(location: str) -> bool:
    project, path = script_parts(location)
    if not project:
        return location.startswith("/") and not location.endswith("/")
    try:
        check_name(project)
    except ValueError:
        return False
    return not {"", ".", ".."} & set(path.split("/"))


def _no_peer(field: str, name: str, names: Collection[str]) -> Problem:
    known = ", ".join(names)
    return Problem(field, name, f"is no peer of this cluster; there are {known}{did_you_mean(name, names)}")


def _size_problems(job: Job, fields: Mapping[str, Any]) -> list[Problem]:
    size = len(msgspec.msgpack.encode(fields))
    if size <= JOB_BYTES_MAX:
        return []
    advice = _SHORTER.get(job.job_type, "shorten its fields")
    reason = f"takes {size:,} bytes, and a job may take {JOB_BYTES_MAX:,}: {advice}"
    return [Problem("job_name", job.job_name, reason)]


def _without_package(job: Job, project: str) -> Problem:
    field = "script_location" if isinstance(job, ScriptJob) else "project_name"
    reason = f"needs the package of project {project}: send it first, as `pymr submit` does"
    return Problem(field, getattr(job, field), reason)

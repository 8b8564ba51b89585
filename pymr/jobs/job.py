"""Jobs: a TOML file or a dict becomes a typed job, or an error that lists everything wrong with it.

The fields themselves are declared in `job_types`, their text form is in `job_toml`.
"""

from __future__ import annotations

import getpass
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pymr.base.errors import JobError, Problem
from pymr.base.spelling import did_you_mean
from pymr.config.declared_fields import Field, check_fields, shown_name
from pymr.config.toml_text import parse_override, parse_toml, read_text, toml_value
from pymr.jobs.job_toml import edit_job_text, job_toml, template_toml
from pymr.jobs.job_types import (
    COMMON_FIELDS,
    JOB_CLASSES,
    JOB_TYPES,
    FileTransferJob,
    Job,
    MapReduceJob,
    ScriptJob,
    fields_of,
)
from pymr.jobs.transfer_rules import transfer_problems

__all__ = [
    "JOB_TYPES",
    "FileTransferJob",
    "Job",
    "MapReduceJob",
    "ScriptJob",
    "dump_job",
    "edit_job_text",
    "job_to_dict",
    "load_job",
    "parse_job",
    "parse_job_text",
    "template",
    "template_toml",
]

# What `--set FIELD=VALUE` gives: values are still text. Of two for one field the later counts.
Overrides = Mapping[str, str] | Sequence[tuple[str, str]]


def template(job_type: str) -> dict[str, Any]:
    """Every field of a job type with its default; those that are required are None.

    Raises JobError for a type that does not exist.
    """
    defaults = {field.name: _as_plain(field.default) for field in fields_of(job_type)}
    return {**defaults, "job_type": job_type}


def load_job(path: str | os.PathLike[str], overrides: Overrides = ()) -> Job:
    """The job in a TOML file, its fields at the top level.

    overrides: fields set over those of the file. A value that is TOML is taken as such, any other as text.
    Raises JobError: for a file that cannot be read or is not TOML (naming the line), and as parse_job does.
    """
    return parse_job_text(read_text(Path(path), JobError), str(path), overrides)


def parse_job_text(text: str, source: str = "job", overrides: Overrides = ()) -> Job:
    """The job in a TOML text; see load_job. source: what to call the text in errors."""
    fields = parse_toml(text, source, JobError)
    given = dict(overrides)
    fields.update((name, parse_override(value)) for name, value in given.items())
    try:
        return parse_job(fields, source)
    except JobError as error:
        hinted = tuple(_with_hint(problem, given, fields) for problem in error.problems)
        raise JobError(source, hinted) from error.__cause__


def parse_job(fields: Mapping[str, Any], source: str = "job") -> Job:
    """The typed job that `fields` describe. A field that is absent or None has its default.

    source: what to call the definition in errors, a path for instance.
    Raises JobError with all problems at once: unknown and missing fields, types, bounds, and
    conflicts between fields.
    """
    job_type = fields.get("job_type")
    known_type = isinstance(job_type, str) and job_type in JOB_CLASSES
    # Without a type, what all types share can still be checked: one look at the errors should be enough.
    declared = fields_of(str(job_type)) if known_type else COMMON_FIELDS
    values, problems = check_fields(declared, fields)
    problems += _unknown_fields(fields, str(job_type) if known_type else None)
    if job_type == "file_transfer":
        problems += transfer_problems(values, refused={problem.field for problem in problems})
    if problems:
        raise JobError(source, tuple(problems))
    values["job_submitter"] = values["job_submitter"] or _submitter()
    return JOB_CLASSES[str(job_type)](**values)


def _with_hint(problem: Problem, overrides: Mapping[str, str], fields: Mapping[str, Any]) -> Problem:
    """How an override that TOML takes for a number, say, is written as the text that its field takes."""
    text = overrides.get(problem.field)
    if text is None or isinstance(fields[problem.field], str):
        return problem
    job_type = fields.get("job_type")
    declared = fields_of(job_type) if job_type in JOB_CLASSES else COMMON_FIELDS
    field = next((one for one in declared if one.name == problem.field), None)
    try:
        if field is None or not isinstance(field.kind.check(text), str):
            return problem
    except ValueError:  # as a text it would not do either
        return problem
    setting = shlex.quote(f"{problem.field}={toml_value(text)}")
    return Problem(problem.field, problem.value, f"{problem.reason}: write --set {setting}")


def job_to_dict(job: Job) -> dict[str, Any]:
    """The fields of a job by name, lists for tuples: for JSON and for forms. parse_job takes it back."""
    return {name: _as_plain(value) for name, value in msgspec.structs.asdict(job).items()}


def dump_job(job: Job) -> str:
    """The job as TOML, every field with its comment. load_job gives an equal job back.

    System fields are omitted: they describe a run, and no submission may set them.
    """
    return job_toml(msgspec.structs.asdict(job))


def _as_plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _unknown_fields(fields: Mapping[str, Any], job_type: str | None) -> list[Problem]:
    """A problem for every name that is not a field of `job_type`; None: of any job type."""
    known = (
        _names(fields_of(job_type))
        if job_type
        else [name for one in JOB_TYPES for name in _names(fields_of(one))]
    )
    return [
        Problem(shown_name(name), value, _why_unknown(name, value, known, job_type))
        for name, value in fields.items()
        if name not in known
    ]


def _why_unknown(name: object, value: object, known: list[str], job_type: str | None) -> str:
    if isinstance(value, Mapping):
        return "is a table; the fields of a job belong at the top level of the file"
    of_types = [other for other in JOB_TYPES if name in _names(fields_of(other))]
    if of_types:
        return f"is a field of {' and '.join(of_types)} jobs, not of {job_type} jobs"
    of_this = f"a {job_type} job" if job_type else "any job"
    return f"is not a field of {of_this}{did_you_mean(str(name), known)}"


def _names(fields: Iterable[Field]) -> list[str]:
    return [field.name for field in fields]


def _submitter() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user id without a name, as containers have them
        user = f"uid{os.getuid()}"
    return f"{user}@{os.uname().nodename}"

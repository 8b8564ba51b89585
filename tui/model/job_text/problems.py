"""What is wrong in the text of a job, line by line, while it is being written; and what its fields mean."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pymr.base.errors import JobError, Problem
from pymr.base.spelling import did_you_mean
from pymr.config.declared_fields import Field, shown_name
from pymr.config.kinds import FILLED_IN
from pymr.config.toml_text import assignment, toml_value
from pymr.jobs.job import job_to_dict, parse_job
from pymr.jobs.job_types import COMMON_FIELDS, JOB_CLASSES, JOB_TYPES, fields_of
from pymr.jobs.required_project import script_parts
from pymr.projects.modules import MODULE_FILES, FunctionKind
from tui.model.job_text.projects import LocalProjects
from tui.model.job_text.scan import FieldPlace, TextScan, scan

_FUNCTION_FIELDS: tuple[tuple[str, FunctionKind], ...] = (
    ("map_function_name", "map"),
    ("combine_function_name", "reduce"),
    ("reduce_function_name", "reduce"),
)
_IDENTITY = "identity"
TEXT_CHARACTERS_MAX = 300_000
UNKNOWN_NAMES_MAX = 50
"""How many unknown names are reported one by one. More means some other text, pasted by mistake."""


_SYNTAX_IN_WORDS = {
    "Illegal character '\\n'": "a text ends in the middle of the line: its closing quote is missing",
    "Invalid value": "not a TOML value: texts need quotes, true and false do not",
    "Expected '=' after a key in a key/value pair": "a name has to be followed by `=` and a value",
    "Expected newline or end of document after a statement": "something follows the value",
    "Unclosed array": "the list has no closing bracket",
}
_SYNTAX_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)")


@dataclass(frozen=True, slots=True)
class TextProblem:
    """Something wrong in a text. line, column, end: where, from 0; `end` is behind it on the same line.
    field: "" for none. is_warning: a submission may be tried all the same."""

    line: int
    column: int
    end: int
    field: str
    reason: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class CheckedText:
    """A text, where its fields are, and its problems in the order of their lines. fields: of the job, as they
    would be submitted; None where an error is among the problems."""

    text: str
    scan: TextScan
    problems: tuple[TextProblem, ...]
    fields: dict[str, Any] | None
    job_type: str

    @property
    def errors(self) -> int:
        return sum(not problem.is_warning for problem in self.problems)

    @property
    def warnings(self) -> int:
        return len(self.problems) - self.errors


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """Help on a field for the user who fills it in. default: "" where it is required."""

    name: str
    section: str
    doc: str
    takes: str
    default: str
    is_required: bool


def check_text(text: str, projects: LocalProjects) -> CheckedText:
    """Everything wrong in a job's text. Cost: below 10 ms for a template; no file is read."""
    if len(text) > TEXT_CHARACTERS_MAX:
        return _too_long(text)
    known = known_names()
    scanned = scan(text, known)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return CheckedText(text, scanned, (_syntax_problem(scanned, error),), None, _type_seen(scanned))
    job_type = values.get("job_type")
    known_type = job_type if isinstance(job_type, str) and job_type in JOB_CLASSES else ""
    fields, problems = None, []
    unknown = [name for name in values if name not in known]
    left_out = frozenset(unknown[UNKNOWN_NAMES_MAX:])
    try:
        job = parse_job({name: value for name, value in values.items() if name not in left_out})
        fields = {name: value for name, value in job_to_dict(job).items() if value is not None}
    except JobError as error:
        problems = [_placed(scanned, problem) for problem in error.problems]
    if left_out:
        first = unknown[UNKNOWN_NAMES_MAX]
        reason = f"is not a field of any job, like {len(unknown) - 1:,} other names of this text"
        problems.append(_placed(scanned, Problem(shown_name(first), values[first], reason)))
    refused = {problem.field for problem in problems}
    accepted = {name: value for name, value in values.items() if name not in refused}
    problems += [
        _placed(scanned, problem, is_warning=True)
        for problem in _local_problems(known_type, accepted, projects)
        if problem.field not in refused
    ]
    problems.sort(key=lambda problem: (problem.line, problem.column))
    return CheckedText(text, scanned, tuple(problems), fields, known_type)


def _too_long(text: str) -> CheckedText:
    """Not even looked at: a text that was pasted by mistake must not make the keys slow."""
    reason = f"the text is longer than {TEXT_CHARACTERS_MAX:,} characters, so it is not a job"
    problem = TextProblem(0, 0, 0, "", reason)
    return CheckedText(text, TextScan(tuple(text.split("\n")), (), ()), (problem,), None, "")


def known_names() -> tuple[str, ...]:
    """The names of the fields of all job types."""
    return tuple(dict.fromkeys(field.name for job_type in JOB_TYPES for field in fields_of(job_type)))


def fields_to_fill(job_type: str) -> tuple[Field, ...]:
    """The fields that somebody may set; of all jobs where the type is not known."""
    fields = fields_of(job_type) if job_type in JOB_CLASSES else COMMON_FIELDS
    return tuple(field for field in fields if field.kind is not FILLED_IN)


def field_at(checked: CheckedText, line: int) -> Field | None:
    """The field that a line, or the comment above it, is about."""
    place = checked.scan.at(line)
    return declared_field(checked.job_type, place.name) if place else None


def declared_field(job_type: str, name: str) -> Field | None:
    return next((field for field in fields_to_fill(job_type) if field.name == name), None)


def facts_of(field: Field) -> FieldFacts:
    takes = field.kind.words.replace("`", "")
    if field.name.endswith("_seconds"):
        takes += ", in seconds"
    if field.required:
        default = ""
    elif field.default is None:
        default = "none"
    else:
        default = toml_value(field.kind.write(field.default))
    return FieldFacts(field.name, field.section, field.doc, takes, default, field.required)


def uncommented(checked: CheckedText, line: int) -> str | None:
    """The field that is commented out on a line, as it is when it is set; None where there is none."""
    place = checked.scan.at(line)
    if place is None or not place.is_out or place.line != line:
        return None
    written = checked.scan.lines[line][place.column :]
    try:
        tomllib.loads(written)
    except (ValueError, RecursionError):
        field = declared_field(checked.job_type, place.name)
        return assignment(field, field.example) if field and field.example is not None else None
    return written


def _type_seen(scanned: TextScan) -> str:
    """The type that a text which is no TOML seems to have."""
    place = scanned.field("job_type")
    written = scanned.lines[place.line][place.value_column : place.value_end] if place else ""
    return written.strip("\"' ") if written.strip("\"' ") in JOB_CLASSES else ""


def _syntax_problem(scanned: TextScan, error: Exception) -> TextProblem:
    last = len(scanned.lines) - 1
    words = str(error)
    found = _SYNTAX_PLACE.search(words)
    if found and found[1]:
        line, column = min(int(found[1]) - 1, last), int(found[2]) - 1
    else:
        line, column = last, len(scanned.lines[last])
    reason = _SYNTAX_PLACE.sub("", words)
    reason = _SYNTAX_IN_WORDS.get(reason, f"is not valid TOML: {reason[:1].lower()}{reason[1:]}")
    if "overwrite" in reason and (twice := _set_twice(scanned)):
        first, second = twice
        reason = f"is set twice: already on line {first.line + 1}"
        return TextProblem(second.line, second.column, second.value_end, second.name, reason)
    # What is missing is missed behind the text that is there.
    column = min(column, len(scanned.lines[line]))
    start = min(column, max(len(scanned.lines[line]) - 1, 0))
    place = scanned.at(line)
    name = place.name if place and not place.is_out else ""
    return TextProblem(line, start, max(start + 1, column), name, reason)


def _set_twice(scanned: TextScan) -> tuple[FieldPlace, FieldPlace] | None:
    first: dict[str, FieldPlace] = {}
    for place in scanned.fields:
        if not place.is_out and first.setdefault(place.name, place) is not place:
            return first[place.name], place
    return None


def _placed(scanned: TextScan, problem: Problem, *, is_warning: bool = False) -> TextProblem:
    """A problem of a field, at its value; at its name where the name is what is wrong; at the place where the
    field stands commented out, or at the end, where it is missing."""
    places = (one for one in (*scanned.fields, *scanned.tables) if not one.is_out)
    place = next((one for one in places if shown_name(one.name) == problem.field), None)
    if place is None:
        place = scanned.commented_out(problem.field)
    if place is None:
        end = _last_written_line(scanned)
        return TextProblem(end, 0, len(scanned.lines[end]), problem.field, problem.reason, is_warning)
    is_unknown = _declared_anywhere(place.name) is None or "is a field of" in problem.reason
    start, end = (
        (place.column, place.column + len(place.name))
        if place.is_out or is_unknown or place.value_end <= place.value_column
        else (place.value_column, place.value_end)
    )
    return TextProblem(place.line, start, end, problem.field, problem.reason, is_warning)


def _declared_anywhere(name: str) -> Field | None:
    return next((field for one in JOB_TYPES for field in fields_of(one) if field.name == name), None)


def _last_written_line(scanned: TextScan) -> int:
    written = [number for number, line in enumerate(scanned.lines) if line.strip()]
    return written[-1] if written else 0


def _local_problems(job_type: str, values: Mapping[str, Any], projects: LocalProjects) -> Iterator[Problem]:
    """What will hardly do, as far as it can be seen here: what the projects on this machine do not have, by
    their source, and input that identity does not read. None of it is certain, so it is a warning."""
    if job_type == "mapreduce":
        yield from _identity_problems(values, projects)
    if not projects.is_known:
        return
    if job_type == "script":
        yield from _script_problems(values.get("script_location"), projects)
    if job_type != "mapreduce":
        return
    name = values.get("project_name")
    if not isinstance(name, str) or name.startswith("<"):
        return
    if name not in projects.projects:
        known = projects.with_functions()
        listed = f"; there are {', '.join(known[:8])}" if known else ""
        reason = f"is not a project in {projects.folder}{did_you_mean(name, known) or listed}"
        yield Problem("project_name", name, reason)
        return
    for field, kind in _FUNCTION_FIELDS:
        default = _IDENTITY if field == "map_function_name" else None
        yield from _function_problems(field, kind, name, values.get(field, default), projects)


def _identity_problems(values: Mapping[str, Any], projects: LocalProjects) -> Iterator[Problem]:
    """The built-in map function over a folder that is not a job's output."""
    name, folders = values.get("map_function_name", _IDENTITY), values.get("input_dirs")
    own = projects.functions(str(values.get("project_name")), "map")
    if name != _IDENTITY or not isinstance(folders, list) or (own is not None and own.may_have(_IDENTITY)):
        return
    for folder in folders:
        if isinstance(folder, str) and folder and not _is_output(folder):
            reason = f"{_IDENTITY} reads job output only; for plain text in {folder}, name a function of "
            yield Problem("map_function_name", name, f"{reason}{MODULE_FILES['map']}")
            return


def _is_output(folder: str) -> bool:
    """Whether a folder is jobs/NAME/reduce in some data folder, or lies in it."""
    parts = PurePosixPath(folder).parts
    return any(part == "jobs" and parts[at + 2 : at + 3] == ("reduce",) for at, part in enumerate(parts))


def _function_problems(
    field: str, kind: FunctionKind, project: str, name: object, projects: LocalProjects
) -> Iterator[Problem]:
    if not isinstance(name, str) or not name.isidentifier():
        return
    module = projects.functions(project, kind)
    if name == _IDENTITY and kind == "map":
        return
    if module is None:
        yield Problem(field, name, f"belongs into {MODULE_FILES[kind]}, and project {project} has none")
    elif module.problem:
        yield Problem(field, name, f"{MODULE_FILES[kind]} of project {project} {module.problem}")
    elif not module.may_have(name):
        nearest = did_you_mean(name, module.names)
        listed = f"; it has {', '.join(module.names)}" if module.names else ""
        yield Problem(field, name, f"is not in {MODULE_FILES[kind]} of project {project}{nearest or listed}")


def _script_problems(location: object, projects: LocalProjects) -> Iterator[Problem]:
    if not isinstance(location, str) or location.startswith("<"):
        return
    project, path = script_parts(location)
    if not project:
        return
    if project not in projects.projects:
        nearest = did_you_mean(project, projects.projects)
        yield Problem("script_location", location, f"{project} is not a folder in {projects.folder}{nearest}")
    elif path.endswith((".py", ".sh")) and "/" not in path and path not in projects.projects[project].files:
        if path in MODULE_FILES.values():
            return
        nearest = did_you_mean(path, projects.projects[project].files)
        yield Problem("script_location", location, f"there is no {path} in project {project}{nearest}")

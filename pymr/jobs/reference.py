"""The reference of all job fields as Markdown, for docs/jobs.md, made from their declarations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pymr.config.declared_fields import Field
from pymr.config.kinds import FILLED_IN
from pymr.config.toml_text import toml_value
from pymr.jobs.job_types import COMMON_FIELDS, JOB_CLASSES, JOB_TYPES, fields_of

ALL_TYPES = "all"
"""Stands, among the tests, for the job types that share a field."""


def job_fields_markdown(tests: Mapping[str, Mapping[str, str]]) -> str:
    """A heading and a table for the fields that all job types share, then for those of each type.

    tests: by job type (ALL_TYPES for the shared ones) and field, the test that shows it on a cluster.
    """
    common = [field for field in COMMON_FIELDS if field.kind is not FILLED_IN]
    lines = ["### All types", "", *_table(common, tests[ALL_TYPES]), "", *_system_fields(tests[ALL_TYPES])]
    shared = {field.name for field in COMMON_FIELDS}
    for job_type in JOB_TYPES:
        own = [field for field in fields_of(job_type) if field.name not in shared]
        lines += ["", f"### {job_type}", "", f"{JOB_CLASSES[job_type].__doc__}", ""]
        lines += _table(own, tests[job_type])
    return "\n".join([*lines, ""])


def _table(fields: Sequence[Field], tests: Mapping[str, str]) -> Iterator[str]:
    yield "| field | value | default | meaning | test on a cluster |"
    yield "|---|---|---|---|---|"
    for field in fields:
        cells = (f"`{field.name}`", field.kind.words, _default(field), _escaped(field.doc))
        yield f"| {' | '.join(cells)} | `{tests[field.name]}` |"


def _default(field: Field) -> str:
    if field.required:
        return "**required**"
    return "none" if field.default is None else f"`{toml_value(field.default)}`"


def _system_fields(tests: Mapping[str, str]) -> Iterator[str]:
    yield "Filled in by the system, and refused in a job that sets one:"
    yield ""
    for field in COMMON_FIELDS:
        if field.kind is FILLED_IN:
            yield f"- `{field.name}`: {field.doc} (`{tests[field.name]}`)"


def _escaped(text: str) -> str:
    """`text` as a table cell: `<`, `>` and `|` have a meaning in Markdown, and `*` and `_` may have one."""
    for character in "\\|<>*":
        text = text.replace(character, f"\\{character}")
    return text

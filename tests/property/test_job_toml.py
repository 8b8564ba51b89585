"""Jobs survive the way through TOML text: writing, reading, and editing."""

from __future__ import annotations

import tomllib
from pathlib import PurePosixPath
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pymr.base.errors import JobError
from pymr.config.declared_fields import Field
from pymr.config.kinds import FILLED_IN, INTEGER_MAX
from pymr.config.toml_text import toml_value
from pymr.jobs.job import (
    JOB_TYPES,
    dump_job,
    edit_job_text,
    job_to_dict,
    parse_job,
    parse_job_text,
    template_toml,
)
from pymr.jobs.job_types import fields_of
from pymr.jobs.transfer_rules import CLUSTER_FOLDER, OWN_FOLDERS, TRANSFER_FIELDS

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
function_names = st.sampled_from(["identity", "count", "_private", "zählen", "f9"])
plain_texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
paths = plain_texts.filter(lambda path: ".." not in path and path[0] not in "<.")
relative_paths = st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8}){0,2}", fullmatch=True).filter(
    lambda path: path.partition("/")[0] not in OWN_FOLDERS
)
counts = st.integers(1, 100_000)
seconds = st.floats(min_value=0, exclude_min=True, allow_infinity=False) | st.integers(1, INTEGER_MAX)

# One strategy per field whose values its name alone does not give away.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "job_priority": st.integers(-INTEGER_MAX, INTEGER_MAX),
    "job_submitter": texts,
    "input_dirs": st.lists(paths, min_size=1, max_size=3),
    "downsample": st.floats(0, 1, exclude_min=True),
    "max_bad_records": st.integers(0, INTEGER_MAX),
    "script_location": paths,
    "script_arguments": st.lists(st.just("") | texts, max_size=3),
    "task_timeout_seconds": seconds,
    "timeout_seconds": seconds,
    "transfer_type": st.sampled_from(list(TRANSFER_FIELDS)),
    "input_dir": paths,
    "output_dir": paths,
    "input_file_name": paths,
}


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a valid job of any type; those that need not be set sometimes are None or absent."""
    job_type = draw(st.sampled_from(JOB_TYPES))
    fields: dict[str, Any] = {"job_type": job_type}
    for field in fields_of(job_type):
        if (
            field.kind is not FILLED_IN
            and field.name != "job_type"
            and (field.required or draw(st.booleans()))
        ):
            fields[field.name] = draw(values_of(field, job_type))
    if job_type == "file_transfer":
        transfer_type = fields["transfer_type"]
        for name in {name for needed in TRANSFER_FIELDS.values() for name in needed}:
            fields.pop(name, None)
        for name in TRANSFER_FIELDS[transfer_type]:
            inside = name == CLUSTER_FOLDER.get(transfer_type)
            fields[name] = draw(relative_paths if inside else VALUES.get(name, names))
        _keep_apart(fields, CLUSTER_FOLDER.get(transfer_type))
    return fields


def _keep_apart(fields: dict[str, Any], cluster_folder: str | None) -> None:
    """Let a transfer lead from one folder to another: a local one by a relative path lies in the data folder
    of a peer as well."""
    if cluster_folder is None or not {"input_dir", "output_dir"} <= fields.keys():
        return
    local = "output_dir" if cluster_folder == "input_dir" else "input_dir"
    first, other = (PurePosixPath(fields[name]).parts[:1] for name in (local, cluster_folder))
    if first == other:
        fields[local] = f"/{fields[local]}"


def values_of(field: Field, job_type: str) -> st.SearchStrategy[Any]:
    if field.name in VALUES:
        return VALUES[field.name]
    if field.name == "compress" and job_type == "mapreduce":
        return st.sampled_from([False, True, "gzip", "zstd"])
    if field.kind.choices:
        return st.sampled_from(field.kind.choices)
    if isinstance(field.default, bool):
        return st.booleans()
    if field.name.endswith("_function_name"):
        return function_names
    if isinstance(field.default, int) or field.name == "partitions":
        return counts
    return names


@given(jobs())
def test_a_dumped_job_loads_as_an_equal_job(fields: dict[str, Any]) -> None:
    job = parse_job(fields)

    assert parse_job_text(dump_job(job)) == job


@given(jobs())
def test_a_job_as_a_dict_parses_as_an_equal_job(fields: dict[str, Any]) -> None:
    job = parse_job(fields)

    assert parse_job(job_to_dict(job)) == job


@settings(max_examples=30)  # one example is some twenty edits
@given(jobs())
def test_a_template_edited_to_a_job_is_that_job(fields: dict[str, Any]) -> None:
    job = parse_job(fields)
    submitted = {name: value for name, value in job_to_dict(job).items() if value is not None}
    text = edit_job_text(template_toml(job.job_type), submitted)

    assert parse_job_text(text) == job
    assert edit_job_text(text, submitted) == text


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.none() | counts | texts), st.text(max_size=30))
def test_an_edit_sets_what_it_is_told_and_keeps_the_rest(changes: dict[str, Any], comment: str) -> None:
    line = "".join(character for character in comment if character.isprintable())
    text = f'# {line}\na = 1 # {line}\n\n# c = 3\nb = ["x",\n  "y"]\nz = 0\n'
    edited = edit_job_text(text, changes)

    expected = {**tomllib.loads(text), **changes}
    assert tomllib.loads(edited) == {name: value for name, value in expected.items() if value is not None}
    assert edited.startswith(f"# {line}\n")


@given(
    st.recursive(st.booleans() | st.integers() | st.floats(allow_nan=False) | texts, st.lists, max_leaves=5)
)
def test_a_value_written_as_toml_reads_as_itself(value: object) -> None:
    line = f"value = {toml_value(value)}"

    assert "\n" not in line
    assert tomllib.loads(line) == {"value": value}


@given(
    st.dictionaries(
        st.sampled_from([field.name for job_type in JOB_TYPES for field in fields_of(job_type)]) | st.text(),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.lists(st.text() | st.integers()),
    )
)
def test_whatever_the_fields_the_answer_is_a_job_or_a_job_error(fields: dict[str, Any]) -> None:
    try:
        job = parse_job(fields)
    except JobError as error:
        assert error.problems
        return

    assert parse_job_text(dump_job(job)) == job

"""Jobs as text: templates, files, edits, and the reference."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from field_tests import FIELD_TESTS
from valid_jobs import MAPREDUCE, MINIMAL, UPLOAD, problems_of

from pymr.base.errors import JobError
from pymr.config.kinds import FILLED_IN
from pymr.jobs.job import (
    JOB_TYPES,
    MapReduceJob,
    dump_job,
    edit_job_text,
    load_job,
    parse_job,
    parse_job_text,
    template,
    template_toml,
)
from pymr.jobs.job_types import COMMON_FIELDS, JOB_CLASSES, fields_of
from pymr.jobs.reference import job_fields_markdown

REPOSITORY = Path(__file__).parents[2]

# ---- templates


@pytest.mark.parametrize("job_type", JOB_TYPES)
def test_a_template_has_every_field_and_none_for_the_required(job_type: str) -> None:
    fields = template(job_type)

    assert fields["job_type"] == job_type
    assert list(fields) == [field.name for field in fields_of(job_type)]
    assert all(
        fields[field.name] is None
        for field in fields_of(job_type)
        if field.required and field.name != "job_type"
    )
    assert problems_of({**fields, **MINIMAL[job_type]}) == {}


def test_templates_share_no_state() -> None:
    template("script")["script_arguments"].append("-v")

    assert template("script")["script_arguments"] == []


def test_a_template_of_no_type_names_the_closest_one() -> None:
    with pytest.raises(JobError, match="did you mean script"):
        template("scripts")


@pytest.mark.parametrize("job_type", JOB_TYPES)
def test_the_toml_template_shows_every_field_below_a_comment(job_type: str) -> None:
    lines = template_toml(job_type).splitlines()

    for field in fields_of(job_type):
        if field.kind is not FILLED_IN:
            position = next(at for at, line in enumerate(lines) if re.match(rf"(# )?{field.name} = ", line))
            assert lines[position - 1].startswith("# ")
        else:
            assert any(line.startswith(f"# {field.name}: ") for line in lines)


@pytest.mark.parametrize("job_type", JOB_TYPES)
def test_an_untouched_toml_template_is_toml_and_names_what_to_fill_in(job_type: str) -> None:
    fields = tomllib.loads(template_toml(job_type))
    problems = problems_of(fields)

    assert problems
    assert set(problems.values()) == {"is still the placeholder of the template: replace it"}
    assert set(problems) <= {field.name for field in fields_of(job_type) if field.required}
    assert problems_of({**fields, **MINIMAL[job_type]}) == {}


@pytest.mark.parametrize(
    "input_dirs",
    [["<FOLDER> "], ["  <FOLDER>"], ["<FOL  DER>"], ["<FOLDER>/2024"], ["corpus", "<FOLDER>"]],
)
def test_a_placeholder_is_refused_until_it_is_replaced(input_dirs: list[str]) -> None:
    problems = problems_of({**MINIMAL["mapreduce"], "job_type": "mapreduce", "input_dirs": input_dirs})

    assert problems == {"input_dirs": "is still the placeholder of the template: replace it"}


@pytest.mark.parametrize("job_type", JOB_TYPES)
def test_the_examples_of_optional_fields_are_valid(job_type: str) -> None:
    for field in fields_of(job_type):
        if field.example is not None and not field.required:
            field.kind.check(field.example)


@pytest.mark.parametrize("job_type", JOB_TYPES)
def test_every_default_passes_its_own_check(job_type: str) -> None:
    for field in fields_of(job_type):
        if field.default is not None:
            assert field.kind.check(field.default) == field.default


# ---- files and texts


def test_a_file_loads_with_overrides_applied_in_order(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(dump_job(parse_job(MAPREDUCE)))

    job = load_job(
        path,
        [
            ("max_attempts", "9"),
            ("max_attempts", "2"),
            ("compress", "zstd"),
            ("input_dirs", '["a", "b"]'),
            ("job_name", "2024-01-31"),
            ("run_once", "true"),
        ],
    )

    assert isinstance(job, MapReduceJob)
    assert (job.max_attempts, job.compress, job.input_dirs) == (2, "zstd", ("a", "b"))
    assert (job.job_name, job.run_once) == ("2024-01-31", True)


@pytest.mark.parametrize("value", ["1\njob_name = 'other'", "'a'\nmax_attempts = 2"])
def test_an_override_cannot_bring_in_another_field(value: str) -> None:
    with pytest.raises(JobError) as caught:
        parse_job_text(dump_job(parse_job(MAPREDUCE)), overrides={"project_name": value})

    assert [problem.field for problem in caught.value.problems] == ["project_name"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"none\.toml.*No such file"):
        load_job(tmp_path / "none.toml")


def test_a_folder_is_not_a_job(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="cannot be read"):
        load_job(tmp_path)


def test_a_file_that_is_not_utf_8_says_where(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_bytes(b'job_name = "\xff"')

    with pytest.raises(JobError, match="not UTF-8 text, from byte 12"):
        load_job(path)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('job_type = "script"\njob name = 3\n', "line 2 = 'job name = 3'"),
        ('job_type = "script', "line 1 = "),
        ("a = 1\na = 2\n", "line 2"),
        ("a = " + "9" * 5000, "not valid TOML"),
        ("a = " + "[" * 100_000, "not valid TOML"),
    ],
)
def test_a_text_that_is_not_toml_names_the_line(text: str, shown: str) -> None:
    with pytest.raises(JobError) as caught:
        parse_job_text(text, "job.toml")

    assert str(caught.value).startswith("job.toml: 1 problem")
    assert shown in str(caught.value)


def test_the_source_stands_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text('job_type = "script"\n')

    with pytest.raises(JobError, match=re.escape(str(path))):
        load_job(path)


def test_a_dumped_job_leaves_out_the_fields_of_the_system() -> None:
    ran = msgspec.structs.replace(parse_job(MAPREDUCE), start_time=1.0, exception="it broke")

    assert parse_job_text(dump_job(ran)) == msgspec.structs.replace(ran, start_time=None, exception=None)


# ---- changing a text


def test_an_edit_changes_a_value_and_keeps_everything_around_it() -> None:
    text = '# mine\njob_name = "a"  # the name\r\n\njob_priority=1\n# end'

    assert edit_job_text(text, {"job_name": "b"}) == text.replace('"a"', '"b"')


def test_an_edit_puts_a_field_where_it_stands_commented_out() -> None:
    text = template_toml("mapreduce")

    assert edit_job_text(text, {"partitions": 3}) == text.replace("# partitions = 8", "partitions = 3")


def test_an_edit_takes_a_field_out_and_can_put_it_back() -> None:
    text = 'a = 1\ninput_dirs = [\n  "x", # why\n  "y",\n] # all\nb = 2\n'
    without = edit_job_text(text, {"input_dirs": None})

    assert without == 'a = 1\n# input_dirs = ["x", "y"] # all\nb = 2\n'
    assert edit_job_text(without, {"input_dirs": ["z"]}) == 'a = 1\ninput_dirs = ["z"] # all\nb = 2\n'


def test_an_edit_adds_a_field_that_the_text_only_speaks_of() -> None:
    text = "# partitions = 8 was too slow\na = 1"

    assert edit_job_text(text, {"partitions": 4}) == "# partitions = 8 was too slow\na = 1\npartitions = 4\n"


def test_an_edit_finds_no_field_inside_a_text() -> None:
    text = 'script_arguments = ["""\n# partitions = 8\n"""]\n'

    assert edit_job_text(text, {"partitions": 4}) == text + "partitions = 4\n"


def test_an_edited_template_is_a_job() -> None:
    text = edit_job_text(template_toml("file_transfer"), UPLOAD)

    assert parse_job_text(text) == parse_job(UPLOAD)


def test_an_edit_of_what_is_not_toml_names_the_line() -> None:
    with pytest.raises(JobError, match="line 1"):
        edit_job_text("job name = 3", {"job_name": "x"})


def test_an_edit_refuses_what_toml_cannot_hold() -> None:
    with pytest.raises(JobError, match="job_name"):
        edit_job_text("", {"job_name": {"a": 1}})


# ---- documentation


def test_the_reference_is_up_to_date() -> None:
    reference = (REPOSITORY / "docs" / "jobs.md").read_text()

    assert reference.endswith(f"A test compares. -->\n\n{job_fields_markdown(FIELD_TESTS)}")


def test_every_field_has_a_test_on_a_cluster_that_exists() -> None:
    shared = {field.name for field in COMMON_FIELDS}
    wanted = {"all": shared} | {
        job_type: {field.name for field in fields_of(job_type)} - shared for job_type in JOB_TYPES
    }
    named = {test for tests in FIELD_TESTS.values() for test in tests.values()}
    folder = REPOSITORY / "tests"
    existing = {
        f"{path.relative_to(folder)}::{node.name}"
        for path in [*folder.glob("cluster/test_*.py"), *folder.glob("local/test_*.py")]
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }

    assert {job_type: set(tests) for job_type, tests in FIELD_TESTS.items()} == wanted
    assert named - existing == set()


def test_the_examples_of_the_reference_are_valid() -> None:
    examples = re.findall(r"```toml\n(.*?)```", (REPOSITORY / "docs" / "jobs.md").read_text(), re.DOTALL)

    assert [parse_job_text(example).job_type for example in examples] == ["mapreduce", "file_transfer"]


def test_every_class_declares_all_of_its_fields() -> None:
    for job_type, job_class in JOB_CLASSES.items():
        declared = {field.name for field in fields_of(job_type)}

        assert declared == set(job_class.__struct_fields__)


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("job_name", "20240101", """must be text, not a whole number: write --set 'job_name="20240101"'"""),
        ("group_name", "true", """must be text, not true or false: write --set 'group_name="true"'"""),
        ("downsample", "2", "must be a finite number above 0, at most 1"),
        ("job_name", "-5", "must be text, not a whole number"),
        ("max_attempts", "1.5", "must be a whole number, not a number with a fraction"),
    ],
)
def test_a_value_that_toml_takes_for_something_else_is_told_how_to_be_a_text(
    name: str, text: str, hint: str
) -> None:
    with pytest.raises(JobError) as caught:
        parse_job_text(dump_job(parse_job(MAPREDUCE)), overrides={name: text})

    assert [(problem.field, problem.reason) for problem in caught.value.problems] == [(name, hint)]

"""The text of a job while it is written: what is wrong where, and what its fields are."""

from __future__ import annotations

from pathlib import Path

import pytest
from growth import growth

from pymr.jobs.job import template_toml
from tui.model.job_text.problems import (
    UNKNOWN_NAMES_MAX,
    CheckedText,
    TextProblem,
    check_text,
    facts_of,
    field_at,
)
from tui.model.job_text.projects import LocalProjects, ProjectReader
from tui.model.job_text.scan import is_in_quotes

WORDS = """\
job_type = "mapreduce"
job_name = "count"
job_priority = 1
project_name = "words"
input_dirs = [
  "a",  # a bracket ] in a comment
  "b",
]
map_function_name = "split"
reduce_function_name = "total"
"""


@pytest.fixture
def projects(tmp_path: Path) -> LocalProjects:
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "map_functions.py").write_text("def split(line, auxiliary_data):\n    return []\n")
    (folder / "reduce_functions.py").write_text("def total(group, auxiliary_data):\n    return []\n")
    (folder / "tidy.py").write_text("print()\n")
    return ProjectReader(tmp_path).read()


def checked(text: str, projects: LocalProjects | None = None) -> CheckedText:
    return check_text(text, projects or LocalProjects())


def only_problem(text: str, projects: LocalProjects | None = None) -> TextProblem:
    problems = checked(text, projects).problems
    assert len(problems) == 1, problems
    return problems[0]


def marked(text: str, problem: TextProblem) -> str:
    return text.split("\n")[problem.line][problem.column : problem.end]


def test_a_job_without_problems_gives_its_fields(projects: LocalProjects) -> None:
    result = checked(WORDS, projects)

    assert result.problems == ()
    assert result.fields is not None
    assert result.fields["input_dirs"] == ["a", "b"]
    assert "partitions" not in result.fields


def test_the_placeholders_of_a_template_are_problems_where_they_stand() -> None:
    text = template_toml("mapreduce")
    result = checked(text)

    assert [marked(text, problem) for problem in result.problems] == [
        '"<JOB_NAME>"', '"<PROJECT>"', '["<FOLDER>"]', '"<REDUCE_FUNCTION>"',
    ]  # fmt: skip
    assert result.fields is None
    assert result.errors == 4


def test_text_that_is_no_toml_is_a_problem_at_its_line() -> None:
    text = WORDS.replace('"count"', '"count')
    problem = only_problem(text)

    assert (problem.line, problem.field) == (1, "job_name")
    assert "closing quote" in problem.reason


def test_a_list_that_is_left_open_does_not_hide_the_fields_behind_it() -> None:
    text = WORDS.replace("]\nmap", "map")
    result = checked(text)

    assert result.scan.field("map_function_name") is not None
    assert result.errors == 1


def test_a_field_set_twice_names_both_lines() -> None:
    problem = only_problem(WORDS + 'job_name = "again"\n')

    assert problem.line == WORDS.count("\n")
    assert "line 2" in problem.reason


def test_an_unknown_name_is_marked_and_the_nearest_one_offered() -> None:
    text = WORDS + "partitons = 3\n"
    problem = only_problem(text)

    assert marked(text, problem) == "partitons"
    assert "did you mean partitions?" in problem.reason


def test_a_value_that_cannot_be_is_marked() -> None:
    text = WORDS.replace("= 1\n", "= 1.5  # why not\n")

    assert marked(text, only_problem(text)) == "1.5"


def test_a_missing_field_is_shown_where_it_is_commented_out() -> None:
    text = WORDS.replace("job_priority", "# job_priority")
    problem = only_problem(text)

    assert problem.line == 2
    assert "missing" in problem.reason


def test_a_missing_field_without_a_place_is_shown_at_the_end() -> None:
    problem = only_problem(WORDS.replace("job_priority = 1\n", ""))

    assert problem.line == WORDS.count("\n") - 2


def test_fields_in_a_table_are_told_of_at_the_header() -> None:
    result = checked(WORDS + "[limits]\nmax_attempts = 3\n")

    assert [(problem.line, problem.field) for problem in result.problems] == [(10, "limits")]


def test_an_unknown_project_is_a_warning_that_names_the_known_ones(projects: LocalProjects) -> None:
    problem = only_problem(WORDS.replace('"words"', '"worts"'), projects)

    assert problem.is_warning
    assert "did you mean words?" in problem.reason


def test_an_unknown_function_is_a_warning_and_the_job_can_be_submitted(projects: LocalProjects) -> None:
    result = checked(WORDS.replace('"total"', '"totals"'), projects)

    assert [(problem.field, problem.is_warning) for problem in result.problems] == [
        ("reduce_function_name", True)
    ]
    assert result.fields is not None


def test_a_script_that_is_not_in_its_project_is_a_warning(projects: LocalProjects) -> None:
    text = 'job_type = "script"\njob_name = "x"\njob_priority = 0\nscript_location = "words/tidi.py"\n'
    problem = only_problem(text, projects)

    assert problem.is_warning
    assert "did you mean tidy.py?" in problem.reason


def test_without_a_projects_folder_nothing_is_warned_of(tmp_path: Path) -> None:
    assert checked(WORDS, ProjectReader(tmp_path / "none").read()).problems == ()


def test_the_field_of_a_line_is_that_of_its_comment_and_of_its_list_too() -> None:
    text = template_toml("script")
    lines = text.split("\n")
    comment = next(number for number, line in enumerate(lines) if line.startswith("# Where it runs"))

    field = field_at(checked(text), comment)
    assert field is not None
    assert field.name == "run_on"
    in_list = field_at(checked(WORDS), 6)
    assert in_list is not None
    assert in_list.name == "input_dirs"
    assert field_at(checked(text), 0) is None


def test_the_facts_of_a_field_tell_its_unit_default_and_choices() -> None:
    text = template_toml("mapreduce")
    lines = text.split("\n")
    found = {}
    for number in range(len(lines)):
        field = field_at(checked(text), number)
        if field is not None:
            found[field.name] = facts_of(field)

    assert found["task_timeout_seconds"].takes == "number above 0, in seconds"
    assert found["max_attempts"].default == "4"
    assert found["encoding_errors"].takes == "one of strict, replace"
    assert found["job_name"].is_required
    assert found["partitions"].default == "none"


@pytest.mark.parametrize(
    "text", ["", "\n", "=", "[[", '"""', "a = [", "job_type = 3", "\r\n", "x.y = 1", "# a"]
)
def test_whatever_is_typed_is_checked_without_an_error(text: str) -> None:
    result = checked(text)

    assert result.fields is None
    assert all(0 <= problem.line < len(result.scan.lines) for problem in result.problems)


def test_a_text_that_is_far_too_long_is_not_looked_at() -> None:
    problem = only_problem("a = [\n" * 100_000)

    assert "longer than" in problem.reason


def test_many_names_that_no_job_has_are_told_of_at_little_cost() -> None:
    def text_of(names: int) -> str:
        return WORDS + "".join(f"f{number} = 1\n" for number in range(names))

    text = text_of(10_000)
    result = checked(text)

    assert len(result.problems) == UNKNOWN_NAMES_MAX + 1
    assert result.problems[-1].reason == "is not a field of any job, like 9,999 other names of this text"
    assert marked(text, result.problems[-1]) == "f50"
    assert result.fields is None
    assert growth(lambda names: checked(text_of(names)), 1_000, 10_000) < 40  # a square: 100


def test_the_field_below_a_long_comment_is_found_at_its_first_line() -> None:
    text = "# words\n" * 1_000 + WORDS
    result = checked(text)
    field = field_at(result, 0)

    assert field is not None and field.name == "job_type"


def test_every_beginning_of_a_template_is_checked(projects: LocalProjects) -> None:
    text = template_toml("mapreduce")
    for end in range(0, len(text), 37):
        result = check_text(text[:end], projects)

        assert all(problem.end <= len(result.scan.lines[problem.line]) + 1 for problem in result.problems)


@pytest.mark.parametrize(
    ("line", "is_in"),
    [
        ('a = "b|c"', True),
        ('a = |"bc"', False),
        ('a = "bc"|', False),
        ('a = "bc|', True),
        ("a = 'b|", True),
        ('a = ["b", |]', False),
        ('# it is "so|', False),
        ('a = "x" # "so|"', False),
    ],
)
def test_a_place_is_inside_quotes_or_not(line: str, is_in: bool) -> None:
    assert is_in_quotes(line.replace("|", ""), line.index("|")) == is_in


PLAIN = WORDS.replace('"split"', '"identity"')


@pytest.mark.parametrize("text", [PLAIN, WORDS.replace('map_function_name = "split"\n', "")])
def test_identity_over_what_is_no_output_of_a_job_is_a_warning(text: str, projects: LocalProjects) -> None:
    problem = only_problem(text, projects)

    assert (problem.field, problem.is_warning) == ("map_function_name", True)
    assert problem.reason == (
        "identity reads job output only; for plain text in a, name a function of map_functions.py"
    )


@pytest.mark.parametrize("folder", ["jobs/count/reduce", "jobs/count/reduce/", "/data/alpha/jobs/x/reduce"])
def test_identity_over_the_output_of_a_job_is_no_problem(folder: str, projects: LocalProjects) -> None:
    text = PLAIN.replace('"a"', f'"{folder}"').replace('"b"', '"jobs/b/reduce"')

    assert checked(text, projects).problems == ()


def test_an_identity_that_the_project_has_itself_may_read_what_it_likes(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    for kind, name in (("map", "identity"), ("reduce", "total")):
        (tmp_path / "words" / f"{kind}_functions.py").write_text(f"def {name}(a, b): return []\n")

    assert checked(PLAIN, ProjectReader(tmp_path).read()).problems == ()

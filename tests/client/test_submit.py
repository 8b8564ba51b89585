"""Submissions: what of a project goes with a job, and what is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from valid_jobs import MAPREDUCE, SCRIPT, UPLOAD, problems_of

from pymr.base.errors import JobError
from pymr.client.submit import checked_job, packed_project
from pymr.jobs.job import parse_job
from pymr.projects.packages import unpack_project


@pytest.fixture
def projects(tmp_path: Path) -> Path:
    folder = tmp_path / "projects" / "cleaning"
    (folder / "steps").mkdir(parents=True)
    (folder / "clean.py").write_text("import words")
    (folder / "words.py").write_text("")
    (folder / "steps" / "sort.sh").write_text("#!/bin/sh\n")
    (folder / ".hidden.py").write_text("")
    (tmp_path / "outside.py").write_text("")
    return tmp_path / "projects"


def script(location: str) -> Any:
    return parse_job({**SCRIPT, "script_location": location})


@pytest.mark.parametrize("location", ["cleaning/clean.py", "cleaning/steps/sort.sh"])
def test_project_of_a_script_goes_with_it(projects: Path, location: str) -> None:
    package = packed_project(script(location), projects)
    assert package is not None
    target = projects.parent / "there" / "cleaning"
    unpack_project(package.data, target, package.content_hash)

    assert {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()} == {
        "clean.py", "words.py", "steps/sort.sh",
    }  # fmt: skip


def test_nothing_goes_with_what_needs_no_project(projects: Path) -> None:
    assert packed_project(script("/usr/local/bin/clean"), projects / "none") is None
    assert packed_project(parse_job(UPLOAD), projects / "none") is None


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("cleaning/claen.py", "claen.py; did you mean clean.py?"),
        ("cleaning/steps/sort", "did you mean sort.sh?"),
        ("cleaning/none/sort.sh", "there is no "),
        ("clening/clean.py", "did you mean cleaning?"),
        ("clean.py", "must be an absolute path, or PROJECT/file.py in the projects folder"),
        (
            "cleaning/",
            "names a project and no file: a script in it is PROJECT/file.py, such as cleaning/file.py",
        ),
        ("cleaning", "names a project and no file"),
        ("cleaning//clean.py", "has an empty part"),
        ("cleaning/steps//sort.sh", "has an empty part"),
        ("cleaning/./clean.py", "or one that is a dot"),
        ("cleaning/clean.py/", "has an empty part"),
        ("cleaning/steps", "is a folder and not a file"),
        ("cleaning/.hidden.py", "hidden files"),
    ],
)
def test_script_that_is_not_in_its_project_is_refused(projects: Path, location: str, reason: str) -> None:
    with pytest.raises(JobError) as raised:
        packed_project(script(location), projects)

    (problem,) = raised.value.problems
    assert (problem.field, problem.value) == ("script_location", location)
    assert reason in problem.reason


def test_link_that_leads_out_of_a_project_is_refused(projects: Path) -> None:
    (projects / "cleaning" / "link.py").symlink_to(projects.parent / "outside.py")

    with pytest.raises(Exception, match=r"link\.py is a link that leads out of the project"):
        packed_project(script("cleaning/link.py"), projects)


@pytest.mark.parametrize("location", ["../x.py", "p/../../x.py", "p/x\n.py", "p/x\0.py", "/bin/\rsh", ""])
def test_location_that_leads_elsewhere_or_is_no_text_is_refused(location: str) -> None:
    assert set(problems_of({**SCRIPT, "script_location": location})) == {"script_location"}


def test_argument_with_nul_is_refused() -> None:
    assert "NUL" in problems_of({**SCRIPT, "script_arguments": ["a", "b\0"]})["script_arguments"]


# ---- functions, of which nothing is run


@pytest.fixture
def counting(projects: Path) -> Path:
    folder = projects / "wordcount"
    folder.mkdir()
    (folder / "map_functions.py").write_text("def words(line, data): ...\nshort = lambda line, data: []\n")
    (folder / "reduce_functions.py").write_text("def total(group, data): ...\n")
    return projects


def why_not(projects: Path, **fields: Any) -> dict[str, str]:
    with pytest.raises(JobError) as refused:
        packed_project(parse_job({**MAPREDUCE, "map_function_name": "words", **fields}), projects)
    return {problem.field: problem.reason for problem in refused.value.problems}


def test_functions_that_are_there_are_packed(counting: Path) -> None:
    fields = {"map_function_name": "words", "combine_function_name": "total"}

    assert packed_project(parse_job({**MAPREDUCE, **fields}), counting) is not None
    assert packed_project(parse_job(MAPREDUCE), counting) is not None


def test_every_function_that_is_missing_is_named_with_its_field(counting: Path) -> None:
    reasons = why_not(
        counting, map_function_name="wrods", reduce_function_name="sum", combine_function_name="totl"
    )

    assert list(reasons) == ["map_function_name", "reduce_function_name", "combine_function_name"]
    assert reasons["map_function_name"].endswith("map_functions.py; it has words; did you mean words?")
    assert "did you mean total?" in reasons["combine_function_name"]


def test_a_lambda_and_a_module_that_is_no_python_are_refused(counting: Path) -> None:
    (counting / "wordcount" / "reduce_functions.py").write_text("\ndef total(group data): ...\n")
    reasons = why_not(counting, map_function_name="short")

    assert "is a lambda in" in reasons["map_function_name"]
    assert reasons["reduce_function_name"].endswith(", line 2: invalid syntax")


def test_a_project_that_is_missing_is_named_with_its_field(counting: Path) -> None:
    assert "did you mean wordcount?" in why_not(counting, project_name="wordcont")["project_name"]


@pytest.mark.parametrize("path", ["jobs/count-words/reduce", "jobs/./count-words/", "jobs", "."])
def test_a_job_may_not_read_its_own_output(path: str) -> None:
    with pytest.raises(
        JobError, match=r"input_dirs = .*: the output folder jobs/count-words/reduce .* lies in it"
    ):
        checked_job({**MAPREDUCE, "input_dirs": ["corpus", path]})


def test_a_job_may_read_the_output_of_another() -> None:
    assert checked_job({**MAPREDUCE, "input_dirs": ["jobs/count-word/reduce", "jobs/count-words-2"]})

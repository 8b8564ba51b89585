"""Projects: finding functions in both forms, what is said when they are missing, and identity."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from written_projects import (
    PLAIN,
    REDUCE,
    import_state,  # noqa: F401  a fixture: pytest finds it by its name
    load_map,
    write_project,
)

from pymr.base.errors import ProjectError
from pymr.jobs.job import MapReduceJob, parse_job
from pymr.projects.project import identity, load_function, load_functions, project_names

pytestmark = pytest.mark.usefixtures("import_state")

CLASS = """
class MapFunctions:
    def __init__(self, map_function_name):
        if map_function_name == "words":
            self.map_function = words
        elif map_function_name in ("letters", "characters"):
            self.map_function = letters

    def get_map_function(self):
        return self.map_function

def words(line, auxiliary_data):
    return [("from the class", 1)]

def letters(line, auxiliary_data):
    return [(letter, 1) for letter in line]
"""


def job(**fields: object) -> MapReduceJob:
    parsed = parse_job(
        {
            "job_type": "mapreduce",
            "job_name": "j",
            "job_priority": 0,
            "project_name": "demo",
            "input_dirs": ["in"],
            "reduce_function_name": "total",
            **fields,
        }
    )
    assert isinstance(parsed, MapReduceJob)
    return parsed


# ---- finding functions


def test_plain_functions_are_found_by_name(tmp_path: Path) -> None:
    write_project(tmp_path, map_functions=PLAIN, reduce_functions=REDUCE)
    functions = load_functions(tmp_path, job(map_function_name="words", combine_function_name="total"))

    assert functions.map("a b", None) == [("a", 1), ("b", 1)]
    assert functions.combine is functions.reduce


def test_a_job_without_a_combine_function_has_none(tmp_path: Path) -> None:
    write_project(tmp_path, map_functions=PLAIN, reduce_functions=REDUCE)

    assert load_functions(tmp_path, job()).combine is None


def test_the_class_form_is_asked_first(tmp_path: Path) -> None:
    write_project(tmp_path, map_functions=CLASS)

    assert load_map(tmp_path, "words")("a", None) == [("from the class", 1)]
    assert load_map(tmp_path, "characters")("ab", None) == [("a", 1), ("b", 1)]


@pytest.mark.parametrize(
    "refusal", ["raise KeyError(name)", "pass", "self.function = None", "import sys; sys.exit('no')"]
)
def test_a_plain_function_counts_when_the_class_does_not_know_it(tmp_path: Path, refusal: str) -> None:
    text = f"""
class ReduceFunctions:
    def __init__(self, name):
        {refusal}
    def get_reduce_function(self):
        return self.function
{REDUCE}
"""
    write_project(tmp_path, reduce_functions=text)

    assert load_function(tmp_path, "demo", "reduce", "total").__name__ == "total"


def test_a_function_from_beside_the_module_is_found(tmp_path: Path) -> None:
    write_project(tmp_path, map_functions="from helpers import words\n", helpers=PLAIN)

    assert load_map(tmp_path, "words")("a", None) == [("a", 1)]


def test_a_wrong_name_lists_the_functions_and_the_closest(tmp_path: Path) -> None:
    write_project(tmp_path, map_functions=PLAIN + "from json import dumps\nTABLE = {}\nclass Other: pass\n")

    with pytest.raises(
        ProjectError, match=r"no map function 'wrods' in .*; it has words; did you mean words\?"
    ):
        load_map(tmp_path, "wrods")


def test_a_wrong_name_lists_what_the_class_knows(tmp_path: Path) -> None:
    write_project(tmp_path, map_functions=CLASS)

    with pytest.raises(ProjectError, match="it has characters, letters, words;") as caught:
        load_map(tmp_path, "letter")
    assert "MapFunctions('letter') raised AttributeError" in str(caught.value)


def test_names_in_a_table_beside_the_class_are_listed(tmp_path: Path) -> None:
    text = """
UNUSED = {"unused": 1}
FUNCTIONS = {"one": lambda line, auxiliary_data: [], "two": max}

class MapFunctions:
    def __init__(self, name):
        self.mode = "not a name" == name
        self.name = name
    def get_map_function(self):
        match self.name:
            case "three":
                return max
        return {"four": max, **FUNCTIONS}[self.name]
"""
    write_project(tmp_path, map_functions=text)

    with pytest.raises(ProjectError, match="it has four, one, three, two "):
        load_map(tmp_path, "x")


def test_a_module_without_functions_says_so(tmp_path: Path) -> None:
    write_project(tmp_path, map_functions="")

    with pytest.raises(ProjectError, match="no function can be found in it"):
        load_map(tmp_path, "words")


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        ("f = lambda line, auxiliary_data: []", "lambda"),
        ("f = 3", "of type int"),
        ("class f: pass", "a class"),
        ("async def f(line, auxiliary_data): ...", "async"),
        ("def f(line): ...", r"\(line, auxiliary_data\): too many"),
        ("def f(line, auxiliary_data, more): ...", "'more'"),
        ("def f(*, line): ...", "cannot be called"),
    ],
)
def test_what_cannot_be_a_map_function_is_refused(tmp_path: Path, definition: str, reason: str) -> None:
    write_project(tmp_path, map_functions=definition)

    with pytest.raises(ProjectError, match=reason):
        load_map(tmp_path, "f")


@pytest.mark.parametrize(
    "definition",
    ["def f(a, b, c=1): ...", "def f(*a): ...", "from functools import partial\nf = partial(max, 1)"],
)
def test_any_callable_of_two_arguments_will_do(tmp_path: Path, definition: str) -> None:
    write_project(tmp_path, map_functions=definition)

    assert callable(load_map(tmp_path, "f"))


# ---- what is missing


def test_a_missing_projects_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=f"{tmp_path}/none does not exist"):
        load_map(tmp_path / "none", "words")


def test_a_missing_project_lists_those_that_exist(tmp_path: Path) -> None:
    write_project(tmp_path, "wordcount", map_functions=PLAIN)
    write_project(tmp_path, "logs", reduce_functions=REDUCE)
    (tmp_path / "not-a-project").mkdir()

    assert project_names(tmp_path) == ["logs", "wordcount"]
    with pytest.raises(ProjectError, match=r"it holds logs, wordcount; did you mean wordcount\?"):
        load_map(tmp_path, "words", project="word-count")


def test_an_empty_projects_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="holds no project"):
        load_map(tmp_path, "words")


@pytest.mark.parametrize("name", ["../demo", "", "a/b", "demo\n"])
def test_a_project_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    write_project(tmp_path, map_functions=PLAIN)

    with pytest.raises(ProjectError, match="cannot be the name of a project"):
        load_map(tmp_path / "demo", "words", project=name)


def test_a_missing_module_is_named(tmp_path: Path) -> None:
    write_project(tmp_path, map_functions=PLAIN)

    with pytest.raises(
        ProjectError, match=r"'demo' has no reduce_functions\.py .*reduce_functions\.py: No such file"
    ):
        load_functions(tmp_path, job(map_function_name="words"))


# ---- identity


def test_identity_needs_no_module(tmp_path: Path) -> None:
    write_project(tmp_path, reduce_functions=REDUCE)

    assert load_functions(tmp_path, job()).map is identity


@pytest.mark.parametrize("text", [PLAIN, CLASS])
def test_identity_is_built_in_beside_other_functions(tmp_path: Path, text: str) -> None:
    write_project(tmp_path, map_functions=text)

    assert load_map(tmp_path, "identity") is identity


def test_a_project_may_have_its_own_identity(tmp_path: Path) -> None:
    write_project(tmp_path, map_functions="def identity(line, auxiliary_data): return [(line, None)]\n")

    assert load_map(tmp_path, "identity")("x", None) == [("x", None)]


@pytest.mark.parametrize(
    "item",
    [
        ("word", 1),
        (("a", ("b", 2), ()), [1, [2]]),
        (None, {"a": [1.5, None, True]}),
        (2**63, -(2**63) - 1),
        (2**200, [10**30]),
        (1, math.inf),
        (0.12345678901234567, "1234567890123456789012"),
        ("\ud800", "ünïcode \u2028"),
    ],
)
def test_identity_gives_the_item_back(item: tuple[Any, Any]) -> None:
    assert identity(json.dumps(item), None) == [item]
    assert identity(json.dumps(item, ensure_ascii=False), None) == [item]


def test_identity_reads_a_nan() -> None:
    [(key, value)] = identity('["a", NaN]', None)

    assert key == "a"
    assert math.isnan(value)


@pytest.mark.parametrize(
    "line", ["", "plain text", "{}", "[1]", "[1, 2, 3]", "[1, 2", "12", '"ab"', "[" * 100_000]
)
def test_identity_refuses_plain_text_and_says_what_it_needs(line: str) -> None:
    with pytest.raises(ValueError, match="plain text needs a map function"):
        identity(line, None)

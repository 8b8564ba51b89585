"""Modules of projects: errors at their import, and loading them afresh."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
import types
import typing
from pathlib import Path

import pytest
from written_projects import (
    PLAIN,
    import_state,  # noqa: F401  a fixture: pytest finds it by its name
    load_map,
    write_project,
)

from pymr.base.errors import ProjectError
from pymr.projects.modules import import_from, load_module

pytestmark = pytest.mark.usefixtures("import_state")

# ---- what goes wrong at import


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("x = 1\ny = 1 / 0\n", 2, "ZeroDivisionError"),
        ("x = 1\ndef broken(:\n", 2, "SyntaxError"),
        ("import sys\n\nsys.exit(3)\n", 3, "SystemExit: 3"),
        ("class Odd(Exception):\n  def __str__(self): 1 / 0\nraise Odd\n", 3, "Odd"),
        ("import nothing_of_that_name\n", 1, "ModuleNotFoundError"),
        ("import json\n\njson.loads('x')\n", 3, "JSONDecodeError"),
        ("x = '\0'\n", None, "null bytes"),
        ("def f(): f()\nf()\n", 1, "RecursionError"),
    ],
)
def test_a_module_that_cannot_be_loaded_names_the_line(
    tmp_path: Path, text: str, line: int | None, what: str
) -> None:
    write_project(tmp_path, map_functions=text)
    path = "demo/map_functions.py"

    with pytest.raises(ProjectError, match=what) as caught:
        load_map(tmp_path, "words")
    assert str(caught.value).startswith(f"{path} cannot be loaded, {path}{f':{line}' if line else ''}:")
    assert len(str(caught.value).splitlines()) < 30
    assert str(tmp_path) not in str(caught.value)
    assert "map_functions" not in sys.modules


def test_an_error_in_a_helper_names_the_helper(tmp_path: Path) -> None:
    write_project(tmp_path, map_functions="import helpers\n", helpers="\n\nraise ValueError('no')\n")

    with pytest.raises(ProjectError, match="ValueError: no") as caught:
        load_map(tmp_path, "words")
    assert "cannot be loaded, demo/helpers.py:3: ValueError: no\n" in str(caught.value)
    assert "importlib" not in str(caught.value).splitlines()[1]


def test_a_file_that_would_hide_the_standard_library_is_refused(tmp_path: Path) -> None:
    folder = write_project(tmp_path, map_functions=PLAIN, test="")
    assert load_map(tmp_path, "words")

    (folder / "queue.py").touch()
    with pytest.raises(ProjectError, match=r"queue\.py has the name of a module of Python itself"):
        load_map(tmp_path, "words")


def test_an_interrupt_is_not_taken_for_an_error_of_the_module(tmp_path: Path) -> None:
    write_project(tmp_path, map_functions="raise KeyboardInterrupt\n")

    with pytest.raises(KeyboardInterrupt):
        load_map(tmp_path, "words")


# ---- loading afresh


def test_a_changed_module_is_loaded_again(tmp_path: Path) -> None:
    write_project(tmp_path, map_functions="def f(line, auxiliary_data): return 1\n")
    before = load_map(tmp_path, "f")
    write_project(tmp_path, map_functions="def f(line, auxiliary_data): return 2\n")
    after = load_map(tmp_path, "f")

    assert (before("", None), after("", None)) == (1, 2)


def test_a_changed_helper_is_loaded_again(tmp_path: Path) -> None:
    text = "import helpers\nfrom more import deep\ndef f(a, b): return helpers.NUMBER, deep.NUMBER\n"
    folder = write_project(tmp_path, map_functions=text, helpers="NUMBER = 1\n")
    (folder / "more").mkdir()
    (folder / "more" / "deep.py").write_text("NUMBER = 3\n")
    before = load_map(tmp_path, "f")
    (folder / "helpers.py").write_text("NUMBER = 2\n")
    (folder / "more" / "deep.py").write_text("NUMBER = 4\n")
    after = load_map(tmp_path, "f")

    assert (before("", None), after("", None)) == ((1, 3), (2, 4))


def test_projects_do_not_see_each_others_helpers(tmp_path: Path) -> None:
    text = "import helpers\ndef f(line, auxiliary_data): return helpers.NAME\n"
    write_project(tmp_path, "one", map_functions=text, helpers="NAME = 'one'\n")
    write_project(tmp_path, "two", map_functions=text, helpers="NAME = 'two'\n")
    write_project(tmp_path, "three", map_functions=text)

    assert load_map(tmp_path, "f", project="one")("", None) == "one"
    assert load_map(tmp_path, "f", project="two")("", None) == "two"
    with pytest.raises(ProjectError, match="No module named 'helpers'"):
        load_map(tmp_path, "f", project="three")


def test_a_helper_can_be_imported_when_the_function_runs(tmp_path: Path) -> None:
    text = "def f(line, auxiliary_data):\n    import late\n    return late.NUMBER\n"
    write_project(tmp_path, map_functions=text, late="NUMBER = 7\n")

    assert load_map(tmp_path, "f")("", None) == 7


def test_both_modules_of_a_project_share_their_helpers(tmp_path: Path) -> None:
    text = "import helpers\n"
    folder = write_project(tmp_path, map_functions=text, reduce_functions=text, helpers="")
    import_from(folder)

    assert load_module(folder, "map").module.helpers is load_module(folder, "reduce").module.helpers


def test_a_helper_changed_within_a_second_is_not_taken_from_a_cache(tmp_path: Path) -> None:
    text = "def f(line, auxiliary_data):\n    import late\n    return late.NUMBER\n"
    results = []
    for number in (1, 2):
        folder = write_project(tmp_path, map_functions=text, late=f"NUMBER = {number}\n")
        os.utime(folder / "late.py", (1_000_000_000, 1_000_000_000))
        results.append(load_map(tmp_path, "f")("", None))

    assert results == [1, 2]


def test_loading_leaves_one_entry_on_the_path_and_no_file_in_the_project(tmp_path: Path) -> None:
    one = write_project(tmp_path, "one", map_functions=PLAIN)
    load_map(tmp_path, "words", project="one")
    path = [entry for entry in sys.path if entry not in (str(one), str(tmp_path))]
    folder = write_project(tmp_path, "two", map_functions="import helpers\n" + PLAIN, helpers="")
    for project in ("two", "two"):
        load_map(tmp_path, "words", project=project)

    assert sys.path == [str(folder), *path, str(tmp_path)]
    assert sorted(file.name for file in folder.iterdir()) == ["helpers.py", "map_functions.py"]


def test_dataclasses_annotations_and_pickle_work_in_a_project(tmp_path: Path) -> None:
    text = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass(slots=True)
class Point:
    x: Point | None = None

def f(line, auxiliary_data):
    return Point(Point())
"""
    write_project(tmp_path, "a.b-c", map_functions=text)
    point = load_map(tmp_path, "f", project="a.b-c")("", None)

    assert pickle.loads(pickle.dumps(point)) == point
    assert typing.get_type_hints(type(point))["x"] == type(point) | None


def test_a_traceback_shows_the_line_of_the_file_as_it_is_now(tmp_path: Path) -> None:
    for number in (1, 2):
        folder = write_project(
            tmp_path, map_functions=f"def f(line, auxiliary_data):\n    return {number} / 0\n"
        )
        with pytest.raises(ZeroDivisionError) as caught:
            load_map(tmp_path, "f")("", None)

        frame = traceback.extract_tb(caught.value.__traceback__)[-1]
        assert (frame.filename, frame.line) == (str(folder / "map_functions.py"), f"return {number} / 0")


# ---- names that hold in any process


POINT = """
from dataclasses import dataclass

@dataclass
class Point:
    x: int

def f(line, auxiliary_data):
    return Point(7)
"""

FRESH = {
    "one of the modules": "import map_functions; print(map_functions.Point(7))",
    "the project as a package": "from demo.map_functions import Point; print(Point(7))",
    "what was pickled": "import pickle, sys; print(pickle.loads(sys.stdin.buffer.read()))",
}


@pytest.mark.parametrize("source", FRESH.values(), ids=FRESH)
def test_another_interpreter_that_a_function_starts_knows_the_project(tmp_path: Path, source: str) -> None:
    write_project(tmp_path, map_functions=POINT)
    point = load_map(tmp_path, "f")("", None)
    asked = subprocess.run(
        [sys.executable, "-c", source], input=pickle.dumps(point), capture_output=True, check=False
    )

    assert (asked.stdout, asked.stderr) == (b"Point(x=7)\n", b"")
    assert sorted(file.name for file in (tmp_path / "demo").iterdir()) == ["map_functions.py"]


def test_what_was_pickled_where_the_project_lies_elsewhere_is_the_same_class(tmp_path: Path) -> None:
    write_project(tmp_path / "one", map_functions=POINT)
    write_project(tmp_path / "two", map_functions=POINT)
    pickled = pickle.dumps(load_map(tmp_path / "one", "f")("", None))
    here = load_map(tmp_path / "two", "f")("", None)

    assert pickle.loads(pickled) == here
    assert type(here).__module__ == "map_functions"


def test_a_module_imported_by_any_of_its_names_is_the_one_that_the_functions_are_in(tmp_path: Path) -> None:
    text = """
import shop.map_functions
import map_functions
from shop.map_functions import Point

def g(group, auxiliary_data): return shop.map_functions.Point is map_functions.Point is Point
"""
    folder = write_project(tmp_path, "shop", map_functions=POINT, reduce_functions=text)
    import_from(folder)
    mapped, reduced = load_module(folder, "map"), load_module(folder, "reduce")

    assert reduced.module.g(None, None)
    assert reduced.module.Point is mapped.module.Point


def test_a_module_that_the_other_one_imports_is_run_once(tmp_path: Path) -> None:
    text = "from reduce_functions import Point\ndef f(line, auxiliary_data): return Point(1)\n"
    folder = write_project(tmp_path, map_functions=text, reduce_functions=POINT)
    import_from(folder)
    mapped, reduced = load_module(folder, "map"), load_module(folder, "reduce")

    assert mapped.module.Point is reduced.module.Point


def test_modules_of_one_name_in_two_projects_do_not_mix(tmp_path: Path) -> None:
    for name in ("one", "two"):
        text = f"import helpers\ndef f(line, auxiliary_data): return {name!r}, helpers.NAME\n"
        write_project(tmp_path, name, map_functions=text, helpers=f"NAME = {name!r}\n")
    found = [load_map(tmp_path, "f", project=name)("", None) for name in ("one", "two", "one")]

    assert found == [("one", "one"), ("two", "two"), ("one", "one")]
    assert os.environ["PYTHONPATH"].split(os.pathsep)[0] == str(tmp_path / "one")
    assert str(tmp_path / "two") not in os.environ["PYTHONPATH"]


def test_what_lies_beside_a_project_hides_nothing_from_what_functions_start(tmp_path: Path) -> None:
    write_project(tmp_path, map_functions=POINT)
    (tmp_path / "random.py").write_text("1 / 0\n")
    load_map(tmp_path, "f")
    source = "import random, map_functions; print(random.random() < 1)"
    asked = subprocess.run([sys.executable, "-c", source], capture_output=True, check=False)

    assert (asked.stdout, asked.stderr) == (b"True\n", b"")


def test_a_project_whose_environment_lies_in_it_takes_nothing_of_pymr_away(tmp_path: Path) -> None:
    inside = tmp_path / "demo" / ".venv" / "lib.py"
    write_project(tmp_path, map_functions=POINT)
    module = types.ModuleType("installed_inside")
    module.__file__ = str(inside)
    sys.modules["installed_inside"] = module
    before = sys.prefix
    sys.prefix = str(tmp_path / "demo" / ".venv")
    try:
        load_map(tmp_path, "f")
        assert sys.modules.get("installed_inside") is module
    finally:
        sys.prefix = before

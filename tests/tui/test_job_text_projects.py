"""The names of projects and functions, read from source that is never run."""

from __future__ import annotations

import os
from pathlib import Path

from tui.model.job_text_projects import ProjectReader, find_job_files, module_names


def test_plain_functions_are_found_and_private_ones_are_not_offered() -> None:
    names = module_names(b"def words(l, a): ...\ndef _help(): ...\nX = 3\n", "map")

    assert names.names == ("words",)
    assert names.may_have("_help")
    assert not names.may_have("word")


def test_the_class_form_that_looks_its_methods_up_has_their_names() -> None:
    source = b"""
class MapFunctions:
    def __init__(self, name):
        self.name = name
    def get_map_function(self):
        return getattr(self, self.name)
    def by_host(self, line, auxiliary_data):
        return "" if line == "-" else line
"""
    names = module_names(source, "map")

    assert names.names == ("by_host",)
    assert not names.may_have("get_map_function")


def test_the_class_form_that_compares_names_has_those() -> None:
    source = b"""
class ReduceFunctions:
    def __init__(self, name):
        self.name = name
    def get_reduce_function(self):
        if self.name == "total":
            return sum
        return {"largest": max}[self.name]
"""
    assert module_names(source, "reduce").names == ("largest", "total")


def test_what_cannot_be_seen_from_outside_is_not_said_to_be_missing() -> None:
    assert module_names(b"from shared import *\n", "map").may_have("anything")
    assert module_names(b"from shared import split\n", "map").may_have("split")
    assert module_names(
        b"try:\n    from fast import split\nexcept ImportError:\n    split = None\n", "map"
    ).may_have("split")
    assert module_names(b"class MapFunctions(Base): ...\n", "map").may_have("anything")


def test_a_module_that_is_no_python_names_the_line() -> None:
    names = module_names(b"def a(:\n", "map")

    assert "line 1" in names.problem
    assert names.may_have("a")


def test_no_code_of_a_project_is_run(tmp_path: Path) -> None:
    folder = tmp_path / "loud"
    folder.mkdir()
    (folder / "map_functions.py").write_text("raise SystemExit('run')\n")

    assert ProjectReader(tmp_path).read().with_functions() == ["loud"]


def test_a_changed_module_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "words"
    folder.mkdir()
    module = folder / "map_functions.py"
    module.write_text("def one(l, a): ...\n")
    reader = ProjectReader(tmp_path)
    first = reader.read().functions("words", "map")
    module.write_text("def two(l, a): ...\n")
    os.utime(module, ns=(1, 1))
    second = reader.read().functions("words", "map")

    assert first is not None
    assert second is not None
    assert (first.names, second.names) == (("one",), ("two",))


def test_files_with_jobs_are_found_beside_and_in_the_projects(tmp_path: Path) -> None:
    projects = tmp_path / "projects"
    (projects / "words").mkdir(parents=True)
    (tmp_path / "beside.toml").write_text('job_type = "script"\n')
    (tmp_path / "cluster.toml").write_text('name = "home"\n')
    (projects / "words" / "count.toml").write_text('# a job\njob_type = "mapreduce"\n')

    assert find_job_files(projects) == [tmp_path / "beside.toml", projects / "words" / "count.toml"]

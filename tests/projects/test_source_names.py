"""The names of functions, read from source that is never run."""

from __future__ import annotations

import pytest

from pymr.projects.source_names import module_names


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


@pytest.mark.parametrize(
    "source",
    [
        "def words(line, data): ...",
        "from elsewhere import words",
        "import elsewhere as words",
        "from elsewhere import *",
        "try:\n    from fast import words\nexcept ImportError:\n    def words(line, data): ...",
        "if True:\n    async def words(line, data): ...",
        "for words in [print]: pass",
        "(words := print)",
        "words = other = print",
        "globals()['words'] = print",
        "import sys\nsetattr(sys.modules[__name__], 'words', print)",
        "exec('def words(line, data): ...')",
        "def make():\n    global words\n    words = print\nmake()",
        "match print:\n    case words: pass",
        "class MapFunctions: ...",
        "from elsewhere import MapFunctions",
        "import importlib\nimportlib.import_module(__name__).words = print",
        "def other(line=(words := print)): ...",
        "def words(:",
    ],
)
def test_a_function_that_may_be_there_is_not_said_to_be_missing(source: str) -> None:
    assert not module_names(source.encode(), "map").lacks("words")


def test_a_plain_module_lacks_what_it_does_not_bind() -> None:
    names = module_names(b"import json\ndef words(line, data):\n    count = json\n", "map")

    assert names.lacks("wrods")
    assert names.lacks("count")
    assert not names.lacks("words")


def test_lambdas_are_known_where_nothing_else_has_the_name() -> None:
    source = b"words = lambda line, data: []\nsplit = lambda line: line\ndef split(line): ...\n"
    source += b"named = lambda line, data: []\nnamed.__name__ = 'named'\n"

    assert module_names(source, "map").lambdas == {"words"}

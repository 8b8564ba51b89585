"""Every test asserts something: by itself, or through a helper of the tests that does."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
ASSERTING_CALLS = {"raises", "warns", "fail"}
"""Of pytest."""


def functions_of(source: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    nodes = ast.walk(ast.parse(source))
    return (node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def asserts(function: ast.AST, asserting: Collection[str]) -> bool:
    """Whether there is an assertion in a function, or a call of one of these names."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert | ast.Raise):
            return True
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in asserting:
                return True
    return False


def without_assertion(sources: dict[str, str]) -> list[str]:
    """The tests that assert nothing. sources: by file."""
    found = [(path, one) for path, source in sources.items() for one in functions_of(source)]
    helpers = [one for _, one in found if not one.name.startswith("test_")]
    asserting = set(ASSERTING_CALLS)
    while more := {one.name for one in helpers if one.name not in asserting and asserts(one, asserting)}:
        asserting |= more
    tests = ((path, one) for path, one in found if one.name.startswith("test_"))
    return [f"{path}:{one.lineno} {one.name}" for path, one in tests if not asserts(one, asserting)]


def test_every_test_asserts_something() -> None:
    sources = {str(path.relative_to(TESTS)): path.read_text() for path in TESTS.rglob("*.py")}

    assert without_assertion(sources) == []


def test_one_that_does_not_is_found() -> None:
    source = """
def check(value): assert value
def is_well(value): check(value)
def look(value): print(value)
def test_by_itself(): assert 1
def test_by_helpers(): is_well(1)
def test_by_nothing(): look(1)
async def test_for_an_error():
    with pytest.raises(ValueError): look(1)
"""

    assert without_assertion({"a.py": source}) == ["a.py:7 test_by_nothing"]

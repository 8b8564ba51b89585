"""What Textual keeps to itself and the console uses all the same: each name is pinned here, so that another
Textual is found out by a test and not by whoever presses a key."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import textual
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingsMap, BindingType
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.widget import Widget

import tui

TEXTUAL = Path(textual.__file__).parent

OF_PYTHON = {"_exit", "_replace", "_asdict"}
"""Of `os` and of named tuples: public, whatever they look like."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def names_of(tree: ast.AST, *, of_self: bool) -> set[str]:
    """The private attributes that are read, set, or defined as methods. of_self: those of `self`, `cls` and
    `super()` alone, else those of anything else."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            whose = node.value
            is_super = isinstance(whose, ast.Call) and getattr(whose.func, "id", "") == "super"
            is_own = is_super or getattr(whose, "id", "") in ("self", "cls")
            if is_own == of_self:
                found.add(node.attr)
        elif of_self and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_private(node.name):
            found.add(node.name)
    return found


def private_names_of(body: ast.stmt) -> set[str]:
    """The private names that a class itself defines or uses, those of its body too."""
    assert isinstance(body, ast.ClassDef)
    targets = {
        target.id
        for statement in body.body
        for target in getattr(statement, "targets", [getattr(statement, "target", None)])
        if isinstance(target, ast.Name) and is_private(target.id)
    }
    return names_of(body, of_self=True) | targets


def class_names(kind: type) -> set[str]:
    return private_names_of(ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0])


@cache
def textual_names() -> frozenset[str]:
    """All private attributes and methods in Textual."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in TEXTUAL.rglob("*.py")]
    return frozenset().union(*(names_of(tree, of_self=True) for tree in trees))


def modules() -> Iterator[ModuleType]:
    for module in pkgutil.walk_packages(tui.__path__, "tui."):
        if not module.name.endswith("__main__"):
            yield importlib.import_module(module.name)


def classes() -> Iterator[type]:
    for module in modules():
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == module.__name__:
                yield kind


@cache
def names_in_textual(kind: type) -> frozenset[str]:
    """What a class of Textual has for itself."""
    return frozenset(class_names(kind))


def used_names() -> dict[str, list[str]]:
    """The private names of Textual in the console, with where each is used: on `self`, where a class of
    Textual above has it; on anything else, where Textual has it and the console has not."""
    found: dict[str, set[str]] = {}
    own: set[str] = set()
    for kind in classes():
        names = class_names(kind)
        above = [one for one in kind.__mro__ if one.__module__.split(".")[0] == "textual"]
        for name in names:
            if any(name in names_in_textual(one) for one in above):
                found.setdefault(name, set()).add(kind.__qualname__)
            else:
                own.add(name)
    for module in modules():
        tree = ast.parse(inspect.getsource(module))
        for name in names_of(tree, of_self=False) & textual_names() - own - OF_PYTHON:
            found.setdefault(name, set()).add(module.__name__)
        for node in ast.walk(tree):
            source = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            if source.split(".")[0] == "textual":
                hidden = [one for one in source.split(".") if is_private(one)]
                hidden += [alias.name for alias in getattr(node, "names", ()) if is_private(alias.name)]
                for name in hidden:
                    found.setdefault(name, set()).add(module.__name__)
    return {name: sorted(places) for name, places in found.items()}


# ---- the pins: a name, and what the console needs of it


Test = Callable[[], Awaitable[None]]
PINS: dict[str, Test] = {}


def pin(name: str) -> Callable[[Test], Test]:
    """Of a test: it shows what the console needs of a name."""

    def keep(test: Test) -> Test:
        PINS[name] = test
        return test

    return keep


def parameters(function: Callable[..., object]) -> list[str]:
    return list(inspect.signature(function).parameters)


class Ending(App[None]):
    """Ends by itself, as the console does at a fault of its own."""

    error: Exception | None = None

    def on_mount(self) -> None:
        self.call_later(self._fail)

    def _fail(self) -> None:
        raise ValueError("a fault")

    def _handle_exception(self, error: Exception) -> None:
        self.error = error
        self._return_code = 1
        self._close_messages_no_wait()


@pin("_handle_exception")
@pin("_return_code")
@pin("_close_messages_no_wait")
async def test_a_fault_ends_an_app_with_the_status_that_was_set() -> None:
    """A fault in a handler comes to `_handle_exception`, the app ends, and with the status that was set."""
    app = Ending()
    await asyncio.wait_for(app.run_async(headless=True), 20.0)

    assert parameters(App._handle_exception) == ["self", "error"]
    assert isinstance(app.error, ValueError)
    assert app.return_code == 1


class Keys(App[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("x", "nothing", "nothing", id="a.key")]


@pin("_bindings")
@pin("_keymap")
async def test_the_keys_of_a_node_are_copied_and_given_other_places() -> None:
    """A node's keys can be copied and be given the places that the operator chose."""
    app = Keys()
    app.set_keymap({"a.key": "?,f3"})
    bindings = app._bindings.copy()
    bindings.apply_keymap(app._keymap)

    assert isinstance(app._bindings, BindingsMap)
    assert app._keymap == {"a.key": "question_mark,f3"}
    assert [key for key, binding in bindings if binding.id == "a.key"] == ["question_mark", "f3"]
    assert [key for key, binding in app._bindings if binding.id == "a.key"] == ["x"]


class Lines(App[None]):
    def compose(self) -> ComposeResult:
        yield ScrollView()


@pin("_scroll_update")
async def test_the_scrollbar_takes_another_number_of_lines() -> None:
    """The scrollbar takes another number of lines at once, without a layout."""
    app = Lines()
    async with app.run_test(size=(20, 5)) as pilot:
        view = app.query_one(ScrollView)
        view.set_reactive(ScrollView.virtual_size, Size(10, 500))
        view._scroll_update(Size(10, 500))
        told = view.vertical_scrollbar.window_virtual_size
        await pilot.pause()

    assert parameters(Widget._scroll_update) == ["self", "virtual_size"]
    assert told == 500


@pin("_parse_rules")
async def test_each_source_of_a_stylesheet_is_parsed_by_one_method() -> None:
    """A stylesheet asks one method for the rules of a source, by all that they depend on but variables."""
    asked: list[tuple[object, ...]] = []

    class Noted(Stylesheet):
        def _parse_rules(self, *place: Any, **options: Any) -> list[RuleSet]:
            asked.append((*place, options))
            return super()._parse_rules(*place, **options)

    styles = Noted(variables={"wide": "20"})
    styles.add_source("Static { width: $wide; }", ("here", ""), tie_breaker=3, scope="Widget")

    assert len(styles.rules) == 1
    assert parameters(Stylesheet._parse_rules)[1:] == [
        "css", "read_from", "is_default_rules", "tie_breaker", "scope",
    ]  # fmt: skip
    options = {"read_from": ("here", ""), "is_default_rules": False, "tie_breaker": 3, "scope": "Widget"}
    assert asked == [("Static { width: $wide; }", options)]


def test_every_private_name_of_textual_that_is_used_is_pinned() -> None:
    used = used_names()

    assert {name: places for name, places in used.items() if name not in PINS} == {}
    assert [name for name in PINS if name not in used] == []  # a pin of what nobody uses any more


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("class A(Widget):\n    def f(self): self._size", {"_size"}),
        ("class A(Widget):\n    def _on_key(self, event): ...", {"_on_key"}),
        ("class A(Widget):\n    _inherit_css = False", {"_inherit_css"}),
        ("class A(Widget):\n    def f(self): super()._scroll_update(0)", {"_scroll_update"}),
        ("class A(Widget):\n    def f(self): self.size", set()),
    ],
)
def test_a_private_name_is_found_however_it_is_used(code: str, found: set[str]) -> None:
    assert private_names_of(ast.parse(code).body[0]) == found

"""The functions that a module of a project seems to have, read from its source, of which nothing is run."""

from __future__ import annotations

import ast
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pymr.base.spelling import did_you_mean
from pymr.projects.modules import FunctionKind

CLASS_NAMES: dict[FunctionKind, str] = {"map": "MapFunctions", "reduce": "ReduceFunctions"}

_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_BINDING = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom

_OPENING = {
    "__dict__", "__globals__", "__import__", "eval", "exec", "f_globals", "globals", "import_module",
    "locals", "modules", "setattr", "vars",
}  # fmt: skip
"""With one of these a module may have names that are written nowhere in it."""


@dataclass(frozen=True, slots=True)
class ModuleNames:
    """names: of functions to choose from. bound: all names bound at the top of the module.
    is_open: there may be functions that cannot be seen from outside. is_plain: there are none but those that
    are bound. lambdas: those of them that are lambdas, which errors could not name. problem: why it cannot
    be read."""

    names: tuple[str, ...] = ()
    bound: frozenset[str] = frozenset()
    is_open: bool = False
    is_plain: bool = False
    lambdas: frozenset[str] = frozenset()
    problem: str = ""

    def may_have(self, name: str) -> bool:
        return self.is_open or name in self.names or name in self.bound

    def lacks(self, name: str) -> bool:
        """Whether it has no such function for sure, whatever it does when it is loaded."""
        return self.is_plain and name not in self.bound


def names_in_words(wanted: str, names: Sequence[str]) -> str:
    """The functions that there are, and which of them may have been meant."""
    listed = f"it has {', '.join(names)}" if names else "no function can be found in it"
    return f"{listed}{did_you_mean(wanted, names)}"


def module_names(source: bytes, kind: FunctionKind) -> ModuleNames:
    """The functions that a module seems to have: plain ones, and those that its class form hands out."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes, say, which may be errors to this process
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        why = f": {error.msg}" if isinstance(error, SyntaxError) else ""
        return ModuleNames(is_open=True, problem=f"cannot be read as Python {_VERSION}{where}{why}")
    plain = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    of_class, is_open = _of_class(tree, kind)
    bound = set(_bound(tree.body))
    names = {name for name in plain if not name.startswith("_")} | of_class
    is_open = is_open or "*" in bound
    is_plain = not is_open and CLASS_NAMES[kind] not in bound and not _may_bind_more(tree)
    lambdas = _lambdas(tree) if is_plain else frozenset()
    return ModuleNames(tuple(sorted(names)), frozenset(bound), is_open, is_plain, lambdas)


def _lambdas(tree: ast.Module) -> frozenset[str]:
    """Names that are bound at the top of a module once, to a lambda that is given no name later."""
    counts = Counter(_bound(tree.body))
    assigned = [
        node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda)
    ]
    targets = [target for node in assigned for target in node.targets]
    named = {
        node.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    once = {one.id for one in targets if isinstance(one, ast.Name) and counts[one.id] == 1}
    return frozenset(once - named)


def _may_bind_more(tree: ast.Module) -> bool:
    """Whether something in a module may bind names that it does not show."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Global | ast.NamedExpr | ast.MatchAs | ast.MatchStar | ast.MatchMapping):
            return True
        if {getattr(node, "id", ""), getattr(node, "attr", "")} & _OPENING:
            return True
    return False


def _of_class(tree: ast.Module, kind: FunctionKind) -> tuple[set[str], bool]:
    """The functions of the class form, and whether there may be others, as in the classes it is made of."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == CLASS_NAMES[kind]:
            methods = {inner.name for inner in node.body if isinstance(inner, ast.FunctionDef)}
            handed_out = {name for name in methods if not name.startswith(("_", f"get_{kind}_function"))}
            if not _looks_up_attributes(node):
                handed_out = {text for text in strings_of_class(tree, kind) if text.isidentifier()}
            return handed_out, bool(node.bases) or not handed_out
    return set(), False


def _looks_up_attributes(declaring: ast.ClassDef) -> bool:
    calls = (node.func for node in ast.walk(declaring) if isinstance(node, ast.Call))
    return any(isinstance(called, ast.Name) and called.id == "getattr" for called in calls)


def _bound(statements: Iterable[ast.stmt]) -> Iterator[str]:
    for node in statements:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)
        else:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                    yield inner.id
                elif isinstance(inner, _BINDING):
                    yield from _bound([inner])


def strings_of_class(tree: ast.Module, kind: FunctionKind) -> set[str]:
    """The texts that the class form of a module compares with, or looks up in a dict: names of functions,
    most likely. Nothing of the module is run."""
    class_name = CLASS_NAMES[kind]
    declaring = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name]
    inside = [node for one in declaring for node in ast.walk(one)]
    used_names = {node.id for node in inside if isinstance(node, ast.Name)}
    # A dict of functions is often next to the class, at the top of the module.
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id in used_names for target in statement.targets
        ):
            inside += ast.walk(statement.value)
    return {text for node in inside for text in _strings_of(node)}


def _strings_of(node: ast.AST) -> Iterator[str]:
    parts: list[ast.expr | None] = []
    if isinstance(node, ast.Compare):
        parts = [node.left, *node.comparators]
    elif isinstance(node, ast.Dict):
        parts = list(node.keys)
    elif isinstance(node, ast.MatchValue):
        parts = [node.value]
    for part in parts:
        elements = part.elts if isinstance(part, ast.Tuple | ast.List | ast.Set) else [part]
        for element in elements:
            if isinstance(element, ast.Constant) and isinstance(element.value, str):
                yield element.value

"""A function of a project by its name, in both forms that a module may have, or an error listing the names.

A class, MapFunctions(name).get_map_function() (ReduceFunctions(name).get_reduce_function()), is asked first;
otherwise it is the plain function of that name at the top of the module.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from typing import Any

from pymr.base.errors import ProjectError
from pymr.projects.modules import LoadedModule, error_in_words
from pymr.projects.paths import shown_path
from pymr.projects.source_names import CLASS_NAMES, names_in_words, strings_of_class

_METHOD_NAMES = {"map": "get_map_function", "reduce": "get_reduce_function"}
_FIRST_ARGUMENTS = {"map": "line", "reduce": "group"}


def find_function(loaded: LoadedModule, function_name: str) -> Callable[..., Any]:
    """The function called `function_name`. Raises ProjectError when there is none, or it cannot be used."""
    function, refusal = _ask_class(loaded, function_name)
    if function is None:
        function = vars(loaded.module).get(function_name)
    if function is None:
        raise ProjectError(_no_such_function(loaded, function_name, refusal)) from refusal
    reason = _why_unusable(function, loaded)
    if reason:
        raise ProjectError(
            f"the {loaded.kind} function {function_name!r} of {shown_path(loaded.path)} {reason}"
        )
    return function  # type: ignore[no-any-return]


def has_function(loaded: LoadedModule, function_name: str) -> bool:
    return _ask_class(loaded, function_name)[0] is not None or function_name in vars(loaded.module)


def function_names(loaded: LoadedModule) -> list[str]:
    """The names that find_function knows, sorted, as far as they can be determined from outside."""
    module = loaded.module
    plain = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and callable(value)
        and not isinstance(value, type)
        and getattr(value, "__module__", None) == module.__name__
        and _why_unusable(value, loaded) is None
    ]
    # An attribute of the class need not name a function; the class itself knows.
    strings = strings_of_class(ast.parse(loaded.source), loaded.kind)
    of_class = [name for name in strings if _ask_class(loaded, name)[0] is not None]
    return sorted({*plain, *of_class})


def _ask_class(loaded: LoadedModule, function_name: str) -> tuple[Any, BaseException | None]:
    """What the class form gives for a name (None: nothing), and the error with which it refused."""
    declaring = vars(loaded.module).get(CLASS_NAMES[loaded.kind])
    if not isinstance(declaring, type):
        return None, None
    try:
        return getattr(declaring(function_name), _METHOD_NAMES[loaded.kind])(), None
    except (Exception, SystemExit) as error:  # each class has its own way to say that it knows no such name
        return None, error


def _no_such_function(loaded: LoadedModule, function_name: str, refusal: BaseException | None) -> str:
    names = function_names(loaded)
    message = (
        f"project {loaded.project_name!r} has no {loaded.kind} function {function_name!r} in "
        f"{shown_path(loaded.path)}; {names_in_words(function_name, names)}"
    )
    if refusal is None:
        return message
    class_name = CLASS_NAMES[loaded.kind]
    return f"{message} ({class_name}({function_name!r}) raised {error_in_words(refusal)})"


def _why_unusable(function: object, loaded: LoadedModule) -> str | None:
    first = _FIRST_ARGUMENTS[loaded.kind]
    if isinstance(function, type) or not callable(function):
        is_class = isinstance(function, type)
        return f"is {'a class' if is_class else f'of type {type(function).__name__}'}, not a function"
    if getattr(function, "__name__", "") == "<lambda>":
        return f"is a lambda, which errors cannot name: write it as `def NAME({first}, auxiliary_data)`"
    if inspect.iscoroutinefunction(function):
        return "is async: it has to be a plain function"
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        return f"cannot be called as ({first}, auxiliary_data): {error}"
    except ValueError:
        return None  # a function written in C that does not tell its arguments
    return None

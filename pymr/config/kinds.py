"""Kinds of values: what a declared field takes, and the check that says in words why a value cannot be."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import PurePosixPath

from pymr.base.spelling import did_you_mean

# Whole numbers up to here are exact in every encoding of a value: TOML, msgpack, JSON, the scores of Redis.
INTEGER_MAX = 2**53


class SecretError(ValueError):
    """The value is refused, and must not be shown either: it holds a secret."""


def as_it_is(value: object) -> object:
    return value


@dataclass(frozen=True, slots=True)
class Kind:
    """The values a field takes.

    words: for documentation, such as "whole number, at least 1".
    check: gives the value to keep; raises ValueError with the reason, such as "must be at least 1".
    write: gives a kept value as a file should show it (a number of bytes as "64 MiB").
    choices: all that can be chosen from, where that is few.
    """

    words: str
    check: Callable[[object], object]
    write: Callable[[object], object] = as_it_is
    choices: tuple[object, ...] = ()


def boolean() -> Kind:
    def check(value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false, not {type_in_words(value)}")
        return value

    return Kind("true or false", check, choices=(True, False))


def integer(*, minimum: int = -INTEGER_MAX, maximum: int = INTEGER_MAX) -> Kind:
    """Whole numbers from `minimum` to `maximum`. A bool is not one."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be a whole number, not {type_in_words(value)}")
        if not minimum <= value <= maximum:
            raise ValueError(
                f"must be at least {minimum}" if value < minimum else f"must be at most {maximum}"
            )
        return value

    low = f", at least {minimum}" if minimum != -INTEGER_MAX else ""
    high = f", at most {maximum}" if maximum != INTEGER_MAX else ""
    return Kind(f"whole number{low}{high}", check)


def number(*, above: float, maximum: float = math.inf) -> Kind:
    """Finite numbers in (above, maximum], kept as floats. A whole number is accepted, a bool is not."""
    bounds = f"above {above:g}" + (f", at most {maximum:g}" if maximum != math.inf else "")

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"must be a number, not {type_in_words(value)}")
        try:
            kept = float(value)
        except OverflowError:
            kept = math.inf
        # A NaN is above nothing, so it is refused here as well.
        if not (kept > above and kept <= maximum and math.isfinite(kept)):
            raise ValueError(f"must be a finite number {bounds}")
        return kept

    return Kind(f"number {bounds}", check)


def text(*, may_be_empty: bool = False) -> Kind:
    def check(value: object) -> str:
        return check_text(value, may_be_empty=may_be_empty)

    return Kind("text", check)


def plain_name(*, reserved: tuple[str, ...] = ()) -> Kind:
    """Names of jobs, projects, peers...: used in file names, keys and addresses, so ASCII only."""

    def check(value: object) -> str:
        kept = check_text(value)
        check_name(kept)
        if kept in reserved:
            raise ValueError("has a meaning of its own and cannot be used as a name here")
        return kept

    return Kind("name", check)


def identifier() -> Kind:
    """The name of a Python function, without a module before it."""

    def check(value: object) -> str:
        kept = check_text(value)
        if not kept.isidentifier() or iskeyword(kept):
            raise ValueError("must be the name of a Python function: letters, digits and `_`, no dots")
        return kept

    return Kind("function name", check)


def path() -> Kind:
    """A path under a peer's data folder, or an absolute one."""

    def check(value: object) -> str:
        kept = check_text(value)
        if "\n" in kept or "\r" in kept:
            raise ValueError("must not contain a line end")
        parts = PurePosixPath(kept)
        if not parts.is_absolute() and ".." in parts.parts:
            raise ValueError(
                "must not contain `..`: a relative path stays under its folder; else write it from /"
            )
        return kept

    return Kind("path", check)


def absolute_path() -> Kind:
    def check(value: object) -> str:
        kept = check_text(value)
        if not PurePosixPath(kept).is_absolute():
            raise ValueError("must be an absolute path, beginning with /")
        return kept

    return Kind("absolute path", check)


def command_line(*, must_hold: str = "") -> Kind:
    """A command and its arguments, as a shell would split them. must_hold: text required in one of them."""

    def check(value: object) -> str:
        import shlex  # few files hold one

        kept = check_text(value)
        try:
            words = shlex.split(kept)
        except ValueError as error:
            raise ValueError(f"must be a command that can be split into words: {error}") from None
        if not words or not any(must_hold in word for word in words):
            raise ValueError(f"must hold {must_hold}" if words else "must not be empty")
        return kept

    return Kind("command line", check)


def setting() -> Kind:
    """KEY=VALUE, kept as it is; `split_at_equals` takes it apart."""

    def check(value: object) -> str:
        kept = check_text(value)
        split_at_equals(kept)
        return kept

    return Kind("KEY=VALUE", check)


def split_at_equals(text: str) -> tuple[str, str]:
    """(KEY, VALUE) of a text KEY=VALUE, without the blanks around them. Raises ValueError for any other."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ValueError("must be KEY=VALUE")
    return name.strip(), value.strip()


def choice(*choices: str) -> Kind:
    listed = ", ".join(choices)

    def check(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"must be one of {listed}; not {type_in_words(value)}")
        if value not in choices:
            raise ValueError(f"must be one of {listed}{did_you_mean(value, choices)}")
        return value

    return Kind("one of " + ", ".join(f"`{one}`" for one in choices), check, choices=choices)


def switch(*choices: str) -> Kind:
    """false, true (which means the first of `choices` and is kept as that), or one of `choices`."""
    of_choices = choice(*choices)

    def check(value: object) -> object:
        if isinstance(value, bool):
            return choices[0] if value else False
        try:
            return of_choices.check(value)
        except ValueError as error:
            raise ValueError(f"must be true, false, or {str(error).removeprefix('must be ')}") from None

    return Kind(
        f"true (`{choices[0]}`), false, or {of_choices.words}", check, choices=(True, False, *choices)
    )


def list_of(kind: Kind, *, count_min: int = 0) -> Kind:
    """Lists of values of `kind`, kept as tuples. A text is not a list of its characters."""

    def check(value: object) -> tuple[object, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"must be a list, such as [{value!r:.60}], not {type_in_words(value)}")
        if len(value) < count_min:
            raise ValueError("must not be empty")
        kept = []
        for position, element in enumerate(value):
            try:
                kept.append(kind.check(element))
            except ValueError as error:
                raise ValueError(f"its element {position} ({element!r:.60}) {error}") from None
        return tuple(kept)

    return Kind(f"list (each element: {kind.words})" + (", not empty" if count_min else ""), check)


def _refuse(value: object) -> object:
    raise ValueError("is filled in by the system: leave it out")


# Fields that a run writes and nobody submits.
FILLED_IN = Kind("filled in by the system", _refuse)


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def check_name(value: str) -> None:
    # Not `match` with a `$`: that one also matches before a final newline.
    if not _NAME.fullmatch(value):
        raise ValueError(
            "must be 1 to 64 letters (A-Z, a-z), digits, `_`, `.` or `-`, and begin with a letter or a digit"
        )


def check_text(value: object, *, may_be_empty: bool = False) -> str:
    """`value` if it is text that a file, an argument or a path can hold. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {type_in_words(value)}")
    if not value and not may_be_empty:
        raise ValueError("must not be empty")
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("must not contain half a surrogate pair: it has no form in UTF-8")
    return value


_TYPES_IN_WORDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number with a fraction"),
    (str, "text"),
    ((list, tuple), "a list"),
    (dict, "a table"),
)


def type_in_words(value: object) -> str:
    for types, words in _TYPES_IN_WORDS:
        if isinstance(value, types):
            return words
    return f"a {type(value).__name__}"

"""TOML as text: reading a file with errors that name the line, and writing fields with their comments."""

from __future__ import annotations

import codecs
import datetime
import json
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pymr.base.errors import DefinitionError, Problem
from pymr.config.declared_fields import Field
from pymr.config.kinds import FILLED_IN

LINE_COLUMNS = 100
"""Comments are wrapped before this, where nothing else is asked for."""

# How an error class is made: from what was read, and what is wrong with it.
ErrorClass = Callable[[str, tuple[Problem, ...]], DefinitionError]


def read_toml_file(path: Path, error_class: ErrorClass) -> dict[str, Any]:
    """The values of a TOML file. Raises `error_class` naming the file, and the line where it is not TOML."""
    return parse_toml(read_text(path, error_class), str(path), error_class)


def read_text(path: Path, error_class: ErrorClass) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        problem = Problem("file", str(path), f"cannot be read: {error.strerror or error}")
        raise error_class(str(path), (problem,)) from error
    return decode_text(data, str(path), error_class)


def decode_text(data: bytes, source: str, error_class: ErrorClass) -> str:
    """The text of a file, without the mark that some editors put before it. source: its path."""
    marked = data.removeprefix(codecs.BOM_UTF8)
    try:
        return marked.decode("utf-8")
    except UnicodeDecodeError as error:
        start = error.start + len(data) - len(marked)
        problem = Problem("file", source, f"is not UTF-8 text, from byte {start} on")
        raise error_class(source, (problem,)) from error


def parse_toml(text: str, source: str, error_class: ErrorClass) -> dict[str, Any]:
    """The values of a TOML text. source: what to call it in an error, a path for instance."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Besides its own error, tomllib lets through those of huge numbers and of deep nesting.
        raise error_class(source, (_syntax_problem(text, error),)) from error


def _syntax_problem(text: str, error: Exception) -> Problem:
    lines = text.split("\n")
    found = re.search(r"at line (\d+), column \d+", str(error))
    number = min(int(found[1]), len(lines)) if found else len(lines)
    where = f"line {number}" if found or isinstance(error, tomllib.TOMLDecodeError) else "file"
    return Problem(where, lines[number - 1].strip(), f"is not valid TOML: {error}")


def parse_override(text: str) -> object:
    """The value of a `--set FIELD=VALUE`: a TOML value where the text is one, else the text itself.

    Dates stay text, since no field takes one and a job may well be called 2024-01-31.
    """
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    # More than one key: the text held a line end, and more TOML after it.
    value = parsed["value"] if parsed.keys() == {"value"} else text
    return text if isinstance(value, datetime.date | datetime.time) else value


def field_lines(
    fields: Sequence[Field], values: Mapping[str, Any], columns: int = LINE_COLUMNS
) -> Iterator[str]:
    """The lines of a TOML table: every field with its comment, under the headings of their sections.

    A field without a value is commented out, and shows its default, or an example. Fields of the system are
    only named.
    """
    section = ""
    for field in fields:
        if field.section != section:
            section = field.section
            yield from ("", heading(section, columns))
        if field.kind is FILLED_IN:
            yield f"# {field.name}: {field.doc}"
            continue
        yield ""
        yield from comment_lines(("Required. " if field.required else "") + field.doc, columns)
        value = values.get(field.name)
        if value is not None:
            yield assignment(field, value)
        else:
            yield f"# {assignment(field, field.example if field.default is None else field.default)}"


def assignment(field: Field, value: object) -> str:
    return f"{field.name} = {toml_value(field.kind.write(value))}"


def heading(title: str, columns: int = LINE_COLUMNS) -> str:
    return f"# ---- {title} ".ljust(columns, "-")


def comment_lines(text: str, columns: int = LINE_COLUMNS) -> list[str]:
    return textwrap.wrap(text, columns, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def toml_value(value: object) -> str:
    """`value` (bool, int, finite float, str, or a list of those) as TOML on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        # A JSON string is a TOML string except for one character: JSON does not escape DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    raise TypeError(f"no field holds a {type(value).__name__}: {value!r}")

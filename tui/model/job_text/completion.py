"""Completions at the cursor: names of fields, choices of values, and defaults."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pymr.config.declared_fields import Field
from pymr.config.toml_text import toml_value
from pymr.projects.modules import FunctionKind
from tui.model.folder_names import NOTHING_READ, FolderNames, folder_of, last_name
from tui.model.job_text.problems import CheckedText, declared_field, facts_of, fields_to_fill, uncommented
from tui.model.job_text.projects import LocalProjects
from tui.model.job_text.scan import FieldPlace

CANDIDATES_MAX = 500

_BEGUN_NAME = re.compile(r"\s*([A-Za-z0-9_]*)$")
# A value that was begun: what stands before the cursor, and what of it stands behind.
_BEGUN_VALUE = re.compile(r"""("[^"]*|'[^']*|[^\s"'=\[\],#]*)$""")
_REST_OF_TEXT = {'"': re.compile(r'[^"\n]*"?'), "'": re.compile(r"[^'\n]*'?")}
_REST_OF_WORD = re.compile(r"""[^\s"'\[\],#]*""")
_WHOLE_TEXT = re.compile(r'"[^"]*"|\'[^\']*\'')

_FUNCTIONS: dict[str, FunctionKind] = {
    "map_function_name": "map",
    "combine_function_name": "reduce",
    "reduce_function_name": "reduce",
}
_FOLDER_FIELDS = ("input_dirs", "input_dir", "output_dir")
_FILE_FIELDS = ("input_file_name", "script_location")


@dataclass(frozen=True, slots=True)
class KnownNames:
    """What there is at the moment. outputs: jobs whose output can be read. folder: of this machine, the one
    that the path at the cursor leads into."""

    jobs: Sequence[str] = ()
    groups: Sequence[str] = ()
    peers: Sequence[str] = ()
    outputs: Sequence[str] = ()
    folder: FolderNames = NOTHING_READ


@dataclass(frozen=True, slots=True)
class Candidate:
    """shown: for the eye. text: as it is written. detail: a few words on what it is. leads_on: it is a
    folder, so that more of a path may follow."""

    shown: str
    text: str
    detail: str = ""
    leads_on: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """What may take the place of the columns `start` to `end` of a line. typed: the beginning that narrowed
    the candidates, "" for none. chosen: the index of the one already there, else 0."""

    line: int
    start: int
    end: int
    typed: str
    candidates: tuple[Candidate, ...]
    chosen: int = 0


def complete(
    checked: CheckedText, line: int, column: int, projects: LocalProjects, known: KnownNames
) -> Completion | None:
    """The candidates at a place of the text; None if there are none."""
    written = checked.scan.lines[line] if line < len(checked.scan.lines) else ""
    as_field = uncommented(checked, line)
    if as_field is not None:
        words = Candidate(as_field, as_field, "set this field")
        return Completion(line, 0, len(written), "", (words,))
    place = checked.scan.at(line)
    is_in_value = place is not None and not place.is_out and place.line <= line <= place.end_line
    if place is not None and is_in_value and (line > place.line or column >= place.value_column):
        return _of_value(checked, place, line, column, projects, known)
    return _of_name(checked, line, written, column)


def path_begun(checked: CheckedText, line: int, column: int) -> str | None:
    """The path before the cursor, where a field stands there whose folders this machine may have."""
    place = checked.scan.at(line) if line < len(checked.scan.lines) else None
    if place is None or place.is_out or not place.line <= line <= place.end_line:
        return None
    if line == place.line and column < place.value_column:
        return None
    if place.name not in (*_FOLDER_FIELDS, *_FILE_FIELDS):
        return None
    typed = _typed_path(checked, place, line, column)
    is_of_project = place.name == "script_location" and not typed.startswith("/")
    return None if is_of_project or typed.startswith("~") else typed


def _typed_path(checked: CheckedText, place: FieldPlace, line: int, column: int) -> str:
    """The part of the value before the cursor; "" in a placeholder."""
    written = checked.scan.lines[line]
    start, end, typed = _begun_value(written, place.value_column if line == place.line else 0, column)
    field = declared_field(checked.job_type, place.name)
    is_placeholder = field is not None and field.placeholder and field.placeholder in written[start:end]
    return "" if is_placeholder else typed


def _of_name(checked: CheckedText, line: int, written: str, column: int) -> Completion | None:
    begun = _BEGUN_NAME.match(written[:column])
    if begun is None:
        return None
    rest = _REST_OF_WORD.match(written, column)
    end = rest.end() if rest else column
    behind = written[end:].lstrip()
    used = checked.scan.set_names() - {written[begun.start(1) : end]}
    is_set = behind.startswith("=")
    candidates = [
        Candidate(field.name, field.name if is_set else f"{field.name} = ", _short(field))
        for field in fields_to_fill(checked.job_type)
        if field.name not in used
    ]
    return narrowed_by_typed(Completion(line, begun.start(1), end, begun[1], tuple(candidates)))


def _short(field: Field) -> str:
    facts = facts_of(field)
    return "required" if facts.is_required else f"default {facts.default}"


def _of_value(
    checked: CheckedText,
    place: FieldPlace,
    line: int,
    column: int,
    projects: LocalProjects,
    known: KnownNames,
) -> Completion | None:
    field = declared_field(checked.job_type, place.name)
    if field is None:
        return None
    written = checked.scan.lines[line]
    start, end, typed = _begun_value(written, place.value_column if line == place.line else 0, column)
    there = written[start:end]
    values = _values(field, checked, projects, known)
    candidates = tuple(Candidate(_bare(text), text, detail) for text, detail in values)
    begun = path_begun(checked, line, column)
    if begun is not None:
        candidates = (*_paths(field, begun, known.folder), *candidates)
    standing = next((index for index, one in enumerate(candidates) if one.text == there), None)
    if standing is not None or (field.placeholder and field.placeholder in there):
        # The value is already complete: the user wants to see the alternatives.
        first = max((standing or 0) - CANDIDATES_MAX + 1, 0)
        shown = candidates[first : first + CANDIDATES_MAX]
        return Completion(line, start, end, "", shown, (standing or 0) - first) if shown else None
    return narrowed_by_typed(Completion(line, start, end, typed, candidates))


def _begun_value(written: str, first: int, column: int) -> tuple[int, int, str]:
    """Where the value around the cursor begins and ends on the line, and what of it stands before the cursor,
    without its quote."""
    for whole in _WHOLE_TEXT.finditer(written, first):
        if whole.start() < column <= whole.end():
            return whole.start(), whole.end(), written[whole.start() + 1 : min(column, whole.end() - 1)]
    begun = _BEGUN_VALUE.search(written[first:column])
    start = first + begun.start() if begun else column
    quote = written[start : start + 1]
    rest = _REST_OF_TEXT.get(quote, _REST_OF_WORD).match(written, column)
    return start, rest.end() if rest else column, written[start:column].lstrip("\"'")


def _paths(field: Field, begun: str, folder: FolderNames) -> Iterator[Candidate]:
    """What lies in the folder that a path leads into, if that is the one that was read."""
    if folder.folder != folder_of(begun):
        return
    for name in folder.names:
        is_folder = name.endswith("/")
        is_hidden = last_name(name).startswith(".") and not last_name(begun).startswith(".")
        if not is_hidden and (is_folder or field.name in _FILE_FIELDS):
            text = toml_value(name.rstrip("/"))
            yield Candidate(name, text, "folder" if is_folder else "file", is_folder)


def _bare(text: str) -> str:
    return text[1:-1] if text.startswith('"') and text.endswith('"') and len(text) > 1 else text


def _values(
    field: Field, checked: CheckedText, projects: LocalProjects, known: KnownNames
) -> Iterator[tuple[str, str]]:
    """(value as TOML, a few words on it) of all that a field may be set to, as far as that is known."""
    default = None if field.default is None else toml_value(field.kind.write(field.default))
    if field.kind.choices:
        for choice in field.kind.choices:
            written = toml_value(choice)
            yield written, "default" if written == default and not field.required else ""
        return
    names = list(_names(field.name, checked, projects, known))
    yield from ((toml_value(name), words) for name, words in names)
    if default is not None and default not in {toml_value(name) for name, _ in names} and default != "[]":
        yield default, "default"


def _names(
    field_name: str, checked: CheckedText, projects: LocalProjects, known: KnownNames
) -> Iterable[tuple[str, str]]:
    if field_name in _FUNCTIONS:
        kind = _FUNCTIONS[field_name]
        module = projects.functions(_written_text(checked, "project_name"), kind)
        functions = [(name, f"{kind} function") for name in (module.names if module else ())]
        return [*functions, ("identity", "built in, the default")] if kind == "map" else functions
    if field_name == "project_name":
        return [(name, "project") for name in projects.with_functions()]
    if field_name == "script_location":
        files = ((name, project.files) for name, project in sorted(projects.projects.items()))
        return [(f"{name}/{file}", "") for name, of_project in files for file in of_project]
    if field_name == "run_on":
        peers = [(name, "peer") for name in known.peers]
        return [("leader", "whichever leads then"), ("all", "every peer"), *peers]
    if field_name in ("input_dirs", "input_dir"):
        return [(f"jobs/{name}/reduce", "output of a job") for name in known.outputs]
    if field_name == "group_name":
        return [(name, "group") for name in known.groups]
    if field_name == "job_name":
        return [(name, "replaces this job") for name in known.jobs]
    return [(name, "peer") for name in known.peers] if field_name == "local_peer" else []


def _written_text(checked: CheckedText, field_name: str) -> str:
    """The text that a field is set to, also while the whole is no TOML; "" where it is not set."""
    place = checked.scan.field(field_name)
    if place is None:
        return ""
    return checked.scan.lines[place.line][place.value_column : place.value_end].strip("\"'")


def narrowed_by_typed(completion: Completion) -> Completion | None:
    """With those candidates only that have what was typed: first those that begin so, then the others."""
    typed = completion.typed.lower()
    holding = [one for one in completion.candidates if _has_letters(typed, one.shown.lower())]
    begin = [one for one in holding if one.shown.lower().startswith(typed)]
    hold = [one for one in holding if one not in begin]
    if not begin and not hold:
        return None
    narrowed = (*begin, *hold)
    return replace(completion, candidates=narrowed[:CANDIDATES_MAX])


def _has_letters(typed: str, name: str) -> bool:
    """Whether a name contains the letters typed, in their order, with others between them."""
    rest = iter(name)
    return all(letter in rest for letter in typed)

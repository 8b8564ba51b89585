"""Where the fields of a job are in its text, found without parsing: the text may be incomplete."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_KEY = re.compile(r"""(\s*)([A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')\s*(?==)""")
_COMMENTED_OUT = re.compile(r"(\s*#\s*)([A-Za-z0-9_-]+)\s*=")
_TABLE = re.compile(r"(\s*)\[\[?\s*([A-Za-z0-9_.\"'-]+)")
# What matters for where a value ends, in the order in which it is looked for.
_PIECE = re.compile(r'"""|\'\'\'|"(?:[^"\\\n]|\\.)*"?|\'[^\'\n]*\'?|[\[\]{}]|#.*')


@dataclass(frozen=True, slots=True)
class FieldPlace:
    """A field of the text. Lines and columns count from 0, an end is behind the last character.

    column: of its name. value_column, value_end: of its value, as far as that stands on the line `line`.
    end_line: the last one of its value. is_out: commented out.
    """

    name: str
    line: int
    column: int
    value_column: int
    value_end: int
    end_line: int
    is_out: bool = False


@dataclass(frozen=True, slots=True)
class TextScan:
    """The lines of a text, and its fields in their order. tables: names of headers such as `[job]`."""

    lines: tuple[str, ...]
    fields: tuple[FieldPlace, ...]
    tables: tuple[FieldPlace, ...]

    def field(self, name: str) -> FieldPlace | None:
        """The first place where a field is set; None where it is not."""
        return next((place for place in self.fields if place.name == name and not place.is_out), None)

    def commented_out(self, name: str) -> FieldPlace | None:
        return next((place for place in self.fields if place.name == name and place.is_out), None)

    def set_names(self) -> set[str]:
        return {place.name for place in self.fields if not place.is_out}

    def at(self, line: int) -> FieldPlace | None:
        """The field on a line, or the one that the comment on it belongs to; None for neither."""
        for place in self.fields:
            if place.line <= line <= place.end_line:
                return place
        begins = {place.line: place for place in self.fields}
        while line not in begins and line < len(self.lines) and self.lines[line].lstrip().startswith("#"):
            line += 1
        return begins.get(line)


def scan(text: str, known_names: Iterable[str]) -> TextScan:
    """Find the fields of a job's text. known_names: of all fields, to tell one that is commented out from
    prose, and to see where a value ends whose bracket or quotes were left open."""
    lines = tuple(text.split("\n"))
    known = frozenset(known_names)
    fields: list[FieldPlace] = []
    tables: list[FieldPlace] = []
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if not tables and (key := _KEY.match(line)):
            fields.append(_place(lines, number - 1, key, known))
            number = fields[-1].end_line + 1
        elif (out := _COMMENTED_OUT.match(line)) and out[2] in known:
            start = _after_blanks(line, out.end())
            fields.append(
                FieldPlace(out[2], number - 1, out.start(2), start, len(line), number - 1, is_out=True)
            )
        elif table := _TABLE.match(line):
            tables.append(
                FieldPlace(table[2], number - 1, table.start(2), table.start(2), len(line), number - 1)
            )
    return TextScan(lines, tuple(fields), tuple(tables))


def is_in_quotes(line: str, column: int) -> bool:
    """Whether a place of a line is inside a text of it; the end of one that was left open is."""
    for piece in _PIECE.finditer(line):
        quote = piece[0][0]
        if piece.start() < column and quote in "\"'":
            is_closed = len(piece[0]) > 1 and piece[0].endswith(quote)
            if column < piece.end() or (column == piece.end() and not is_closed):
                return True
    return False


def _place(lines: tuple[str, ...], number: int, key: re.Match[str], known: frozenset[str]) -> FieldPlace:
    line = lines[number]
    start = _after_blanks(line, key.end() + 1)
    *_, (end_line, end) = _value_ends(lines, number, start, known)
    value_end = end if end_line == number else len(line)
    name = key[2].strip("\"'")
    return FieldPlace(name, number, key.start(2), start, max(start, value_end), end_line)


def _value_ends(
    lines: tuple[str, ...], number: int, start: int, known: frozenset[str]
) -> Iterator[tuple[int, int]]:
    """(line, column) behind what belongs to the value that begins at `start`, line by line."""
    depth, quotes = 0, ""
    first = number
    while number < len(lines):
        line = lines[number]
        # Something was left open, and the next field begins: the value ended before it.
        if number > first and (key := _KEY.match(line)) and key[2] in known:
            return
        end = start
        while start < len(line):
            if quotes:
                closing = line.find(quotes, start)
                start = end = len(line) if closing < 0 else closing + 3
                quotes = quotes if closing < 0 else ""
                continue
            piece = _PIECE.search(line, start)
            if piece is None or piece[0].startswith("#"):
                end = max(end, len(line[: piece.start() if piece else None].rstrip()))
                break
            depth += (piece[0] in "[{") - (piece[0] in "]}")
            quotes = piece[0] if piece[0] in ('"""', "'''") else ""
            start = end = piece.end()
        yield number, end
        if depth <= 0 and not quotes:
            return
        number, start = number + 1, 0


def _after_blanks(line: str, start: int) -> int:
    return len(line) - len(line[start:].lstrip())

"""Lines as a terminal would show them: colours kept, what was written over is gone, no other control left."""

from __future__ import annotations

import re
from typing import NamedTuple

from rich.style import Style

from tui.model.pane.ansi_colours import PLAIN, Look, look_after, style_of

LINE_BYTES_MAX = 4 << 10
"""A longer line is shown as several: so that no line costs more than this to draw."""

LOOK_BACK_BYTES = 2 << 10
"""How far before a line its colours are looked for, where they were not put back at the end of a line."""

_TAB = 8
_DIGITS_MAX = 6
_ESCAPE = re.compile(
    r"\x1b\[(?P<numbers>[0-?]*)[ -/]*(?P<final>[@-~])"  # cursor, colours, erasing
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, links, clipboard
    r"|\x1b[PX^_][^\x1b]*\x1b\\"
    r"|\x1b[ -/]*[0-~]?"
)
_COLOURS = re.compile(rb"\x1b\[([0-9;:]*)m")
_RESETS = (b"\x1b[0m", b"\x1b[m")
_MOVES = re.compile(r"\r(?!\n?\Z)|\x08|\x1b\[[0-9;]*[CDGKP]")
_FINALS_OF_MOVES = frozenset("CDGKP")
_BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_UNSAFE = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), "?")
_UNSAFE |= dict.fromkeys((*map(ord, _BIDI), 0x2028, 0x2029), "�")
_PRINTABLE_BELL = {0x07: ""}


class StyledLine(NamedTuple):
    """A line as it is shown. spans: (start, end, style) by characters, ascending; between them: no style."""

    text: str
    spans: tuple[tuple[int, int, Style], ...] = ()


def styled_line(data: bytes, look: Look = PLAIN) -> StyledLine:
    """The line of these bytes, which end before or with its line end. look: that it begins with.

    Text that is no UTF-8 gets replacement characters. Cost: some microseconds; up to a millisecond for a line
    of LINE_BYTES_MAX that was written over.
    """
    text = data.decode("utf-8", "replace").rstrip("\n").rstrip("\r")
    if "\x1b" not in text and "\x08" not in text and "\r" not in text:
        line = _safe(text)
        return StyledLine(line, ((0, len(line), style_of(look)),) if look != PLAIN and line else ())
    if _MOVES.search(text) or ("\t" in text and "\x1b" in text):
        return _written_over(text, look)
    return _coloured(text, look)


def cursor_after(data: bytes) -> int:
    """The character of a line at its terminal's cursor; may be behind the last one.

    data: of the line, without a line end."""
    return _drawn(data.decode("utf-8", "replace"), PLAIN)[1]


def look_before(data: bytes | bytearray, at: int) -> Look:
    """The colours in effect at a byte, by what was put out in the LOOK_BACK_BYTES before it."""
    floor = max(0, at - LOOK_BACK_BYTES)
    last = data.rfind(b"\x1b[", floor, at)
    if last < 0 or data.startswith(_RESETS, last):
        return PLAIN
    start = max(floor, *(data.rfind(reset, floor, at) for reset in _RESETS))
    look = PLAIN
    for match in _COLOURS.finditer(data, start, at):
        look = look_after(look, match[1].decode("ascii"))
    return look


def _safe(text: str) -> str:
    if text.isprintable():
        return text
    return text.translate(_PRINTABLE_BELL).expandtabs(_TAB).translate(_UNSAFE)


def _coloured(text: str, look: Look) -> StyledLine:
    """A line with colours, and nothing that moves the cursor back."""
    parts: list[str] = []
    spans: list[tuple[int, int, Style]] = []
    length = position = 0
    for match in _ESCAPE.finditer(text):
        if match.start() > position:
            length = _add(parts, spans, length, _safe(text[position : match.start()]), look)
        position = match.end()
        if match["final"] == "m":
            look = look_after(look, match["numbers"])
    if position < len(text):
        _add(parts, spans, length, _safe(text[position:]), look)
    return StyledLine("".join(parts), tuple(spans))


def _add(parts: list[str], spans: list[tuple[int, int, Style]], length: int, text: str, look: Look) -> int:
    parts.append(text)
    if look != PLAIN and text:
        spans.append((length, length + len(text), style_of(look)))
    return length + len(text)


def _written_over(text: str, look: Look) -> StyledLine:
    """A line in which the cursor went back, as progress bars do: its final content."""
    cells, _ = _drawn(text, look)
    spans: list[tuple[int, int, Style]] = []
    start = 0
    for index in range(1, len(cells) + 1):
        if index == len(cells) or cells[index][1] != cells[start][1]:
            if cells[start][1] != PLAIN:
                spans.append((start, index, style_of(cells[start][1])))
            start = index
    return StyledLine("".join(character for character, _ in cells), tuple(spans))


def _drawn(text: str, look: Look) -> tuple[list[tuple[str, Look]], int]:
    """(what stands in the line, a character and its colours each, where the cursor stands)."""
    cells: list[tuple[str, Look]] = []
    cursor = position = 0
    for match in _ESCAPE.finditer(text):
        cursor = _write(cells, cursor, text[position : match.start()], look)
        position = match.end()
        if match["final"] == "m":
            look = look_after(look, match["numbers"])
        elif match["final"] in _FINALS_OF_MOVES:
            cursor = _move(cells, cursor, match["final"], match["numbers"])
    return cells, _write(cells, cursor, text[position:], look)


def _write(cells: list[tuple[str, Look]], cursor: int, text: str, look: Look) -> int:
    for character in text:
        if character == "\r":
            cursor = 0
        elif character == "\x08":
            cursor = max(0, cursor - 1)
        elif character == "\t":
            cursor = _filled(cells, min((cursor // _TAB + 1) * _TAB, LINE_BYTES_MAX))
        elif character != "\x07":
            shown = character if character.isprintable() else character.translate(_UNSAFE)
            if cursor < len(cells):
                cells[cursor] = shown, look
            else:
                _filled(cells, cursor)
                cells.append((shown, look))
            cursor += 1
    return cursor


def _move(cells: list[tuple[str, Look]], cursor: int, final: str, numbers: str) -> int:
    first = numbers.split(";")[0][:_DIGITS_MAX]
    number = min(int(first), LINE_BYTES_MAX) if first.isascii() and first.isdecimal() else 0
    if final == "C":
        return min(cursor + max(number, 1), LINE_BYTES_MAX)
    if final == "D":
        return max(0, cursor - max(number, 1))
    if final == "G":
        return max(number, 1) - 1
    if final == "P":
        del cells[cursor : cursor + max(number, 1)]
    elif number == 0:  # K: erase to the end, to the beginning, all
        del cells[cursor:]
    elif number == 1:
        cells[: cursor + 1] = [(" ", PLAIN)] * min(cursor + 1, len(cells))
    else:
        cells[:] = [(" ", PLAIN)] * min(cursor, len(cells))
    return cursor


def _filled(cells: list[tuple[str, Look]], cursor: int) -> int:
    if cursor > len(cells):
        cells.extend([(" ", PLAIN)] * (cursor - len(cells)))
    return cursor

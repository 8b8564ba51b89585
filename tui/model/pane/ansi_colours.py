"""How text looks in a terminal: colours and weight, as the sequences that end in `m` set them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from rich.color import Color
from rich.style import Style

_NUMBERS_MAX = 64
"""Of one sequence no more are read."""


class Look(NamedTuple):
    """fore, back: number of a colour of 0 to 255, (red, green, blue), or None for that of the terminal."""

    fore: int | tuple[int, int, int] | None = None
    back: int | tuple[int, int, int] | None = None
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    reverse: bool = False
    strike: bool = False


PLAIN = Look()

_ON = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "reverse", 9: "strike", 21: "underline"}
_OFF = {
    22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 27: ("reverse",), 29: ("strike",),
}  # fmt: skip


@lru_cache(maxsize=4096)
def look_after(look: Look, numbers: str) -> Look:
    """The look after `ESC [ numbers m`; of what cannot be read nothing is taken."""
    values = _values(numbers)
    position = 0
    while position < len(values):
        value = values[position]
        position += 1
        if value == 0:
            look = PLAIN
        elif value in _ON:
            look = _with(look, _ON[value], True)
        elif value in _OFF:
            for name in _OFF[value]:
                look = _with(look, name, False)
        elif value in (38, 48):
            colour, position = _extended(values, position)
            look = _with(look, "fore" if value == 38 else "back", colour)
        elif value in (39, 49):
            look = _with(look, "fore" if value == 39 else "back", None)
        elif 30 <= value <= 37 or 90 <= value <= 97:
            look = look._replace(fore=value - 30 if value < 90 else value - 82)
        elif 40 <= value <= 47 or 100 <= value <= 107:
            look = look._replace(back=value - 40 if value < 100 else value - 92)
    return look


@lru_cache(maxsize=4096)
def style_of(look: Look) -> Style:
    """What Rich and Textual draw it with."""
    return Style(
        color=_colour(look.fore),
        bgcolor=_colour(look.back),
        bold=look.bold or None,
        dim=look.dim or None,
        italic=look.italic or None,
        underline=look.underline or None,
        reverse=look.reverse or None,
        strike=look.strike or None,
    )


def _with(look: Look, name: str, value: Any) -> Look:
    return Look(**(look._asdict() | {name: value}))


def _values(numbers: str) -> list[int]:
    values: list[int] = []
    for part in numbers[:1024].split(";")[:_NUMBERS_MAX]:
        pieces = part.split(":")
        if len(pieces) > 5:  # 38:2:SPACE:R:G:B
            del pieces[2]
        values += [int(piece) if piece.isascii() and piece.isdecimal() else 0 for piece in pieces]
    return values


def _extended(values: list[int], position: int) -> tuple[int | tuple[int, int, int] | None, int]:
    """(colour, where to read on) after 38 or 48."""
    kind = values[position] if position < len(values) else -1
    if kind == 5 and position + 1 < len(values):
        return min(values[position + 1], 255), position + 2
    if kind == 2 and position + 3 < len(values):
        red, green, blue = (min(value, 255) for value in values[position + 1 : position + 4])
        return (red, green, blue), position + 4
    return None, len(values)


def _colour(value: int | tuple[int, int, int] | None) -> Color | None:
    if value is None:
        return None
    return Color.from_ansi(value) if isinstance(value, int) else Color.from_rgb(*value)

"""Lines of a pane as segments: every character once, in its colours, at a cost that grows with the line."""

from __future__ import annotations

import random

import pytest
from growth import growth
from rich.segment import Segment
from rich.style import Style

from tui.model.pane.ansi import StyledLine
from tui.render.pane_strips import Mark, characters_in, columns_of, segments_of

BASE = Style(color="white")
STYLES = [Style(bold=True), Style(color="red"), Style(color="blue", underline=True), Style(bgcolor="green")]


def looks_of(segments: list[Segment]) -> list[tuple[str, Style | None]]:
    return [(character, segment.style) for segment in segments for character in segment.text]


@pytest.mark.parametrize("seed", range(20))
def test_each_character_has_its_colour_and_the_marks_over_it(seed: int) -> None:
    chance = random.Random(seed)
    text = "".join(chr(97 + number % 26) for number in range(80))
    cuts = sorted(chance.sample(range(81), 12))
    spans = tuple(
        (cuts[n], cuts[n + 1], chance.choice(STYLES)) for n in range(0, 12, chance.choice([1, 2])) if n < 11
    )
    marks: list[Mark] = [
        (first, first + chance.randrange(20), chance.choice(STYLES))
        for first in chance.choices(range(80), k=chance.randrange(6))
    ]
    start = chance.randrange(80)
    stop = chance.randrange(start, 81)
    expected = []
    for place in range(start, stop):
        style = BASE
        for first, last, over in [*spans, *marks]:
            style += over if first <= place < last else Style.null()
        expected.append((text[place], style))

    assert looks_of(segments_of(StyledLine(text, spans), start, stop, BASE, marks)) == expected


def test_many_marks_and_colours_cost_no_square_of_their_number() -> None:
    def drawn(size: int) -> list[Segment]:
        spans = tuple((place, place + 1, STYLES[place % 4]) for place in range(size))
        marks = [(place, place + 1, STYLES[place % 3]) for place in range(size)]
        return segments_of(StyledLine("a" * size, spans), 0, size, BASE, marks)

    assert len(looks_of(drawn(4_000))) == 4_000
    assert growth(drawn, 400, 4_000) < 40  # a square: 100


@pytest.mark.parametrize(
    ("text", "column", "count", "characters"),
    [
        ("abcdef", 2, 3, (2, 5, 2)),
        ("abcdef", 4, 9, (4, 6, 4)),
        ("abc", 9, 9, (3, 3, 3)),
        ("中文字", 2, 2, (1, 2, 2)),
        ("中文字", 1, 2, (0, 2, 0)),
        ("中文字", 0, 6, (0, 3, 0)),
        ("中文字", 6, 6, (3, 3, 6)),
        ("e\u0301e\u0301x", 1, 1, (2, 4, 1)),
        ("", 0, 5, (0, 0, 0)),
    ],
)
def test_which_characters_stand_in_which_columns(
    text: str, column: int, count: int, characters: tuple[int, int, int]
) -> None:
    assert characters_in(text, column, count) == characters


def test_wide_characters_take_two_columns() -> None:
    assert columns_of("中文 ab") == 7

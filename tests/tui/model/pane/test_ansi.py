"""Lines as a terminal shows them: colours are kept, what was written over is gone."""

from __future__ import annotations

import pytest
from rich.color import Color

from tui.model.pane.ansi import look_before, styled_line
from tui.model.pane.ansi_colours import PLAIN, Look, look_after


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain\n", "plain"),
        (b"plain\r\n", "plain"),
        (b"a\tb\n", "a       b"),
        (b"10%\r 50%\r100%\r\n", "100%"),
        (b"long line\rshort\n", "shortline"),
        (b"long line\r\x1b[Kshort\n", "short"),
        (b"abc\x08\x08X", "aXc"),
        (b"\x1b]0;title\x07text\x1b[2J", "text"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"bell\x07 null\x00 escape\x1b", "bell null? escape"),
        ("turned \u202e around".encode(), "turned � around"),
        ("zwölf".encode() + b"\xff", "zwölf�"),
        (b"\x1b[999999999999999999Cx", " " * 4096 + "x"),
        (b"[/red] [bold]no markup[/]", "[/red] [bold]no markup[/]"),
    ],
)
def test_what_stands_in_a_line_in_the_end(data: bytes, text: str) -> None:
    assert styled_line(data).text == text


def test_colours_are_kept_with_their_places() -> None:
    line = styled_line(b"a \x1b[31mred\x1b[0m \x1b[1;38;5;200mpink\x1b[38;2;1;2;3mtrue\x1b[m end\n")

    assert line.text == "a red pinktrue end"
    assert [(start, end, style.color) for start, end, style in line.spans] == [
        (2, 5, Color.from_ansi(1)),
        (6, 10, Color.from_ansi(200)),
        (10, 14, Color.from_rgb(1, 2, 3)),
    ]
    assert [style.bold for _, _, style in line.spans] == [None, True, True]


def test_colours_move_with_what_is_written_over() -> None:
    line = styled_line(b"aaaa\r\x1b[32mbb\x1b[0m")

    assert line.text == "bbaa"
    assert [(start, end) for start, end, _ in line.spans] == [(0, 2)]


@pytest.mark.parametrize(
    ("numbers", "look"),
    [
        ("", PLAIN),
        ("1;4;7", Look(bold=True, underline=True, reverse=True)),
        ("1;2;22", PLAIN),
        ("97;100", Look(fore=15, back=8)),
        ("38:2::1:2:3", Look(fore=(1, 2, 3))),
        ("48;5;300", Look(back=255)),
        ("38;5", PLAIN),
        ("38", PLAIN),
        ("9" * 1000, PLAIN),
    ],
)
def test_what_a_sequence_sets(numbers: str, look: Look) -> None:
    assert look_after(PLAIN, numbers) == look


def test_a_line_begins_with_the_colours_of_the_one_before() -> None:
    data = b"\x1b[31mone\ntwo\n\x1b[0mthree\n"

    assert look_before(data, data.index(b"two")) == Look(fore=1)
    assert look_before(data, data.index(b"three")) == PLAIN
    assert styled_line(b"two\n", Look(fore=1)).spans[0][:2] == (0, 3)

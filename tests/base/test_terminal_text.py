"""Terminal output as text: in pieces of any length it is the same text."""

from __future__ import annotations

import pytest

from pymr.base.terminal_text import ESCAPE_BYTES_MAX, TerminalText, without_escapes

SAMPLES = {
    "lines": (b"one\r\ntwo\r\n\r\n", b"one\ntwo\n\n"),
    "a line end of the user's own": (b"dos\r\r\n", b"dos\r\n"),
    "what is written over": (b"10 %\r20 %\r\n", b"10 %\r20 %\n"),
    "the beginning of a line": (b"one\r\nname? ", b"one\nname? "),
    "a return at the end": (b"one\r", b"one\r"),
    "no text": (b"\xff\x00\r\n", b"\xff\x00\n"),
}
COLOURS = {
    "colours": (b"\x1b[1;31mred\x1b[0m\r\n", b"red\n"),
    "colours between the two of a line end": (b"\x1b[31mred\r\x1b[0m\n", b"red\n"),
    "a cursor": (b"\x1b[2K\x1b[1Gbar\x1b[?25l\r\n", b"bar\n"),
    "a title and a link": (b"\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b\r\n", b"ab\n"),
    "others": (b"\x1b(B\x1b=\x1bMc\r\n", b"c\n"),
    "one that does not end": (b"a\x1b[31", b"a[31"),
}


@pytest.mark.parametrize("size", [1, 2, 3, 1_000])
@pytest.mark.parametrize(("output", "text"), SAMPLES.values(), ids=SAMPLES)
def test_the_carriage_returns_of_the_terminal_go_and_nothing_else(
    output: bytes, text: bytes, size: int
) -> None:
    assert _fed(TerminalText(), b"\x1b[31m" + output, size) == b"\x1b[31m" + text


@pytest.mark.parametrize("size", [1, 2, 3, 1_000])
@pytest.mark.parametrize(("output", "text"), (SAMPLES | COLOURS).values(), ids=SAMPLES | COLOURS)
def test_plain_text_has_no_escape_sequence(output: bytes, text: bytes, size: int) -> None:
    assert _fed(TerminalText(is_plain=True), output, size) == text


def test_an_escape_sequence_without_an_end_is_not_waited_for() -> None:
    text = TerminalText(is_plain=True)
    shown = [text.feed(b"\x1b]" if number == 0 else b"x" * 100) for number in range(100)]

    assert len(b"".join(shown)) >= 100 * 98 - ESCAPE_BYTES_MAX
    assert without_escapes(b"\x1b[31mred") == b"red"


def _fed(text: TerminalText, output: bytes, size: int) -> bytes:
    pieces = [output[start : start + size] for start in range(0, len(output), size)]
    return b"".join(map(text.feed, pieces)) + text.end()

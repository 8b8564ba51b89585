"""Progress bars below one another: lines that the cursor goes up to are drawn where they stand."""

from __future__ import annotations

import random
import re
import time
from threading import Event

import pytest
from pane_samples import reader

from pymr.client import PaneBytes
from tui.model.pane.ansi import styled_line
from tui.model.pane.buffer import PaneBuffer, PaneLine, PaneTail
from tui.model.pane.needle import Needle
from tui.model.pane.rows import PaneRows, Place
from tui.model.pane.search import MatchCount, find_in_pane
from tui.model.pane.stretch import Stretch
from tui.render.pane_matches import Marked

_TOKENS = re.compile(rb"\x1b\[(\d*)([A-K])|(\r)|(\n)|([^\x1b\r\n]+)")


def terminal(output: bytes) -> list[str]:
    """What a terminal of any height shows in the end."""
    rows: list[list[str]] = [[]]
    row = column = 0
    for number, final, back, line, text in _TOKENS.findall(output):
        count = int(number or 1)
        if back:
            column = 0
        elif line:
            row, column = row + 1, 0  # as the terminal makes CR LF of it
            rows += [[]] * (row == len(rows))
        elif final in b"AF" and final:
            row, column = max(0, row - count), 0 if final == b"F" else column
        elif final in b"BE" and final:
            row, column = min(len(rows) - 1, row + count), 0 if final == b"E" else column
        elif final == b"K":
            rows[row] = [] if number == b"2" else rows[row][:column]
        elif final == b"J":
            rows[row + 1 :] = [[] for _ in rows[row + 1 :]]
        for character in text.decode():
            cells = rows[row] = rows[row] + [" "] * (column + 1 - len(rows[row]))
            cells[column] = character
            column += 1
    return ["".join(cells).rstrip() for cells in rows]


def tqdm(outer: int, inner: int) -> bytes:
    """Two bars, as tqdm draws them: the inner one below the outer, the cursor in the outer one."""
    output = [b"before\n"]
    for number in range(outer):
        output.append(b"\router: %3d of %d |%-20s|" % (number, outer, b"#" * number))
        for step in range(inner):
            output.append(b"\n\rinner: %3d of %d |%-20s|\x1b[A" % (step, inner, b"=" * (step % 20)))
    return b"".join(output) + b"\n\n\rafter\n"


def rich(bars: int, times: int) -> bytes:
    """Bars as rich draws them: all of them anew, each erased before."""
    output = [b"before\nand more\n"]
    for number in range(times):
        if number:
            output.append(b"\r\x1b[2K" + b"\x1b[1A\x1b[2K" * (bars - 1))
        output.append(b"\n".join(b"bar %d %s" % (bar, b"x" * (number % (7 + bar))) for bar in range(bars)))
    return b"".join(output) + b"\nafter\n"


def shown(buffer: PaneBuffer) -> list[str]:
    rows = PaneRows(buffer).rows(Place(0), 10_000)
    return [row.text.text.rstrip() for row in rows]


def without_empty_end(lines: list[str]) -> list[str]:
    while lines and not lines[-1]:
        lines = lines[:-1]
    return lines


@pytest.mark.parametrize(
    "output",
    [
        tqdm(3, 5),
        tqdm(40, 200),
        rich(3, 4),
        rich(5, 900),
        b"one\ntwo\x1b[A!\nthree\n",
        b"a\nb\n\x1b[2Ac\nd\n\x1b[2Ae\nf\nplain\nlines\n",
        b"one\ntwo\nthree\x1b[2F\x1b[Jagain\n",
        b"a\nb\nc\x1b[2A1\x1b[1B2\x1b[1E3\n",
        b"\x1b[5Atop\nnext\n",
        b"x\n" * 100 + b"\x1b[3Aup" + b"\n" * 3 + b"y\n" * 100,
    ],
)
@pytest.mark.parametrize("piece_bytes", [1, 7, 100, 1 << 20])
def test_lines_are_what_a_terminal_shows(output: bytes, piece_bytes: int) -> None:
    output = output.replace(b"\n", b"\r\n")
    if len(output) > 20_000 and piece_bytes == 1:
        piece_bytes = 311
    buffer = PaneBuffer()
    for at in range(0, len(output), piece_bytes):
        buffer.add(PaneBytes("r", at, output[at : at + piece_bytes], len(output)))

    assert without_empty_end(shown(buffer)) == without_empty_end(terminal(output))


@pytest.mark.parametrize("seed", range(30))
def test_lines_are_what_a_terminal_shows_whatever_moves_and_pieces_come(seed: int) -> None:
    chance = random.Random(seed)
    parts = [
        b"text %d",
        b"\r",
        b"\n",
        b"\r\n",
        b"\x1b[A",
        b"\x1b[2A",
        b"\x1b[1B",
        b"\x1b[2F",
        b"\x1b[K",
        b"\x1b[2K",
    ]
    weights = [6, 4, 2, 4, 2, 1, 1, 1, 1, 1]
    tokens = chance.choices(parts, weights, k=120)
    output = b"begin\n" * 5 + b"".join(
        one % number if b"%" in one else one for number, one in enumerate(tokens)
    )
    output = re.sub(rb"(?<!\r)\n", b"\r\n", output)
    buffer, at = PaneBuffer(), 0
    while at < len(output):
        size = chance.randrange(1, 60)
        buffer.add(PaneBytes("r", at, output[at : at + size], len(output)))
        at += size
    one = Stretch(0, output)
    whole = [styled_line(one.line(index)[1]).text.rstrip() for index in range(one.line_count)]

    assert without_empty_end(whole) == without_empty_end(shown(buffer))
    assert without_empty_end(whole) == without_empty_end(terminal(output))


def test_a_line_that_is_drawn_over_keeps_its_place() -> None:
    buffer, output = PaneBuffer(), tqdm(2, 3)
    seen = set()
    for at in range(len(output)):
        buffer.add(PaneBytes("r", at, output[at : at + 1], at + 1))
        index = buffer.index_of(output.index(b"\router"))
        seen.add((index, buffer.line(index).offset))

    assert seen == {(0, 0), (1, 7)}


def test_what_came_before_is_loaded_later() -> None:
    output, buffer = rich(4, 300) + b"plain\n" * 10, PaneBuffer()
    for at in range(len(output) // 1_000 * 1_000, -1, -1_000):
        buffer.add(PaneBytes("r", at, output[at : at + 1_000], len(output)))

    assert without_empty_end(shown(buffer)) == without_empty_end(terminal(output))


def test_a_tile_shows_bars_once() -> None:
    tail, output = PaneTail(), rich(3, 2_000).removesuffix(b"\nafter\n")
    for at in range(0, len(output), 3_000):
        tail.add(PaneBytes("r", at, output[at : at + 3_000], len(output)))
    lines = [styled_line(line.data, line.look).text for line in tail.last_lines(3)]

    assert lines == terminal(output)[-3:]


@pytest.mark.parametrize("text", ["inner", "inn+er"])
def test_a_bar_is_found_once_where_it_stands(text: str) -> None:
    output, buffer = tqdm(30, 60), PaneBuffer()
    buffer.add(PaneBytes("r", 0, output, len(output)))
    found = find_in_pane(reader(output), Needle(text), 0, backwards=False, is_stopped=Event())
    count = MatchCount(Needle(text))
    count.read_on(reader(output), Event())
    assert found is not None
    line = buffer.line(buffer.index_of(found.offset))

    assert isinstance(line, PaneLine)
    assert "inner:  59 of 60" in styled_line(line.data).text
    assert count.number_of(len(output)) == (1, 1)
    assert find_in_pane(reader(output), Needle("inner:  12"), 0, backwards=False, is_stopped=Event()) is None


def test_bars_that_are_drawn_for_hours_cost_what_is_new() -> None:
    buffer, output = PaneBuffer(), rich(4, 8_000)
    step = 4_000
    half = len(output) // 2

    def seconds(first: int, stop: int) -> float:
        began = time.perf_counter()
        for at in range(first, stop, step):
            buffer.add(PaneBytes("r", at, output[at : min(at + step, stop)], len(output)))
        return time.perf_counter() - began

    early, late = seconds(0, half), seconds(half, len(output))

    assert late < 4 * early + 0.2
    assert buffer.line_count == 7


@pytest.mark.parametrize("text", ["bar", "ba+r"])
@pytest.mark.parametrize("backwards", [False, True])
def test_each_of_several_bars_is_found_once_and_numbered(text: str, backwards: bool) -> None:
    output, buffer = rich(3, 40), PaneBuffer()
    buffer.add(PaneBytes("r", 0, output, len(output)))
    count, marked, numbers = MatchCount(Needle(text)), Marked(), []
    count.read_on(reader(output), Event())
    at = len(output) if backwards else 0
    for _ in range(4):
        found = find_in_pane(reader(output), Needle(text), at, backwards=backwards, is_stopped=Event())
        assert found is not None
        numbers.append(count.number_of(found.offset))
        marked.found = found.offset
        line = marked.line_in(buffer)
        assert line is not None
        at = line[0] if backwards else line[1]

    walk = [(1, 3), (2, 3), (3, 3)]
    assert numbers == ([*walk[::-1], (3, 3)] if backwards else [*walk, (1, 3)])

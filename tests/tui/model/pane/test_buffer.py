"""What is known of a pane: stretches and gaps, as lines; whatever came in which order."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from pymr.client import PaneBytes
from tui.model.pane.ansi import LINE_BYTES_MAX, styled_line
from tui.model.pane.ansi_colours import Look
from tui.model.pane.buffer import TAIL_BYTES_MAX, GapLine, PaneBuffer, PaneLine, PaneTail


def piece(pane: bytes, start: int, stop: int, skipped: int = 0, **info: object) -> PaneBytes:
    return PaneBytes("r1", start, pane[start:stop], len(pane), skipped, **info)  # type: ignore[arg-type]


def lines_of(buffer: PaneBuffer) -> list[PaneLine | GapLine]:
    return [buffer.line(index) for index in range(buffer.line_count)]


def texts_of(buffer: PaneBuffer) -> list[str]:
    """What is shown, and the gaps as `(bytes)`."""
    return [
        f"({line.size})" if isinstance(line, GapLine) else styled_line(line.data).text
        for line in lines_of(buffer)
    ]


def test_lines_grow_as_their_bytes_come() -> None:
    pane, buffer = b"one\ntwo\nthr", PaneBuffer()

    for end in range(len(pane) + 1):
        buffer.add(PaneBytes("r1", max(0, end - 1), pane[max(0, end - 1) : end], end))

    assert texts_of(buffer) == ["one", "two", "thr"]
    assert [line.offset for line in lines_of(buffer)] == [0, 4, 8]


def test_what_was_jumped_over_is_a_gap_and_can_be_read_later() -> None:
    pane, buffer = b"".join(b"line %03d\n" % number for number in range(100)), PaneBuffer()

    buffer.add(piece(pane, 0, 18))
    buffer.add(piece(pane, 882, 900))
    before = texts_of(buffer)
    buffer.add(piece(pane, 18, 882))

    assert before == ["line 000", "line 001", "(864)", "line 098", "line 099"]
    assert texts_of(buffer) == [f"line {number:03d}" for number in range(100)]


@pytest.mark.parametrize("seed", range(20))
def test_pieces_in_any_order_make_the_same_lines(seed: int) -> None:
    chance = random.Random(seed)
    pane = b"".join(bytes(chance.choices(b"ab\r", k=chance.choice([0, 3, 30]))) + b"\n" for _ in range(300))
    cuts = sorted({0, len(pane), *(chance.randrange(len(pane)) for _ in range(30))})
    ranges = list(pairwise(cuts))
    chance.shuffle(ranges)
    whole, buffer = PaneBuffer(), PaneBuffer()
    whole.add(piece(pane, 0, len(pane)))

    for start, stop in ranges:
        buffer.add(piece(pane, max(0, start - chance.randrange(50)), stop))
        held = b"".join(line.data for line in lines_of(buffer) if isinstance(line, PaneLine))
        gaps = sum(line.size for line in lines_of(buffer) if isinstance(line, GapLine))
        assert len(held) + gaps == len(pane)

    assert lines_of(buffer) == lines_of(whole)
    for index in range(whole.line_count):
        assert buffer.index_of(whole.line(index).offset) == index


def test_what_is_not_kept_is_a_gap_of_its_own() -> None:
    pane, buffer = b"0123456\n" * 100, PaneBuffer()

    buffer.add(piece(pane, 720, 800))
    buffer.add(piece(pane, 600, 640, skipped=400))

    gaps = [line for line in lines_of(buffer) if isinstance(line, GapLine)]
    assert [(gap.offset, gap.stop, gap.is_kept) for gap in gaps] == [
        (0, 200, True),
        (200, 600, False),
        (640, 720, True),
    ]
    assert buffer.gap_at(300) == gaps[1]
    assert buffer.gap_at(620) is None


def test_what_is_far_from_the_view_is_dropped_and_a_gap_again() -> None:
    pane = b"".join(b"line %06d\n" % number for number in range(200_000))
    near_end, near_start = PaneBuffer(1 << 20), PaneBuffer(1 << 20)

    for start in range(0, len(pane), 100_000):
        near_end.add(piece(pane, start, start + 100_000))
        near_start.add(piece(pane, start, start + 100_000), near=0)

    assert near_end.size <= 1 << 20
    assert near_start.size <= 1 << 20
    assert isinstance(near_end.line(0), GapLine)
    assert texts_of(near_end)[-1] == "line 199999"
    assert texts_of(near_start)[:2] == ["line 000000", "line 000001"]
    assert isinstance(near_start.line(near_start.line_count - 1), GapLine)


def test_a_progress_bar_without_an_end_is_one_line() -> None:
    buffer, offset = PaneBuffer(), 0

    for number in range(3_000):
        data = b"\r%4d of 3000" % number
        buffer.add(PaneBytes("r1", offset, data, offset + len(data)))
        offset += len(data)

    assert texts_of(buffer) == ["2999 of 3000"]


def test_a_long_line_is_several_and_no_character_is_cut() -> None:
    pane, buffer = ("€" * 5_000 + "\nend\n").encode(), PaneBuffer()
    buffer.add(piece(pane, 0, len(pane)))

    texts = texts_of(buffer)

    assert "".join(texts[:-1]) == "€" * 5_000
    assert texts[-1] == "end"
    assert max(len(line.data) for line in lines_of(buffer) if isinstance(line, PaneLine)) <= LINE_BYTES_MAX


def test_another_run_begins_anew() -> None:
    buffer = PaneBuffer()
    buffer.add(PaneBytes("r1", 0, b"old\n", 4))

    buffer.add(PaneBytes("r2", 0, b"new\n", 4))

    assert texts_of(buffer) == ["new"]
    assert buffer.run_id == "r2"


def test_lines_know_when_they_came_where_that_is_known() -> None:
    pane, buffer = b"aaa\nbbb\nccc\nddd\n", PaneBuffer()
    buffer.add(piece(pane, 4, 8, times=((2, 100.0),)))
    buffer.add(piece(pane, 8, 16, times=((4, 100.0), (12, 200.0))))
    buffer.add(piece(pane, 0, 4))

    times = [line.time for line in lines_of(buffer) if isinstance(line, PaneLine)]

    assert times == [None, 100.0, 100.0, 200.0]


def test_a_line_begins_with_the_colour_that_stands_there() -> None:
    buffer = PaneBuffer()
    buffer.add(PaneBytes("r1", 0, b"\x1b[31mone\ntwo\n", 13))

    line = buffer.line(1)

    assert isinstance(line, PaneLine)
    assert line.look == Look(fore=1)


def test_a_tail_shows_the_last_lines_and_holds_little() -> None:
    tail, offset = PaneTail(), 0
    for number in range(20_000):
        data = b"line %d\n" % number
        tail.add(PaneBytes("r1", offset, data, offset + len(data)))
        offset += len(data)

    lines = [line.data for line in tail.last_lines(3)]

    assert lines == [b"line 19997\n", b"line 19998\n", b"line 19999\n"]
    assert len(tail.last_lines(1_000_000)) < TAIL_BYTES_MAX


def test_a_tail_takes_pieces_that_overlap_and_those_behind_a_gap() -> None:
    pane, tail = b"one\ntwo\nthree\nfour\n", PaneTail()

    tail.add(piece(pane, 0, 6))
    tail.add(piece(pane, 4, 8))
    overlapped = [line.data for line in tail.last_lines(9)]
    tail.add(piece(pane, 14, 19))
    tail.add(piece(pane, 0, 6))

    assert overlapped == [b"one\n", b"two\n"]
    assert [line.data for line in tail.last_lines(9)] == [b"four\n"]


def test_a_tail_begins_with_a_whole_line_and_no_line_amid_a_sequence() -> None:
    tail, coloured = PaneTail(), b"\x1b[38;5;117;45mx" * 1_000
    tail.add(PaneBytes("r1", 1_000, b"7;45mxyz\nwhole\n", 1_015))
    jumped = [line.data for line in tail.last_lines(5)]
    alone = PaneTail()
    alone.add(PaneBytes("r1", 1_000, b"no end yet", 1_010))
    long = PaneTail()
    long.add(PaneBytes("r1", 0, coloured, len(coloured)))
    first = PaneTail()
    first.add(PaneBytes("r1", 0, b"one\ntwo\n", 8))

    assert jumped == [b"whole\n"]
    assert [line.data for line in alone.last_lines(5)] == [b"no end yet"]
    assert [line.data for line in first.last_lines(5)] == [b"one\n", b"two\n"]
    line = long.last_lines(5)[0]
    assert line.data.startswith((b"\x1b", b"x\x1b"))
    assert line.look == Look(fore=117, back=5)
    assert coloured.endswith(line.data)
    assert line.offset == len(coloured) - len(line.data)

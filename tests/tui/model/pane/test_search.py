"""Searching: through all that is kept, in pieces, in both directions."""

from __future__ import annotations

import random
from itertools import accumulate
from threading import Event

import pytest
from pane_samples import reader

from pymr.client import PaneBytes
from tui.model.pane import search
from tui.model.pane.ansi import LINE_BYTES_MAX
from tui.model.pane.buffer import PaneBuffer, PaneLine
from tui.model.pane.needle import TOO_LONG, TOO_SLOW, Needle
from tui.model.pane.search import Found, MatchCount, find_in_pane, lost_start


def find(pane: bytes, text: str, start: int, *, backwards: bool = False) -> Found | None:
    return find_in_pane(reader(pane), Needle(text), start, backwards=backwards, is_stopped=Event())


@pytest.mark.parametrize(
    ("text", "line", "place"),
    [
        ("error", b"An Error here", 3),
        ("Error", b"an error here", None),
        ("wort", "das Wört".encode(), None),
        ("wört", "das WÖRT".encode(), 4),
        ("a.c", b"abc", 0),
        (r"a\.c", b"abc", None),
        (r"a\.c", b"a.c", 0),
        (r"\S+ (\d+) of \d+", b"task 12 of 180", 0),
        ("^an? error$", b"\x1b[31man\x1b[0m Error\r", 0),
        ("^error", b"an error", None),
        ("x*", b"nothing of it", None),
        ("overwritten|new +text", b"overwritten\rnew      text", 0),
        ("red text", b"\x1b[31mred\x1b[0m text", 5),
        ("overwritten", b"overwritten\rnew      text", None),
        ("find me", b"find me\rxxxxxxxxxx find me", 0),
        (r"\[0m", b"\x1b[0m", None),
    ],
)
def test_what_is_found_in_a_line(text: str, line: bytes, place: int | None) -> None:
    found = find(b"first\n" + line + b"\nlast\n", text, 0)

    assert found == (Found(6 + place) if place is not None else None)


def test_it_goes_on_from_the_other_end() -> None:
    pane = b"hit one\nmiss\nhit two\nmiss\n"

    assert find(pane, "hit", 1) == Found(13)
    assert find(pane, "hit", 14) == Found(0, has_wrapped=True)
    assert find(pane, "hit", 13, backwards=True) == Found(0)
    assert find(pane, "hit", 0, backwards=True) == Found(13, has_wrapped=True)
    assert find(pane, "nowhere", 5) is None


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("backwards", [False, True])
def test_every_match_is_found_over_the_seams_of_pieces(
    seed: int, backwards: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "PIECE_BYTES", 10_000)
    chance = random.Random(seed)
    lines = [b"needle" if chance.random() < 0.05 else b"-" * chance.randrange(300) for _ in range(400)]
    pane = b"\n".join(lines) + b"\n"
    starts = accumulate((len(line) + 1 for line in lines), initial=0)
    matches = [start for start, line in zip(starts, lines, strict=False) if b"needle" in line]
    found, at = [], len(pane) if backwards else 0
    while (one := find(pane, "needle", at, backwards=backwards)) is not None and not one.has_wrapped:
        found.append(one.offset)
        at = one.offset if backwards else one.offset + 1

    assert found == (matches[::-1] if backwards else matches)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("at", [250_000, 256 * 1024 - 3, 256 * 1024 - 4096 - 3, 300_000])
def test_a_match_in_a_line_longer_than_a_piece_is_found_where_it_is(at: int, backwards: bool) -> None:
    pane = b"x" * at + b"NEEDLE" + b"y" * (1_000_000 - at) + b"\n"

    assert find(pane, "NEEDLE", len(pane) if backwards else 0, backwards=backwards) == Found(at)
    assert find(pane, "NEEDLE", at + 1) == Found(at, has_wrapped=True)
    assert find(pane, "NEEDLE", at, backwards=True) == Found(at, has_wrapped=True)


def test_each_match_of_a_long_line_is_found_once() -> None:
    pane = (b"x" * 40_000 + b"NEEDLE") * 20
    found, at = [], 0
    while (one := find(pane, "NEEDLE", at)) is not None and not one.has_wrapped:
        found.append(one.offset)
        at = one.offset + 1

    assert found == [40_000 + 40_006 * number for number in range(20)]


def test_a_match_that_a_long_line_is_cut_in_is_found() -> None:
    assert find(b"x" * (LINE_BYTES_MAX - 3) + b"NEEDLE\n", "NEEDLE", 0) == Found(LINE_BYTES_MAX - 3)


def test_a_match_behind_a_progress_line_is_in_the_line_that_shows_it() -> None:
    pane, buffer = b"one\n" + b"\r50% loading" * 2_000 + b"\rdone NEEDLE here\nnext\n", PaneBuffer()
    buffer.add(PaneBytes("r1", 0, pane, len(pane)))
    found = find(pane, "NEEDLE", 0)

    assert found is not None
    line = buffer.line(buffer.index_of(found.offset))
    assert isinstance(line, PaneLine)
    assert line.data.endswith(b"done NEEDLE here\n")
    assert find(pane, "50%", 0) is None


@pytest.mark.parametrize("backwards", [False, True])
def test_what_is_behind_a_hole_smaller_than_a_piece_is_found(backwards: bool) -> None:
    pane = b"-" * 100_000 + b"needle\n" + b"-" * 50_000
    read = reader(pane, (20_000, 60_000))

    found = find_in_pane(read, Needle("needle"), len(pane), backwards=backwards, is_stopped=Event())

    assert found is not None
    assert found.offset == 100_000


@pytest.mark.parametrize("backwards", [False, True])
def test_what_is_not_kept_is_passed_over(backwards: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PIECE_BYTES", 10_000)
    pane = b"needle 1\n" + b"-" * 50_000 + b"needle 2\n" + b"-" * 500_000 + b"\nneedle 3\n"
    read = reader(pane, (50_100, 500_000))

    found = find_in_pane(read, Needle("needle 1"), len(pane) - 1, backwards=backwards, is_stopped=Event())

    assert found is not None
    assert found.offset == 0
    assert lost_start(read, 400_000) == 50_100


def test_a_search_tells_how_far_it_is_and_can_be_stopped() -> None:
    pane, told, stopped = b"-" * 1_000_000, [], Event()

    def tell(done: int, total: int) -> None:
        told.append((done, total))
        if done > 500_000:
            stopped.set()

    found = find_in_pane(reader(pane), Needle("x"), 0, backwards=False, is_stopped=stopped, on_progress=tell)

    assert found is None
    assert told[0] == (search.PIECE_BYTES - LINE_BYTES_MAX, 1_000_000)
    assert len(told) < 4


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("(", "not a valid regular expression: missing ), unterminated subpattern at position 0"),
        ("c**", "not a valid regular expression: multiple repeat at position 2"),
        ("[a", "not a valid regular expression: unterminated character set at position 0"),
        ("x{1,99999999999}", "not a valid regular expression: the repetition number is too large"),
        ("x." * 501, TOO_LONG),
        ("(a+)+b", TOO_SLOW),
        ("plain", ""),
    ],
)
def test_a_wrong_expression_says_what_is_wrong(text: str, problem: str) -> None:
    assert Needle(text).problem == problem


@pytest.mark.parametrize("text", ["needle", "nee+dle"])
def test_matches_are_counted_and_what_has_come_since_is_added(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "PIECE_BYTES", 10_000)
    lines = [b"needle needle" if number % 7 == 3 else b"-" * (number % 300) for number in range(1_000)]
    pane = b"\r\n".join(lines)
    count, places, at = MatchCount(Needle(text)), [], 0
    read_whole = count.read_on(reader(pane), Event())
    while (one := find(pane, text, at)) is not None and not one.has_wrapped:
        places.append(count.number_of(one.offset))
        at = pane.find(b"\n", one.offset) + 1
    longer = pane + b" and a needle\r\nmiss\r\nneedle"
    count.read_on(reader(longer), Event())
    last = count.number_of(len(longer) - 6)
    count.read_on(reader(longer + b" that goes on\r\n"), Event())
    stopped = Event()
    stopped.set()

    assert read_whole
    assert places == [(number, 143) for number in range(1, 144)]
    assert last == count.number_of(len(longer)) == (145, 145)
    assert not MatchCount(Needle(text)).read_on(reader(pane), stopped)


def test_a_count_reads_no_more_than_its_bound_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PIECE_BYTES", 10_000)
    monkeypatch.setattr(search, "COUNT_BYTES_MAX", 30_000)
    pane = b"a needle here\n" * 5_000
    count, told = MatchCount(Needle("needle")), []
    while not told or not count.is_whole:
        assert count.read_on(reader(pane), Event())
        told.append(count.number_of(14 * 10 + 2))

    assert [number for number, _ in told] == [11] * len(told)
    assert len(told) == 3
    assert told[-1] == (11, 5_000)
    assert told[0][1] < told[1][1] < 5_000
    assert count.number_of(len(pane)) == (5_000, 5_000)

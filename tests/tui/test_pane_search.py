"""Searching: through all that is kept, in pieces, in both directions."""

from __future__ import annotations

import random
from itertools import accumulate
from threading import Event

import pytest
from pane_samples import reader

from pymr.client import PaneBytes
from tui.model import pane_search
from tui.model.ansi import LINE_BYTES_MAX
from tui.model.pane_buffer import PaneBuffer, PaneLine
from tui.model.pane_search import Found, Needle, find_in_pane, lost_start


def find(pane: bytes, text: str, start: int, *, backwards: bool = False) -> Found | None:
    return find_in_pane(reader(pane), Needle(text), start, backwards=backwards, is_stopped=Event())


@pytest.mark.parametrize(
    ("text", "line", "place"),
    [
        ("error", b"An Error here", 3),
        ("Error", b"an error here", None),
        ("wort", "das Wört".encode(), None),
        ("wört", "das WÖRT".encode(), 4),
        ("a.c", b"abc", None),
        ("red text", b"\x1b[31mred\x1b[0m text", 5),
        ("overwritten", b"overwritten\rnew      text", None),
        ("find me", b"find me\rxxxxxxxxxx find me", 0),
        ("[0m", b"\x1b[0m", None),
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
    monkeypatch.setattr(pane_search, "PIECE_BYTES", 10_000)
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
    monkeypatch.setattr(pane_search, "PIECE_BYTES", 10_000)
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
    assert told[0] == (pane_search.PIECE_BYTES - LINE_BYTES_MAX, 1_000_000)
    assert len(told) < 4

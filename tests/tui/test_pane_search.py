"""Searching and saving: through all that is kept, in pieces, in both directions."""

from __future__ import annotations

import random
from itertools import accumulate
from pathlib import Path
from threading import Event

import pytest

from pymr.client import PaneBytes
from tui.model import pane_search
from tui.model.pane_search import Found, Needle, ReadPiece, find_in_pane, lost_start, save_pane


def reader(pane: bytes, lost: tuple[int, int] = (0, 0)) -> ReadPiece:
    """Reads a pane in memory of which a range is not kept."""

    def read(offset: int, bytes_max: int) -> PaneBytes:
        at = min(offset, len(pane))
        start = lost[1] if lost[0] <= at < lost[1] else at
        data = pane[start : start + bytes_max]
        data = data[: lost[0] - start] if start < lost[0] < start + len(data) else data
        return PaneBytes("r1", start, data, len(pane), start - at)

    return read


def find(pane: bytes, text: str, start: int, *, backwards: bool = False) -> Found | None:
    return find_in_pane(reader(pane), Needle(text), start, backwards=backwards, is_stopped=Event())


@pytest.mark.parametrize(
    ("text", "line", "is_found"),
    [
        ("error", b"An Error here", True),
        ("Error", b"an error here", False),
        ("wort", "das Wört".encode(), False),
        ("wört", "das WÖRT".encode(), True),
        ("a.c", b"abc", False),
        ("red text", b"\x1b[31mred\x1b[0m text", True),
        ("overwritten", b"overwritten\rnew      text", False),
        ("[0m", b"\x1b[0m", False),
    ],
)
def test_what_is_found_in_a_line(text: str, line: bytes, is_found: bool) -> None:
    found = find(b"first\n" + line + b"\nlast\n", text, 0)

    assert found == (Found(6) if is_found else None)


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
    monkeypatch.setattr(pane_search, "PIECE_BYTES", 5_000)
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
    assert told[0] == (256 << 10, 1_000_000)
    assert len(told) < 4


def test_all_that_is_kept_is_saved_as_it_was_put_out(tmp_path: Path) -> None:
    pane = b"\x1b[31mline\x1b[0m\r\n" * 50_000

    size = save_pane(reader(pane, (200_000, 300_000)), tmp_path / "a.log", over=False)

    saved = (tmp_path / "a.log").read_bytes()
    note = b"\r\n[pymr: 100,000 bytes of output are not kept here]\r\n"
    assert saved == pane[:200_000] + note + pane[300_000:]
    assert size == len(saved)
    assert [path.name for path in tmp_path.iterdir()] == ["a.log"]


def test_a_file_that_is_there_is_replaced_only_when_told_so(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("mine")

    with pytest.raises(FileExistsError):
        save_pane(reader(b"new"), tmp_path / "a.log", over=False)
    before = (tmp_path / "a.log").read_text()
    save_pane(reader(b"new"), tmp_path / "a.log", over=True)

    assert before == "mine"
    assert (tmp_path / "a.log").read_text() == "new"


def test_a_pane_that_cannot_be_read_on_leaves_no_file(tmp_path: Path) -> None:
    def read(offset: int, bytes_max: int) -> PaneBytes:
        if offset:
            raise OSError("gone")
        return PaneBytes("r1", 0, b"x" * 100, 1_000)

    with pytest.raises(OSError, match="gone"):
        save_pane(read, tmp_path / "a.log", over=False)

    assert list(tmp_path.iterdir()) == []

"""The pane feed: what is seen is read, no tail is far behind, a peer that is away holds up no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pymr.client import PaneBytes, RefusedError, UnreachableError
from tui.model.pane.feed import (
    CLOSE_SECONDS,
    QUIET_SECONDS,
    READ_SECONDS,
    PaneFeed,
    PaneNews,
    PaneWish,
)

WAIT_S = 15.0
WAITED_FOR = PaneWish("alpha/0", tail_bytes=100)


class Panes:
    """Panes in memory, read as a client reads them. head_bytes: kept of the beginning of a long one."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, bytes]] = {}
        self.lost: dict[str, tuple[int, int]] = {}
        self.away: set[str] = set()
        self.reads: list[tuple[str, int]] = []
        self.is_closed = threading.Event()

    def put_out(self, worker: str, data: bytes, run_id: str = "r1") -> None:
        runs = self.runs.setdefault(worker, {})
        runs[run_id] = runs.get(run_id, b"") + data

    def __enter__(self) -> Panes:
        return self

    def __exit__(self, *_: object) -> None:
        self.is_closed.set()

    def read_pane(self, worker: str, run_id: str, offset: int, bytes_max: int = 1 << 18) -> PaneBytes:
        self.reads.append((worker, offset))
        if worker.split("/")[0] in self.away:
            raise UnreachableError(f"{worker} is away")
        runs = self.runs.get(worker, {})
        if not runs:
            return PaneBytes("", 0, b"", 0)
        run_id = run_id or list(runs)[-1]
        pane = runs[run_id]
        at = max(0, len(pane) + offset) if offset < 0 else min(offset, len(pane))
        first, stop = self.lost.get(worker, (0, 0))
        start = stop if first <= at < stop else at
        data = pane[start : start + bytes_max]
        data = data[: first - start] if start < first < start + len(data) else data
        return PaneBytes(run_id, start, data, len(pane), start - at)


class Taker:
    """Takes what a feed tells of, as the console does."""

    def __init__(self, panes: Panes) -> None:
        self.panes = panes
        self.told = threading.Event()
        self.feed = PaneFeed(lambda _: panes, self.told.set)
        self.news: list[PaneNews] = []

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, f"waited {WAIT_S} s; so far: {self.news[-5:]}"
            if self.told.wait(0.05):
                self.told.clear()
                self.news += self.feed.take()

    def pieces(self, worker: str = "alpha/0") -> list[PaneBytes]:
        return [one.piece for one in self.news if one.worker == worker and one.piece is not None]

    def data(self, worker: str = "alpha/0") -> bytes:
        return b"".join(piece.data for piece in self.pieces(worker))


@pytest.fixture
def taker() -> Iterator[Taker]:
    taker = Taker(Panes())
    yield taker
    taker.feed.close()


def test_the_end_is_read_first_and_then_what_is_put_out(taker: Taker) -> None:
    taker.panes.put_out("alpha/0", b"x" * 500 + b"end\n")
    taker.feed.want([WAITED_FOR])
    taker.until(taker.pieces)
    taker.panes.put_out("alpha/0", b"more\n")
    taker.until(lambda: taker.data().endswith(b"more\n"))

    assert taker.data() == b"x" * 96 + b"end\nmore\n"
    assert taker.pieces()[0].start == 404


def test_a_tail_that_runs_ahead_is_jumped_after(taker: Taker) -> None:
    taker.panes.put_out("alpha/0", b"first\n")
    taker.feed.want([WAITED_FOR])
    taker.until(taker.pieces)
    taker.panes.put_out("alpha/0", b"x" * 1_000_000 + b"end\n")
    taker.until(lambda: taker.data().endswith(b"end\n"))

    assert len(taker.data()) == 6 + 100
    assert taker.pieces()[-1].start == 1_000_010 - 100


def test_a_pane_that_is_wished_anew_is_not_held_up_by_news_that_nobody_took(taker: Taker) -> None:
    taker.panes.put_out("alpha/0", b"text\n")
    taker.feed.want([WAITED_FOR])
    assert taker.told.wait(WAIT_S)
    taker.told.clear()
    taker.feed.want(())
    taker.feed.want([WAITED_FOR])
    taker.until(taker.pieces)

    assert taker.data() == b"text\n"


def test_nothing_is_read_that_is_not_wanted(taker: Taker) -> None:
    taker.panes.put_out("alpha/0", b"text\n")
    taker.panes.put_out("beta/0", b"text\n")
    taker.feed.want([WAITED_FOR])
    taker.until(taker.pieces)
    taker.feed.want([PaneWish("beta/0", tail_bytes=100)])
    taker.until(lambda: taker.pieces("beta/0"))
    reads = len(taker.panes.reads)
    taker.panes.put_out("beta/0", b"more\n")
    taker.until(lambda: taker.data("beta/0").endswith(b"more\n"))

    assert {worker for worker, _ in taker.panes.reads[reads:]} == {"beta/0"}


def test_a_pane_is_not_read_on_before_its_news_are_taken(taker: Taker) -> None:
    taker.panes.put_out("alpha/0", b"text\n")
    taker.feed.want([PaneWish("beta/0"), WAITED_FOR])
    assert taker.told.wait(WAIT_S)
    taker.panes.put_out("alpha/0", b"more\n")
    threading.Event().wait(4 * READ_SECONDS)  # in which it would be read, if it were
    taken = taker.feed.take()

    assert [one.piece.data for one in taken if one.worker == "alpha/0" and one.piece] == [b"text\n"]


def test_a_range_is_read_once_and_only_how_long_the_pane_is(taker: Taker) -> None:
    taker.panes.put_out("alpha/0", bytes(range(200)))
    taker.feed.want([PaneWish("alpha/0", "r1", ranges=((10, 20), (150, 160)))])
    taker.until(lambda: len(taker.pieces()) == 3)
    taker.panes.put_out("alpha/0", b"more")
    taker.until(lambda: len(taker.pieces()) == 4)

    assert taker.data() == bytes([*range(10, 20), *range(150, 160)])
    assert [piece.end for piece in taker.pieces()] == [200, 200, 200, 204]


def test_what_is_not_kept_is_found_out_exactly(taker: Taker) -> None:
    taker.panes.put_out("alpha/0", b"x" * 100_000)
    taker.panes.lost["alpha/0"] = (20_021, 90_007)
    taker.feed.want([PaneWish("alpha/0", "r1", ranges=((50_000, 95_000),))])
    taker.until(taker.pieces)
    piece = taker.pieces()[0]

    assert (piece.start - piece.skipped, piece.start, piece.next) == (20_021, 90_007, 100_000)


def test_the_next_run_of_a_worker_is_followed_from_its_end(taker: Taker) -> None:
    taker.panes.put_out("alpha/0", b"old\n" * 10)
    taker.feed.want([WAITED_FOR])
    taker.until(taker.pieces)
    taker.panes.put_out("alpha/0", b"new\n", "r2")
    taker.until(lambda: taker.pieces()[-1].run_id == "r2")

    assert taker.pieces()[-1] == PaneBytes("r2", 0, b"new\n", 4)


def test_a_peer_that_is_away_is_told_of_once_and_comes_back(taker: Taker) -> None:
    taker.panes.put_out("alpha/0", b"text\n")
    taker.panes.put_out("beta/0", b"text\n")
    taker.panes.away = {"alpha"}
    taker.feed.want([WAITED_FOR, PaneWish("alpha/1", tail_bytes=9), PaneWish("beta/0", tail_bytes=9)])
    taker.until(lambda: len([one for one in taker.news if one.problem]) == 2 and taker.pieces("beta/0"))
    problems = [(one.worker, one.problem) for one in taker.news if one.problem]
    taker.panes.away = set()
    taker.until(lambda: taker.data() == b"text\n")

    assert sorted(worker for worker, _ in problems) == ["alpha/0", "alpha/1"]
    assert [one.problem for one in taker.news if one.worker == "alpha/0"][-1] == ""


def test_one_pane_that_cannot_be_had_does_not_end_it(taker: Taker) -> None:
    def refuse(*_: object) -> PaneBytes:
        raise RefusedError("corrupt", "no such pane")

    taker.panes.read_pane = refuse  # type: ignore[assignment, method-assign]
    taker.feed.want([WAITED_FOR])
    taker.until(lambda: taker.news)

    assert taker.news[0].problem == "no such pane"


def test_what_is_wished_in_the_middle_of_a_read_is_read_at_once(taker: Taker) -> None:
    other, reads = PaneWish("alpha/0", tail_bytes=0), 0
    read_pane = taker.panes.read_pane

    def read(worker: str, run_id: str, offset: int, bytes_max: int = 1 << 18) -> PaneBytes:
        nonlocal reads
        reads += 1
        taker.panes.put_out("alpha/0", b"x" * 60)
        piece = read_pane(worker, run_id, offset, bytes_max)
        if reads == 2:  # the follow key, twice, while the thread reads on
            taker.feed.want([other])
            taker.feed.want([WAITED_FOR])
        return PaneBytes(piece.run_id, piece.start, piece.data[:50], piece.end)

    taker.panes.put_out("alpha/0", b"x" * 500)
    taker.panes.read_pane = read  # type: ignore[method-assign]
    taker.feed.want([WAITED_FOR])
    taker.until(lambda: reads > 10)

    assert not [one.problem for one in taker.news if one.problem]
    assert [offset for _, offset in taker.panes.reads[2:]].count(-100) >= 1


def test_a_wish_is_not_put_off_by_the_read_that_it_came_in(taker: Taker) -> None:
    read_pane, wished_at, taken_up_at = taker.panes.read_pane, 0.0, 0.0

    def read(worker: str, run_id: str, offset: int, bytes_max: int = 1 << 18) -> PaneBytes:
        nonlocal wished_at, taken_up_at
        if not wished_at:
            taker.feed.want([PaneWish("alpha/0", "r1", ranges=((0, 10),))])
            wished_at = time.monotonic()
        elif not offset:
            taken_up_at = taken_up_at or time.monotonic()
        return read_pane(worker, run_id, offset, bytes_max)

    taker.panes.put_out("alpha/0", b"x" * 500)
    taker.panes.read_pane = read  # type: ignore[method-assign]
    taker.feed.want([PaneWish("alpha/0", "r1")])
    taker.until(lambda: taken_up_at)

    assert taken_up_at - wished_at < QUIET_SECONDS / 2


def test_a_fault_of_the_console_is_told_and_does_not_end_the_reading(
    taker: Taker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    read_pane = taker.panes.read_pane

    def fail(*_: object) -> PaneBytes:
        raise TypeError("a fault")

    taker.panes.put_out("alpha/0", b"text\n")
    taker.panes.read_pane = fail  # type: ignore[assignment, method-assign]
    taker.feed.want([WAITED_FOR])
    taker.until(lambda: taker.news)
    told = taker.news[-1].problem
    taker.panes.read_pane = read_pane  # type: ignore[method-assign]
    taker.until(lambda: taker.data() == b"text\n")

    assert "a fault" in told
    assert taker.news[-1].problem == ""
    assert (tmp_path / "pymr" / "console.log").read_text().count("Traceback") == 1


def test_it_ends_soon_and_closes_its_client(taker: Taker) -> None:
    taker.feed.want([WAITED_FOR])
    taker.until(lambda: taker.panes.reads)
    began = time.monotonic()
    taker.feed.close()
    took = time.monotonic() - began

    assert took < CLOSE_SECONDS + 0.5
    assert taker.panes.is_closed.wait(WAIT_S)

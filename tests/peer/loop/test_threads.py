"""What becomes of what is asked of a thread: what went wrong is told as it was, not as it might have been."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from pymr.peer.loop.threads import Thread
from pymr.peer.store.store import StoreUnavailable


class Desk:
    """A thread, and what it has told the loop."""

    def __init__(self) -> None:
        self.told: queue.Queue[Callable[[], object]] = queue.Queue()
        self.thread = Thread("store", self.told.put)
        self.errors: list[str] = []

    def hear(self) -> None:
        self.told.get(timeout=30.0)()

    def fail(self, error: Exception) -> None:
        self.errors.append(str(error))


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.thread.stop(10.0)


def test_what_was_tried_until_its_time_was_over_tells_what_was_wrong(desk: Desk) -> None:
    tries = []

    def work() -> None:
        tries.append(1)
        raise StoreUnavailable("Redis refused")

    desk.thread.do(work, tries.append, desk.fail, timeout_s=0.4, is_wanted=lambda: True)
    desk.hear()

    assert desk.errors == ["Redis refused"]
    assert len(tries) > 1


def test_what_had_to_wait_for_too_long_is_not_begun_and_told_as_not_asked(desk: Desk) -> None:
    is_free = threading.Event()
    done: list[object] = []
    desk.thread.do(lambda: is_free.wait(30.0), done.append, desk.fail)
    desk.thread.do(lambda: done.append("late"), done.append, desk.fail, timeout_s=-1.0)
    is_free.set()
    desk.hear()
    desk.hear()

    assert done == [True]
    assert ["was not asked" in error for error in desk.errors] == [True]


def test_what_was_asked_once_may_be_done_though_the_last_try_did_not_get_there(desk: Desk) -> None:
    tries: list[StoreUnavailable] = []
    told: list[Exception] = []

    def work() -> None:
        error = StoreUnavailable("Redis is away")
        error.may_be_done = not tries
        tries.append(error)
        raise error

    desk.thread.do(work, tries.append, told.append, timeout_s=0.4, is_wanted=lambda: True)
    desk.hear()

    assert len(tries) > 1
    assert told == [tries[-1]]
    assert tries[-1].may_be_done

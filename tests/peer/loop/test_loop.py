"""The loop: everything has its turn, and nothing that fails in it ends it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from pymr.peer.loop.loop import CALLS_PER_TURN, Loop

LIMIT_SECONDS = 10.0


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    made.call_later(LIMIT_SECONDS, lambda: pytest.fail("the loop was not stopped in time"))
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


class FakeEndpoint:
    """A socket as ZeroMQ has them: its descriptor tells of changes only, and says nothing of what is left."""

    def __init__(self, pending: int) -> None:
        self.pending = pending
        self.taken = 0
        self._descriptor = os.eventfd(0)

    def fileno(self) -> int:
        return self._descriptor

    def has_pending(self) -> bool:
        return self.pending > 0

    def on_ready(self) -> None:
        self.pending -= 1
        self.taken += 1


def stop_if(loop: Loop, is_so: bool) -> None:
    if is_so:
        loop.stop()


def test_a_descriptor_is_served_while_there_is_something_to_read(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    left, right = pair
    right.sendall(b"abc")
    taken: list[bytes] = []

    def take() -> None:
        taken.append(left.recv(1))
        if len(taken) == 3:
            loop.stop()

    loop.watch(left, take)
    loop.run()

    assert taken == [b"a", b"b", b"c"]


def test_a_watch_that_was_ended_in_the_same_turn_is_not_called(loop: Loop) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    called: list[int] = []

    def end_the_others(number: int) -> None:
        called.append(number)
        for left, _ in pairs:
            loop.unwatch(left)
            left.close()
        loop.stop()

    for number, (left, right) in enumerate(pairs):
        right.send(b"x")
        loop.watch(left, partial(end_the_others, number))
    loop.run()
    for _, right in pairs:
        right.close()

    assert len(called) == 1


def test_calls_of_other_threads_wake_the_loop_and_keep_their_order(loop: Loop) -> None:
    seen: list[int] = []

    def call() -> None:
        for number in range(5_000):
            loop.call_soon(partial(seen.append, number))
        loop.call_soon(loop.stop)

    thread = threading.Thread(target=call)
    loop.call_soon(thread.start)
    loop.run()
    thread.join()

    assert seen == list(range(5_000))


def test_a_signal_handler_can_stop_a_loop_that_waits(loop: Loop) -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: loop.stop())
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    try:
        loop.run()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_timers_come_in_order_and_can_be_cancelled(loop: Loop) -> None:
    seen: list[str] = []
    loop.call_later(0.03, loop.stop)
    loop.call_later(0.02, lambda: seen.append("second"))
    cancelled = loop.call_later(0.015, lambda: seen.append("cancelled"))
    loop.call_later(0.01, lambda: seen.append("first"))
    loop.call_later(0.01, cancelled.cancel)
    loop.run()

    assert seen == ["first", "second"]


def test_a_repeated_call_does_not_make_up_for_what_it_missed(loop: Loop) -> None:
    calls: list[float] = []

    def call() -> None:
        calls.append(time.monotonic())
        if len(calls) == 1:
            time.sleep(0.1)  # the loop is held up for ten intervals
        if len(calls) == 4:
            loop.stop()

    timer = loop.call_every(0.01, call)
    loop.run()
    timer.cancel()

    assert calls[3] - calls[1] >= 0.015


def test_a_failing_function_is_logged_and_ends_nothing(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("broken")

    with caplog.at_level(logging.ERROR, "pymr"):
        for _ in range(100):
            loop.call_soon(fail)
        loop.call_later(0.0, fail)
        loop.call_later(0.01, loop.stop)
        loop.run()

    assert [record.exc_text or record.message for record in caplog.records if "fail" in record.message]
    assert len(caplog.records) == 1  # and not a hundred times a second


def test_an_interruption_comes_through(loop: Loop) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    loop.call_soon(interrupt)

    with pytest.raises(KeyboardInterrupt):
        loop.run()


def test_a_socket_is_asked_before_the_loop_waits(loop: Loop) -> None:
    endpoint = FakeEndpoint(pending=500)
    loop.watch_socket(endpoint)
    loop.call_every(0.01, lambda: stop_if(loop, endpoint.pending == 0))
    loop.run()
    loop.unwatch_socket(endpoint)
    os.close(endpoint.fileno())

    assert endpoint.taken == 500


def test_nobody_is_starved_by_another(loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
    """A socket that never ends, calls that call themselves, a descriptor always ready: all go on."""
    left, right = pair
    right.sendall(b"x")
    counts = {"descriptor": 0, "timer": 0, "calls": 0}
    endpoint = FakeEndpoint(pending=1 << 60)

    def count(what: str) -> None:
        counts[what] += 1

    def call_again() -> None:
        count("calls")
        for _ in range(2 if counts["calls"] < CALLS_PER_TURN else 1):
            loop.call_soon(call_again)

    loop.watch(left, lambda: count("descriptor"))
    loop.watch_socket(endpoint)
    loop.call_every(0.001, lambda: count("timer"))
    loop.call_soon(call_again)
    loop.call_every(0.01, lambda: stop_if(loop, min(*counts.values(), endpoint.taken) >= 20))
    loop.run()
    os.close(endpoint.fileno())

    assert min(*counts.values(), endpoint.taken) >= 20


def test_a_watch_of_the_same_descriptor_replaces_the_one_before(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    left, right = pair
    right.send(b"x")
    loop.watch(left, lambda: pytest.fail("the watch was replaced"))
    loop.watch(left, loop.stop)
    loop.run()


def test_a_loop_that_waits_turns_and_one_whose_function_hangs_does_not(loop: Loop) -> None:
    let_go = threading.Event()
    thread = threading.Thread(target=loop.run)
    loop.call_every(0.01, lambda: None)
    thread.start()
    first = loop.turned_at
    while loop.turned_at == first:
        time.sleep(0.001)
    has_begun = threading.Event()
    loop.call_soon(lambda: (has_begun.set(), let_go.wait(30.0)))
    assert has_begun.wait(30.0)
    hung_at = loop.turned_at
    time.sleep(0.1)
    during = loop.turned_at
    let_go.set()
    while loop.turned_at == hung_at:
        time.sleep(0.001)
    loop.stop()
    thread.join(30.0)

    assert during == hung_at


def test_many_calls_that_take_long_do_not_keep_the_loop_from_turning(loop: Loop) -> None:
    turns: list[float] = []

    def work() -> None:
        time.sleep(0.03)
        turns.append(loop.turned_at)
        if len(turns) == 12:
            loop.stop()

    for _ in range(12):
        loop.call_soon(work)
    loop.run()

    assert len(set(turns)) > 1

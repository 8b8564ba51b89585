"""Who has the keyboard of a worker, and who is told of it."""

from __future__ import annotations

from collections.abc import Mapping

from pymr.peer.requests import input_lock
from pymr.peer.requests.input_lock import InputLocks
from pymr.wire.requests import (
    ATTACH_SECONDS,
    AttachWorker,
    DetachWorker,
    Done,
    Refused,
    Reply,
    TypeIntoWorker,
)


class Bench:
    """The keyboards of a peer with two workers. told: of whom it has told, one after the other."""

    def __init__(self) -> None:
        self.now = 0.0
        self.told: list[Mapping[int, str]] = []
        self.typed: list[tuple[int, bytes]] = []
        self.is_full = self.is_driving = False
        self.input_locks = InputLocks(
            "a",
            2,
            type_into=self.type_into,
            resize=lambda slot, columns, rows: None,
            is_driving=lambda slot: self.is_driving,
            on_change=self.told.append,
            clock=lambda: self.now,
        )

    def type_into(self, slot: int, data: bytes) -> bool:
        if not self.is_full:
            self.typed.append((slot, data))
        return not self.is_full

    def type(self, id: str, data: bytes) -> Reply:
        return self.input_locks.answer(TypeIntoWorker(id=id, worker="a/0", holder="me", data=data))

    def attach(self, holder: str, worker: str = "a/0") -> Reply:
        return self.input_locks.answer(AttachWorker(id="1", worker=worker, holder=holder))

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.input_locks.look()


def test_nobody_types_into_a_driver_which_reads_nothing() -> None:
    bench = Bench()
    bench.attach("me")
    bench.is_driving = True  # its worker has got another task since
    replies = [bench.type("2", b"x"), bench.attach("you", "a/1")]

    assert all(isinstance(reply, Refused) and "external engine" in reply.reason for reply in replies)
    assert bench.typed == []
    assert isinstance(bench.input_locks.answer(DetachWorker(id="3", worker="a/0", holder="me")), Done)


def test_it_is_told_who_has_a_keyboard_until_it_is_let_go_of() -> None:
    bench = Bench()
    bench.input_locks.look()
    bench.attach("me@here:1")
    bench.attach("you@there:2", "a/1")
    bench.input_locks.answer(DetachWorker(id="1", worker="a/0", holder="me@here:1"))

    assert bench.told == [
        {0: "me@here:1"},
        {0: "me@here:1", 1: "you@there:2"},
        {1: "you@there:2"},
    ]


def test_a_console_that_says_no_more_lets_go() -> None:
    bench = Bench()
    bench.attach("me")
    bench.pass_time(ATTACH_SECONDS * 0.9)
    bench.input_locks.answer(TypeIntoWorker(id="1", worker="a/0", holder="me", data=b"c\n"))
    bench.pass_time(ATTACH_SECONDS * 0.9)

    assert bench.told == [{0: "me"}]

    bench.pass_time(ATTACH_SECONDS * 0.2)
    bench.pass_time(1.0)

    assert bench.told == [{0: "me"}, {}]
    assert bench.typed == [(0, b"c\n")]


def test_who_is_refused_is_not_told_of() -> None:
    bench = Bench()
    bench.attach("me")
    replies = [bench.attach("you"), bench.attach("you", "a/7"), bench.attach("me")]

    assert [getattr(reply, "code", "") for reply in replies] == ["held", "unknown", ""]
    assert isinstance(replies[0], Refused) and isinstance(replies[2], Done)
    assert bench.told == [{0: "me"}]


def test_whoever_types_is_told_when_the_worker_takes_nothing() -> None:
    bench = Bench()
    bench.is_full = True
    refused = bench.type("1", b"lost")
    bench.is_full = False
    taken = bench.type("2", b"taken")

    assert isinstance(refused, Refused) and refused.code == "unavailable"
    assert isinstance(taken, Done)
    assert bench.typed == [(0, b"taken")]
    assert bench.told == [{0: "me"}]


def test_what_a_console_sends_again_for_want_of_an_answer_is_typed_once() -> None:
    bench = Bench()
    replies = [bench.type("1", b"n\n"), bench.type("1", b"n\n"), bench.type("2", b"n\n")]

    assert all(isinstance(reply, Done) for reply in replies)
    assert bench.typed == [(0, b"n\n")] * 2


def test_answers_are_kept_of_the_latest_typings_only() -> None:
    bench = Bench()
    for number in range(input_lock._ANSWERED_MAX + 1):
        bench.type(str(number), b"x")

    assert len(bench.input_locks._answered) == input_lock._ANSWERED_MAX

"""One leadership as it is carried out: what it asks of Redis by itself, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from leader_desk import run_record

from pymr.config.cluster import ClusterConfig
from pymr.control.stored_state import BeginPublication, EndRun, Event, JobChanges
from pymr.peer import leader_driver
from pymr.peer.leader_driver import LeaderDriver
from pymr.wire.protocol import Orders


class FakeStore:
    """A Redis that answers at once, with an empty table and these peers present."""

    def __init__(self) -> None:
        self.reads = 0
        self.names: tuple[str, ...] = ()
        self.told: list[Event] = []
        self.are_wanted: list[Callable[[], bool]] = []  # of each question: whether it is to be asked again

    def changes(self, after: int, incarnation: str) -> JobChanges:
        self.reads += 1
        return JobChanges(1, (), (), after == 0, False)

    def active_runs(self, incarnation: str) -> tuple[()]:
        return ()

    def incarnation(self) -> tuple[str, int, tuple[()]]:
        return "i", 5, ()

    def present(self) -> tuple[str, ...]:
        return self.names

    def add_events(self, _epoch: int, _incarnation: str, events: Sequence[Event]) -> None:
        self.told += events

    def ask(
        self, work: Callable[[Any], Any], on_done: Callable[[Any], object], *_: Any, **options: Any
    ) -> None:
        self.are_wanted.append(options.get("is_wanted", lambda: False))
        on_done(work(self))


def lead(store: FakeStore, send: Callable[[Orders], None]) -> tuple[LeaderDriver, list[tuple[float, str]]]:
    ends: list[tuple[float, str]] = []
    leading = LeaderDriver(
        config(),
        "a",
        epoch=5,
        incarnation="i",
        store=store,  # type: ignore[arg-type]
        is_leader=lambda: True,
        send=send,
        call_soon=lambda function: function(),
        on_end=lambda seconds, reason: ends.append((seconds, reason)),
    )
    leading.begin()
    return leading, ends


def config() -> ClusterConfig:
    return SimpleNamespace(  # type: ignore[return-value]
        scheduler=SimpleNamespace(concurrent_runs=1, machine_grace_seconds=1.0, cycle_seconds=60.0),
        storage=SimpleNamespace(shared=()),
        peers=[SimpleNamespace(name=name, host="h", workers=1) for name in "ab"],
    )


def test_the_job_table_is_read_without_a_word_that_it_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader_driver, "LOOK_SECONDS", 0.0)
    store = FakeStore()
    leading, _ = lead(store, lambda _: None)
    leading._look_at = 0.0
    before = store.reads
    leading.tick()
    leading.tick()

    assert store.reads == before + 2


def test_a_new_leader_is_told_of_behind_what_nobody_could_be_told_of_before() -> None:
    store = FakeStore()
    leading, _ = lead(store, lambda _: None)
    lost = Event(kind="redis.lost", text="away", at=5.0)
    leading.begin([lost])

    assert [(event.kind, event.text, event.peer) for event in store.told[:1]] == [
        ("leader.elected", "a leads, in epoch 5", "a")
    ]
    assert store.told[1:] == [lost, store.told[0]]
    assert all(is_wanted() for is_wanted in store.are_wanted), "a Redis that has just come back may fail once"


def test_a_leader_learns_who_reaches_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FakeStore()
    store.names = ("a", "b")
    leading, _ = lead(store, lambda _: None)
    leading._look_at = 0.0
    leading.tick()

    assert leading.core._present == {"a", "b"}


def test_a_leader_that_fails_half_way_makes_room_for_one_that_begins_anew() -> None:
    def send(_: Orders) -> None:
        raise RuntimeError("no key")

    _, ends = lead(FakeStore(), send)

    assert [seconds for seconds, _ in ends] == [leader_driver.FAILED_SECONDS]
    assert "no key" in ends[0][1]


def test_a_leader_passes_a_fault_point_on_each_side_of_the_end_of_a_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passed: list[str] = []
    monkeypatch.setattr(leader_driver, "fault_point", passed.append)
    store = SimpleNamespace(write=lambda *_: passed.append("written"))
    for write in (EndRun(run_record()), BeginPublication("run")):
        leader_driver._carry_out(store, 5, "i", write)  # type: ignore[arg-type]

    assert passed == ["leader.before_end", "written", "leader.after_end", "written"]

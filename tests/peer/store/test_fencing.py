"""What a store promises about events, and to whom it refuses everything; see `store_places`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace
from store_places import (
    LIFE,
    PLAN,
    AnyStore,
    Place,
    begin,
    job_fields,
    map_done,
    submit,
    table,
)

from pymr.base.errors import StaleEpochError
from pymr.control.stored_state import (
    BeginAttempt,
    BeginCycle,
    BeginPublication,
    BeginRun,
    CommitTasks,
    EndRun,
    Event,
    JobRecord,
    JobState,
    LeaveQueue,
    ReleaseTasks,
    RunRecord,
    SavePlan,
    Write,
)
from pymr.peer.store.store import StoreForgot
from pymr.wire.rows import PanePlace


def test_events_are_told_in_order_from_any_place(store: AnyStore) -> None:
    place = PanePlace("a/0", "job-000001", 99)
    events = [Event(kind="run.failed", text=f"number {number}", peer="a", place=place) for number in range(5)]
    store.add_events(1, LIFE, events[:2])
    store.add_events(1, LIFE, events[2:])
    told = store.events("", 10)

    assert [event for _, _, event in told] == events
    assert told[0][1] > 1e9
    assert store.events("", 2) == told[3:]
    assert store.events(told[1][0], 2) == told[2:4]
    assert store.events(told[-1][0], 2) == []


def leader_writes(run: RunRecord, job: JobRecord) -> list[Write]:
    done = map_done(run, "map-00000")
    return [
        BeginCycle(1),
        LeaveQueue(job.name, job.version),
        BeginRun(job.name, job.version),
        BeginAttempt(run.run_id, "copy-00000"),
        SavePlan(run.run_id, PLAN),
        CommitTasks(run.run_id, (done,)),
        ReleaseTasks(run.run_id, (done.id,)),
        BeginPublication(run.run_id),
        EndRun(replace(run, status="succeeded"), JobState(run.run_id)),
    ]


def test_an_old_epoch_is_refused_on_every_write(store: AnyStore, place: Place) -> None:
    run, queued = begin(store, submit(store, "words")), submit(store, "other")
    place.lead("b", 2)
    before = (table(store), store.active_runs(), store.history("", 9), store.events("", 9))

    for write in leader_writes(run, queued):
        with pytest.raises(StaleEpochError, match="2"):
            store.write(1, LIFE, write)
    with pytest.raises(StaleEpochError):
        store.add_events(1, LIFE, [Event(kind="a", text="b")])
    assert (table(store), store.active_runs(), store.history("", 9), store.events("", 9)) == before


def calls(store: AnyStore, run: RunRecord, job: JobRecord) -> list[Callable[[], object]]:
    """Everything that needs the right incarnation."""
    writes = [lambda write=write: store.write(1, LIFE, write) for write in leader_writes(run, job)]
    return [
        *writes,
        lambda: store.add_events(1, LIFE, [Event(kind="a", text="b")]),
        lambda: store.submit("r9", LIFE, job_fields("new"), ""),
        lambda: store.delete("r9", LIFE, "words"),
        lambda: store.undelete("r9", LIFE, "words"),
        lambda: store.retry("r9", LIFE, "words"),
        lambda: store.force("r9", LIFE, "words"),
        lambda: store.pause("r9", LIFE, True),
        lambda: store.changes(0, LIFE),
        lambda: store.active_runs(LIFE),
    ]


@pytest.mark.parametrize("incarnation", [None, "life-2"])
def test_a_store_of_another_life_does_nothing(store: AnyStore, place: Place, incarnation: str | None) -> None:
    run, queued = begin(store, submit(store, "words")), submit(store, "other")
    place.set(incarnation, 1)

    for call in calls(store, run, queued):
        with pytest.raises(StoreForgot, match="forgotten"):
            call()
    place.set(LIFE, 1)
    assert len(store.changes(0).jobs) == 2


def test_an_empty_store_does_not_pass_for_an_empty_table(store: AnyStore, place: Place) -> None:
    place.set(None, 0)

    with pytest.raises(StoreForgot):
        store.changes(0)
    with pytest.raises(StoreForgot):
        store.active_runs()
    assert store.incarnation() == (None, 0, ())


def test_a_leader_does_not_write_into_an_old_backup(store: AnyStore, place: Place) -> None:
    job = submit(store, "words")

    with pytest.raises(StoreForgot):
        store.write(5, LIFE, BeginRun("words", job.version))

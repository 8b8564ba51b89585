"""What a store promises about a Redis that forgot; see `store_places`."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from store_places import LIFE, AnyStore, Place, begin, end, job_fields, jobs_of, new_id, run, statuses, submit

from pymr.control.stored_state import BeginCycle, BeginRun, EndRun, JobRecord, JobState
from pymr.peer.store.store import StoreForgot


def remembered(store: AnyStore) -> tuple[list[JobRecord], int]:
    changes = store.changes(0)
    return list(changes.jobs), changes.change


def test_jobs_are_put_back_under_a_new_life(store: AnyStore, place: Place) -> None:
    run = begin(store, submit(store, "ran"))
    submit(store, "queued")
    end(store, begin(store, submit(store, "failed")), "failed", "it broke")
    jobs, change = remembered(store)
    submit(store, "deleted since")
    place.set(None, 0)

    for _ in range(2):
        assert store.recover(LIFE, "life-2", 7, jobs, change) is True
    assert store.recover(LIFE, "life-3", 7, jobs, change) is False
    table = store.changes(change, "life-2")
    by_name = {job.name: job for job in table.jobs}
    assert store.incarnation() == ("life-2", 8, (LIFE,))
    assert table.is_whole and table.change > change
    assert by_name.keys() == {"ran", "queued", "failed"}
    assert (by_name["ran"].status, by_name["ran"].run_id, by_name["ran"].first_run_id) == (
        "queued",
        None,
        None,
    )
    assert (by_name["failed"].status, by_name["failed"].exception) == ("failed", "it broke")
    assert by_name["failed"].first_run_status == "failed"
    for job in jobs:
        assert (by_name[job.name].fields, by_name[job.name].version) == (job.fields, job.version)
        assert by_name[job.name].submitted_at == pytest.approx(job.submitted_at, abs=1e-5)
    assert store.active_runs() == ()

    place.lead("a", 9)
    begun = store.write(9, "life-2", BeginRun("ran", by_name["ran"].version))
    assert begun and begun.run_id > run.run_id
    newer = store.submit("r1", "life-2", job_fields("queued"), "")[0]
    assert newer.version > max(job.version for job in jobs)


def test_an_old_backup_is_replaced_by_what_peers_remember(store: AnyStore, place: Place) -> None:
    begin(store, submit(store, "deleted since the backup"))
    job = submit(store, "kept")
    change = store.changes(0).change
    assert store.recover(LIFE, "life-2", 1, [job], change) is False

    assert store.recover(LIFE, "life-2", 5, [job], change) is True
    assert [job.name for job in store.changes(0).jobs] == ["kept"]
    assert store.active_runs() == ()
    assert store.incarnation() == ("life-2", 6, (LIFE,))
    with pytest.raises(StoreForgot):
        store.submit("r9", LIFE, job_fields("late"), "")


def test_an_old_backup_of_the_same_epoch_is_known_by_the_changes_it_lacks(
    store: AnyStore, place: Place
) -> None:
    job = submit(store, "kept")
    change = store.changes(0).change

    assert store.recover(LIFE, "life-2", 1, [job], change + 1) is True
    assert store.incarnation() == ("life-2", 2, (LIFE,))


def test_jobs_of_a_life_that_began_meanwhile_stay(store: AnyStore, place: Place) -> None:
    old = submit(store, "old")
    store.delete("d1", LIFE, "old")
    place.set("fresh", 1)
    store.submit("r1", "fresh", job_fields("submitted meanwhile"), "")

    assert store.recover(LIFE, "life-2", 5, [old], 50) is True
    assert {job.name for job in store.changes(0).jobs} == {"old", "submitted meanwhile"}
    assert set(store.incarnation()[2]) == {LIFE, "fresh"}


def test_cycle_states_and_durations_are_put_back(store: AnyStore, place: Place) -> None:
    for name in ("first", "second"):
        submit(store, name, group_name="line")
    run(store, "first")
    store.write(1, LIFE, BeginCycle(1))
    run(store, "first")
    begin(store, jobs_of(store)["second"])
    kept = store.changes(0)
    states = {"first": JobState("first-000002", "a"), "gone": JobState("gone-000001")}
    seconds = jobs_of(store)["first"].seconds
    place.set(None, 0)
    assert store.recover(LIFE, "life-2", 7, kept.jobs, kept.change, kept.cycle, states) is True
    table = store.changes(kept.change, "life-2")
    jobs = jobs_of(store)

    assert (table.cycle, table.states) == (2, states)
    assert table.cycle_began_at >= kept.now, "it begins anew"
    assert (jobs["first"].cycle, jobs["second"].cycle) == (2, 0), "what ran is due"
    assert jobs["first"].seconds == pytest.approx(seconds, abs=1e-6)
    place.lead("a", 8)
    record = store.write(8, "life-2", BeginRun("second", jobs["second"].version))
    store.write(8, "life-2", EndRun(replace(record, status="failed", exception="no")))
    assert statuses(store) == {"first": "failed", "second": "failed"}, "they are a group again"
    assert store.retry(new_id(), "life-2", "line") == "queued 2 jobs of group line"


def test_the_states_of_a_life_that_began_meanwhile_are_newer(store: AnyStore, place: Place) -> None:
    place.set("fresh", 1)
    store.submit(new_id(), "fresh", job_fields("held"), "")
    record = store.write(1, "fresh", BeginRun("held", jobs_of(store)["held"].version))
    store.write(1, "fresh", EndRun(replace(record, status="succeeded"), JobState("held-000001", "b")))
    old = {"held": JobState("held-000009", "a"), "other": JobState("other-000001")}

    assert store.recover(LIFE, "life-2", 5, [], 50, 4, old) is True
    assert store.changes(0).states == {"held": JobState("held-000001", "b"), "other": old["other"]}
    assert store.changes(0).cycle == 4


@pytest.mark.parametrize("found", [None, "fresh", LIFE], ids=["nothing", "another life", "an old backup"])
@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize("was_paused", [True, False])
def test_a_pause_that_is_remembered_is_put_back(
    store: AnyStore, place: Place, found: str | None, remembered: bool, was_paused: bool
) -> None:
    place.set(found or "lost", 1)
    if found and was_paused:
        store.pause(new_id(), found, True)
    place.set(found, 1 if found else 0)

    assert store.recover(LIFE, "life-2", 5, [], 50, paused=remembered) is True
    is_kept = found == "fresh" and was_paused
    assert store.changes(0).paused == (remembered or is_kept)


def test_states_of_an_old_backup_give_way_to_what_is_remembered(store: AnyStore, place: Place) -> None:
    record = begin(store, submit(store, "held"))
    end(store, record, "succeeded", state=JobState(record.run_id))
    submit(store, "member", group_name="line")

    assert store.recover(LIFE, "life-2", 5, [], 50, 3, {}) is True
    assert store.changes(0).states == {}
    assert store.retry(new_id(), "life-2", "line") == "unknown"

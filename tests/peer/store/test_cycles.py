"""What a store promises about cycles, forced jobs and durations; see `store_places`."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from store_places import (
    LIFE,
    AnyStore,
    Place,
    begin,
    end,
    jobs_of,
    new_id,
    run,
    statuses,
    submit,
    table,
)

from pymr.base.errors import StaleEpochError
from pymr.control.stored_state import BeginCycle, BeginRun, EndRun, JobState, LeaveQueue, RunRecord
from pymr.peer.store.store import StoreUnavailable

# ---- cycles ----


def test_the_first_cycle_begins_with_the_first_submission(store: AnyStore) -> None:
    empty = store.changes(0)
    job = submit(store, "words")
    submit(store, "later")
    changes = store.changes(0)

    assert (empty.cycle, empty.cycle_began_at) == (1, 0.0)
    assert (changes.cycle, job.cycle) == (1, 0)
    assert changes.cycle_began_at == pytest.approx(job.submitted_at, abs=0.001)
    assert changes.cycle_began_at <= changes.now < changes.cycle_began_at + 60


def test_a_cycle_begins_once_whoever_asks_and_however_often(store: AnyStore, place: Place) -> None:
    submit(store, "words")
    run(store, "words")
    before = store.changes(0)
    assert store.write(1, LIFE, BeginCycle(1)) == 2
    begun = store.changes(before.change)
    place.lead("b", 2)
    with pytest.raises(StaleEpochError):
        store.write(1, LIFE, BeginCycle(1))
    after = [store.write(2, LIFE, BeginCycle(ended)) for ended in (1, 1, 7)]

    assert after == [2, 2, 2]
    assert (begun.cycle, begun.change, begun.jobs) == (2, before.change + 1, ()), "no job is touched"
    assert begun.cycle_began_at >= before.now
    assert store.changes(0).change == begun.change
    assert store.write(2, LIFE, BeginCycle(2)) == 3


def test_the_time_of_a_cycle_counts_from_the_run_that_opens_it(store: AnyStore) -> None:
    first, second = submit(store, "words"), submit(store, "more")
    before = store.changes(0)
    opening = store.write(1, LIFE, BeginRun("words", first.version, True))
    opened = store.changes(0)
    store.write(1, LIFE, BeginRun("more", second.version))

    assert before.cycle_began_at < opening.start_time == opened.cycle_began_at
    assert store.changes(0).cycle_began_at == opened.cycle_began_at


def test_writes_whose_answers_were_lost_have_one_effect(store: AnyStore, place: Place) -> None:
    submit(store, "words")
    run(store, "words")
    store.write(1, LIFE, BeginCycle(1))
    last = begin(store, jobs_of(store)["words"])
    ended = EndRun(replace(last, status="succeeded"), JobState(last.run_id))
    for write in (BeginCycle(2), ended):
        place.lose_reply()
        with pytest.raises(StoreUnavailable):
            store.write(1, LIFE, write)
    seen = table(store)

    assert store.write(1, LIFE, BeginCycle(2)) == 3
    assert store.write(1, LIFE, ended).end_time == seen.jobs[0].end_time
    assert table(store) == seen
    assert (seen.cycle, seen.states) == (3, {"words": JobState(last.run_id)})


def test_a_job_has_run_in_the_cycle_in_which_it_began(store: AnyStore) -> None:
    submit(store, "words")
    store.write(1, LIFE, BeginCycle(1))
    assert jobs_of(store)["words"].cycle == 0
    run(store, "words")
    assert jobs_of(store)["words"].cycle == 2
    store.write(1, LIFE, BeginCycle(2))
    again = run(store, "words", "failed", "no")

    assert again.run_id.startswith("words-")
    assert jobs_of(store)["words"].cycle == 3
    store.retry(new_id(), LIFE, "words")
    assert jobs_of(store)["words"].cycle == 0


def test_a_replaced_job_is_due_at_once(store: AnyStore) -> None:
    submit(store, "words")
    run(store, "words")
    replaced = submit(store, "words", job_priority=3)

    assert (replaced.cycle, replaced.status) == (0, "queued")


# ---- forced ----


@pytest.mark.parametrize("status", ["succeeded", "skipped"])
def test_a_job_that_has_run_is_forced_to_be_due(store: AnyStore, status: str) -> None:
    submit(store, "words")
    first = run(store, "words", status)
    before = jobs_of(store)["words"]
    request = new_id()
    assert [store.force(request, LIFE, "words") for _ in range(2)] == ["queued", "queued"]
    forced = jobs_of(store)["words"]

    assert (forced.status, forced.cycle, forced.version) == ("queued", 0, before.version)
    assert (forced.first_run_id, forced.first_run_status) == (first.run_id, status)
    assert forced.change == before.change + 1
    run(store, "words")
    assert store.force(request, LIFE, "words") == "queued", "arrives once more, late"
    assert statuses(store) == {"words": "succeeded"}


def test_what_cannot_be_forced_stays_as_it_is(store: AnyStore) -> None:
    for name in ("queued", "running", "failed"):
        submit(store, name)
    begin(store, jobs_of(store)["running"])
    run(store, "failed", "failed", "no")
    before = table(store)
    answers = {name: store.force(new_id(), LIFE, name) for name in (*jobs_of(store), "none")}

    assert answers == {"queued": "queued", "running": "running", "failed": "failed", "none": "unknown"}
    assert table(store) == before


def test_a_job_kept_for_its_group_is_forced_as_well(store: AnyStore) -> None:
    submit(store, "first", group_name="line", run_once=True)
    submit(store, "second", group_name="line")
    run(store, "first")
    store.force(new_id(), LIFE, "first")
    run(store, "second")
    assert statuses(store) == {"first": "queued", "second": "succeeded"}
    run(store, "first")

    assert statuses(store) == {"second": "succeeded"}


# ---- durations ----


def test_how_long_runs_take_is_an_average_that_outlives_the_version(store: AnyStore) -> None:
    submit(store, "words")
    assert jobs_of(store)["words"].seconds is None
    first = run(store, "words")
    assert jobs_of(store)["words"].seconds == pytest.approx(took(first), abs=3e-6)
    run(store, "words", "skipped")
    known = jobs_of(store)["words"].seconds
    replaced = submit(store, "words", job_priority=7)
    assert replaced.seconds == known == pytest.approx(took(first), abs=3e-6)
    second = run(store, "words")
    average = (took(first) + took(second)) / 2
    assert jobs_of(store)["words"].seconds == pytest.approx(average, abs=3e-6)
    end(store, second, "succeeded")  # once more
    run(store, "words", "failed", "no")
    store.retry(new_id(), LIFE, "words")

    assert jobs_of(store)["words"].seconds == pytest.approx(average, abs=3e-6)


def took(run: RunRecord) -> float:
    assert run.end_time is not None
    return run.end_time - run.start_time


# ---- what leaves the queue by itself


def test_a_failed_job_leaves_the_queue_only_as_the_leader_knows_it(store: AnyStore) -> None:
    job = submit(store, "sent", run_once=True)
    is_queued = store.write(1, LIFE, LeaveQueue(job.name, job.version))
    run(store, "sent", "failed", "no space")
    store.retry(new_id(), LIFE, "sent")
    of_before = store.write(1, LIFE, LeaveQueue(job.name, job.version))
    run(store, "sent", "failed", "no space")
    before = store.changes(0)
    left = store.write(1, LIFE, LeaveQueue("sent", jobs_of(store)["sent"].version))
    again = store.write(1, LIFE, LeaveQueue("sent", job.version))

    assert (is_queued, of_before, left, again) == (False, False, True, False)
    assert jobs_of(store) == {}
    assert store.changes(before.change).deleted == ("sent",)
    assert len(store.history("sent", 9)) == 2


def test_a_failed_member_of_a_group_stays(store: AnyStore) -> None:
    submit(store, "sent", run_once=True, group_name="g")
    run(store, "sent", "failed", "no space")
    job = jobs_of(store)["sent"]

    assert store.write(1, LIFE, LeaveQueue("sent", job.version)) is False
    assert "sent" in jobs_of(store)

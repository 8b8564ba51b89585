"""What a store promises about the steps of runs, and what runs have consumed; see
`store_places`."""

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
    statuses,
    submit,
)

from pymr.control.stored_state import (
    BeginAttempt,
    CommitTasks,
    Committed,
    JobState,
    ReleaseTasks,
    RunPlan,
    SavePlan,
    StepPlan,
    UncountedRuns,
)
from pymr.jobs.run_ids import run_number
from pymr.peer.store.store import StoreUnavailable
from pymr.wire.outcomes import AttemptId, StepOutcome

# ---- attempts at steps ----


def test_attempts_are_numbered_across_leaders(store: AnyStore, place: Place) -> None:
    run_id = begin(store, submit(store, "script")).run_id
    one = [store.write(1, LIFE, BeginAttempt(run_id, "copy-00000")) for _ in range(2)]
    other = store.write(1, LIFE, BeginAttempt(run_id, "copy-00001"))
    place.lead("b", 2)
    found = store.active_runs()[0].attempts
    next_one = store.write(2, LIFE, BeginAttempt(run_id, "copy-00000"))

    assert (one, other, next_one) == ([1, 2], 1, 3)
    assert found == {"copy-00000": 2, "copy-00001": 1}
    assert store.active_runs()[0].attempts == {"copy-00000": 3, "copy-00001": 1}


def test_an_attempt_whose_number_was_not_heard_has_it_when_asked_again(store: AnyStore, place: Place) -> None:
    run_id = begin(store, submit(store, "script")).run_id
    ask = BeginAttempt(run_id, "copy-00000")
    store.write(1, LIFE, ask)
    place.lose_reply()
    with pytest.raises(StoreUnavailable):
        store.write(1, LIFE, ask)

    assert [store.write(1, LIFE, ask) for _ in range(2)] == [2, 3]
    place.lose_reply()
    with pytest.raises(StoreUnavailable):
        store.write(1, LIFE, ask)
    place.lead("a", 2)
    assert store.write(2, LIFE, ask) == 5, "the same peer in another epoch is another leader"


def test_no_attempt_begins_in_a_run_that_takes_no_more(store: AnyStore) -> None:
    run = begin(store, submit(store, "script"))
    store.write(1, LIFE, BeginAttempt(run.run_id, "script-00000"))
    end(store, run, "failed", "no")

    assert store.write(1, LIFE, BeginAttempt(run.run_id, "script-00000")) == 0
    assert store.write(1, LIFE, BeginAttempt("none", "script-00000")) == 0
    store.retry(new_id(), LIFE, "script")
    again = begin(store, jobs_of(store)["script"])
    assert store.active_runs()[0].attempts == {}
    assert store.write(1, LIFE, BeginAttempt(again.run_id, "script-00000")) == 1


def test_which_attempts_have_read_what_was_lost_is_kept_and_never_lowered(store: AnyStore) -> None:
    run_id = begin(store, submit(store, "upload")).run_id
    lists = [Committed(AttemptId(run_id, f"list-{n:05d}", "1.1"), "a", StepOutcome()) for n in range(2)]
    store.write(1, LIFE, CommitTasks(run_id, tuple(lists)))
    first = ReleaseTasks(run_id, (lists[0].id,), {"copy-00000": 1, "copy-00010": 9})
    second = ReleaseTasks(run_id, (lists[1].id,), {"copy-00000": 10})
    for write in (first, second, first):  # which arrives once more, late
        store.write(1, LIFE, write)

    assert store.active_runs()[0].committed == ()
    assert store.active_runs()[0].released == {"copy-00000": "10", "copy-00010": "9"}


def test_steps_are_planned_committed_and_read_back(store: AnyStore) -> None:
    run = begin(store, submit(store, "upload"))
    plan = RunPlan((), 0, (), (StepPlan("list", ("a", "b")), StepPlan("copy", ("b",))))
    outcome = StepOutcome(files=3, bytes=10, skipped=1, exit_status=2, output="ü", counters={"x": 1})
    done = Committed(AttemptId(run.run_id, "list-00001", "1.2"), "b", outcome)
    store.write(1, LIFE, SavePlan(run.run_id, plan))

    assert store.write(1, LIFE, CommitTasks(run.run_id, (done,))) == ("1.2",)
    assert store.active_runs()[0].record.plan == plan
    assert store.active_runs()[0].committed == (done,)
    ended = end(store, replace(run, skipped=1, exit_status=2, output="ü"), "succeeded")
    assert store.history("", 1) == (ended,)
    assert (ended.skipped, ended.exit_status, ended.output) == (1, 2, "ü")


# ---- what was consumed ----


def test_what_was_consumed_counts_with_the_success_of_its_run(store: AnyStore) -> None:
    submit(store, "held")
    assert store.changes(0).states == {}
    for status in ("failed", "skipped", "succeeded"):
        if status == "skipped":
            store.retry(new_id(), LIFE, "held")
        run = begin(store, jobs_of(store)["held"])
        before = store.changes(0)
        end(store, run, status, state=JobState(run.run_id, "a"))
        changes = store.changes(before.change)
        expected = {"held": JobState(run.run_id, "a")} if status == "succeeded" else {}
        assert changes.states == expected, "told of when they have changed"
    submit(store, "other")
    assert store.changes(changes.change).states == {}
    other = begin(store, jobs_of(store)["other"])
    end(store, other, "succeeded", state=JobState(other.run_id))

    assert store.changes(changes.change).states == {"other": JobState(other.run_id)}, "what has changed only"
    assert store.changes(0).states == expected | {"other": JobState(other.run_id)}


def test_a_run_that_failed_is_kept_as_the_one_that_has_torn_the_output(store: AnyStore) -> None:
    submit(store, "words")
    run = begin(store, jobs_of(store)["words"])
    torn = JobState("", torn=run.run_id)
    end(store, run, "failed", "a disk is gone", torn)

    assert store.changes(0).states == {"words": torn}


def test_a_run_that_failed_is_kept_as_one_that_does_not_count(store: AnyStore) -> None:
    submit(store, "words")
    run = begin(store, jobs_of(store)["words"])
    number = run_number(run.run_id)
    uncounted = JobState("", uncounted=(UncountedRuns(1, number, ("a",)),))
    end(store, run, "failed", "a machine stays away", uncounted)

    assert store.changes(0).states == {"words": uncounted}


def test_a_state_is_set_by_the_end_of_the_run_alone(store: AnyStore) -> None:
    submit(store, "held")
    first = begin(store, jobs_of(store)["held"])
    end(store, first, "succeeded", state=JobState(first.run_id))
    second = begin(store, jobs_of(store)["held"])
    end(store, second, "succeeded", state=JobState(second.run_id))
    seen = store.changes(0)
    end(store, first, "succeeded", state=JobState(first.run_id))  # arrives once more, late
    end(store, replace(first, run_id="held-999999"), "succeeded", state=JobState("held-999999"))

    assert replace(store.changes(0), now=0.0) == replace(seen, now=0.0)
    third = begin(store, jobs_of(store)["held"])
    end(store, third, "succeeded")
    assert store.changes(0).states == {"held": JobState(second.run_id)}


def test_a_state_outlives_its_job(store: AnyStore) -> None:
    once = begin(store, submit(store, "once", run_once=True))
    end(store, once, "succeeded", state=JobState(once.run_id))
    deleted = begin(store, submit(store, "deleted"))
    store.delete(new_id(), LIFE, "deleted")
    end(store, deleted, "succeeded", state=JobState(deleted.run_id, "h"))

    assert statuses(store) == {}
    assert store.changes(0).states == {
        "once": JobState(once.run_id),
        "deleted": JobState(deleted.run_id, "h"),
    }

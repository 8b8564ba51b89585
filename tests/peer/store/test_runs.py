"""What a store promises about runs and their tasks; see `store_places`."""

from __future__ import annotations

import pytest
from msgspec import msgpack, to_builtins
from msgspec.structs import replace
from store_places import (
    LIFE,
    PLAN,
    AnyStore,
    Place,
    begin,
    end,
    job_fields,
    job_named,
    map_done,
    submit,
)

from pymr.control.stored_state import (
    BeginPublication,
    BeginRun,
    CommitTasks,
    Committed,
    Event,
    ReleaseTasks,
    RunRecord,
    SavePlan,
)
from pymr.peer.store import encoding
from pymr.wire.outcomes import AttemptId, ReduceOutcome
from pymr.wire.rows import PanePlace


def test_a_run_begins_for_a_queued_job_of_that_version(store: AnyStore) -> None:
    job = store.submit("r1", LIFE, job_fields("words"), "hash")[0]
    assert store.write(1, LIFE, BeginRun("words", job.version + 1)) is None
    assert store.write(1, LIFE, BeginRun("other", job.version)) is None
    run = begin(store, job)
    running = job_named(store, "words")

    assert run.run_id == "words-000001"
    assert (run.job_version, run.epoch, run.status, run.plan) == (job.version, 1, "running", None)
    assert (run.fields, run.project_hash) == (job.fields, "hash")
    assert running and running.change > job.change
    assert (running.status, running.run_id, running.first_run_id) == ("running", run.run_id, run.run_id)
    assert running.start_time == run.start_time


def test_a_run_that_was_begun_is_not_begun_again(store: AnyStore, place: Place) -> None:
    job = submit(store, "words")
    run = begin(store, job)
    place.lead("b", 2)

    assert store.write(2, LIFE, BeginRun("words", job.version)) == run
    assert [active.record for active in store.active_runs()] == [run]


def test_a_run_whose_beginning_was_not_heard_of_is_told_again_though_its_job_has_gone(
    store: AnyStore,
) -> None:
    job = submit(store, "words")
    run = begin(store, job)
    store.delete("r1", LIFE, "words")

    assert store.write(1, LIFE, BeginRun("words", job.version)) == run


def test_a_job_that_recurs_begins_again_and_keeps_its_first_run(store: AnyStore) -> None:
    job = submit(store, "words")
    first = begin(store, job)
    end(store, first, "failed", "no")
    assert store.write(1, LIFE, BeginRun("words", job.version)) is None
    store.retry("r1", LIFE, "words")
    retried = job_named(store, "words")
    assert retried
    second = begin(store, retried)
    end(store, second, "succeeded")
    third = begin(store, retried)
    end(store, third, "skipped")
    skipped = job_named(store, "words")

    assert len({first.run_id, second.run_id, third.run_id}) == 3
    assert skipped and (skipped.status, skipped.run_id) == ("skipped", third.run_id)
    assert (skipped.first_run_id, skipped.first_run_status) == (second.run_id, "succeeded")


def test_a_plan_is_saved_once(store: AnyStore) -> None:
    run = begin(store, submit(store, "words"))

    assert store.write(1, LIFE, SavePlan(run.run_id, PLAN)) is True
    assert store.write(1, LIFE, SavePlan(run.run_id, PLAN)) is True
    assert store.write(1, LIFE, SavePlan(run.run_id, replace(PLAN, partitions=5))) is False
    assert store.write(1, LIFE, SavePlan("none", PLAN)) is False
    assert store.active_runs()[0].record.plan == PLAN


def test_the_first_committed_attempt_of_a_task_counts(store: AnyStore) -> None:
    run = begin(store, submit(store, "words"))
    first, second = map_done(run, "map-00000"), map_done(run, "map-00000", "1.2", "d2")
    reduced = Committed(AttemptId(run.run_id, "reduce-00000", "1.3"), "b", ReduceOutcome(1, 2, 3, 1, 9))

    assert store.write(1, LIFE, CommitTasks(run.run_id, (first,))) == ("1.1",)
    assert store.write(1, LIFE, CommitTasks(run.run_id, (second, reduced))) == ("1.1", "1.3")
    assert store.write(1, LIFE, CommitTasks(run.run_id, (second, reduced))) == ("1.1", "1.3")
    assert store.active_runs()[0].committed == (first, reduced)


def test_a_released_task_is_committed_anew_and_its_digest_remembered(store: AnyStore) -> None:
    run = begin(store, submit(store, "words"))
    lost, other = map_done(run, "map-00000"), map_done(run, "map-00001", "1.2", "d2")
    store.write(1, LIFE, CommitTasks(run.run_id, (lost, other)))
    not_committed = AttemptId(run.run_id, "map-00001", "1.9")

    for _ in range(2):
        assert store.write(1, LIFE, ReleaseTasks(run.run_id, (lost.id, not_committed))) is True
    assert store.active_runs()[0].committed == (other,)
    again = map_done(run, "map-00000", "1.3", "d1")
    assert store.write(1, LIFE, CommitTasks(run.run_id, (again,))) == ("1.3",)
    store.write(1, LIFE, ReleaseTasks(run.run_id, (lost.id,)))  # arrives once more, late
    assert store.active_runs()[0].committed == (again, other)
    assert store.active_runs()[0].released == {"map-00000": "d1"}


def test_from_publication_on_nothing_is_committed_or_released(store: AnyStore) -> None:
    run = begin(store, submit(store, "words"))
    done, late = map_done(run, "map-00000"), map_done(run, "map-00001")
    store.write(1, LIFE, CommitTasks(run.run_id, (done,)))

    assert store.write(1, LIFE, BeginPublication(run.run_id)) is True
    assert store.write(1, LIFE, BeginPublication(run.run_id)) is True
    assert store.write(1, LIFE, BeginPublication("none")) is False
    assert store.write(1, LIFE, CommitTasks(run.run_id, (late, done))) == ("", "")
    store.write(1, LIFE, ReleaseTasks(run.run_id, (done.id,)))
    assert store.active_runs()[0].record.status == "publishing"
    assert store.active_runs()[0].committed == (done,)


def test_a_run_that_ends_goes_into_the_history_once(store: AnyStore) -> None:
    run = begin(store, submit(store, "words"))
    store.write(1, LIFE, SavePlan(run.run_id, PLAN))
    store.write(1, LIFE, CommitTasks(run.run_id, (map_done(run, "map-00000"),)))
    full = replace(run, plan=PLAN, counters={"a": 1.5}, records=7, phase_seconds={"map": 0.25})
    full = replace(full, failed_at=PanePlace("alpha/0", run.run_id, 4_321))
    stored = end(store, full, "succeeded")
    again = end(store, full, "failed", "too late")
    job = job_named(store, "words")

    assert stored == again
    assert stored.end_time is not None and stored.end_time >= run.start_time
    assert replace(stored, end_time=None) == replace(full, status="succeeded")
    assert store.active_runs() == ()
    assert store.history("", 10) == store.history("words", 10) == (stored,)
    assert store.history("other", 10) == ()
    assert job and (job.status, job.first_run_status, job.end_time) == (
        "succeeded",
        "succeeded",
        stored.end_time,
    )
    assert store.write(1, LIFE, CommitTasks(run.run_id, (map_done(run, "map-00000"),))) == ("",)
    assert store.write(1, LIFE, SavePlan(run.run_id, PLAN)) is False
    assert store.write(1, LIFE, BeginPublication(run.run_id)) is False


def test_what_was_stored_before_there_were_places_of_failures_is_read() -> None:
    run = RunRecord(
        run_id="words-000001", job_name="words", job_version=1, fields={}, project_hash="", epoch=1,
        status="failed", start_time=1.0, exception="why",
    )  # fmt: skip
    event = Event(kind="run.failed", text="why")
    old_run, old_event = (to_builtins(one) for one in (run, event))
    del old_run["failed_at"], old_event["place"]
    read = encoding.decode_ended_run(msgpack.encode([old_run, 2.0])).record()

    assert read == replace(run, end_time=2.0)
    assert encoding.decode_event(msgpack.encode(old_event)) == event


def test_a_job_that_runs_once_leaves_with_its_success_only(store: AnyStore) -> None:
    job = submit(store, "words", run_once=True)
    end(store, begin(store, job), "failed", "no")
    assert job_named(store, "words")
    store.retry("r1", LIFE, "words")
    retried = job_named(store, "words")
    assert retried
    seen = store.changes(0).change
    end(store, begin(store, retried), "succeeded")

    assert store.changes(seen).deleted == ("words",)
    assert len(store.history("words", 10)) == 2


@pytest.mark.parametrize("run_once", [True, False])
def test_the_job_of_an_outdated_run_is_due_again_and_waited_for(store: AnyStore, run_once: bool) -> None:
    outdated = begin(store, submit(store, "words", run_once=run_once))
    end(store, outdated, "outdated", "a.log changed")
    job = job_named(store, "words")
    assert job
    again = begin(store, job)
    running = job_named(store, "words")

    assert (job.status, job.run_id, job.first_run_id, job.exception) == ("queued", None, None, None)
    assert running and running.first_run_id == again.run_id != outdated.run_id
    assert [(run.status, run.exception) for run in store.history("words", 10)] == [
        ("outdated", "a.log changed")
    ]


@pytest.mark.parametrize("then", ["succeeded", "failed", "skipped", "submitted"])
def test_how_many_runs_are_outdated_in_a_row_is_kept_until_one_ends_otherwise(
    store: AnyStore, then: str
) -> None:
    rows = [submit(store, "words").outdated]
    for outdated in ((1, 0), (1, 1), (1, 2)):
        job = job_named(store, "words")
        assert job
        end(store, begin(store, job), "outdated", outdated=outdated)
        again = job_named(store, "words")
        assert again
        rows.append(again.outdated)
    run = begin(store, again)
    running = job_named(store, "words")
    assert running and running.outdated == (1, 2)
    if then == "submitted":
        submit(store, "words")
    else:
        end(store, run, then)
    after = job_named(store, "words")

    assert rows == [(0, 0), (1, 0), (1, 1), (1, 2)]
    assert after and after.outdated == (0, 0)


def test_an_outdated_run_of_a_job_that_recurs_does_not_change_its_first_run(store: AnyStore) -> None:
    first = begin(store, submit(store, "words"))
    end(store, first, "succeeded")
    job = job_named(store, "words")
    assert job
    end(store, begin(store, job), "outdated")
    after = job_named(store, "words")

    assert after and (after.first_run_id, after.first_run_status) == (first.run_id, "succeeded")
    assert after.status == "queued"


def test_the_end_of_a_run_leaves_a_newer_version_of_its_job_alone(store: AnyStore) -> None:
    run = begin(store, submit(store, "words"))
    newer = submit(store, "words", job_priority=2)
    end(store, run, "replaced")

    assert store.changes(0).jobs == (newer,)
    assert begin(store, newer).run_id != run.run_id


def test_the_end_of_a_run_does_not_bring_a_deleted_job_back(store: AnyStore) -> None:
    run = begin(store, submit(store, "words"))
    store.delete("d1", LIFE, "words")
    end(store, run, "succeeded")

    assert store.changes(0).jobs == ()
    assert store.history("", 1)[0].status == "succeeded"


def test_the_history_keeps_the_latest_runs(store: AnyStore) -> None:
    jobs = [submit(store, name) for name in ("a", "b")]
    runs = [end(store, begin(store, job), "succeeded") for _ in range(3) for job in jobs]

    assert store.history("", 10) == tuple(runs[:-5:-1])
    assert store.history("a", 10) == (runs[4], runs[2])
    assert store.history("", 1) == (runs[5],)
    assert end(store, runs[0], "failed").run_id == runs[0].run_id  # no longer known: not stored
    assert len(store.history("", 10)) == 4


def test_the_history_is_read_from_any_place_on(store: AnyStore) -> None:
    runs = [end(store, begin(store, submit(store, "a")), "succeeded") for _ in range(3)]

    assert store.history("a", 2, 1) == (runs[1], runs[0])
    assert store.history("", 1, 2) == (runs[0],)
    assert store.history("", 5, 3) == ()


def test_runs_that_failed_are_told_from_others(store: AnyStore) -> None:
    statuses = ("failed", "succeeded", "deleted", "failed")
    runs = [end(store, begin(store, submit(store, "a")), status).run_id for status in statuses]
    present = begin(store, submit(store, "a")).run_id

    assert store.failed_among([*runs, present, "unknown-000001"]) == {runs[0], runs[3]}
    assert store.failed_among([]) == set()


def test_of_runs_skipped_one_after_another_the_history_keeps_the_last(store: AnyStore) -> None:
    held, other = submit(store, "held"), submit(store, "other")
    ended = []
    for status in ("skipped", "skipped", "succeeded", "skipped", "skipped", "skipped"):
        ended.append(end(store, begin(store, held), status))
        end(store, begin(store, other), "skipped")
    again = end(store, ended[3], "skipped")  # its answer was lost
    job = job_named(store, "held")

    assert [run.run_id for run in store.history("held", 9)] == [ended[i].run_id for i in (5, 2, 1)]
    assert len(store.history("", 9)) == 4, "with the one of the other job"
    assert again.run_id == ended[3].run_id
    assert job and (job.status, job.run_id) == ("skipped", ended[5].run_id)
    assert (job.first_run_id, job.first_run_status) == (ended[0].run_id, "skipped"), "as it is waited for"


def test_many_tasks_are_read_back(store: AnyStore) -> None:
    run = begin(store, submit(store, "words"))
    tasks = tuple(map_done(run, f"map-{number:05}") for number in range(2_500))
    store.write(1, LIFE, CommitTasks(run.run_id, tasks))

    assert store.active_runs(LIFE)[0].committed == tasks

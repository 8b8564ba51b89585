"""What a store promises about jobs of one group: they fail, are retried and leave the queue together; see
`store_places`."""

from __future__ import annotations

from typing import Any

import pytest
from store_places import (
    LIFE,
    AnyStore,
    begin,
    end,
    in_order,
    jobs_of,
    new_id,
    run,
    statuses,
    submit,
    table,
)

from pymr.control.stored_state import BeginCycle, BeginRun, JobRecord


def pipeline(store: AnyStore, *names: str, **fields: Any) -> list[JobRecord]:
    return [submit(store, name, group_name="line", **fields) for name in names]


# ---- failing together ----


def test_a_job_that_fails_takes_its_group_off_the_queue(store: AnyStore) -> None:
    pipeline(store, "first", "second", "third")
    submit(store, "other", group_name="another")
    submit(store, "alone")
    run(store, "first")
    before = jobs_of(store)
    seen = store.changes(0).change
    run(store, "second", "failed", "it broke\nat line 7")
    jobs = jobs_of(store)
    reason = "the job second of its group line failed: it broke; `pymr retry line` queues all of it again"

    assert statuses(store) == {
        "first": "failed", "second": "failed", "third": "failed", "other": "queued", "alone": "queued",
    }  # fmt: skip
    assert jobs["second"].exception == "it broke\nat line 7"
    assert jobs["first"].exception == jobs["third"].exception == reason
    assert jobs["third"].first_run_id is None
    assert jobs["first"].first_run_status == "succeeded"
    changed = {job.name: job for job in store.changes(seen).jobs}
    assert changed == {name: jobs[name] for name in ("first", "second", "third")}
    for name in ("first", "third"):
        assert jobs[name].version == before[name].version
        assert store.write(1, LIFE, BeginRun(name, jobs[name].version)) is None


def test_a_group_fails_once_and_keeps_the_first_reason(store: AnyStore) -> None:
    pipeline(store, "first", "second")
    one, two = (begin(store, jobs_of(store)[name]) for name in ("first", "second"))
    end(store, one, "failed", "a" * 1000)
    assert statuses(store) == {"first": "failed", "second": "running"}, "a run is the leader's to end"
    end(store, two, "failed", "two")
    end(store, two, "failed", "three")

    exceptions = {name: job.exception for name, job in jobs_of(store).items()}
    assert exceptions == {"first": "a" * 1000, "second": "two"}


def test_only_what_has_failed_takes_a_group_along(store: AnyStore) -> None:
    pipeline(store, "first", "second")
    run(store, "first", "skipped")
    old = begin(store, jobs_of(store)["first"])
    submit(store, "first", group_name="line", job_priority=9)
    end(store, old, "failed", "of a version that was replaced")

    assert statuses(store) == {"first": "queued", "second": "queued"}


def test_a_long_reason_is_cut_for_the_others_of_a_group(store: AnyStore) -> None:
    pipeline(store, "first", "second")
    run(store, "first", "failed", "ü" * 5_000)
    reason = jobs_of(store)["second"].exception

    assert reason and len(reason) < 700 and "üüü; `pymr retry line`" in reason


# ---- queued again ----


@pytest.mark.parametrize("name", ["second", "line"])
def test_a_group_is_retried_as_a_whole_in_its_old_order(store: AnyStore, name: str) -> None:
    for job, priority in (("last", 1), ("second", 5), ("first", 5), ("mid", 3)):
        submit(store, job, group_name="line", job_priority=priority)
    before = in_order(store)
    run(store, "second")
    run(store, "first", "failed", "no")
    request = new_id()
    highest = max(job.version for job in jobs_of(store).values())
    answers = [store.retry(request, LIFE, name) for _ in range(2)]
    jobs = jobs_of(store)

    assert answers == ["queued 4 jobs of group line"] * 2
    assert before == in_order(store) == ["second", "first", "mid", "last"]
    assert sorted(job.version for job in jobs.values()) == list(range(highest + 1, highest + 5))
    for job in jobs.values():
        assert (job.status, job.cycle, job.exception, job.run_id) == ("queued", 0, None, None)
        assert (job.first_run_id, job.first_run_status, job.start_time) == (None, None, None)
    assert jobs["second"].seconds is not None
    assert store.retry(new_id(), LIFE, name) == "not failed"


def test_nothing_is_retried_where_nothing_failed(store: AnyStore) -> None:
    pipeline(store, "first", "second")
    run(store, "first")
    before = table(store)

    assert store.retry(new_id(), LIFE, "first") == "not failed"
    assert store.retry(new_id(), LIFE, "line") == "not failed"
    assert store.retry(new_id(), LIFE, "no such") == "unknown"
    assert table(store) == before


def test_a_job_and_a_group_of_one_name_are_told_apart(store: AnyStore) -> None:
    pipeline(store, "first", "second")
    submit(store, "line")
    run(store, "first", "failed", "no")
    run(store, "line", "failed", "no")

    assert store.retry(new_id(), LIFE, "line") == "queued"
    assert statuses(store) == {"first": "failed", "second": "failed", "line": "queued"}
    assert store.retry(new_id(), LIFE, "line") == "queued 2 jobs of group line", "as their exceptions say"
    assert store.retry(new_id(), LIFE, "line") == "not failed"
    assert set(statuses(store).values()) == {"queued"}


def test_a_job_stands_for_its_own_group_before_the_one_that_has_its_name(store: AnyStore) -> None:
    pipeline(store, "first")
    submit(store, "line", group_name="another")
    submit(store, "other", group_name="another")
    run(store, "first", "failed", "no")
    run(store, "other", "failed", "no")

    assert store.retry(new_id(), LIFE, "line") == "queued 2 jobs of group another"
    assert store.retry(new_id(), LIFE, "line") == "queued 1 jobs of group line"


@pytest.mark.parametrize(("name", "order"), [("second", ["first", "second"]), ("new", None)])
def test_a_submission_into_a_group_that_failed_brings_all_of_it_back(
    store: AnyStore, name: str, order: list[str] | None
) -> None:
    pipeline(store, "first", "second")
    run(store, "first")
    run(store, "second", "failed", "no")
    record = submit(store, name, group_name="line", downsample=0.25)

    assert in_order(store) == (order or ["first", "second", "new"])
    assert set(statuses(store).values()) == {"queued"}
    assert all(job.cycle == 0 and job.exception is None for job in jobs_of(store).values())
    assert jobs_of(store)[name] == record


def test_a_job_that_changes_its_group_belongs_to_the_new_one_only(store: AnyStore) -> None:
    pipeline(store, "first", "second")
    submit(store, "second", group_name="another")
    run(store, "first", "failed", "no")
    assert statuses(store) == {"first": "failed", "second": "queued"}
    submit(store, "first")
    run(store, "second", "failed", "no")

    assert statuses(store) == {"first": "queued", "second": "failed"}
    assert store.retry(new_id(), LIFE, "line") == "unknown"


def test_a_deletion_touches_no_other_member(store: AnyStore) -> None:
    pipeline(store, "first", "second", "third")
    run(store, "first")
    before = jobs_of(store)
    store.delete(new_id(), LIFE, "second")
    assert jobs_of(store) == {name: job for name, job in before.items() if name != "second"}
    run(store, "third", "failed", "no")
    store.delete(new_id(), LIFE, "first")

    assert statuses(store) == {"third": "failed"}
    assert store.retry(new_id(), LIFE, "line") == "queued 1 jobs of group line"


# ---- jobs of a group that run once ----


def test_jobs_that_run_once_leave_when_all_of_their_group_have_run(store: AnyStore) -> None:
    pipeline(store, "first", "second", run_once=True)
    submit(store, "third", group_name="line")
    run(store, "first")
    run(store, "second")
    kept = jobs_of(store)["first"]
    assert statuses(store) == {"first": "succeeded", "second": "succeeded", "third": "queued"}
    assert store.write(1, LIFE, BeginRun("first", kept.version)) is None, "it has run"
    seen = store.changes(0).change
    run(store, "third", "skipped")

    assert statuses(store) == {"third": "skipped"}
    assert set(store.changes(seen).deleted) == {"first", "second"}


def test_jobs_that_ran_once_are_retried_with_a_group_that_fails(store: AnyStore) -> None:
    pipeline(store, "first", "second", run_once=True)
    run(store, "first")
    run(store, "second", "failed", "no")
    assert statuses(store) == {"first": "failed", "second": "failed"}
    store.retry(new_id(), LIFE, "line")
    run(store, "first")
    run(store, "second", "skipped")
    assert statuses(store) == {"second": "skipped"}, "one that was skipped is still to run once"
    run(store, "second")

    assert statuses(store) == {}


def test_what_a_group_waited_for_may_be_deleted_or_leave_it(store: AnyStore) -> None:
    pipeline(store, "first", "second", run_once=True)
    submit(store, "third", group_name="line")
    run(store, "first")
    store.delete(new_id(), LIFE, "second")
    assert statuses(store) == {"first": "succeeded", "third": "queued"}
    submit(store, "third", group_name="another")

    assert statuses(store) == {"third": "queued"}


def test_a_member_that_ran_in_an_earlier_cycle_is_still_waited_for(store: AnyStore) -> None:
    pipeline(store, "recurring")
    run(store, "recurring")
    store.write(1, LIFE, BeginCycle(1))
    submit(store, "once", group_name="line", run_once=True)
    run(store, "once")
    assert statuses(store) == {"recurring": "succeeded", "once": "succeeded"}
    run(store, "recurring")

    assert statuses(store) == {"recurring": "succeeded"}

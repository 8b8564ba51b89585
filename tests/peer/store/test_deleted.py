"""What a store promises about submissions over a known version, and jobs that were deleted; see
`store_places`."""

from __future__ import annotations

from typing import Any

import pytest
from store_places import (
    LIFE,
    AnyStore,
    Place,
    begin,
    end,
    job_fields,
    job_named,
    jobs_of,
    new_id,
    run,
    statuses,
    submit,
    table,
)

from pymr.control.stored_state import JobState
from pymr.peer.store.conflicts import StoreConflict
from pymr.peer.store.store import StoreUnavailable


def submit_over(store: AnyStore, version: int | None, request: str = "", **fields: Any) -> int:
    """The version of `words` that was submitted over that one."""
    job, _ = store.submit(request or new_id(), LIFE, job_fields("words", **fields), "", version)
    return job.version


def delete(store: AnyStore, name: str) -> None:
    assert store.delete(new_id(), LIFE, name)


def undelete(store: AnyStore, name: str) -> int | None:
    return store.undelete(new_id(), LIFE, name)


# ---- over a known version ----


def test_a_submission_over_the_version_that_stands_there_replaces_it(store: AnyStore) -> None:
    first = submit_over(store, 0)
    second = submit_over(store, first)
    third = submit_over(store, None)

    assert first < second < third


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (0, r"'words' is in the queue already \(version 2, submitted by ada@engine\)"),
        (1, "that was version 1, this is version 2, submitted by ada@engine"),
        (99, "that was version 99, this is version 2"),
    ],
)
def test_a_submission_over_another_version_changes_nothing(store: AnyStore, version: int, words: str) -> None:
    submit_over(store, None)
    submit_over(store, 1, job_submitter="ada@engine")
    before = table(store)

    with pytest.raises(StoreConflict, match=words):
        submit_over(store, version, job_priority=7)
    assert table(store) == before


def test_a_job_that_is_gone_is_not_replaced(store: AnyStore) -> None:
    version = submit_over(store, None)
    delete(store, "words")

    with pytest.raises(StoreConflict, match="there is no job 'words' in the queue any more"):
        submit_over(store, version)
    assert store.changes(0).jobs == ()


def test_of_two_who_have_seen_the_same_version_one_replaces_it(store: AnyStore) -> None:
    seen = submit_over(store, None)
    submit_over(store, seen, job_submitter="ada@engine")

    with pytest.raises(StoreConflict, match="ada@engine"):
        submit_over(store, seen, job_submitter="charles@engine")


def test_a_repeated_submission_over_a_version_has_the_first_answer(store: AnyStore, place: Place) -> None:
    seen = submit_over(store, None)
    place.lose_reply()
    with pytest.raises(StoreUnavailable):
        submit_over(store, seen, "r1")
    version = submit_over(store, seen, "r1")
    submit_over(store, version)

    assert submit_over(store, seen, "r1") == version == seen + 1


def test_a_retried_job_is_another_version(store: AnyStore) -> None:
    seen = submit_over(store, None)
    run(store, "words", "failed", "it broke")
    store.retry(new_id(), LIFE, "words")

    with pytest.raises(StoreConflict, match=f"this is version {seen + 1}"):
        submit_over(store, seen)


# ---- deleted jobs ----


def test_a_deleted_job_comes_back_as_a_new_submission(store: AnyStore) -> None:
    store.put_package("hash", b"zip")
    fields = job_fields("words", input_dirs=["a", "ü"], nested={"x": [1, 2.0, None]})
    job, _ = store.submit(new_id(), LIFE, fields, "hash")
    run(store, "words", "failed", "it broke")
    seen = store.changes(0).change
    delete(store, "words")
    version = undelete(store, "words")
    changes = store.changes(seen)
    (back,) = changes.jobs

    assert back.version == version and back.version > job.version
    assert (back.fields, back.project_hash, back.status) == (fields, "hash", "queued")
    assert (back.exception, back.run_id, back.first_run_id, back.cycle) == (None, None, None, 0)
    assert back.submitted_at >= job.submitted_at
    assert changes.deleted == ()
    assert store.package("hash") == b"zip"
    assert begin(store, back).fields == fields


def test_how_long_its_runs_take_is_known_when_it_comes_back(store: AnyStore) -> None:
    submit(store, "words")
    run(store, "words")
    before = jobs_of(store)["words"].seconds
    delete(store, "words")
    undelete(store, "words")

    assert before is not None
    assert jobs_of(store)["words"].seconds == before


def test_a_repeated_undeletion_has_the_first_answer(store: AnyStore, place: Place) -> None:
    assert store.undelete("u0", LIFE, "words") is None  # Redis knows the script from here on
    submit(store, "words")
    delete(store, "words")
    place.lose_reply()
    with pytest.raises(StoreUnavailable):
        store.undelete("u1", LIFE, "words")
    version = store.undelete("u1", LIFE, "words")
    submit(store, "words")

    assert version == 2
    assert store.undelete("u1", LIFE, "words") == version


def test_what_nobody_has_deleted_does_not_come_back(store: AnyStore) -> None:
    submit(store, "once", run_once=True)
    run(store, "once")
    assert store.delete("d1", LIFE, "once") is False

    assert undelete(store, "once") is None
    assert undelete(store, "none") is None
    assert store.changes(0).jobs == ()


def test_a_job_comes_back_once(store: AnyStore) -> None:
    submit(store, "words")
    delete(store, "words")
    undelete(store, "words")
    run(store, "words", "failed", "no")
    with pytest.raises(StoreConflict, match="'words' is in the queue again"):
        undelete(store, "words")
    delete(store, "words")
    undelete(store, "words")

    assert statuses(store) == {"words": "queued"}


def test_a_job_that_was_submitted_since_stays(store: AnyStore) -> None:
    submit(store, "words", job_priority=1)
    delete(store, "words")
    submit(store, "words", job_priority=2, job_submitter="ada@engine")
    before = table(store)

    with pytest.raises(StoreConflict, match="version 2, submitted by ada@engine"):
        undelete(store, "words")
    assert table(store) == before
    delete(store, "words")
    undelete(store, "words")
    assert jobs_of(store)["words"].fields["job_priority"] == 2, "the one that was deleted last"


def test_so_many_deleted_jobs_are_kept_and_no_more(store: AnyStore) -> None:
    for name in "abc":
        submit(store, name)
    for name in ("a", "b", "c"):  # one more than are kept here
        delete(store, name)

    assert undelete(store, "a") is None
    assert undelete(store, "b") and undelete(store, "c")
    delete(store, "b")
    delete(store, "c")
    submit(store, "c")
    delete(store, "c")
    assert undelete(store, "b"), "a job that is deleted twice takes one place"


def test_what_a_job_has_consumed_is_as_it_was(store: AnyStore) -> None:
    state = JobState("words-000001", "h", shown="words-000001", adds=True)
    end(store, begin(store, submit(store, "words", hold_state=True)), "succeeded", state=state)
    delete(store, "words")
    undelete(store, "words")

    assert store.changes(0).states == {"words": state}


def test_a_run_of_a_deleted_job_does_not_end_the_one_that_came_back(store: AnyStore) -> None:
    record = begin(store, submit(store, "words", run_once=True))
    delete(store, "words")
    undelete(store, "words")
    end(store, record, "deleted")

    assert statuses(store) == {"words": "queued"}


def test_a_job_comes_back_into_its_group(store: AnyStore) -> None:
    for name in ("first", "second", "third"):
        submit(store, name, group_name="line")
    delete(store, "second")
    run(store, "first", "failed", "it broke")
    undelete(store, "second")

    assert statuses(store) == {"first": "queued", "second": "queued", "third": "queued"}
    run(store, "second", "failed", "it broke")
    assert set(statuses(store).values()) == {"failed"}


def test_those_that_left_with_a_deleted_job_do_not_come_back(store: AnyStore) -> None:
    submit(store, "first", group_name="line", run_once=True)
    submit(store, "second", group_name="line")
    run(store, "first")
    delete(store, "second")
    assert statuses(store) == {}
    undelete(store, "second")

    assert statuses(store) == {"second": "queued"}
    assert undelete(store, "first") is None


def test_a_job_whose_project_is_gone_does_not_come_back(store: AnyStore) -> None:
    store.submit(new_id(), LIFE, job_fields("words"), "never put")
    delete(store, "words")

    assert undelete(store, "words") is None
    assert job_named(store, "words") is None


def test_a_cluster_that_is_recovered_has_forgotten_deleted_jobs(store: AnyStore) -> None:
    submit(store, "kept")
    submit(store, "words")
    delete(store, "words")
    kept = store.changes(0)
    assert store.recover(LIFE, "life-2", 7, kept.jobs, kept.change) is True

    assert store.undelete(new_id(), "life-2", "words") is None

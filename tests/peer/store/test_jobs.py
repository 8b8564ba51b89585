"""What a store promises about the job table, asked of the one in Redis and of the one in memory alike."""

from __future__ import annotations

from store_places import (
    LIFE,
    AnyStore,
    begin,
    end,
    job_fields,
    job_named,
    submit,
    table,
)

from pymr.control.stored_state import Event


def test_a_submission_is_in_the_table_as_it_was_given(store: AnyStore) -> None:
    fields = job_fields("words", input_dirs=["a", "ü"], nested={"x": [1, 2.0, None, True]}, big=2**60)
    record, replaced = store.submit("r1", LIFE, fields, "hash")
    changes = store.changes(0)

    assert not replaced
    assert changes.jobs == (record,)
    assert changes.is_whole and changes.change == record.change and not changes.paused
    assert (record.fields, record.project_hash, record.status) == (fields, "hash", "queued")
    assert record.submitted_at > 1e9


def test_a_second_submission_replaces_the_first_with_a_higher_version(store: AnyStore) -> None:
    first = submit(store, "words")
    second, replaced = store.submit("r2", LIFE, job_fields("words", job_priority=7), "")

    assert replaced
    assert second.version > first.version and second.change > first.change
    assert store.changes(0).jobs == (second,)


def test_a_repeated_submission_has_the_first_answer_and_no_effect(store: AnyStore) -> None:
    first = store.submit("r1", LIFE, job_fields("words"), "")
    store.submit("r2", LIFE, job_fields("words", job_priority=7), "")
    before = table(store)

    assert store.submit("r1", LIFE, job_fields("words"), "") == first
    assert table(store) == before


def test_the_event_of_a_change_is_told_once_and_only_where_something_has_changed(store: AnyStore) -> None:
    submit(store, "words")
    told = [Event(kind="job.deleted", text=f"number {number}") for number in range(5)]
    store.delete("d1", LIFE, "words", told[0])
    store.delete("d1", LIFE, "words", told[0])
    store.delete("d2", LIFE, "words", told[1])
    store.undelete("u1", LIFE, "words", told[2])
    store.undelete("u1", LIFE, "words", told[2])
    store.pause("p1", LIFE, True, told[3])
    store.pause("p2", LIFE, True, told[4])
    store.delete("d3", LIFE, "words")

    assert [event for _, _, event in store.events("", 9)] == [told[0], told[2], told[3]]


def test_changes_tell_only_what_changed_and_what_went(store: AnyStore) -> None:
    submit(store, "kept")
    submit(store, "gone")
    seen = store.changes(0).change
    new = submit(store, "new")
    assert store.delete("d1", LIFE, "gone")
    changes = store.changes(seen)

    assert not changes.is_whole
    assert changes.jobs == (new,)
    assert changes.deleted == ("gone",)
    assert store.changes(changes.change).jobs == ()
    assert store.changes(changes.change).deleted == ()


def test_a_reader_that_missed_too_many_deletions_gets_the_whole_table(store: AnyStore) -> None:
    for name in "abcde":
        submit(store, name)
    seen = store.changes(0).change
    for name in "abcd":  # one more than the tombstones kept here
        store.delete(f"delete-{name}", LIFE, name)
    changes = store.changes(seen)

    assert changes.is_whole
    assert [job.name for job in changes.jobs] == ["e"]
    assert not store.changes(changes.change - 2).is_whole


def test_a_reader_from_the_future_gets_the_whole_table(store: AnyStore) -> None:
    submit(store, "words")

    assert store.changes(10_000).is_whole


def test_a_job_that_comes_back_is_not_told_of_as_deleted(store: AnyStore) -> None:
    submit(store, "words")
    seen = store.changes(0).change
    store.delete("d1", LIFE, "words")
    back = submit(store, "words", job_priority=2)
    changes = store.changes(seen)

    assert (changes.jobs, changes.deleted) == ((back,), ())


def test_deleting_twice_answers_the_same_for_the_same_request_only(store: AnyStore) -> None:
    submit(store, "words")

    assert store.delete("d1", LIFE, "words")
    assert store.delete("d1", LIFE, "words")
    assert not store.delete("d2", LIFE, "words")


def test_a_pause_is_a_change_and_lasts_until_it_is_ended(store: AnyStore) -> None:
    before = store.changes(0).change
    store.pause("p1", LIFE, True)
    store.pause("p1", LIFE, True)
    paused = store.changes(before)
    store.pause("p2", LIFE, False)
    store.pause("p1", LIFE, True)  # arrives once more, late

    assert paused.paused and paused.change == before + 1
    assert not store.changes(0).paused


def test_only_a_failed_job_is_retried(store: AnyStore) -> None:
    job = submit(store, "words")
    assert store.retry("r1", LIFE, "none") == "unknown"
    assert store.retry("r2", LIFE, "words") == "not failed"
    end(store, begin(store, job), "failed", "it broke")
    failed = job_named(store, "words")
    assert store.retry("r3", LIFE, "words") == "queued"
    assert store.retry("r3", LIFE, "words") == "queued"
    retried = job_named(store, "words")

    assert failed and (failed.status, failed.exception, failed.first_run_status) == (
        "failed",
        "it broke",
        "failed",
    )
    assert retried and retried.version == failed.version + 1
    assert (retried.status, retried.first_run_id, retried.first_run_status) == ("queued", None, None)
    assert (retried.exception, retried.run_id, retried.end_time) == (None, None, None)


def test_a_package_is_given_back_as_it_was(store: AnyStore) -> None:
    data = bytes(range(256)) * 1000
    assert not store.has_package("hash")
    assert store.package("hash") is None
    store.put_package("hash", data)
    store.put_package("hash", data)

    assert store.has_package("hash")
    assert store.package("hash") == data


def test_a_healthy_store_gives_no_warnings(store: AnyStore) -> None:
    assert store.check_settings() == []
    assert store.present() == ()

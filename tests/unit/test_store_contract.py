"""What a store promises, asked of the one in Redis and of the one in memory alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
from msgspec.structs import replace
from simulation.memory_store import MemoryRedis, MemoryStore

from pymr.control.records import (
    BeginPublication,
    BeginRun,
    CommitTasks,
    Committed,
    EndRun,
    Event,
    HostPlan,
    JobRecord,
    ReleaseTasks,
    RunPlan,
    RunRecord,
    SavePlan,
    Write,
)
from pymr.errors import StaleEpochError
from pymr.peer.store import RedisConnection, Store, StoreForgot
from pymr.peer.store_scripts import Limits
from pymr.private_redis import PrivateRedis
from pymr.protocol import AttemptId, MapOutcome, ReduceOutcome

LIFE = "life-1"
PLAN = RunPlan((HostPlan("127.0.0.1", "a", 0, 3, 1000, 2),), 2, ("a", "b"))


class Place(Protocol):
    """A cluster's state in some Redis, which can be told what the lease would do."""

    store: Store | MemoryStore

    def set(self, incarnation: str | None, epoch: int) -> None: ...

    def lead(self, peer: str, epoch: int) -> None: ...


class RedisPlace:
    def __init__(self, url: str, cluster: str, limits: Limits) -> None:
        self.store: Store | MemoryStore = Store(url, None, cluster, limits=limits)
        self._redis = RedisConnection(url, None, 2.0)
        self._prefix = f"pymr:{cluster}:"

    def set(self, incarnation: str | None, epoch: int) -> None:
        if incarnation is None:
            self._redis.ask("DEL", f"{self._prefix}incarnation", f"{self._prefix}epoch")
        else:
            self._redis.ask("MSET", f"{self._prefix}incarnation", incarnation, f"{self._prefix}epoch", epoch)

    def lead(self, peer: str, epoch: int) -> None:
        self._redis.ask("SET", f"{self._prefix}epoch", epoch)
        self._redis.ask("SET", f"{self._prefix}lease", f"{epoch} 1 {peer}")

    def close(self) -> None:
        self.store.close()
        self._redis.close()


class MemoryPlace:
    def __init__(self, limits: Limits) -> None:
        self.redis = MemoryRedis(limits=limits)
        self.store: Store | MemoryStore = MemoryStore(self.redis)

    def set(self, incarnation: str | None, epoch: int) -> None:
        self.redis.incarnation, self.redis.epoch = incarnation, epoch

    def lead(self, peer: str, epoch: int) -> None:
        self.redis.epoch = epoch
        self.redis.leader = (peer, 1, epoch)


@pytest.fixture(params=["redis", "memory"])
def place(request: pytest.FixtureRequest, cluster_name: str) -> Iterator[Place]:
    limits = Limits(tombstones=3, history_runs=4, events=1_000)
    if request.param == "memory":
        memory = MemoryPlace(limits)
        memory.set(LIFE, 1)
        yield memory
    else:
        server: PrivateRedis = request.getfixturevalue("redis_server")
        real = RedisPlace(server.url, cluster_name, limits)
        real.set(LIFE, 1)
        yield real
        real.close()


@pytest.fixture
def store(place: Place) -> Store | MemoryStore:
    return place.store


def job_fields(name: str, **fields: Any) -> dict[str, Any]:
    return {"job_type": "mapreduce", "job_name": name, "job_priority": 1, "downsample": 0.5, **fields}


def submit(store: Store | MemoryStore, name: str, **fields: Any) -> JobRecord:
    return store.submit(f"submit-{name}-{fields}", LIFE, job_fields(name, **fields), "")[0]


def begin(store: Store | MemoryStore, job: JobRecord) -> RunRecord:
    record: RunRecord | None = store.write(1, LIFE, BeginRun(job.name, job.version))
    assert record is not None
    return record


def end(store: Store | MemoryStore, run: RunRecord, status: str, exception: str | None = None) -> RunRecord:
    ended = replace(run, status=status, exception=exception)
    stored: RunRecord = store.write(1, LIFE, EndRun(ended))
    return stored


def job_named(store: Store | MemoryStore, name: str) -> JobRecord | None:
    return {job.name: job for job in store.changes(0).jobs}.get(name)


def map_done(run: RunRecord, task: str, attempt: str = "1.1", digest: str = "d1") -> Committed:
    outcome = MapOutcome(digest, 10, 1000, 20, 500, {"words": 2.5}, 0)
    return Committed(AttemptId(run.run_id, task, attempt), "a", outcome)


# ---- the job table ----


def test_a_submission_is_in_the_table_as_it_was_given(store: Store | MemoryStore) -> None:
    fields = job_fields("words", input_dirs=["a", "ü"], nested={"x": [1, 2.0, None, True]}, big=2**60)
    record, replaced = store.submit("r1", LIFE, fields, "hash")
    changes = store.changes(0)

    assert not replaced
    assert changes.jobs == (record,)
    assert changes.is_whole and changes.change == record.change and not changes.paused
    assert (record.fields, record.project_hash, record.status) == (fields, "hash", "queued")
    assert record.submitted_at > 1e9


def test_a_second_submission_replaces_the_first_with_a_higher_version(store: Store | MemoryStore) -> None:
    first = submit(store, "words")
    second, replaced = store.submit("r2", LIFE, job_fields("words", job_priority=7), "")

    assert replaced
    assert second.version > first.version and second.change > first.change
    assert store.changes(0).jobs == (second,)


def test_a_repeated_submission_has_the_first_answer_and_no_effect(store: Store | MemoryStore) -> None:
    first = store.submit("r1", LIFE, job_fields("words"), "")
    store.submit("r2", LIFE, job_fields("words", job_priority=7), "")
    table = store.changes(0)

    assert store.submit("r1", LIFE, job_fields("words"), "") == first
    assert store.changes(0) == table


def test_changes_tell_only_what_changed_and_what_went(store: Store | MemoryStore) -> None:
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


def test_a_reader_that_missed_too_many_deletions_gets_the_whole_table(store: Store | MemoryStore) -> None:
    for name in "abcde":
        submit(store, name)
    seen = store.changes(0).change
    for name in "abcd":  # one more than the tombstones kept here
        store.delete(f"delete-{name}", LIFE, name)
    changes = store.changes(seen)

    assert changes.is_whole
    assert [job.name for job in changes.jobs] == ["e"]
    assert not store.changes(changes.change - 2).is_whole


def test_a_reader_from_the_future_gets_the_whole_table(store: Store | MemoryStore) -> None:
    submit(store, "words")

    assert store.changes(10_000).is_whole


def test_a_job_that_comes_back_is_not_told_of_as_deleted(store: Store | MemoryStore) -> None:
    submit(store, "words")
    seen = store.changes(0).change
    store.delete("d1", LIFE, "words")
    back = submit(store, "words", job_priority=2)
    changes = store.changes(seen)

    assert (changes.jobs, changes.deleted) == ((back,), ())


def test_deleting_twice_answers_the_same_for_the_same_request_only(store: Store | MemoryStore) -> None:
    submit(store, "words")

    assert store.delete("d1", LIFE, "words")
    assert store.delete("d1", LIFE, "words")
    assert not store.delete("d2", LIFE, "words")


def test_a_pause_is_a_change_and_lasts_until_it_is_ended(store: Store | MemoryStore) -> None:
    before = store.changes(0).change
    store.pause("p1", LIFE, True)
    store.pause("p1", LIFE, True)
    paused = store.changes(before)
    store.pause("p2", LIFE, False)
    store.pause("p1", LIFE, True)  # arrives once more, late

    assert paused.paused and paused.change == before + 1
    assert not store.changes(0).paused


def test_only_a_failed_job_is_retried(store: Store | MemoryStore) -> None:
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


def test_a_package_is_given_back_as_it_was(store: Store | MemoryStore) -> None:
    data = bytes(range(256)) * 1000
    assert not store.has_package("hash")
    assert store.package("hash") is None
    store.put_package("hash", data)
    store.put_package("hash", data)

    assert store.has_package("hash")
    assert store.package("hash") == data


# ---- runs ----


def test_a_run_begins_for_a_queued_job_of_that_version(store: Store | MemoryStore) -> None:
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


def test_a_run_that_was_begun_is_not_begun_again(store: Store | MemoryStore, place: Place) -> None:
    job = submit(store, "words")
    run = begin(store, job)
    place.lead("b", 2)

    assert store.write(2, LIFE, BeginRun("words", job.version)) == run
    assert [active.record for active in store.active_runs()] == [run]


def test_a_run_whose_beginning_was_not_heard_of_is_told_again_though_its_job_has_gone(
    store: Store | MemoryStore,
) -> None:
    job = submit(store, "words")
    run = begin(store, job)
    store.delete("r1", LIFE, "words")

    assert store.write(1, LIFE, BeginRun("words", job.version)) == run


def test_a_job_that_recurs_begins_again_and_keeps_its_first_run(store: Store | MemoryStore) -> None:
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


def test_a_plan_is_saved_once(store: Store | MemoryStore) -> None:
    run = begin(store, submit(store, "words"))

    assert store.write(1, LIFE, SavePlan(run.run_id, PLAN)) is True
    assert store.write(1, LIFE, SavePlan(run.run_id, PLAN)) is True
    assert store.write(1, LIFE, SavePlan(run.run_id, replace(PLAN, partitions=5))) is False
    assert store.write(1, LIFE, SavePlan("none", PLAN)) is False
    assert store.active_runs()[0].record.plan == PLAN


def test_the_first_committed_attempt_of_a_task_counts(store: Store | MemoryStore) -> None:
    run = begin(store, submit(store, "words"))
    first, second = map_done(run, "map-00000"), map_done(run, "map-00000", "1.2", "d2")
    reduced = Committed(AttemptId(run.run_id, "reduce-00000", "1.3"), "b", ReduceOutcome(1, 2, 3, 1, 9))

    assert store.write(1, LIFE, CommitTasks(run.run_id, (first,))) == ("1.1",)
    assert store.write(1, LIFE, CommitTasks(run.run_id, (second, reduced))) == ("1.1", "1.3")
    assert store.write(1, LIFE, CommitTasks(run.run_id, (second, reduced))) == ("1.1", "1.3")
    assert store.active_runs()[0].committed == (first, reduced)


def test_a_released_task_is_committed_anew_and_its_digest_remembered(store: Store | MemoryStore) -> None:
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


def test_from_publication_on_nothing_is_committed_or_released(store: Store | MemoryStore) -> None:
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


def test_a_run_that_ends_goes_into_the_history_once(store: Store | MemoryStore) -> None:
    run = begin(store, submit(store, "words"))
    store.write(1, LIFE, SavePlan(run.run_id, PLAN))
    store.write(1, LIFE, CommitTasks(run.run_id, (map_done(run, "map-00000"),)))
    full = replace(run, plan=PLAN, counters={"a": 1.5}, records=7, phase_seconds={"map": 0.25})
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


def test_a_job_that_runs_once_leaves_with_its_success_only(store: Store | MemoryStore) -> None:
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


def test_the_end_of_a_run_leaves_a_newer_version_of_its_job_alone(store: Store | MemoryStore) -> None:
    run = begin(store, submit(store, "words"))
    newer = submit(store, "words", job_priority=2)
    end(store, run, "replaced")

    assert store.changes(0).jobs == (newer,)
    assert begin(store, newer).run_id != run.run_id


def test_the_end_of_a_run_does_not_bring_a_deleted_job_back(store: Store | MemoryStore) -> None:
    run = begin(store, submit(store, "words"))
    store.delete("d1", LIFE, "words")
    end(store, run, "succeeded")

    assert store.changes(0).jobs == ()
    assert store.history("", 1)[0].status == "succeeded"


def test_the_history_keeps_the_latest_runs(store: Store | MemoryStore) -> None:
    jobs = [submit(store, name) for name in ("a", "b")]
    runs = [end(store, begin(store, job), "succeeded") for _ in range(3) for job in jobs]

    assert store.history("", 10) == tuple(runs[:-5:-1])
    assert store.history("a", 10) == (runs[4], runs[2])
    assert store.history("", 1) == (runs[5],)
    assert end(store, runs[0], "failed").run_id == runs[0].run_id  # no longer known: not stored
    assert len(store.history("", 10)) == 4


def test_many_tasks_are_read_back(store: Store | MemoryStore) -> None:
    run = begin(store, submit(store, "words"))
    tasks = tuple(map_done(run, f"map-{number:05}") for number in range(2_500))
    store.write(1, LIFE, CommitTasks(run.run_id, tasks))

    assert store.active_runs(LIFE)[0].committed == tasks


# ---- events ----


def test_events_are_told_in_order_from_any_place(store: Store | MemoryStore) -> None:
    events = [Event(kind="run.failed", text=f"number {number}", peer="a") for number in range(5)]
    store.add_events(1, LIFE, events[:2])
    store.add_events(1, LIFE, events[2:])
    told = store.events("", 10)

    assert [event for _, _, event in told] == events
    assert told[0][1] > 1e9
    assert store.events("", 2) == told[3:]
    assert store.events(told[1][0], 2) == told[2:4]
    assert store.events(told[-1][0], 2) == []


# ---- fencing ----


def leader_writes(run: RunRecord, job: JobRecord) -> list[Write]:
    done = map_done(run, "map-00000")
    return [
        BeginRun(job.name, job.version),
        SavePlan(run.run_id, PLAN),
        CommitTasks(run.run_id, (done,)),
        ReleaseTasks(run.run_id, (done.id,)),
        BeginPublication(run.run_id),
        EndRun(replace(run, status="failed")),
    ]


def test_an_old_epoch_is_refused_on_every_write(store: Store | MemoryStore, place: Place) -> None:
    run, queued = begin(store, submit(store, "words")), submit(store, "other")
    place.lead("b", 2)
    before = (store.changes(0), store.active_runs(), store.history("", 9), store.events("", 9))

    for write in leader_writes(run, queued):
        with pytest.raises(StaleEpochError, match="2"):
            store.write(1, LIFE, write)
    with pytest.raises(StaleEpochError):
        store.add_events(1, LIFE, [Event(kind="a", text="b")])
    assert (store.changes(0), store.active_runs(), store.history("", 9), store.events("", 9)) == before


def calls(store: Store | MemoryStore, run: RunRecord, job: JobRecord) -> list[Callable[[], object]]:
    """Everything that needs the right incarnation."""
    writes = [lambda write=write: store.write(1, LIFE, write) for write in leader_writes(run, job)]
    return [
        *writes,
        lambda: store.add_events(1, LIFE, [Event(kind="a", text="b")]),
        lambda: store.submit("r9", LIFE, job_fields("new"), ""),
        lambda: store.delete("r9", LIFE, "words"),
        lambda: store.retry("r9", LIFE, "words"),
        lambda: store.pause("r9", LIFE, True),
        lambda: store.changes(0, LIFE),
        lambda: store.active_runs(LIFE),
    ]


@pytest.mark.parametrize("incarnation", [None, "life-2"])
def test_a_store_of_another_life_does_nothing(
    store: Store | MemoryStore, place: Place, incarnation: str | None
) -> None:
    run, queued = begin(store, submit(store, "words")), submit(store, "other")
    place.set(incarnation, 1)

    for call in calls(store, run, queued):
        with pytest.raises(StoreForgot, match="forgotten"):
            call()
    place.set(LIFE, 1)
    assert len(store.changes(0).jobs) == 2


def test_an_empty_store_does_not_pass_for_an_empty_table(store: Store | MemoryStore, place: Place) -> None:
    place.set(None, 0)

    with pytest.raises(StoreForgot):
        store.changes(0)
    with pytest.raises(StoreForgot):
        store.active_runs()
    assert store.incarnation() == (None, 0, ())


def test_a_leader_does_not_write_into_an_old_backup(store: Store | MemoryStore, place: Place) -> None:
    job = submit(store, "words")

    with pytest.raises(StoreForgot):
        store.write(5, LIFE, BeginRun("words", job.version))


# ---- recovery ----


def remembered(store: Store | MemoryStore) -> tuple[list[JobRecord], int]:
    changes = store.changes(0)
    return list(changes.jobs), changes.change


def test_jobs_are_put_back_under_a_new_life(store: Store | MemoryStore, place: Place) -> None:
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


def test_an_old_backup_is_replaced_by_what_peers_remember(store: Store | MemoryStore, place: Place) -> None:
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
    store: Store | MemoryStore, place: Place
) -> None:
    job = submit(store, "kept")
    change = store.changes(0).change

    assert store.recover(LIFE, "life-2", 1, [job], change + 1) is True
    assert store.incarnation() == ("life-2", 2, (LIFE,))


def test_jobs_of_a_life_that_began_meanwhile_stay(store: Store | MemoryStore, place: Place) -> None:
    old = submit(store, "old")
    store.delete("d1", LIFE, "old")
    place.set("fresh", 1)
    store.submit("r1", "fresh", job_fields("submitted meanwhile"), "")

    assert store.recover(LIFE, "life-2", 5, [old], 50) is True
    assert {job.name for job in store.changes(0).jobs} == {"old", "submitted meanwhile"}
    assert set(store.incarnation()[2]) == {LIFE, "fresh"}


def test_a_healthy_store_gives_no_warnings(store: Store | MemoryStore) -> None:
    assert store.check_settings() == []
    assert store.present() == ()

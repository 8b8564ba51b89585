"""What only a real Redis can do to a store: stop, stall, fill up, come back, and answer too late."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from msgspec.structs import replace

from pymr.base.errors import StaleEpochError
from pymr.control.stored_state import BeginRun, EndRun, Event, RunRecord
from pymr.ops.private_redis import PrivateRedis
from pymr.peer.store import writes
from pymr.peer.store.scripts import Limits
from pymr.peer.store.store import RedisConnection, Store, StoreForgot, StoreUnavailable

LIFE = "life-1"


def job_fields(name: str, **fields: Any) -> dict[str, Any]:
    return {"job_type": "mapreduce", "job_name": name, "job_priority": 1, **fields}


class Place:
    """A store, and a connection beside it to see and to do what stores do not."""

    def __init__(self, server: PrivateRedis, cluster: str, **options: Any) -> None:
        self.prefix = f"pymr:{cluster}:"
        self.store = Store(server.url, None, cluster, **options)
        self.beside = RedisConnection(server.url, None, 5.0)
        self.beside.ask("MSET", f"{self.prefix}incarnation", LIFE, f"{self.prefix}epoch", 1)

    def ask(self, command: str, name: str, *arguments: str | bytes | int) -> Any:
        return self.beside.ask(command, f"{self.prefix}{name}", *arguments)

    def close(self) -> None:
        self.store.close()
        self.beside.close()


@pytest.fixture
def place(redis_server: PrivateRedis, cluster_name: str) -> Iterator[Place]:
    place = Place(redis_server, cluster_name)
    yield place
    place.close()


@pytest.fixture
def own_place(own_redis: PrivateRedis) -> Iterator[Place]:
    place = Place(own_redis, "pymr", timeout_s=1.0)
    yield place
    place.close()


def lose_reply(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next call reach Redis, and its answer be lost."""
    connection = place.store._redis._connection
    read = connection.read_response

    def lose(*arguments: Any, **options: Any) -> Any:
        monkeypatch.undo()
        read(*arguments, **options)
        raise redis.TimeoutError("lost by the test")

    place.store.submit("first", LIFE, job_fields("other"), "")  # the script is known from here on
    monkeypatch.setattr(connection, "read_response", lose)


def test_a_redis_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    store = Store(f"unix://{tmp_path}/redis.sock", "secret", "pymr", timeout_s=0.2)

    with pytest.raises(StoreUnavailable, match=r"redis\.url") as caught:
        store.changes(0)
    assert not caught.value.may_be_done
    assert str(tmp_path) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_wrong_password_is_told_of_and_not_shown(tmp_path: Path) -> None:
    server = PrivateRedis(tmp_path, password='right "one"\\')
    server.start()
    try:
        for password, word in (("wrong one", "password_file"), (None, "password_file")):
            with pytest.raises(StoreUnavailable, match=word) as caught:
                Store(server.url, password, "pymr").has_package("x")
            assert "wrong one" not in str(caught.value)
        assert not Store(server.url, 'right "one"\\', "pymr").has_package("x")
    finally:
        server.stop()


def test_acknowledged_submissions_survive_kill_and_restart(own_redis: PrivateRedis, own_place: Place) -> None:
    records = [own_place.store.submit(f"r{n}", LIFE, job_fields(f"job-{n}"), "")[0] for n in range(50)]
    own_redis.kill()
    with pytest.raises(StoreUnavailable):
        own_place.store.changes(0)
    own_redis.start()

    assert {job.name for job in own_place.store.changes(0, LIFE).jobs} == {job.name for job in records}
    assert own_place.store.submit("r7", LIFE, job_fields("job-7"), "") == (records[7], False)


def test_a_redis_that_comes_back_empty_is_noticed(own_redis: PrivateRedis, own_place: Place) -> None:
    own_place.store.submit("r", LIFE, job_fields("words"), "")
    own_redis.kill()
    shutil.rmtree(own_redis.directory / "appendonlydir")
    own_redis.start()
    with pytest.raises(StoreUnavailable):  # the connection it had
        own_place.store.has_package("x")

    with pytest.raises(StoreForgot, match="pymr cluster recover"):
        own_place.store.submit("r", LIFE, job_fields("words"), "")
    with pytest.raises(StoreForgot):
        own_place.store.changes(0)


def test_a_stalled_redis_costs_no_more_than_the_timeout(own_redis: PrivateRedis, own_place: Place) -> None:
    own_place.store.changes(0)
    assert own_redis.pid
    os.kill(own_redis.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            own_place.store.submit("r", LIFE, job_fields("words"), "")
        assert caught.value.may_be_done
        took = time.monotonic() - begun
    finally:
        os.kill(own_redis.pid, signal.SIGCONT)

    assert took < 10.0  # for ever, without one
    first = own_place.store.submit("r", LIFE, job_fields("words"), "")
    assert own_place.store.submit("r", LIFE, job_fields("words"), "") == first
    assert not first[1], "the submission that stalled and its repetition are one"


def test_a_full_redis_refuses_with_a_reason(own_place: Place) -> None:
    own_place.beside.ask("CONFIG", "SET", "maxmemory", 1)

    with pytest.raises(StoreUnavailable, match="memory is full"):
        own_place.store.submit("r", LIFE, job_fields("words"), "")
    own_place.beside.ask("CONFIG", "SET", "maxmemory", 0)
    assert own_place.store.submit("r", LIFE, job_fields("words"), "")[0].version == 1


def test_unsafe_settings_are_warned_of(own_place: Place) -> None:
    own_place.beside.ask("CONFIG", "SET", "appendfsync", "everysec")
    own_place.beside.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    warnings = own_place.store.check_settings()

    assert len(warnings) == 2
    assert "`appendfsync always`" in warnings[0]
    assert "`maxmemory-policy noeviction`" in warnings[1]


def test_events_whose_answer_was_lost_are_told_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    events = [Event(kind="run.failed", text=text) for text in ("a", "b")]
    place.store.add_events(1, LIFE, events)
    lose_reply(place, monkeypatch)
    with pytest.raises(StoreUnavailable):
        place.store.add_events(1, LIFE, events)
    place.store.add_events(1, LIFE, events)

    assert [event.text for _, _, event in place.store.events("", 10)] == ["a", "b", "a", "b"]


def test_a_submission_whose_answer_was_lost_has_one_effect(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_reply(place, monkeypatch)
    with pytest.raises(StoreUnavailable):
        place.store.submit("r", LIFE, job_fields("words"), "")
    record, replaced = place.store.submit("r", LIFE, job_fields("words"), "")

    assert (record.version, replaced) == (2, False)


def test_a_beginning_that_arrives_late_begins_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    job = place.store.submit("r", LIFE, job_fields("words"), "")[0]
    late = time.clock_gettime_ns(writes._BOOT_CLOCK)
    run = place.store.write(1, LIFE, BeginRun("words", job.version))
    assert run
    end_run(place, run)
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: late)

    assert place.store.write(1, LIFE, BeginRun("words", job.version)) is None
    assert place.store.active_runs() == ()
    monkeypatch.undo()
    assert place.store.write(1, LIFE, BeginRun("words", job.version))


def end_run(place: Place, run: RunRecord) -> None:
    place.store.write(1, LIFE, EndRun(replace(run, status="succeeded")))


def test_epoch_and_lease_both_fence(place: Place) -> None:
    job = place.store.submit("r", LIFE, job_fields("words"), "")[0]
    for epoch, lease in ((1, "2 1 b"), (2, "1 1 a")):
        place.ask("SET", "epoch", epoch)
        place.ask("SET", "lease", lease)

        with pytest.raises(StaleEpochError):
            place.store.write(1, LIFE, BeginRun("words", job.version))


def test_a_package_stays_as_long_as_a_job_uses_it(place: Place) -> None:
    def lives(name: str = "hash") -> int:
        return int(place.ask("TTL", f"package:{name}"))

    place.store.put_package("hash", b"zip")
    assert 0 < lives() <= 86_400
    place.store.submit("r1", LIFE, job_fields("one"), "hash")
    place.store.submit("r2", LIFE, job_fields("two"), "hash")
    place.store.submit("r3", LIFE, job_fields("one", job_priority=3), "hash")
    place.store.has_package("hash")
    place.store.put_package("hash", b"zip")
    assert lives() == -1
    place.store.submit("r4", LIFE, job_fields("one"), "other")
    assert lives() == -1
    place.store.delete("r5", LIFE, "two")
    assert 0 < lives() <= 86_400
    place.ask("EXPIRE", "package:hash", 10)
    assert place.store.has_package("hash")
    assert lives() > 10


def test_a_deleted_job_is_kept_for_ten_minutes_and_its_package_for_longer(place: Place) -> None:
    place.store.put_package("hash", b"zip")
    place.store.submit("r1", LIFE, job_fields("one"), "hash")
    place.store.submit("r2", LIFE, job_fields("two"), "hash")
    place.store.delete("d1", LIFE, "one")
    place.store.delete("d2", LIFE, "two")
    lives = [int(place.ask("TTL", name)) for name in ("deleted:one", "deleted:two", "deleted")]
    package_lives = int(place.ask("TTL", "package:hash"))
    place.ask("PEXPIRE", "deleted:one", 0)

    assert all(0 < seconds <= 600 for seconds in lives)
    assert package_lives > 600
    assert place.store.undelete("u1", LIFE, "one") is None
    assert place.store.undelete("u2", LIFE, "two")
    assert place.ask("TTL", "package:hash") == -1, "a job uses it again"
    assert place.ask("EXISTS", "deleted:two") == 0
    place.store.delete("d3", LIFE, "two")
    assert int(place.ask("TTL", "package:hash")) > 600


def test_a_package_put_back_for_a_recovered_job_stays(own_place: Place) -> None:
    job = own_place.store.submit("r1", LIFE, job_fields("one"), "hash")[0]
    own_place.beside.ask("FLUSHALL")
    own_place.store.recover(LIFE, "life-2", 1, [job], 1)
    own_place.store.put_package("hash", b"zip")

    assert own_place.ask("TTL", "package:hash") == -1


def test_answers_to_requests_are_forgotten_after_a_day(place: Place) -> None:
    place.store.submit("r1", LIFE, job_fields("one"), "")

    assert 0 < int(place.ask("TTL", f"request:{LIFE}:r1")) <= 86_400


def test_the_stream_of_events_is_capped(redis_server: PrivateRedis, cluster_name: str) -> None:
    place = Place(redis_server, cluster_name, limits=Limits(events=100))
    for number in range(10):
        place.store.add_events(1, LIFE, [Event(kind="a", text=f"{number}-{n}") for n in range(100)])

    assert 100 <= int(place.ask("XLEN", "events")) < 400
    assert place.store.events("", 1)[0][2].text == "9-99"
    place.close()


def test_two_clusters_share_a_redis_without_seeing_each_other(
    place: Place, redis_server: PrivateRedis, cluster_name: str
) -> None:
    other = Place(redis_server, f"{cluster_name}-other")
    place.store.submit("r", LIFE, job_fields("words"), "")

    assert other.store.changes(0).jobs == ()
    other.close()


def test_ten_thousand_jobs_are_read_and_put_back(own_redis: PrivateRedis, own_place: Place) -> None:
    own_place.beside.ask("CONFIG", "SET", "appendfsync", "no")
    padding = ["input/of/some/length"] * 20
    for number in range(10_000):
        name = f"job-{number:05}"
        own_place.store.submit(name, LIFE, job_fields(name, input_dirs=padding), "")
    store = Store(own_redis.url, None, "pymr", timeout_s=5.0)
    store.changes(9_999)

    whole = store.changes(0)
    assert len(whole.jobs) == 10_000
    assert len(store.changes(9_990).jobs) == 10
    assert not store.changes(9_500).is_whole
    assert store.changes(9_499).is_whole, "what has changed in so many jobs is told with all of them"
    own_place.beside.ask("FLUSHALL")
    jobs = [replace(job, status="failed", exception=f"of {job.name}: no") for job in whole.jobs]
    assert store.recover(LIFE, "life-2", 1, jobs, whole.change)
    recovered = {job.name: job for job in store.changes(0, "life-2").jobs}
    assert {name: (job.fields, job.exception) for name, job in recovered.items()} == {
        job.name: (job.fields, job.exception) for job in jobs
    }
    assert own_place.ask("TTL", "definitions") == -1
    assert own_place.beside.ask("KEYS", "*recovered*") == []
    store.close()


def test_a_redis_that_has_less_than_the_peer_knows_takes_nothing(
    redis_server: PrivateRedis, cluster_name: str
) -> None:
    known = [(3, 0)]
    store = Store(redis_server.url, None, cluster_name, known=lambda: known[-1])
    connection = RedisConnection(redis_server.url, None, 2.0)
    prefix = f"pymr:{cluster_name}:"
    connection.ask("MSET", f"{prefix}incarnation", "life-1", f"{prefix}epoch", 3)
    record, _ = store.submit("r1", "life-1", {"job_name": "job"}, "")
    refusals = []
    for less in ((4, 0), (3, record.change + 1)):
        known.append(less)
        for call in (
            lambda: store.changes(0, "life-1"),
            lambda: store.submit("r2", "life-1", {"job_name": "other"}, ""),
            lambda: store.write(3, "life-1", BeginRun("job", record.version)),
        ):
            with pytest.raises(StoreForgot) as refused:
                call()
            refusals.append(str(refused.value))
    known.append((3, record.change))

    assert all("old backup" in refusal for refusal in refusals)
    assert store.changes(0, "life-1").jobs == (record,)
    store.close()
    connection.close()

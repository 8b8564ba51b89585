"""Clusters' states in a real Redis and in memory, for the tests of what both stores promise."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, Protocol

import pytest
from msgspec.structs import replace
from simulation.memory_store import MemoryRedis, MemoryStore

from pymr.control.job_queue import queue_order
from pymr.control.stored_state import (
    BeginRun,
    Committed,
    EndRun,
    HostPlan,
    JobChanges,
    JobRecord,
    JobState,
    RunPlan,
    RunRecord,
)
from pymr.ops.private_redis import PrivateRedis
from pymr.peer.store.scripts import Limits
from pymr.peer.store.store import RedisConnection, Store
from pymr.wire.outcomes import AttemptId, MapOutcome

AnyStore = Store | MemoryStore

LIFE = "life-1"
PLAN = RunPlan((HostPlan("127.0.0.1", "a", 0, 3, 1000, 2),), 2, ("a", "b"))


class Place(Protocol):
    """A cluster's state in some Redis, which can be told what the lease would do."""

    store: AnyStore

    def set(self, incarnation: str | None, epoch: int) -> None: ...

    def lead(self, peer: str, epoch: int) -> None: ...

    def lose_reply(self) -> None:
        """Let the next call have its effect, and its answer be lost. It must have been made before."""


class RedisPlace:
    def __init__(self, url: str, cluster: str, limits: Limits) -> None:
        self.store: AnyStore = Store(url, None, cluster, limits=limits)
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

    def lose_reply(self) -> None:
        assert isinstance(self.store, Store)
        self.store.present()  # so that it is connected
        connection = self.store._redis._connection
        read = connection.read_response

        def lose(*arguments: Any, **options: Any) -> Any:
            connection.read_response = read
            read(*arguments, **options)
            raise ConnectionResetError("lost by the test")

        connection.read_response = lose

    def close(self) -> None:
        self.store.close()
        self._redis.close()


class MemoryPlace:
    def __init__(self, limits: Limits) -> None:
        self.redis = MemoryRedis(limits=limits)
        self.store: AnyStore = MemoryStore(self.redis)

    def set(self, incarnation: str | None, epoch: int) -> None:
        self.redis.incarnation, self.redis.epoch = incarnation, epoch

    def lead(self, peer: str, epoch: int) -> None:
        self.redis.epoch = epoch
        self.redis.leader = (peer, 1, epoch)

    def lose_reply(self) -> None:
        self.redis.replies_to_lose = 1


@pytest.fixture(params=["redis", "memory"])
def place(request: pytest.FixtureRequest, cluster_name: str) -> Iterator[Place]:
    limits = Limits(tombstones=3, history_runs=4, events=1_000, deleted_jobs=2)
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
def store(place: Place) -> AnyStore:
    return place.store


def job_fields(name: str, **fields: Any) -> dict[str, Any]:
    return {"job_type": "mapreduce", "job_name": name, "job_priority": 1, "downsample": 0.5, **fields}


def submit(store: AnyStore, name: str, **fields: Any) -> JobRecord:
    return store.submit(new_id(), LIFE, job_fields(name, **fields), "")[0]


def new_id() -> str:
    """An id for a request that was never made before."""
    return f"request-{next(_numbers)}"


_numbers = count()


def begin(store: AnyStore, job: JobRecord) -> RunRecord:
    record: RunRecord | None = store.write(1, LIFE, BeginRun(job.name, job.version))
    assert record is not None
    return record


def end(
    store: AnyStore,
    run: RunRecord,
    status: str,
    exception: str | None = None,
    state: JobState | None = None,
    outdated: tuple[int, int] = (0, 0),
) -> RunRecord:
    ended = replace(run, status=status, exception=exception)
    stored: RunRecord = store.write(1, LIFE, EndRun(ended, state, outdated))
    return stored


def run(store: AnyStore, name: str, status: str = "succeeded", exception: str | None = None) -> RunRecord:
    """Let a job of the table run as it stands now, and end so."""
    return end(store, begin(store, jobs_of(store)[name]), status, exception)


def jobs_of(store: AnyStore) -> dict[str, JobRecord]:
    return {job.name: job for job in store.changes(0).jobs}


def statuses(store: AnyStore) -> dict[str, str]:
    return {name: job.status for name, job in jobs_of(store).items()}


def in_order(store: AnyStore) -> list[str]:
    """The names of all jobs in the order of the queue."""
    return [job.name for job in sorted(jobs_of(store).values(), key=queue_order)]


def table(store: AnyStore) -> JobChanges:
    """All that there is, but for the time of the reading."""
    return replace(store.changes(0), now=0.0)


def job_named(store: AnyStore, name: str) -> JobRecord | None:
    return jobs_of(store).get(name)


def map_done(run: RunRecord, task: str, attempt: str = "1.1", digest: str = "d1") -> Committed:
    outcome = MapOutcome(digest, 10, 1000, 20, 500, {"words": 2.5}, 0)
    return Committed(AttemptId(run.run_id, task, attempt), "a", outcome)

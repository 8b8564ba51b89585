"""`python -m tests.bench.queue`: what the queue costs in Redis, with many jobs in it.

Each call as a peer makes it, until it has the answer, on a Redis of its own that has each write on its disk.
processor ms: the median of what Redis computed for it, which a busy machine does not change.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from pymr.control.stored_state import (
    BeginAttempt,
    BeginCycle,
    BeginRun,
    EndRun,
    JobRecord,
    JobState,
    RunRecord,
)
from pymr.ops.private_redis import PrivateRedis
from pymr.peer.store.store import RedisConnection, Store

JOBS = 10_000
ROUNDS = 100
WHOLE_READS = 10
GROUP = 10
TARGET_SECONDS = 0.05
LIFE = "life-1"
PADDING = ["input/of/some/length"] * 20
"""So that a job takes about a kilobyte, as those of users do."""


@dataclass
class Queue:
    """A cluster's queue, and how long every call of it took, by name. processor_seconds: those of Redis."""

    store: Store
    redis_pid: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    processor_seconds: dict[str, list[float]] = field(default_factory=dict)
    _numbers: Any = field(default_factory=count)

    def timed(self, name: str, call: Callable[[], Any]) -> Any:
        began, used = time.perf_counter(), processor_seconds(self.redis_pid)
        outcome = call()
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)
        self.processor_seconds.setdefault(name, []).append(processor_seconds(self.redis_pid) - used)
        return outcome

    def id(self) -> str:
        return f"request-{next(self._numbers)}"

    def submit(self, measure: str, name: str, **fields: Any) -> JobRecord:
        job = {"job_name": name, "job_priority": 1, "input_dirs": PADDING, **fields}
        record: JobRecord = self.timed(measure, lambda: self.store.submit(self.id(), LIFE, job, ""))[0]
        return record

    def begin(self, measure: str, job: JobRecord) -> RunRecord:
        write = BeginRun(job.name, job.version)
        run: RunRecord = self.timed(measure, lambda: self.store.write(1, LIFE, write))
        return run

    def end(self, measure: str, run: RunRecord, status: Any, *, holds_state: bool = False) -> None:
        state = JobState(run.run_id) if holds_state else None
        write = EndRun(replace(run, status=status, exception="no" if status == "failed" else None), state)
        self.timed(measure, lambda: self.store.write(1, LIFE, write))


def processor_seconds(pid: int) -> float:
    """What the main thread of a process has had; 0 where the system does not tell (it is Linux's)."""
    try:
        with open(f"/proc/{pid}/schedstat") as file:
            return int(file.read().split()[0]) / 1e9
    except OSError:
        return 0.0


def name_of(number: int) -> str:
    return f"job-{number:05d}"


def measure(queue: Queue, jobs: int) -> None:
    """Fill a queue, half of it with groups of GROUP jobs, then do everything to some of them."""
    for number in range(jobs):
        group = {"group_name": f"group-{number // GROUP}"} if number < jobs // 2 else {}
        queue.submit("submit", name_of(number), **group)
    table = {job.name: job for job in queue.store.changes(0).jobs}
    for number in range(ROUNDS):
        measure_alone(queue, table[name_of(jobs - 1 - number)])
        measure_group(queue, table[name_of(number * GROUP)], GROUP)
        gone, cycle = name_of(jobs // 2 + number), BeginCycle(number + 1)
        queue.timed("delete", lambda gone=gone: queue.store.delete(queue.id(), LIFE, gone))
        queue.timed("begin a cycle", lambda cycle=cycle: queue.store.write(1, LIFE, cycle))
    for _ in range(WHOLE_READS):
        queue.timed("changes: whole", lambda: queue.store.changes(0))


def measure_alone(queue: Queue, job: JobRecord) -> None:
    run = queue.begin("begin", job)
    attempt = BeginAttempt(run.run_id, "copy-00000")
    queue.timed("begin an attempt", lambda: queue.store.write(1, LIFE, attempt))
    queue.end("end", run, "succeeded")
    queue.submit("submit again", job.name)
    after = queue.submit("submit again", job.name).change
    job = replace(job, version=queue.submit("submit again", job.name).version)
    changes = queue.timed("changes: one", lambda: queue.store.changes(after))
    assert [one.name for one in changes.jobs] == [job.name]
    queue.end("end, holding state", queue.begin("begin", job), "succeeded", holds_state=True)
    queue.timed("force", lambda: queue.store.force(queue.id(), LIFE, job.name))
    queue.end("end, failed", queue.begin("begin", job), "failed")
    queue.timed("retry", lambda: queue.store.retry(queue.id(), LIFE, job.name))


def measure_group(queue: Queue, job: JobRecord, size: int) -> None:
    """Fail it as a whole, and bring it back."""
    queue.end(f"end, failed: group of {size:,}", queue.begin("begin", job), "failed")
    queue.timed(f"retry: group of {size:,}", lambda: queue.store.retry(queue.id(), LIFE, job.name))


def measure_one_large_group(queue: Queue, jobs: int) -> None:
    """The worst that can be: all jobs in one group."""
    for number in range(jobs):
        job = queue.submit(f"submit: group of {jobs:,}", f"large-{number:05d}", group_name="large")
    measure_group(queue, job, jobs)


def report(queue: Queue, jobs: int) -> bool:
    """Print the figures; returns whether all calls but those for all jobs kept to the target."""
    columns = "call", "times", "median ms", "99% ms", "worst ms", "processor ms"
    table = Table(*columns, title=f"{jobs:,} jobs in the queue")
    for name, seconds in queue.seconds.items():
        ordered = sorted(seconds)
        processor = statistics.median(queue.processor_seconds[name])
        figures = statistics.median(ordered), ordered[int(len(ordered) * 0.99)], ordered[-1], processor
        table.add_row(name, f"{len(seconds):,}", *(f"{figure * 1000:.2f}" for figure in figures))
    Console().print(table)
    of_all = f"group of {jobs:,}", "whole"
    slow = [
        name
        for name, seconds in queue.seconds.items()
        if statistics.median(seconds) > TARGET_SECONDS and not name.endswith(of_all)
    ]
    print(f"above {TARGET_SECONDS * 1000:.0f} ms: {', '.join(slow) or 'none'}")
    return not slow


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS, help="at least 4,000")
    jobs: int = parser.parse_args(arguments).jobs
    is_quick = True
    for measure_all in (measure, measure_one_large_group):
        with tempfile.TemporaryDirectory() as folder:
            server = PrivateRedis(folder)
            server.start()
            store = Store(server.url, None, "bench", timeout_s=30.0)
            beside = RedisConnection(server.url, None, 5.0)
            beside.ask("MSET", "pymr:bench:incarnation", LIFE, "pymr:bench:epoch", 1)
            queue = Queue(store, server.pid or 0)
            measure_all(queue, jobs)
            is_quick = report(queue, jobs) and is_quick
            store.close()
            beside.close()
            server.stop()
    return 0 if is_quick else 1


if __name__ == "__main__":
    sys.exit(main())

"""What the leader's decisions, and a page of the queue, cost in processor time when there are many jobs."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from pymr.config.cluster import ClusterConfig
from pymr.control.job_queue import JobQueue
from pymr.control.leader.leader import Leader
from pymr.control.messages import (
    DoWrite,
    JobsChanged,
    LeaderCommand,
    LeaderEvent,
    LeaderSettings,
    PeerInfo,
    RunsLoaded,
    Tick,
    Written,
)
from pymr.control.stored_state import BeginRun, EndRun, JobChanges, JobRecord, RunRecord, Write
from pymr.peer.requests.views import JobViews

TARGET_MS = 50.0
STEPS = 200


class QueueCosts:
    """A leader, and the job table of a peer, with `count` jobs. ms: what each kind of step has cost.

    The jobs are scripts for a peer that there is not: each run fails at once, and the next one begins.
    """

    def __init__(self, count: int) -> None:
        self.ms: dict[str, list[float]] = {}
        self._count = self._change = count
        self._now = 0.0
        self._asked: list[DoWrite] = []
        self._leader = Leader(
            epoch=1,
            incarnation="i",
            name="peer0",
            peers=[PeerInfo("peer0", "host0", 1)],
            settings=LeaderSettings(concurrent_runs=2),
            now=0.0,
        )
        self._table = JobQueue()
        self._views = JobViews(ClusterConfig())
        whole = JobChanges(count, tuple(map(_queued, range(count))), (), True, False, now=1000.0)
        self._table.apply(whole, 0.0)
        self._leader.step(RunsLoaded(()), 0.0)
        self._step("all jobs are read", JobsChanged(whole))

    def run(self) -> None:
        for step in range(STEPS):
            self._now += 1.0
            self._change_job((step * 7919) % self._count)
            self._step("a tick", Tick())
            self._answer()
            self._timed("a page of 1,000 jobs", lambda: self._views.page("id", self._table, None, 0))
        self._begin_cycle()

    def _change_job(self, number: int) -> None:
        self._change += 1
        job = msgspec.structs.replace(_queued(number), version=self._change, change=self._change)
        changes = JobChanges(self._change, (job,), (), False, False, now=1000.0 + self._now)
        self._step("a job has changed", JobsChanged(changes))
        self._timed("a job has changed in a copy", lambda: self._table.apply(changes, self._now))

    def _begin_cycle(self) -> None:
        jobs = self._table.jobs.values()
        ran = tuple(msgspec.structs.replace(job, status="succeeded", cycle=1) for job in jobs)
        self._table.apply(JobChanges(self._change + 1, ran, (), True, False, now=3000.0), 2000.0)
        self._timed("a cycle begins", lambda: self._table.begin_cycle(2, 2001.0))

    def _step(self, what: str, event: LeaderEvent) -> None:
        commands: list[LeaderCommand] = self._timed(what, lambda: self._leader.step(event, self._now))
        for one in commands:
            if isinstance(one, DoWrite):
                self._asked.append(one)

    def _answer(self) -> None:
        """What Redis was asked so far; not what it is asked now."""
        asked, self._asked = self._asked, []
        for one in asked:
            written = Written(one.ticket, _outcome_of(one.write))
            self._step(f"{type(one.write).__name__} is answered", written)

    def _timed(self, what: str, function: Callable[[], Any]) -> Any:
        gc.disable()
        began = time.process_time()
        outcome = function()
        self.ms.setdefault(what, []).append((time.process_time() - began) * 1000)
        gc.enable()
        return outcome


def _queued(number: int) -> JobRecord:
    fields = {
        "job_name": f"job{number}",
        "job_type": "script",
        "run_on": "nobody",
        "job_priority": number % 5,
        "group_name": f"group{number % 50}" if number % 3 else None,
    }
    return JobRecord(
        name=f"job{number}",
        version=number + 1,
        change=number + 1,
        fields=fields,
        project_hash="",
        submitted_at=0.0,
        seconds=1.0 + number % 7,
    )


def _outcome_of(write: Write) -> object:
    if isinstance(write, EndRun):
        return write.record
    assert isinstance(write, BeginRun)
    return RunRecord(
        run_id=f"{write.job_name}-000001",
        job_name=write.job_name,
        job_version=write.job_version,
        fields=_queued(int(write.job_name.removeprefix("job"))).fields,
        project_hash="",
        epoch=1,
        status="running",
        start_time=0.0,
    )


def show_queue_costs(count: int) -> None:
    """Print the costs of each kind of step."""
    costs = QueueCosts(count)
    costs.run()
    table = Table(f"with {count:,} jobs", "times", "ms", "ms at most")
    for what, ms in costs.ms.items():
        table.add_row(what, f"{len(ms):,}", f"{median(ms):.3f}", f"{max(ms):.2f}")
    Console().print(table)
    missed = [what for what, ms in costs.ms.items() if len(ms) > 1 and max(ms) > TARGET_MS]
    print(f"target: less than {TARGET_MS:g} ms for each decision{f'; MISSED: {missed}' if missed else ''}")

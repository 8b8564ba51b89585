"""`python -m tests.bench.long_runs`: for how long each kind of call holds the loop of a daemon that leads, or
follows, a run of very many tasks; in processor time, from its beginning to its end, through two takeovers."""

from __future__ import annotations

import argparse
import gc
import heapq
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from pymr.config.cluster import ClusterConfig
from pymr.control.follower.events import (
    FetchSegments,
    GiveMap,
    GiveReduce,
    MakePlan,
    MeasureSegments,
    Ordered,
    PeerEvent,
    PeerTick,
    Planned,
    PrepareProject,
    ProjectPrepared,
    Publish,
    Published,
    SegmentFetched,
    SegmentsMeasured,
    SendReport,
    StartWorker,
    TaskEnded,
    WorkerReady,
)
from pymr.control.follower.follower import Follower
from pymr.control.job_queue import JobQueue
from pymr.control.leader.leader import Leader
from pymr.control.messages import (
    Continued,
    ContinueSoon,
    DoWrite,
    Ended,
    JobsChanged,
    LeaderEvent,
    LeaderSettings,
    PeerInfo,
    Reported,
    RunsLoaded,
    SendOrders,
    Tick,
    Written,
)
from pymr.control.stored_state import (
    ActiveRun,
    BeginRun,
    CommitTasks,
    Committed,
    EndRun,
    JobChanges,
    JobRecord,
    RunPlan,
    RunRecord,
    SavePlan,
    Write,
)
from pymr.peer.requests.task_views import task_rows
from pymr.peer.requests.views import JobViews
from pymr.wire.frames import encode
from pymr.wire.outcomes import MapOutcome, ReduceOutcome
from pymr.wire.protocol import MachineFigures, PlanReport, PublishReport, Report

RUN = "job-000001"
TASK_SECONDS = 0.5
TARGET_MS = 100.0
TARGET_VIEW_MS = 1.0
COUNTERS = {"lines": 1_000, "bytes": 65_536, "seconds": 0.25}


@dataclass
class Times:
    """Milliseconds that each kind of call took."""

    ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def call(self, what: str, function: Callable[[], Any]) -> Any:
        gc.disable()  # else they pay for the objects that this program makes
        began = time.thread_time()
        outcome = function()
        self.ms[what].append((time.thread_time() - began) * 1_000)
        gc.enable()
        return outcome


class Redis:
    """As much of Redis as one run needs."""

    def __init__(self, partitions: int) -> None:
        fields = {
            "job_name": "job",
            "job_type": "mapreduce",
            "input_dirs": ["input"],
            "partitions": partitions,
            "run_once": True,
        }
        self.job = JobRecord(
            name="job", version=1, change=1, fields=fields, project_hash="", submitted_at=0.0
        )
        self.record: RunRecord | None = None
        self.committed: dict[str, Committed] = {}

    def changes(self) -> JobChanges:
        return JobChanges(self.job.change, (self.job,), (), True, False, now=1_000.0)

    def runs(self) -> RunsLoaded:
        if self.record is None:
            return RunsLoaded(())
        commits = tuple(self.committed[name] for name in sorted(self.committed))
        return RunsLoaded((ActiveRun(self.record, commits, {}),))

    def write(self, write: Write) -> object:
        match write:
            case BeginRun():
                self.record = RunRecord(
                    run_id=RUN,
                    job_name="job",
                    job_version=1,
                    fields=self.job.fields,
                    project_hash="",
                    epoch=1,
                    status="running",
                    start_time=0.0,
                )
                self.job = msgspec.structs.replace(self.job, status="running", change=2, run_id=RUN)
                return self.record
            case SavePlan(_, plan):
                self._save(plan)
            case CommitTasks(_, tasks):
                return tuple(self.committed.setdefault(one.id.task, one).id.attempt for one in tasks)
            case EndRun(record):
                self.record = None
                self.job = msgspec.structs.replace(self.job, status="succeeded", change=3)
                return record
        return True

    def _save(self, plan: RunPlan) -> None:
        assert self.record is not None
        self.record = msgspec.structs.replace(self.record, plan=plan)


class LongRun:
    """A cluster in simulated time, whose leader and followers are timed. times: what each call has cost."""

    def __init__(self, peers: int, hosts: int, workers: int, maps: int, partitions: int) -> None:
        self.now = 0.0
        self.times = Times()
        self.redis = Redis(partitions)
        self.is_over = False
        self._maps = maps
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0
        self._facts = [PeerInfo(f"peer{n}", f"host{n % hosts}", workers) for n in range(peers)]
        self._hosts = {one.name: one.host for one in self._facts}
        self._followers = {one.name: self._follower(one) for one in self._facts}
        self._views, self._table = JobViews(ClusterConfig()), JobQueue()
        self.epoch = 0
        self.lead()
        for number, name in enumerate(self._followers):
            self._later(number / 100, partial(self._tick_follower, name))
        self._later(0.0, self._tick)

    def _follower(self, info: PeerInfo) -> Follower:
        return Follower(
            info, self._hosts, boot=1, pid=1, version="1", incarnation="i", epoch=0, held=(), now=0.0
        )

    def lead(self) -> None:
        """A leadership begins, with what Redis has."""
        self.epoch += 1
        self.leader = Leader(
            epoch=self.epoch,
            incarnation="i",
            name="peer0",
            peers=self._facts,
            settings=LeaderSettings(),
            now=self.now,
        )
        self._leader_step(JobsChanged(self.redis.changes()), self.epoch)
        self._leader_step(self.redis.runs(), self.epoch, "the runs are taken over")

    def run(self, until: Callable[[], bool]) -> None:
        while self._heap and not until():
            self.now, _, function = heapq.heappop(self._heap)
            function()

    def look(self) -> None:
        """A console asks for the job, and for the queue."""
        self._table.apply(self.redis.changes(), self.now)
        job, table, leader = self._table.jobs["job"], self._table, self.leader
        run = leader.runs.get(RUN)

        def look() -> None:
            self._views.job(job, table, leader)
            if run is not None:
                task_rows(leader, run)
                run.sums.counters()

        self.times.call("view: pymr show", look)
        self.times.call("view: pymr jobs", lambda: self._views.page("id", table, leader, 0))

    def _later(self, seconds: float, function: Callable[[], object]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (self.now + seconds, self._count, function))

    # -- the leader

    def _tick(self) -> None:
        self._leader_step(Tick(), self.epoch)
        self._later(0.1, self._tick)

    def _leader_step(self, event: LeaderEvent, epoch: int, what: str = "") -> None:
        if epoch != self.epoch:
            return

        def step() -> list[Any]:
            commands = self.leader.step(event, self.now)
            for one in commands:
                if isinstance(one, SendOrders):
                    encode(one.orders)
            return commands

        for command in self.times.call(f"leader: {what or type(event).__name__}", step):
            match command:
                case SendOrders(orders):
                    event_there = Ordered(orders)
                    self._later(0.001, partial(self._follower_step, orders.peer, event_there))
                case ContinueSoon():
                    self._later(0.0, partial(self._leader_step, Continued(), epoch))
                case DoWrite(ticket, write):
                    outcome = self.redis.write(write)
                    written = f"{type(write).__name__} is written"
                    self._later(0.002, partial(self._leader_step, Written(ticket, outcome), epoch, written))
                case Ended():
                    self.is_over = True
                    self._later(0.001, partial(self._leader_step, JobsChanged(self.redis.changes()), epoch))

    # -- the followers

    def _tick_follower(self, name: str) -> None:
        self._follower_step(name, PeerTick(MachineFigures()))
        self._later(0.1, partial(self._tick_follower, name))

    def _follower_step(self, name: str, event: PeerEvent) -> None:
        follower = self._followers[name]

        def step() -> list[Any]:
            commands = follower.step(event, self.now)
            for one in commands:
                if isinstance(one, SendReport):
                    encode(one.report)
            return commands

        for command in self.times.call(f"follower: {type(event).__name__}", step):
            self._carry_out(name, command)

    def _carry_out(self, name: str, command: object) -> None:
        def then(event: PeerEvent, seconds: float = 0.001) -> None:
            self._later(seconds, partial(self._follower_step, name, event))

        match command:
            case SendReport(_, report):
                self._later(0.001, partial(self._hear, report))
            case PrepareProject(order):
                then(ProjectPrepared(order.run_id))
            case MakePlan(_, plan):
                hosts = len(set(self._hosts.values()))
                tasks = self._maps // hosts
                then(Planned(PlanReport(RUN, tasks, tasks * 65_536, 1, shared=plan.shared, turn=plan.turn)))
            case StartWorker(slot):
                then(WorkerReady(slot))
            case GiveMap(slot, assignment):
                number = assignment.id.number
                outcome = MapOutcome(f"{number:032x}", 1_000 + number, 65_536, 900, 4_096, dict(COUNTERS))
                then(TaskEnded(slot, assignment.id, outcome), TASK_SECONDS)
            case GiveReduce(slot, id, _, sources):
                assert len(sources) == self._maps
                then(TaskEnded(slot, id, ReduceOutcome(10, 20, 10, 1, 100, dict(COUNTERS))), TASK_SECONDS)
            case FetchSegments(run_id, partition, sources):
                for source in sources:
                    then(SegmentFetched(run_id, source, partition, 100))
            case MeasureSegments(run_id, partitions, sources):
                for source in sources:
                    then(SegmentsMeasured(run_id, source, tuple((one, 100) for one in partitions)))
            case Publish(order):
                then(Published(PublishReport(order.run_id, order.peer)))

    def _hear(self, report: Report) -> None:
        self._leader_step(Reported(report), report.epoch)


def measure(peers: int, hosts: int, workers: int, maps: int, partitions: int) -> Times:
    """The times of one run, with a change of leaders when all map tasks are done."""
    cluster = LongRun(peers, hosts, workers, maps, partitions)
    redis = cluster.redis

    def commits(count: int) -> Callable[[], bool]:
        return lambda: len(redis.committed) >= count or cluster.is_over

    for tenth in range(1, 10):
        cluster.run(commits(maps * tenth // 10))
        cluster.look()
    cluster.lead()
    cluster.run(commits(maps * 95 // 100))
    cluster.run(commits(maps + 1))
    cluster.look()
    cluster.lead()
    cluster.run(commits(maps + partitions // 2))
    cluster.look()
    cluster.run(lambda: cluster.is_over)
    until = cluster.now + 2.0
    cluster.run(lambda: cluster.now > until)
    return cluster.times


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.long_runs", description=__doc__)
    parser.add_argument("--peers", type=int, default=8)
    parser.add_argument("--hosts", type=int, default=4)
    parser.add_argument("--workers", type=int, default=32)
    parser.add_argument("--maps", type=int, default=100_000)
    parser.add_argument("--partitions", type=int, default=16)
    options = parser.parse_args(arguments)
    gc.freeze()
    times = measure(options.peers, options.hosts, options.workers, options.maps, options.partitions)
    table = Table(
        f"{options.maps:,} map tasks, {options.partitions:,} partitions", "calls", "ms", "ms at most"
    )
    is_slow = False
    for what, ms in sorted(times.ms.items()):
        target = TARGET_VIEW_MS if what.startswith("view") else TARGET_MS
        slowest = max(ms)
        is_slow |= slowest > target
        mark = " !" if slowest > target else ""
        table.add_row(what, f"{len(ms):,}", f"{sum(ms) / len(ms):.3f}", f"{slowest:.1f}{mark}")
    Console().print(table)
    target_text = f"target: {TARGET_MS:g} ms for each call, {TARGET_VIEW_MS:g} for a view"
    print(f"{target_text}{'; MISSED' if is_slow else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

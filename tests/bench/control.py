"""`python -m tests.bench.control`: what the leader's decisions cost in processor time, by the number of
peers; and by that of the jobs in the queue."""

from __future__ import annotations

import argparse
import cProfile
import gc
import heapq
import pstats
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

import msgspec
from rich.console import Console
from rich.table import Table

from pymr.control.leader.leader import Leader
from pymr.control.messages import (
    Continued,
    ContinueSoon,
    DoWrite,
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
from pymr.control.stored_state import BeginRun, CommitTasks, JobChanges, JobRecord, RunRecord, Write
from pymr.wire.outcomes import AttemptId, MapOutcome
from pymr.wire.protocol import (
    REPORT_SECONDS,
    Assignment,
    AttemptResult,
    Orders,
    PlanReport,
    Report,
    RunningAttempt,
    ShuffleReport,
    WorkerReport,
)
from tests.bench.control_queue import show_queue_costs

WORKERS = 32
MAP_TASKS = 100_000
PARTITIONS = 1_000
TASK_SECONDS = 30.0
TICK_SECONDS = 0.1
TARGET_SECONDS = 1.0


@dataclass
class FakePeer:
    """As much of a peer as the leader sees: it does what it is told, each task in its time."""

    name: str
    slots: dict[int, AttemptId] = field(default_factory=dict)
    results: dict[AttemptId, AttemptResult] = field(default_factory=dict)
    plans: tuple[PlanReport, ...] = ()
    sources: int = 0
    sequence: int = 0
    orders: int = 0
    version: int = 0
    run_id: str = ""
    homes: tuple[int, ...] = ()
    wants_inventory: bool = True

    def report(self) -> Report:
        self.sequence += 1
        done = (self.sequence, self.sequence)
        return Report(
            incarnation="i",
            epoch=1,
            peer=self.name,
            boot=1,
            sequence=self.sequence,
            version="1",
            pid=1,
            slots=WORKERS,
            orders=self.orders,
            running_version=self.version,
            running=tuple([RunningAttempt(id, slot, "map", done) for slot, id in self.slots.items()]),
            workers=tuple(
                [WorkerReport(slot, 1, "map", self.run_id, id.task, done) for slot, id in self.slots.items()]
            ),
            results=tuple(self.results.values()),
            plans=self.plans,
            shuffles=(
                ShuffleReport(
                    self.run_id,
                    self.sources,
                    self.sequence,
                    self.sequence,
                    1,
                    partitions=tuple([(home, self.sequence) for home in self.homes]),
                ),
            )
            if self.run_id
            else (),
            inventory=() if self.wants_inventory else None,
        )


class Measurement:
    """A cluster in simulated time, whose leader is timed.

    seconds: what Leader.step has cost. reports, orders, tasks: how many it had, gave and saw done.
    """

    def __init__(self, peers: int, map_tasks: int = MAP_TASKS) -> None:
        self.now = 0.0
        self.seconds = 0.0
        self.reports = self.orders = self.tasks = 0
        self.profile: cProfile.Profile | None = None
        self._random = Random(1)
        self._map_tasks = map_tasks
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        info = [PeerInfo(f"peer{number}", f"host{number}", WORKERS) for number in range(peers)]
        self._peers = {one.name: FakePeer(one.name) for one in info}
        self.leader = Leader(
            epoch=1, incarnation="i", name="peer0", peers=info, settings=LeaderSettings(), now=self.now
        )
        fields = {
            "job_name": "job",
            "job_type": "mapreduce",
            "input_dirs": ["input"],
            "partitions": PARTITIONS,
        }
        self._job = JobRecord(
            name="job", version=1, change=1, fields=fields, project_hash="", submitted_at=0.0
        )
        self._step(RunsLoaded(()))
        self._step(JobsChanged(JobChanges(1, (self._job,), (), True, False)))
        for peer in self._peers.values():
            start = self._random.uniform(0, REPORT_SECONDS)
            self._later(start, partial(self._report_regularly, peer))
        self._later(0.0, self._tick)

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self._heap and self._heap[0][0] <= until:
            self.now, _, function = heapq.heappop(self._heap)
            function()
        self.now = until

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (self.now + seconds, self._count, function))

    def _tick(self) -> None:
        self._step(Tick())
        self._later(TICK_SECONDS, self._tick)

    def _report_regularly(self, peer: FakePeer) -> None:
        self._report(peer)
        self._later(REPORT_SECONDS, lambda: self._report_regularly(peer))

    def _report(self, peer: FakePeer) -> None:
        self.reports += 1
        self._step(Reported(peer.report()))

    def _step(self, event: LeaderEvent) -> None:
        gc.disable()  # else the leader pays for the objects that these fake peers make
        began = time.process_time()
        if self.profile is not None:
            self.profile.enable()
        commands = self.leader.step(event, self.now)
        if self.profile is not None:
            self.profile.disable()
        self.seconds += time.process_time() - began
        gc.enable()
        for command in commands:
            match command:
                case SendOrders(orders):
                    self.orders += 1
                    self._later(0.001, partial(self._follow, orders))
                case ContinueSoon():
                    self._later(0.0, lambda: self._step(Continued()))
                case DoWrite(ticket, write):
                    self._later(0.002, partial(self._written, ticket, write))

    def _written(self, ticket: int, write: Write) -> None:
        outcome: object = True
        if isinstance(write, BeginRun):
            job = self._job
            outcome = RunRecord(
                run_id="job-000001",
                job_name="job",
                job_version=1,
                fields=job.fields,
                project_hash="",
                epoch=1,
                status="running",
                start_time=0.0,
            )
            self._job = msgspec.structs.replace(job, status="running", change=2, run_id="job-000001")
        elif isinstance(write, CommitTasks):
            self.tasks += len(write.tasks)
            outcome = tuple(one.id.attempt for one in write.tasks)
        self._step(Written(ticket, outcome))

    def _follow(self, orders: Orders) -> None:
        peer = self._peers[orders.peer]
        is_news = orders.wants_inventory and not peer.wants_inventory
        peer.orders, peer.wants_inventory = orders.sequence, orders.wants_inventory
        for run in orders.runs:
            peer.run_id, peer.homes = run.run_id, run.homes
        for acknowledged in orders.acknowledged:
            peer.results.pop(acknowledged.id, None)
        for announced in orders.sources:
            if announced.start <= peer.sources:
                peer.sources = max(peer.sources, announced.start + len(announced.sources))
        if orders.plans and not peer.plans:
            tasks = self._map_tasks // len(self._peers)
            order = orders.plans[0]
            peer.plans = (PlanReport(order.run_id, tasks, tasks, 1, turn=order.turn),)
            is_news = True
        elif not orders.plans:
            peer.plans = ()
        for assignment in orders.assignments:
            if assignment.slot not in peer.slots and assignment.id not in peer.results:
                self._begin(peer, assignment)  # of which the next regular report tells
        if is_news:
            self._report(peer)

    def _begin(self, peer: FakePeer, assignment: Assignment) -> None:
        peer.slots[assignment.slot] = assignment.id
        peer.version += 1
        seconds = self._random.uniform(0.0, 2 * TASK_SECONDS)
        self._later(seconds, lambda: self._end(peer, assignment))

    def _end(self, peer: FakePeer, assignment: Assignment) -> None:
        del peer.slots[assignment.slot]
        peer.version += 1
        outcome = MapOutcome("digest", 1, 1, 1, 1, {"lines": 1.0})
        peer.results[assignment.id] = AttemptResult(assignment.id, outcome, assignment.slot)
        self._report(peer)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.control", description=__doc__)
    parser.add_argument("--peers", type=int, nargs="*", default=[10, 100, 1_000])
    parser.add_argument("--seconds", type=float, default=10.0, help="simulated, after all workers are busy")
    parser.add_argument("--jobs", type=int, default=10_000, help="in the queue")
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    options = parser.parse_args(arguments)
    show_queue_costs(options.jobs)
    table = Table("peers", "busy workers", "reports", "orders", "tasks done", "s per 10 s", "us per report")
    is_slow = False
    for peers in options.peers:
        measurement = Measurement(peers)
        measurement.run(15.0)
        measurement.seconds = 0.0
        measurement.reports = measurement.orders = measurement.tasks = 0
        if options.profile:
            measurement.profile = cProfile.Profile()
        measurement.run(options.seconds)
        busy = sum(len(peer.slots) for peer in measurement.leader.peers.values())
        per_ten = measurement.seconds * 10 / options.seconds
        is_slow = is_slow or per_ten > TARGET_SECONDS
        table.add_row(
            *(f"{number:,}" for number in (peers, busy, measurement.reports, measurement.orders)),
            f"{measurement.tasks:,}",
            f"{per_ten:.3f}",
            f"{measurement.seconds * 1e6 / measurement.reports:.1f}",
        )
        if measurement.profile is not None:
            pstats.Stats(measurement.profile).sort_stats("tottime").print_stats(18)
    Console().print(table)
    print(f"target: less than {TARGET_SECONDS:g} s per 10 s{'; MISSED' if is_slow else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

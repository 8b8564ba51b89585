"""A desk at which a test plays Redis and all peers to one Leader."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from pymr.control.leader.leader import Leader
from pymr.control.messages import (
    Abdicate,
    Announce,
    Continued,
    ContinueSoon,
    DoWrite,
    Ended,
    JobsChanged,
    LeaderCommand,
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
    BeginPublication,
    BeginRun,
    CommitTasks,
    EndRun,
    Event,
    JobChanges,
    JobRecord,
    ReleaseTasks,
    RunRecord,
    SavePlan,
    Write,
)
from pymr.wire.outcomes import (
    AttemptId,
    DriverOutcome,
    MapOutcome,
    Outcome,
    ReduceOutcome,
    StepOutcome,
)
from pymr.wire.protocol import (
    AttemptResult,
    Orders,
    PlanReport,
    PublishReport,
    Report,
    RunningAttempt,
)

RUN = "job-000001"
MAPPED = MapOutcome("digest", 1, 1, 1, 1)
REDUCED = ReduceOutcome(1, 1, 1, 1, 1)
DRIVEN = DriverOutcome(
    records=10, bytes=100, groups=4, values=8, items=4, parts=2, stored_bytes=40, counters={"lines": 10}
)

FIELDS: dict[str, Any] = {
    "job_name": "job",
    "job_type": "mapreduce",
    "input_dirs": ["input"],
    "partitions": 1,
    "max_attempts": 2,
}


def job(version: int = 1, change: int = 1, **other: Any) -> JobRecord:
    fields: dict[str, Any] = {
        "name": "job",
        "fields": FIELDS,
        "project_hash": "",
        "submitted_at": 0.0,
    } | other
    return JobRecord(version=version, change=change, **fields)


def run_record(**other: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "run_id": RUN,
        "job_name": "job",
        "job_version": 1,
        "fields": FIELDS,
        "project_hash": "",
    }
    return RunRecord(**(fields | {"epoch": 1, "status": "running", "start_time": 0.0} | other))


class Desk:
    """orders: the last ones to each peer. writes: what Redis was asked, and has not answered. commands: all
    that the leader has given, in their order."""

    def __init__(self, *peers: tuple[str, str, int], epoch: int = 5, **settings: Any) -> None:
        info = [PeerInfo(*peer) for peer in peers]
        self.now = 0.0
        self.leader = Leader(
            epoch=epoch,
            incarnation="i",
            name=info[0].name,
            peers=info,
            settings=LeaderSettings(**settings),
            now=0.0,
        )
        self.orders: dict[str, Orders] = {}
        self.writes: list[tuple[int, Write]] = []
        self.ended: list[RunRecord] = []
        self.abdicated: list[Abdicate] = []
        self.told: list[str] = []
        self.events: list[Event] = []
        self.steps = 0
        self.commands: list[LeaderCommand] = []
        self._boots: dict[str, int] = {}
        self._sequences: dict[str, int] = {}
        self._versions: dict[tuple[str, tuple[AttemptId, ...]], int] = {}

    def step(self, event: LeaderEvent) -> None:
        """Give an event to the leader, and let it go on for as long as it wants to."""
        self.steps += 1
        is_to_go_on = False
        for command in self.leader.step(event, self.now):
            self.commands.append(command)
            match command:
                case SendOrders(orders):
                    self.orders[orders.peer] = orders
                case DoWrite(ticket, write):
                    self.writes.append((ticket, write))
                case Ended(record):
                    self.ended.append(record)
                case Abdicate():
                    self.abdicated.append(command)
                case Announce(event_told):
                    self.told.append(event_told.kind)
                    self.events.append(event_told)
                case ContinueSoon():
                    is_to_go_on = True
        if is_to_go_on:
            self.step(Continued())

    def load(self, jobs: Sequence[JobRecord] = (), runs: Sequence[ActiveRun] = ()) -> None:
        self.change(jobs)
        self.step(RunsLoaded(tuple(runs)))

    def change(self, jobs: Iterable[JobRecord], **other: Any) -> None:
        """The table is read. In it, a cycle has begun at 1000.0, and it is as much later as the desk's clock
        says."""
        known = tuple(jobs)
        number = max([self.leader.job_queue.change + 1, *(one.change for one in known)])
        states = dict(self.leader.job_queue.states)
        fields = {"cycle_began_at": 1000.0, "now": 1000.0 + self.now, "paused": False, "states": states}
        fields |= other
        self.step(JobsChanged(JobChanges(number, known, (), True, **fields)))

    def answer(self, kind: type[Write], outcome: object = True) -> Any:
        """Let Redis answer the first write of a kind; returns the write."""
        ticket, write = next(one for one in self.writes if isinstance(one[1], kind))
        self.writes.remove((ticket, write))
        self.step(Written(ticket, outcome))
        return write

    def asked(self, kind: type[Write]) -> list[Any]:
        return [write for _, write in self.writes if isinstance(write, kind)]

    def report(self, peer: str, *, running: Sequence[RunningAttempt] = (), **other: Any) -> None:
        """A report of a peer that has followed the last orders to it, unless `other` says otherwise."""
        self._sequences[peer] = self._sequences.get(peer, 0) + 1
        ids = tuple(one.id for one in running)
        version = self._versions.setdefault((peer, ids), len(self._versions))
        last = self.orders.get(peer)
        boot = self._boots.setdefault(peer, 1)
        fields: dict[str, Any] = {
            "incarnation": "i",
            "epoch": self.leader.epoch,
            "boot": boot,
            "sequence": self._sequences[peer],
            "version": "1",
            "pid": 1,
            "slots": 1,
            "orders": last.sequence if last and last.boot == boot else 0,
            "running_version": version,
            "inventory": () if last and last.wants_inventory and last.boot == boot else None,
        }
        asked = {(one.run_id, one.shared): one.turn for one in last.plans} if last else {}
        plans = [
            one if any(one.turn) else replace(one, turn=asked.get((one.run_id, one.shared), one.turn))
            for one in other.get("plans", ())
        ]
        fields |= other | {"plans": tuple(plans)}
        self.step(Reported(Report(peer=peer, running=tuple(running), **fields)))

    def restart(self, peer: str, **other: Any) -> None:
        self._boots[peer] = self._boots.get(peer, 1) + 1
        self.report(peer)
        self.report(peer, **other)

    def pass_time(self, seconds: float, *talking: str) -> None:
        """Time passes, in which these peers report, each what it has been given as running."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.5)
            for peer in talking:
                self.report(peer, running=self.given(peer))
            self.step(Tick())

    def given(self, peer: str) -> list[RunningAttempt]:
        """What a peer has at this moment, by the leader's own books."""
        return [
            RunningAttempt(id, given.assignment.slot, "map", (0, 0))
            for id, given in self.leader.peers[peer].attempts.items()
        ]

    def begin(self, *peers: str, tasks: int = 1) -> None:
        """Bring a run of one job to its tasks, planned by these peers, each with as many map tasks."""
        self.load([job()])
        for peer in peers:
            self.report(peer)
            self.report(peer)
        self.answer(BeginRun, run_record())
        for peer in peers:
            plans = (PlanReport(RUN, tasks, tasks, 1),) if self.orders[peer].plans else ()
            self.report(peer, plans=plans)
        self.answer(SavePlan)

    def result(
        self,
        peer: str,
        task: str,
        outcome: Outcome | None = None,
        pane_offset: int | None = None,
        slot: int = 0,
    ) -> AttemptId:
        """A peer ends what it was given of a task, and Redis is asked to commit it."""
        id = next(id for id in self.leader.peers[peer].attempts if id.task == task)
        kinds: dict[str, Outcome] = {"map": MAPPED, "reduce": REDUCED, "driver": DRIVEN}
        outcome = outcome or kinds.get(id.kind, StepOutcome(files=1, bytes=10))
        others = [one for one in self.given(peer) if one.id != id]
        self.report(peer, running=others, results=(AttemptResult(id, outcome, slot, pane_offset),))
        return id

    def commit(self) -> None:
        while self.asked(CommitTasks):
            write = self.asked(CommitTasks)[0]
            self.answer(CommitTasks, tuple(one.id.attempt for one in write.tasks))

    def do(self, peer: str, task: str) -> AttemptId:
        id = self.result(peer, task)
        self.commit()
        self.report(peer, running=self.given(peer))
        return id

    def end(self) -> RunRecord:
        """Redis agrees to the end of the run."""
        record: RunRecord = self.asked(EndRun)[0].record
        self.answer(EndRun, record)
        return record

    def publish(self, *peers: str) -> None:
        self.answer(BeginPublication)
        for peer in peers:
            self.report(
                peer, published=tuple(PublishReport(RUN, one.peer) for one in self.orders[peer].publish)
            )

    def released(self) -> list[str]:
        return [id.folder for write in self.asked(ReleaseTasks) for id in write.ids]


def tasks_given(desk: Desk, peer: str) -> list[str]:
    return [id.task for id in desk.leader.peers[peer].attempts]

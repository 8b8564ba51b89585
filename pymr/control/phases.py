"""Phases: one run from its plan to its end, as tasks that wait, run and are committed."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from pymr.control.records import ActiveRun, Committed, HostPlan, RunPlan, RunRecord
from pymr.protocol import (
    SOURCES_MAX,
    Assignment,
    AttemptId,
    MapOutcome,
    PlanOrder,
    PlanReport,
    PublishOrder,
    ReduceOutcome,
    RunOrder,
    Source,
    SourcesOrder,
    map_task,
    reduce_task,
)

# `saving` and `committed` wait for Redis: the plan is being saved, the beginning of the publication noted.
Stage = Literal["planning", "saving", "tasks", "committed", "publishing", "ending"]

PHASES = ("plan", "map", "shuffle", "sort", "reduce", "publish")


@dataclass(slots=True)
class Task:
    """A task of a run. index: its number among the map tasks, or its partition.

    tries: attempts begun under this leader. failures: those that count against max_attempts.
    running: the attempt that is under way, with the peer `runner`. committing: the one that Redis is asked to
    take. lost_digest: of a committed output that was lost.
    """

    name: str
    index: int
    is_map: bool
    tries: int = 0
    failures: int = 0
    running: AttemptId | None = None
    runner: str = ""
    committing: AttemptId | None = None
    committed: Committed | None = None
    lost_digest: str = ""

    @property
    def is_waiting(self) -> bool:
        return self.running is None and self.committing is None and self.committed is None


@dataclass(slots=True)
class FailedTry:
    """An attempt that failed, for operators."""

    task: str
    attempt: str
    peer: str
    slot: int
    error: str


FAILED_TRIES_MAX = 50
"""Failed attempts that a run remembers, the latest ones."""


class Run:
    """One execution of a job.

    A map task waits in the queue of its host, or in that of "" where every host can read its input; a reduce
    task in that of its home. `sources` are the committed map outputs in the order of their commits; what was
    released stays in it until another output of its task comes behind.
    releasing: committed attempts whose output is lost, as Redis is being told.
    unpublished: peers that do not show the output yet, once it is to be shown.
    is_touched: something has come that may bring the run on.
    trouble: an error that may go by itself, for operators.
    """

    def __init__(self, record: RunRecord, now: float) -> None:
        self.record = record
        self.job_name = record.job_name
        self.run_id = record.run_id
        self.stage: Stage = "planning"
        self.plans: dict[tuple[str, bool], tuple[str, PlanReport]] = {}  # (host, shared): (peer, report)
        self.plan: RunPlan | None = None
        self.homes: dict[str, list[int]] = {}  # partitions by peer
        self.home_of: list[str] = []
        self.tasks: dict[str, Task] = {}
        self.maps_left = self.reduces_left = 0
        self.waiting_maps: dict[str, deque[Task]] = {}
        self.waiting_reduces: dict[str, deque[Task]] = {}
        self.sources: list[Source] = []
        self.to_commit: list[Committed] = []
        self.is_committing = False
        self.releasing: dict[AttemptId, None] = {}
        self.committed_by: dict[str, dict[AttemptId, Committed]] = {}
        self.unpublished: dict[str, None] = {}
        self.plans_wanted: dict[tuple[str, bool], None] | None = None  # None: not worked out yet
        self.plan_orders: dict[str, list[PlanOrder]] | None = None  # by peer; None: to be put together again
        self.is_touched = True
        self.running = 0
        self.maps_total = 0
        self.trouble = ""
        self.trouble_since = 0.0
        self._publish_orders: dict[str, PublishOrder] = {}
        self._totals: RunRecord | None = None
        self.failed_tries: deque[FailedTry] = deque(maxlen=FAILED_TRIES_MAX)
        self.attempts_failed = record.attempts_failed
        self.waiting_for = ""
        self.waiting_since: float | None = None
        self.phase = "plan"
        self.phase_began = now
        self.phase_seconds: dict[str, float] = {}
        self._host_of_map: list[HostPlan] = []
        self._firsts: list[int] = []

    # -- planning

    def begin_tasks(self, plan: RunPlan, restored: ActiveRun | None = None) -> None:
        """Take over a plan that has been saved; `restored` tells what was committed under earlier leaders."""
        self.plan = plan
        self.stage = "tasks"
        self.home_of = list(plan.homes)
        for partition, home in enumerate(plan.homes):
            self.homes.setdefault(home, []).append(partition)
        self._host_of_map = [host for host in plan.hosts if host.tasks]
        self._firsts = [host.first for host in self._host_of_map]
        self.maps_total = sum(host.tasks for host in plan.hosts)
        committed = {one.id.task: one for one in restored.committed} if restored else {}
        released = restored.released if restored else {}
        for host in self._host_of_map:
            for index in range(host.first, host.first + host.tasks):
                self._add(Task(map_task(index), index, True), committed, released)
        for partition in range(plan.partitions):
            self._add(Task(reduce_task(partition), partition, False), committed, released)

    def _add(self, task: Task, committed: dict[str, Committed], released: dict[str, str]) -> None:
        self.tasks[task.name] = task
        task.lost_digest = released.get(task.name, "")
        task.committed = committed.get(task.name)
        if task.committed is None:
            self._count_left(task, 1)
            self.wait(task)
        else:
            self._keep(task, task.committed)

    def _keep(self, task: Task, committed: Committed) -> None:
        self.committed_by.setdefault(committed.peer, {})[committed.id] = committed
        if task.is_map:
            self.sources.append(Source(task.index, committed.id.attempt, committed.peer))

    def host_plan(self, task: Task) -> HostPlan:
        """The plan a map task is in."""
        return self._host_of_map[bisect_right(self._firsts, task.index) - 1]

    # -- tasks

    def wait(self, task: Task, *, first: bool = False) -> None:
        """Put a task into the queue of those who may do it."""
        if task.is_map:
            plan = self.host_plan(task)
            queue = self.waiting_maps.setdefault("" if plan.shared else plan.host, deque())
        else:
            queue = self.waiting_reduces.setdefault(self.home_of[task.index], deque())
        (queue.appendleft if first else queue.append)(task)

    def next_task(self, peer: str, host: str) -> Task | None:
        """A task for a worker of a peer, which is to be begun or put back; None if none waits for it.

        Reduce tasks only when all maps are committed, and none of what they made is lost.
        """
        if self.maps_left:
            queues = (self.waiting_maps.get(host), self.waiting_maps.get(""))
        elif self.releasing:
            return None
        else:
            queues = (self.waiting_reduces.get(peer), None)
        for queue in queues:
            while queue:
                task = queue.popleft()
                if task.is_waiting:  # else it was adopted while it was in the queue
                    return task
        return None

    def assignment(self, task: Task, attempt: str, slot: int, peer: str) -> Assignment:
        """The order to do a task in a worker slot of a peer; the task runs from here on."""
        task.tries += 1
        id = AttemptId(self.run_id, task.name, attempt)
        self.begin(task, id, peer)
        if not task.is_map:
            return Assignment(id, slot)
        plan = self.host_plan(task)
        return Assignment(id, slot, plan.peer, task.index - plan.first, plan.shared)

    def begin(self, task: Task, attempt: AttemptId, peer: str) -> None:
        """Note that a task runs."""
        task.running, task.runner = attempt, peer
        self.running += 1

    def stop(self, task: Task) -> None:
        """Note that a task does not run any more."""
        if task.running is not None:
            task.running, task.runner = None, ""
            self.running -= 1

    def commit(self, committed: Committed) -> None:
        """Note a task as done, as Redis has it."""
        task = self.tasks[committed.id.task]
        task.committing = None
        if task.committed is not None:
            return
        self.stop(task)
        self.is_touched = True
        task.committed = committed
        self._count_left(task, -1)
        self._keep(task, committed)

    def release(self, attempt: AttemptId) -> None:
        """Note that the committed output of a task is lost, so that it is done again."""
        self.releasing.pop(attempt, None)
        task = self.tasks[attempt.task]
        if task.committed is None or task.committed.id != attempt:
            return
        if isinstance(task.committed.outcome, MapOutcome):
            task.lost_digest = task.committed.outcome.digest
        del self.committed_by[task.committed.peer][attempt]
        task.committed = None
        self._count_left(task, 1)
        self.wait(task, first=True)

    def _count_left(self, task: Task, change: int) -> None:
        if task.is_map:
            self.maps_left += change
        else:
            self.reduces_left += change

    def move_home(self, partition: int, home: str) -> None:
        """Let another peer reduce a partition; one that waits, waits there."""
        task = self.tasks[reduce_task(partition)]
        before = self.home_of[partition]
        self.homes[before].remove(partition)
        self.homes.setdefault(home, []).append(partition)
        self.home_of[partition] = home
        if task.is_waiting:
            old = self.waiting_reduces.get(before)
            if old is not None and task in old:
                old.remove(task)
            self.wait(task)

    @property
    def is_done(self) -> bool:
        """Whether every task is committed."""
        return self.stage == "tasks" and not self.maps_left and not self.reduces_left

    def reducers(self) -> list[str]:
        """The peers that have any of what is to be published."""
        return [
            name
            for name, commits in self.committed_by.items()
            if any(
                not isinstance(one.outcome, MapOutcome) or one.outcome.bad_records for one in commits.values()
            )
        ]

    def committed_tasks(self) -> Iterator[Committed]:
        """What is committed so far, map tasks first, each in the order of their numbers."""
        return (task.committed for task in self.tasks.values() if task.committed is not None)

    # -- what peers are told

    def order(self, peer: str) -> RunOrder:
        """The run, as a peer is to know it."""
        return RunOrder(
            run_id=self.run_id,
            job_name=self.job_name,
            fields=self.record.fields,
            project_hash=self.record.project_hash,
            partitions=self.plan.partitions if self.plan else 0,
            homes=tuple(self.homes.get(peer, ())),
        )

    def sources_order(self, known: int) -> SourcesOrder | None:
        """What a peer that knows so many announcements has to learn next; None if it knows all. That there is
        nothing to learn, as no map task has any input, is told as well."""
        if known >= len(self.sources) and self.maps_total:
            return None
        news = tuple(self.sources[known : known + SOURCES_MAX])
        return SourcesOrder(self.run_id, known, news, self.maps_total)

    def publish_order(self, peer: str) -> PublishOrder:
        """What of the run's output lies with a peer; made once, as nothing is committed any more."""
        order = self._publish_orders.get(peer)
        if order is None:
            mine = sorted(self.committed_by.get(peer, {}).values(), key=lambda one: one.id.task)
            order = self._publish_orders[peer] = PublishOrder(
                self.run_id,
                self.job_name,
                peer,
                not self.record.fields.get("delete_job_data", True),
                tuple(one.id.folder for one in mine if isinstance(one.outcome, ReduceOutcome)),
                tuple(one.id.folder for one in mine if _has_bad_records(one)),
                summary_of(self.totals()),
            )
        return order

    # -- sums

    def totals(self) -> RunRecord:
        """The record with the sums over all committed tasks."""
        if self._totals is not None:
            return self._totals
        counters: dict[str, float] = {}
        sums = dict.fromkeys(("records", "bytes", "bad_records", "values", "groups", "items"), 0)
        for one in self.committed_tasks():
            outcome = one.outcome
            for name, number in outcome.counters.items():
                counters[name] = counters.get(name, 0) + number
            for name in _MAP_SUMS if isinstance(outcome, MapOutcome) else _REDUCE_SUMS:
                sums[name] += getattr(outcome, name)
        totals = msgspec.structs.replace(
            self.record,
            **sums,
            counters=dict(sorted(counters.items())),
            files=sum(host.files for host in self.plan.hosts) if self.plan else 0,
            plan=self.plan,
            attempts_failed=self.attempts_failed,
            phase_seconds=dict(self.phase_seconds),
        )
        if self.stage == "publishing":
            self._totals = totals
        return totals

    def enter_phase(self, phase: str, now: float) -> bool:
        """Note that a later phase has begun; False where it had."""
        if PHASES.index(phase) <= PHASES.index(self.phase):
            return False
        self.leave_phase(now)
        self.phase = phase
        return True

    def leave_phase(self, now: float) -> None:
        """Count the time spent in the present phase up to now."""
        self.phase_seconds[self.phase] = self.phase_seconds.get(self.phase, 0.0) + now - self.phase_began
        self.phase_began = now


_MAP_SUMS = ("records", "bytes", "bad_records")
_REDUCE_SUMS = ("values", "groups", "items")


def summary_of(record: RunRecord) -> dict[str, object]:
    """What an output says of the run that made it."""
    names = ("records", "groups", "items", "bad_records", "counters")
    partitions = record.plan.partitions if record.plan else 0
    return {name: getattr(record, name) for name in names} | {"partitions": partitions}


def _has_bad_records(committed: Committed) -> bool:
    return isinstance(committed.outcome, MapOutcome) and bool(committed.outcome.bad_records)

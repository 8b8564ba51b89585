"""Runs: one execution of a job, as tasks that wait, run and are committed. What a mapreduce run consists of
stands in `mapreduce_run`; a script or file_transfer run, in `stepped_run`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec

from pymr.control.runs.durations import Durations
from pymr.control.runs.task_sums import TaskSums
from pymr.control.stored_state import ActiveRun, Committed, JobState, RunPlan, RunRecord
from pymr.wire.outcomes import AttemptId, EarlierFailure
from pymr.wire.protocol import Assignment, RunOrder
from pymr.wire.rows import PanePlace, RunStatus
from pymr.wire.run_warnings import RunWarnings

# `saving` and `committed` wait for Redis: the plan is being saved, the beginning of the publication noted.
Stage = Literal["planning", "saving", "tasks", "committed", "publishing", "ending"]

ATTEMPTS_MAX = 4
"""How often a task may fail whose job does not say."""


class Task(msgspec.Struct, gc=False, eq=False):
    """A task of a run. index: its number among the map tasks, its partition, or its place in a step.

    tries: attempts begun under this leader. failures: those that count against max_attempts.
    running: the attempt that is under way, with the peer `runner`; since `began_at` of the leader's clock, or
    longer where it `is_adopted`. committing: the one that Redis is asked to take. lost_digest: of a committed
    output that was lost. Kept from the garbage collector: there are many, and they form no cycles.
    """

    name: str
    index: int
    is_map: bool = False
    tries: int = 0
    failures: int = 0
    running: AttemptId | None = None
    runner: str = ""
    began_at: float = 0.0
    is_adopted: bool = False
    committing: AttemptId | None = None
    committed: Committed | None = None
    lost_digest: str = ""

    @property
    def is_waiting(self) -> bool:
        return self.running is None and self.committing is None and self.committed is None


@dataclass(slots=True)
class FailedTry:
    """An attempt that failed, for operators. place: where its error was printed, if it was: by this attempt,
    or by the first one that failed alike. digest: of the error, as it was before it was cut."""

    task: str
    attempt: str
    peer: str
    slot: int
    error: str
    place: PanePlace | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What about the machine of a peer keeps a task from being done, for operators. since: seconds of the
    leader's clock at which it began there."""

    peer: str
    text: str
    since: float


FAILED_TRIES_MAX = 50
"""Failed attempts that a run remembers, the latest ones."""


class Run(ABC):
    """One execution of a job.

    tasks: those of which anything was heard; see `find`. at_work: those that run. sums: over the committed
    ones.
    phases: what it goes through, by name; phase: where it is. releasing: committed attempts whose output is
    lost, as Redis is being told. is_touched: something has come that may bring the run on.
    durations: of the tasks that were done under this leader, by kind.
    trouble: an error that may go by itself, for operators; troubles: of machines, by the task that they keep
    from being done. failures_told: events of failed attempts so far. breakpoints_told: (peer, slot, attempt)
    that came to a breakpoint of which operators were told, in that order.
    """

    def __init__(self, record: RunRecord, phases: Sequence[str], now: float) -> None:
        self.record = record
        self.job_name = record.job_name
        self.run_id = record.run_id
        self.stage: Stage = "planning"
        self.plan: RunPlan | None = None
        self.tasks: dict[str, Task] = {}
        self.at_work: dict[str, Task] = {}
        self.sums = TaskSums()
        self.to_commit: list[Committed] = []
        self.is_committing = False
        self.releasing: dict[AttemptId, None] = {}
        self.committed_by: dict[str, dict[AttemptId, Committed]] = {}
        self.is_touched = True
        self.trouble = ""
        self.troubles: dict[str, Trouble] = {}
        self.durations = Durations()
        self.failed_tries: deque[FailedTry] = deque(maxlen=FAILED_TRIES_MAX)
        self.attempts_failed = record.attempts_failed
        self.failures_told = 0
        self.breakpoints_told: dict[tuple[str, int, AttemptId], None] = {}
        self.waiting_for = ""
        self.waiting_since: float | None = None
        self.phases = tuple(phases)
        self.phase = self.phases[0]
        self.phase_began = now
        self.phase_seconds: dict[str, float] = {}

    # -- what each kind of run has its own way of

    @abstractmethod
    def begin_tasks(self, plan: RunPlan) -> None:
        """Take over a plan: all its tasks wait."""

    @abstractmethod
    def restore(self, restored: ActiveRun) -> Iterator[None]:
        """Take over what was committed under earlier leaders, right after `begin_tasks`; a task at a time."""

    @abstractmethod
    def find(self, name: str) -> Task | None:
        """A task by its name; None where the run has none of that name."""

    @property
    @abstractmethod
    def is_done(self) -> bool:
        """Whether every task is committed."""

    @abstractmethod
    def wait(self, task: Task, *, first: bool = False) -> None:
        """Put a task into the queue of those who may do it."""

    @abstractmethod
    def place_of(self, task: Task) -> tuple[str, str]:
        """(peer, host) of who may do a task; "" for any."""

    @abstractmethod
    def next_task(self, peer: str, host: str) -> Task | None:
        """A task for a worker of a peer, which is to be begun or put back; None if none waits for it."""

    @abstractmethod
    def assignment(self, task: Task, epoch: int, slot: int, peer: str, now: float) -> Assignment:
        """The order to do a task in a worker slot of a peer; the task runs from here on."""

    @abstractmethod
    def may_adopt(self, task: Task, peer: str) -> bool:
        """Whether an attempt at a task that waits, given by an earlier leader, may go on with a peer."""

    @abstractmethod
    def needs(self, attempt: AttemptId) -> bool:
        """Whether what a committed attempt has made is still to be read, or to be published."""

    @abstractmethod
    def has_used(self, attempt: AttemptId) -> bool:
        """Whether what is committed hangs on exactly what that attempt has made, so that it cannot be made
        again."""

    @abstractmethod
    def make_void(self, lost: Sequence[AttemptId]) -> dict[str, int]:
        """Let no attempt count any more that may have read outputs which are lost, and are made again with
        other content; returns the last of them for each task (see ReleaseTasks)."""

    @abstractmethod
    def is_void(self, attempt: AttemptId) -> bool:
        """Whether an attempt may have read what does not count any more."""

    @abstractmethod
    def order(self, peer: str) -> RunOrder:
        """The run, as a peer is to know it."""

    @abstractmethod
    def sum_fields(self) -> Mapping[str, object]:
        """The fields of the record that are summed up over the committed tasks."""

    @abstractmethod
    def _count_left(self, task: Task, change: int) -> None:
        """A task more, or one less, is still to be done."""

    # -- tasks

    def _restore(self, one: Committed) -> None:
        """Note a task as done by an attempt of an earlier leadership."""
        task = self.find(one.id.task)
        if task is not None and task.committed is None:
            task.committed = one
            self._count_left(task, -1)
            self._keep(task, one)

    def _keep(self, task: Task, committed: Committed) -> None:
        self.committed_by.setdefault(committed.peer, {})[committed.id] = committed
        self.sums.add(committed.id.kind, committed.outcome)

    def _unkeep(self, task: Task, committed: Committed) -> None:
        del self.committed_by[committed.peer][committed.id]
        self.sums.remove(committed.id.kind, committed.outcome)

    def begin(self, task: Task, attempt: AttemptId, peer: str, now: float) -> None:
        """Note that a task runs."""
        task.running, task.runner = attempt, peer
        task.began_at, task.is_adopted = now, False
        self.at_work[task.name] = task

    def adopt(self, task: Task, attempt: AttemptId, peer: str, now: float) -> None:
        """Note that a task runs that was begun earlier, nobody knows when."""
        self.begin(task, attempt, peer, now)
        task.is_adopted = True

    def note_duration(self, task: Task, now: float) -> None:
        """Note how long a task took that is done now."""
        if task.running is not None and not task.is_adopted:
            self.durations.add(task.running.kind, now - task.began_at)

    def note_trouble(self, task: Task, trouble: Trouble | None = None) -> None:
        """Note what about a machine keeps a task from being done; None where nothing does."""
        if trouble is not None:
            before = self.troubles.get(task.name)
            if before is not None and before.peer == trouble.peer:
                trouble = Trouble(trouble.peer, trouble.text, before.since)
            self.troubles[task.name] = trouble
        elif self.troubles.pop(task.name, None) is None:
            return
        self.trouble = next((one.text for one in self.troubles.values()), "")

    @property
    def present_trouble(self) -> str:
        """What an operator could do something about for the run to go on; "" where nothing is in its way."""
        return self.trouble

    def earlier_failure(self, task: Task) -> EarlierFailure | None:
        """How the last attempt at a task failed, and which attempt has printed that; None where none has, or
        it is forgotten."""
        tries = [one for one in self.failed_tries if one.task == task.name and one.place is not None]
        if not tries:
            return None
        first = next(one for one in tries if one.place == tries[-1].place)
        return EarlierFailure(first.attempt, f"{first.peer}/{first.slot}", first.digest)

    def stop(self, task: Task) -> None:
        """Note that a task does not run any more."""
        if task.running is not None:
            task.running, task.runner = None, ""
            del self.at_work[task.name]

    def commit(self, committed: Committed) -> None:
        """Note a task as done, as Redis has it."""
        task = self.task(committed.id)
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
        task = self.task(attempt)
        if task.committed is None or task.committed.id != attempt:
            return
        task.lost_digest = getattr(task.committed.outcome, "digest", "")
        self._unkeep(task, task.committed)
        task.committed = None
        self._count_left(task, 1)
        self.wait(task, first=True)

    def task(self, attempt: AttemptId) -> Task:
        """The task of an attempt at this run. Raises KeyError where the run has none of that name."""
        task = self.find(attempt.task)
        if task is None:
            raise KeyError(attempt.task)
        return task

    def clear(self) -> Iterator[None]:
        """Let go of what was known of the tasks of a run that is over, one by one: to free them all at once
        would hold up everything else."""
        for known in cast(list[dict[Any, Any]], [*self.committed_by.values(), self.tasks]):
            while known:
                known.popitem()
                yield

    @property
    def attempts_max(self) -> int:
        """How often a task may fail."""
        value = self.record.fields.get("max_attempts")
        return value if isinstance(value, int) else ATTEMPTS_MAX

    # -- what is told of it

    def totals(self, ends_as: RunStatus | None = None) -> RunRecord:
        """The record with the sums over all committed tasks; of a run that ends, with how it does. Cost:
        O(names of counters)."""
        status = ends_as or self.record.status
        return msgspec.structs.replace(
            self.record,
            status=status,
            **self.sum_fields(),
            counters=self.sums.counters(),
            plan=self.plan,
            attempts_failed=self.attempts_failed,
            warnings=self.warnings(status).lines(),
            phase_seconds=dict(self.phase_seconds),
        )

    def warnings(self, status: RunStatus) -> RunWarnings:
        """What its user should know although the run goes on, or has ended with a status."""
        return RunWarnings()

    def state_after(self, hosts: Mapping[str, str]) -> JobState | None:
        """Which lists say what the job has consumed, once this run has succeeded; None where none do.

        hosts: that of each peer."""
        return None

    def state_after_failure(self, peers: Iterable[str]) -> JobState | None:
        """The state of the job where a run that fails changes it. peers: all of the configuration."""
        return None

    def enter_phase(self, phase: str, now: float) -> bool:
        """Note that a later phase has begun; False where it had."""
        if self.phases.index(phase) <= self.phases.index(self.phase):
            return False
        self.leave_phase(now)
        self.phase = phase
        return True

    def leave_phase(self, now: float) -> None:
        """Count the time spent in the present phase up to now."""
        self.phase_seconds[self.phase] = self.phase_seconds.get(self.phase, 0.0) + now - self.phase_began
        self.phase_began = now

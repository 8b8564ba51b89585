"""Slots: the attempts that a peer was given, the workers that do them, and what came of them. Part of
`follower`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pymr.base.errors import TaskTimeoutError
from pymr.control.follower.events import (
    EndWorker,
    FailWorker,
    GiveDriver,
    GiveMap,
    GiveReduce,
    GiveStep,
    Held,
    PeerCommand,
    PeerEvent,
    RemoveAttempt,
    StartWorker,
    TaskEnded,
    WorkerEnded,
    WorkerHalted,
    WorkerMoved,
    WorkerReady,
    WorkerStarted,
)
from pymr.control.follower.shuffle_progress import ShuffleProgress
from pymr.control.liveness import rest_seconds
from pymr.wire.outcomes import DRIVER, AttemptId, EnginePhase, Failure, MapOutcome, Outcome
from pymr.wire.protocol import STEPS, Acknowledged, Assignment, AttemptResult, PlanReport, RunOrder
from pymr.wire.wording import no_progress

_TASK_TIMEOUT_S = 600.0
_WITHOUT_TIMEOUT = ("script", DRIVER)
"""A script has a limit of its own, or none; a driver waits for its engine."""


@dataclass(slots=True)
class Attempt:
    """An attempt that this peer was given and has not ended. progress_at: when it last moved. phase: see
    RunningAttempt."""

    assignment: Assignment
    progress_at: float
    is_given: bool = False  # to its worker
    is_halted: bool = False
    done: tuple[int, int] = (0, 0)
    phase: EnginePhase | None = None


@dataclass(slots=True)
class Slot:
    """A worker slot with a process. attempt: what its process is doing."""

    run_id: str
    pid: int = 0
    is_ready: bool = False
    attempt: AttemptId | None = None


@dataclass(slots=True)
class KnownRun:
    """A run as this peer knows it. plans: by `shared`; None while one is being made. plans_rest_until: none
    is made before that, as the disk has refused so many in a row."""

    order: RunOrder
    shuffle: ShuffleProgress
    is_prepared: bool = False
    failure: Failure | None = None
    plans: dict[bool, PlanReport | None] = field(default_factory=dict)
    plans_refused: int = 0
    plans_rest_until: float = float("-inf")

    def planned(self, report: PlanReport, now: float) -> None:
        """A plan is made, or could not be."""
        self.plans[report.shared] = report
        if report.is_of_disk:
            self.plans_rest_until = now + rest_seconds(self.plans_refused)
            self.plans_refused += 1
        else:
            self.plans_rest_until, self.plans_refused = float("-inf"), 0

    @property
    def task_timeout_s(self) -> float:
        value = self.order.fields.get("task_timeout_seconds")
        return float(value) if isinstance(value, int | float) else _TASK_TIMEOUT_S


class Slots:
    """The worker slots of a peer.

    runs: those the peer knows now; kept up to date by the caller. held: finished attempts found on the disk.
    self.held: those that lie there now, by run, with the digest of each.
    holders: who has the keyboards, by slot; set by the caller.
    emit: takes commands, in the order in which to carry them out.
    is_news: something has happened that the leader is to hear of at once; the caller puts it back.
    """

    def __init__(
        self,
        peer: str,
        runs: Mapping[str, KnownRun],
        held: Sequence[Held],
        emit: Callable[[PeerCommand], None],
    ) -> None:
        self.attempts: dict[AttemptId, Attempt] = {}
        self.workers: dict[int, Slot] = {}
        self.results = {one.result.id: one.result for one in held}
        self.held: dict[str, dict[AttemptId, str]] = {}
        for one in held:
            self.hold(one.result.id, one.digest)
        self.running_version = 0
        self.is_news = False
        self.holders: Mapping[int, str] = {}
        self._peer = peer
        self._runs = runs
        self._emit = emit

    # -- what the leader wants

    def take(self, assignment: Assignment, now: float) -> None:
        """Begin an attempt, unless it is known, or another has its slot."""
        attempt, slot = assignment.id, assignment.slot
        if attempt in self.attempts or attempt in self.results or self.holds(attempt):
            return
        if any(one.assignment.slot == slot for one in self.attempts.values()):
            return  # a slot does one thing at a time; the leader sees that this is not among what runs
        self.attempts[attempt] = Attempt(assignment, now)
        self.running_version += 1

    def cancel(self, attempt: AttemptId) -> None:
        """End an attempt that is no longer wanted; nothing is left of it."""
        if attempt in self.attempts:
            self._drop(attempt)
            self._emit(RemoveAttempt(attempt))
            self.is_news = True

    def acknowledge(self, acknowledged: Acknowledged) -> None:
        """The leader has dealt with a result: it need not be told again."""
        if self.results.pop(acknowledged.id, None) is not None and not acknowledged.keep:
            run_id = acknowledged.id.run_id
            held = self.held.get(run_id, {})
            held.pop(acknowledged.id, None)
            if not held:
                self.held.pop(run_id, None)
            self._emit(RemoveAttempt(acknowledged.id))

    def end_run(self, run_id: str) -> None:
        """Forget all there is of a run, and end its workers. Its files are for the caller to remove."""
        for attempt in [one for one in self.attempts if one.run_id == run_id]:
            self._drop(attempt)
        for number in [number for number, one in self.workers.items() if one.run_id == run_id]:
            self._end_worker(number)
        for attempt in [one for one in self.results if one.run_id == run_id]:
            del self.results[attempt]
        self.held.pop(run_id, None)

    def run_ids(self) -> set[str]:
        """Runs of which there is anything here."""
        return self.held.keys() | {attempt.run_id for attempt in self.attempts}

    def hold(self, attempt: AttemptId, digest: str) -> None:
        """Note that a finished attempt lies on the disk."""
        self.held.setdefault(attempt.run_id, {})[attempt] = digest

    def holds(self, attempt: AttemptId) -> bool:
        """Whether a finished attempt lies on the disk."""
        return attempt in self.held.get(attempt.run_id, ())

    def _drop(self, attempt: AttemptId) -> None:
        """Forget an attempt, and end the worker that is at it."""
        one = self.attempts.pop(attempt)
        self.running_version += 1
        slot = self.workers.get(one.assignment.slot)
        if slot is not None and slot.attempt == attempt:
            self._end_worker(one.assignment.slot)

    def _end_worker(self, number: int) -> None:
        del self.workers[number]
        self._emit(EndWorker(number))

    # -- starting

    def start(self, now: float) -> None:
        """Start what can be started: workers for attempts, and tasks in workers that are ready."""
        for attempt, one in list(self.attempts.items()):
            if not one.is_given:
                self._start(attempt, one, now)

    def _start(self, attempt: AttemptId, one: Attempt, now: float) -> None:
        run = self._runs[attempt.run_id]
        if not run.is_prepared:
            one.progress_at = now
            return
        if run.failure is not None:
            self._finish(attempt, run.failure)
            return
        number = one.assignment.slot
        slot = self.workers.get(number)
        if slot is not None and slot.run_id != attempt.run_id:
            self._end_worker(number)
            slot = None
        if slot is None:
            self.workers[number] = Slot(attempt.run_id)
            self._emit(StartWorker(number, run.order))
            one.progress_at = now
        elif slot.is_ready and slot.attempt is None and self._give(run, number, attempt, one):
            slot.attempt, one.is_given, one.progress_at = attempt, True, now

    def _give(self, run: KnownRun, number: int, attempt: AttemptId, one: Attempt) -> bool:
        if attempt.is_map:
            self._emit(GiveMap(number, one.assignment))
            return True
        if attempt.kind in STEPS:
            self._emit(GiveStep(number, one.assignment))
            return True
        if attempt.kind == DRIVER:
            self._emit(GiveDriver(number, one.assignment))
            return True
        if not run.shuffle.is_complete(attempt.number):
            return False
        sources = run.shuffle.in_order()
        self._emit(GiveReduce(number, attempt, attempt.number, sources, one.assignment.earlier))
        return True

    # -- what workers do

    def on_event(self, event: PeerEvent, now: float) -> None:
        """Something has happened to a worker. What comes of a worker that was ended does nothing."""
        match event:
            case WorkerStarted(number, pid):
                if number in self.workers:
                    self.workers[number].pid = pid
            case WorkerReady(number):
                if number in self.workers:
                    self.workers[number].is_ready = True
            case WorkerMoved(number, done, phase):
                attempt = self.attempt_in(number)
                if attempt is not None:
                    attempt.done, attempt.phase, attempt.progress_at = done, phase, now
            case WorkerHalted(number, is_halted):
                attempt = self.attempt_in(number)
                if attempt is not None:
                    attempt.is_halted, attempt.progress_at = is_halted, now
                    self.is_news = True
            case TaskEnded(number, id, outcome, pane_offset):
                slot = self.workers.get(number)
                if slot is not None and slot.attempt == id:
                    slot.attempt = None
                if id in self.attempts:
                    self._finish(id, outcome, pane_offset)
            case WorkerEnded(number, failure, pane_offset):
                self.workers.pop(number, None)
                for id, attempt in list(self.attempts.items()):
                    if attempt.assignment.slot == number:
                        self._finish(id, failure, pane_offset)

    def _finish(self, attempt: AttemptId, outcome: Outcome, pane_offset: int | None = None) -> None:
        one = self.attempts.pop(attempt)
        self.running_version += 1
        self.results[attempt] = AttemptResult(attempt, outcome, one.assignment.slot, pane_offset)
        if not isinstance(outcome, Failure):
            self.hold(attempt, outcome.digest if isinstance(outcome, MapOutcome) else "")
        self.is_news = True

    def attempt_in(self, number: int) -> Attempt | None:
        """What the worker of a slot is doing."""
        slot = self.workers.get(number)
        return self.attempts.get(slot.attempt) if slot is not None and slot.attempt is not None else None

    def check_timeouts(self, now: float) -> None:
        """Have workers ended whose task has not moved for too long, each at the cost of an attempt."""
        for id, attempt in list(self.attempts.items()):
            slot = self.workers.get(attempt.assignment.slot)
            if slot is None or attempt.is_halted or (slot.is_ready and slot.attempt != id):
                continue
            if attempt.is_given and id.kind in _WITHOUT_TIMEOUT:
                continue
            timeout_s = self._runs[id.run_id].task_timeout_s
            if now - attempt.progress_at > timeout_s:
                name = f"{self._peer}/{attempt.assignment.slot}"
                failure = _timeout(id, name, timeout_s, is_ready=slot.is_ready)
                self._emit(FailWorker(attempt.assignment.slot, failure))


def _timeout(id: AttemptId, worker: str, timeout_s: float, *, is_ready: bool) -> Failure:
    text = (
        no_progress(worker, id.task, timeout_s)
        if is_ready
        else f"{worker} did not get ready for {timeout_s:g} s (task_timeout_seconds): the modules of the "
        "project take that long to import, or for ever"
    )
    return Failure(TaskTimeoutError.__name__, text)

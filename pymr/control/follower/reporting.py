"""Reporting: the parts of a peer's report that tell of its attempts and workers. Part of `follower`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from pymr.control.follower.slots import Attempt, Slots
from pymr.wire.outcomes import DRIVER, AttemptId, Failure, MapOutcome, StepOutcome
from pymr.wire.protocol import (
    HOLDER_CHARACTERS_MAX,
    RESULT_CHARACTERS_MAX,
    RESULTS_MAX,
    STEPS,
    AttemptResult,
    HeldRun,
    RunningAttempt,
    WorkerReport,
    WorkerState,
)

_NUMBER_CHARACTERS = 10  # what a counter's number may take


def running_attempts(slots: Slots) -> tuple[RunningAttempt, ...]:
    """Every attempt that was given and has not ended."""
    return tuple(
        RunningAttempt(id, one.assignment.slot, _state(slots, id, one), one.done, one.phase)
        for id, one in slots.attempts.items()
    )


def worker_reports(slots: Slots) -> tuple[WorkerReport, ...]:
    """Every slot that has a process, or whose keyboard somebody has, in their order."""
    return tuple(_worker_report(slots, number) for number in sorted(slots.workers.keys() | slots.holders))


def results_to_tell(results: Iterable[AttemptResult]) -> tuple[AttemptResult, ...]:
    """The first results, as many as one report holds."""
    told: list[AttemptResult] = []
    characters = 0
    for result in results:
        characters += _characters(result)
        if told and (len(told) == RESULTS_MAX or characters > RESULT_CHARACTERS_MAX):
            break
        told.append(result)
    return tuple(told)


def _characters(result: AttemptResult) -> int:
    """About how much text there is in a result; in a frame each may take four bytes."""
    outcome = result.outcome
    if isinstance(outcome, Failure):
        return len(outcome.error) + len(outcome.output)
    text = len(outcome.bad_record) if isinstance(outcome, MapOutcome) else 0
    text += len(outcome.output) if isinstance(outcome, StepOutcome) else 0
    return text + sum(len(name) + _NUMBER_CHARACTERS for name in outcome.counters)


class Inventory:
    """The finished attempts that lay on the disk when it was made, told page by page.

    page_attempts: most of them on a page.
    """

    def __init__(self, held: Mapping[str, Mapping[AttemptId, str]], page_attempts: int) -> None:
        self._attempts = [pair for attempts in held.values() for pair in attempts.items()]
        self._page_attempts = page_attempts

    def page(self, start: int) -> tuple[HeldRun, ...]:
        """The page that begins with the start-th attempt, by run."""
        by_run: dict[str, list[tuple[str, str, str]]] = {}
        for attempt, digest in self._attempts[start : start + self._page_attempts]:
            by_run.setdefault(attempt.run_id, []).append((attempt.task, attempt.attempt, digest))
        return tuple(HeldRun(run_id, tuple(attempts)) for run_id, attempts in by_run.items())

    def has_more(self, start: int) -> bool:
        """Whether anything comes behind that page."""
        return start + self._page_attempts < len(self._attempts)


def _worker_report(slots: Slots, number: int) -> WorkerReport:
    holder = slots.holders.get(number, "")[:HOLDER_CHARACTERS_MAX]
    slot = slots.workers.get(number)
    if slot is None:
        return WorkerReport(number, 0, "idle", "", "", (0, 0), holder)
    attempt = slots.attempt_in(number)
    if attempt is None:
        waiting = next((one for one in slots.attempts.values() if one.assignment.slot == number), None)
        state: WorkerState = "idle" if slot.is_ready else "starting"
        if waiting is not None and slot.is_ready and waiting.assignment.id.kind == "reduce":
            state = "shuffle"
        task = waiting.assignment.id.task if waiting else ""
        return WorkerReport(number, slot.pid, state, slot.run_id, task, (0, 0), holder)
    id = attempt.assignment.id
    state = _state(slots, id, attempt)
    return WorkerReport(number, slot.pid, state, slot.run_id, id.task, attempt.done, holder)


def _state(slots: Slots, id: AttemptId, one: Attempt) -> WorkerState:
    if one.is_halted:
        return "breakpoint"
    if id.is_map:
        return "map" if one.is_given else "starting"
    if id.kind in STEPS:
        return cast(WorkerState, id.kind) if one.is_given else "starting"
    if id.kind == DRIVER:
        return one.phase.name if one.phase is not None else "starting"
    if one.is_given:
        return "reduce" if one.done[0] else "sort"
    slot = slots.workers.get(one.assignment.slot)
    return "shuffle" if slot is not None and slot.is_ready else "starting"

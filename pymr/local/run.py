"""A run on this machine's workers: phases of tasks, attempts, timeouts. Ends in outputs or one error."""

from __future__ import annotations

import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pymr.engine.tasks import JobContext, MapOutput, MapTask, ReduceOutput, ReduceTask
from pymr.errors import PymrError, RetryableError, TaskTimeoutError, disk_error
from pymr.local.phases import Observer, Phase, map_phase, reduce_phase, units_of
from pymr.local.pool import Event, Pool, Worker
from pymr.local.process import Assignment, Done

TICK_SECONDS = 0.1
"""How often an observer is told how things stand, and timeouts are looked at."""

_START_ATTEMPTS = 3
"""Workers that die before they are ready are replaced this many times, one after another."""


@dataclass(slots=True)
class _Attempts:
    """A task with the number of its attempts so far, each of which has a folder of its own."""

    task: MapTask | ReduceTask
    name: str
    count: int = 0
    folder: str = ""


class LocalRun:
    """Runs tasks on a pool of workers, phase by phase; a context manager, at whose end no process is left.

    directory: where the folders of the attempts go. max_attempts and task_timeout_s: as in the job.
    """

    def __init__(
        self,
        workers: int,
        load_context: Callable[[], JobContext],
        directory: str,
        observer: Observer,
        *,
        max_attempts: int,
        task_timeout_s: float,
    ) -> None:
        self._directory = directory
        self._observer = observer
        self._max_attempts = max_attempts
        self._task_timeout_s = task_timeout_s
        self._starts_left = _START_ATTEMPTS + workers
        self._running: dict[Worker, _Attempts] = {}
        self._pool = Pool(workers, load_context, observer.on_output)

    def __enter__(self) -> LocalRun:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def map(self, tasks: Sequence[MapTask]) -> list[MapOutput]:
        """Outputs of the map tasks, in the order of the tasks."""
        return self._run_phase(map_phase(tasks), [_Attempts(task, f"map-{task.index:05d}") for task in tasks])

    def reduce(self, tasks: Sequence[ReduceTask]) -> list[ReduceOutput]:
        """Outputs of the reduce tasks, in the order of the tasks."""
        return self._run_phase(
            reduce_phase(tasks), [_Attempts(task, f"reduce-{task.partition:05d}") for task in tasks]
        )

    def _run_phase(self, phase: Phase, tasks: list[_Attempts]) -> list[Any]:
        waiting = deque(tasks)
        outputs: dict[str, MapOutput | ReduceOutput] = {}
        self._observer.on_phase(phase)
        shown_at = time.monotonic()
        while len(outputs) < len(tasks) or not self._is_ready():
            while waiting and (worker := self._pool.idle()):
                self._start(worker, waiting.popleft())
            for event in self._pool.wait(TICK_SECONDS):
                self._handle(event, phase, waiting, outputs)
            self._check_timeouts(waiting)
            if time.monotonic() - shown_at >= TICK_SECONDS:
                phase.running_units = self._running_units()
                self._observer.on_phase(phase)
                shown_at = time.monotonic()
        phase.running_units = (0, 0)
        phase.ended_at = time.monotonic()
        self._observer.on_phase(phase)
        return [outputs[task.name] for task in tasks]

    def _is_ready(self) -> bool:
        """A job without input needs no worker, but its functions are to be loaded once all the same."""
        return any(worker.is_ready for worker in self._pool.workers)

    def _start(self, worker: Worker, attempts: _Attempts) -> None:
        attempts.count += 1
        attempts.folder = os.path.join(self._directory, f"{attempts.name}-{attempts.count}")
        try:
            os.mkdir(attempts.folder)
        except OSError as error:
            raise disk_error("making", attempts.folder, error) from error
        self._running[worker] = attempts
        self._pool.assign(worker, Assignment(attempts.task, attempts.folder))

    def _handle(
        self,
        event: Event,
        phase: Phase,
        waiting: deque[_Attempts],
        outputs: dict[str, MapOutput | ReduceOutput],
    ) -> None:
        worker, outcome = event.worker, event.outcome
        if outcome is None:
            return
        attempts = self._running.pop(worker, None)
        worker.assignment = None
        if outcome.error is not None:
            self._handle_failure(worker, attempts, outcome, waiting)
        elif attempts is not None and outcome.output is not None:
            outputs[attempts.name] = outcome.output
            phase.done += 1
            done = units_of(outcome.output)
            phase.done_units = phase.done_units[0] + done[0], phase.done_units[1] + done[1]

    def _handle_failure(
        self,
        worker: Worker,
        attempts: _Attempts | None,
        outcome: Done,
        waiting: deque[_Attempts],
    ) -> None:
        error = outcome.error
        assert error is not None
        if attempts is None:  # it never got ready
            self._starts_left -= 1
            if not isinstance(error, RetryableError) or self._starts_left <= 0:
                raise error
        elif not isinstance(error, RetryableError) or attempts.count >= self._max_attempts:
            raise _final(error, attempts)
        else:
            shutil.rmtree(attempts.folder, ignore_errors=True)  # the next attempt may need its space
            self._observer.on_failed_attempt(attempts.name, attempts.count, self._max_attempts, error)
            waiting.appendleft(attempts)
        if worker.has_ended:
            self._pool.replace(worker)

    def _check_timeouts(self, waiting: deque[_Attempts]) -> None:
        """End the workers whose task has not moved for too long, each at the cost of an attempt."""
        now = time.monotonic()
        for worker in self._pool.workers:
            if not worker.is_ready and now - worker.progress_at > self._task_timeout_s:
                raise TaskTimeoutError(
                    f"{worker.name} did not get ready within {self._task_timeout_s:g} s "
                    "(task_timeout_seconds): the modules of the project take that long to import, or for ever"
                )
        for worker, attempts in list(self._running.items()):
            if now - worker.progress_at > self._task_timeout_s:
                error = TaskTimeoutError(
                    f"{worker.name} made no progress on {attempts.name} for {self._task_timeout_s:g} s "
                    "(task_timeout_seconds); an endless loop in a function, or one record that takes so long"
                )
                del self._running[worker]
                self._pool.kill(worker)
                self._handle_failure(worker, attempts, Done(None, error), waiting)

    def _running_units(self) -> tuple[int, int]:
        first = sum(worker.progress[0] for worker in self._running)
        return first, sum(worker.progress[1] for worker in self._running)


def _final(error: PymrError, attempts: _Attempts) -> PymrError:
    """The error of the last attempt, saying how many there were."""
    if attempts.count == 1:
        return error
    return type(error)(
        f"{error}\n(task {attempts.name} failed {attempts.count} times, which is max_attempts)"
    )

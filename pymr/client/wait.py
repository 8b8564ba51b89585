"""Waiting for a job: how it ends is decided from one view after another of what a peer says of the job."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from pymr.client.errors import ClientError, RefusedError, UnreachableError
from pymr.wire.requests import JobView
from pymr.wire.rows import JobRow, RunRow, RunStatus

GONE_SECONDS = 1.0
"""A job that is neither in the queue nor in the history for this long was deleted before it ran."""

OUT_OF_REACH_SECONDS = 30.0
"""A wait without a time of its own outlasts a cluster of which no peer answers for this long."""

_POLL_FIRST_SECONDS, _POLL_LAST_SECONDS = 0.1, 0.5
_PASSING = ("unavailable",)

_ENDED: tuple[RunStatus, ...] = ("succeeded", "failed", "deleted", "replaced", "skipped")
_EXCEPTIONS = {
    "deleted": "the job was deleted before its run had ended",
    "replaced": "the run was ended because the job was submitted again",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the first run after a submission ended. run_id: "" where the job ended without one.

    seconds: that the run took, where that is known. exception: why it did not succeed. warnings: see
    `run_warnings`.
    """

    job_name: str
    status: RunStatus
    run_id: str = ""
    seconds: float | None = None
    exception: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def is_success(self) -> bool:
        return self.status in ("succeeded", "skipped")


def wait_for(
    look: Callable[[], JobView],
    job_name: str,
    timeout_s: float | None,
    on_view: Callable[[JobView], None] | None,
) -> Outcome | None:
    """Look at a job until its run has ended; None when timeout_s have passed. See `Client.wait`."""
    waiting = Wait(job_name)
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    patience = _Patience(is_bounded=timeout_s is None)
    for pause_s in _pauses():
        with patience:
            view = look()
            outcome = waiting.look(view)
            patience.note(view.problem)
            if on_view is not None:
                on_view(view)
            if outcome is not None:
                return outcome
            if patience.is_gone(waiting.is_gone and not view.problem):
                return _gone(job_name, was_seen=waiting.was_seen)
        left = pause_s if deadline is None else deadline - time.monotonic()
        if left <= 0:
            if patience.problem:
                raise UnreachableError(f"{job_name}: not known after {timeout_s:g} s: {patience.problem}")
            return None
        time.sleep(min(pause_s, left))
    raise AssertionError("pauses never end")


class Wait:
    """A wait for the first run of the last submission of a job; takes one view of it after the other.

    is_gone: the job is in no view's queue, and no view has a run of it that answers.
    """

    def __init__(self, job_name: str) -> None:
        self._job_name = job_name
        self._version = 0
        self.is_gone = False

    @property
    def was_seen(self) -> bool:
        """Whether the job was ever in the queue."""
        return self._version > 0

    def look(self, view: JobView) -> Outcome | None:
        """The outcome; None while there is none. A submission that comes during the wait is waited for."""
        row = view.row
        self.is_gone = False
        if row is None:
            return self._look_at_runs(view.runs)
        self._version = row.version
        if row.first_run_status in _ENDED:
            return self._outcome(row.first_run_status, row, view.runs)
        if row.status == "failed" and row.first_run_id is None:  # with its group, before its turn came
            return Outcome(self._job_name, "failed", exception=row.exception or "failed with its group")
        return None

    def _look_at_runs(self, runs: tuple[RunRow, ...]) -> Outcome | None:
        """The outcome by the history, of a job that has left the queue. runs: the latest first."""
        version = self._version or max((run.job_version for run in runs), default=0)
        counting = (run for run in reversed(runs) if run.status != "outdated")  # another one follows
        first = next((run for run in counting if run.job_version >= version), None)
        self.is_gone = first is None
        if first is None or first.status not in _ENDED:
            return None
        return self._of_run(first)

    def _outcome(self, status: RunStatus, row: JobRow, runs: tuple[RunRow, ...]) -> Outcome:
        for run in runs:
            if run.run_id == row.first_run_id and run.status == status:
                return self._of_run(run)
        return Outcome(self._job_name, status, row.first_run_id or "", exception=_why(status, row.exception))

    def _of_run(self, run: RunRow) -> Outcome:
        seconds = None if run.end_time is None else run.end_time - run.start_time
        why = _why(run.status, run.exception)
        return Outcome(self._job_name, run.status, run.run_id, seconds, why, run.warnings)


def _why(status: RunStatus, exception: str | None) -> str:
    if status in ("succeeded", "skipped"):
        return ""
    return exception or _EXCEPTIONS.get(status, "it does not say why")


def _gone(job_name: str, *, was_seen: bool) -> Outcome:
    if not was_seen:
        raise ClientError(f"there is no job {job_name}: it is not in the queue and has never run")
    return Outcome(job_name, "deleted", exception="the job was deleted before it had run")


def _pauses() -> Iterator[float]:
    """Seconds between two questions of a wait: short at first, for jobs that take a moment."""
    pause_s = _POLL_FIRST_SECONDS
    while True:
        yield pause_s
        pause_s = min(pause_s * 1.3, _POLL_LAST_SECONDS)


class _Patience:
    """A context for each question of a wait: passes over failures that may pass.

    is_bounded: with a limit if no peer answers. problem: why the job's status is unknown; "" when
    it is.
    """

    def __init__(self, *, is_bounded: bool) -> None:
        self.problem = ""
        self._is_bounded = is_bounded
        self._answered_at = self._there_at = time.monotonic()

    def note(self, problem: str) -> None:
        """The cluster has answered; with what it knew last, where it has a problem."""
        self.problem = problem

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        now = time.monotonic()
        if error is None:
            self._answered_at = now
            return False
        self._there_at = now  # nothing is known of the job meanwhile
        self.problem = str(error)
        if isinstance(error, RefusedError) and error.code in _PASSING:
            self._answered_at = now
            return True
        is_patient = not self._is_bounded or now - self._answered_at <= OUT_OF_REACH_SECONDS
        return isinstance(error, UnreachableError) and is_patient

    def is_gone(self, is_missing: bool) -> bool:
        """Whether the job has been missing for GONE_SECONDS; to be asked after each look at it."""
        if not is_missing:
            self._there_at = time.monotonic()
        return time.monotonic() - self._there_at >= GONE_SECONDS

"""How a wait for a job ends: decided from what a peer says of the job, without asking or sleeping itself."""

from __future__ import annotations

from dataclasses import dataclass

from pymr.requests import JobView
from pymr.rows import JobRow, RunRow, RunStatus

_ENDED: tuple[RunStatus, ...] = ("succeeded", "failed", "deleted", "replaced", "skipped")
_EXCEPTIONS = {
    "deleted": "the job was deleted before its run had ended",
    "replaced": "the run was ended because the job was submitted again",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the first run after a submission ended. run_id: "" where the job ended without one.

    seconds: that the run took, where that is known. exception: why it did not succeed.
    """

    job_name: str
    status: RunStatus
    run_id: str = ""
    seconds: float | None = None
    exception: str = ""

    @property
    def is_success(self) -> bool:
        return self.status in ("succeeded", "skipped")


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
        first = next((run for run in reversed(runs) if run.job_version >= version), None)
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
        return Outcome(self._job_name, run.status, run.run_id, seconds, _why(run.status, run.exception))


def _why(status: RunStatus, exception: str | None) -> str:
    if status in ("succeeded", "skipped"):
        return ""
    return exception or _EXCEPTIONS.get(status, "it does not say why")

"""Runs in the history, by their ids: how one has ended, and whether it may still end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pymr.jobs.run_ids import job_of_run, run_number

if TYPE_CHECKING:
    from pymr.wire.rows import RunRow

LATEST_RUNS = 40
"""A run is looked for among so many of its job first, as it is most often one of the latest."""

RUNS_MAX = 10_000
"""As many runs as the history keeps."""


class History(Protocol):
    """What is asked of a client about runs that have ended."""

    def history(self, job_name: str = "", limit: int = 100) -> tuple[RunRow, ...]: ...


def ended_run(client: History, run_id: str) -> RunRow | None:
    """The run as the history has it; None where it has not ended, or is not known. Cost: a question,
    and one for each page of the history where it is none of LATEST_RUNS. Raises ClientError."""
    job_name = job_of_run(run_id)
    if not job_name:
        return None
    for limit in (LATEST_RUNS, RUNS_MAX):
        runs = client.history(job_name, limit)
        found = next((run for run in runs if run.run_id == run_id), None)
        if found is not None or len(runs) < limit:
            return found
    return None


def may_still_end(client: History, run_id: str) -> bool:
    """Whether no run has ended yet that its job began with it or later: runs of a job follow one another.
    Cost: a question with one run as its answer. Raises ClientError."""
    return all(run_number(run.run_id) < run_number(run_id) for run in client.history(job_of_run(run_id), 1))

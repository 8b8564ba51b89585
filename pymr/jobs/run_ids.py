"""The ids of runs: `JOB-NUMBER`. Numbers rise over the life of a cluster, a recovery included."""

from __future__ import annotations


def job_of_run(run_id: str) -> str:
    """The name of the job of a run; "" for what is not the id of a run."""
    return run_id.rpartition("-")[0]


def run_number(run_id: str) -> int:
    """The number at the end of a run's id; 0 where there is none."""
    number = run_id.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0

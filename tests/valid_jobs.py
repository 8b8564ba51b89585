"""One small valid job of each type, and what is wrong with any other."""

from __future__ import annotations

from typing import Any

from pymr.base.errors import JobError
from pymr.jobs.job import parse_job

MAPREDUCE: dict[str, Any] = {
    "job_type": "mapreduce",
    "job_name": "count-words",
    "job_priority": 1,
    "project_name": "wordcount",
    "input_dirs": ["corpus"],
    "reduce_function_name": "total",
}
SCRIPT: dict[str, Any] = {
    "job_type": "script",
    "job_name": "clean",
    "job_priority": 1,
    "script_location": "wordcount/clean.py",
}
UPLOAD: dict[str, Any] = {
    "job_type": "file_transfer",
    "job_name": "load",
    "job_priority": 1,
    "transfer_type": "upload",
    "input_dir": "/srv/texts",
    "output_dir": "corpus",
}
MINIMAL = {"mapreduce": MAPREDUCE, "script": SCRIPT, "file_transfer": UPLOAD}


def problems_of(fields: dict[str, Any]) -> dict[str, str]:
    """Reasons by field; empty when the job is accepted."""
    try:
        parse_job(fields)
    except JobError as error:
        return {problem.field: problem.reason for problem in error.problems}
    return {}

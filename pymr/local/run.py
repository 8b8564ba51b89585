"""Runs one job on this machine from start to end: what `pymr run` and tests call."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pymr.base.errors import OutputError
from pymr.base.interruption import uninterrupted
from pymr.jobs.job import MapReduceJob
from pymr.local.output_folder import OutputFolder
from pymr.runs.info import RunRequest, RunResult, RunSummary
from pymr.runs.phases import Observer

if TYPE_CHECKING:
    from pymr.engines.core.driver import Engine

__all__ = ["RunRequest", "RunSummary", "run_job"]


def run_job(request: RunRequest, observer: Observer, engine: Engine | None = None) -> RunSummary:
    """Run the job, in this process, in a cluster of its own or on an external engine, and replace its output
    folder with the result.

    engine: one that is open, and stays so; else it is that of the request's backend.
    Raises a PymrError that says what failed and where; then, as on KeyboardInterrupt, the output folder is as
    it was before, and no process or scratch file is left.
    """
    _refuse_output_in_input(request)
    began = time.monotonic()
    with ExitStack() as at_the_end, OutputFolder(request.output_dir) as folder:
        request, result = _run(request, folder.scratch, observer, engine)
        summary = _summarise(request, result)
        manifest = _manifest(request, summary)
        # From here on it takes moments, and an interruption would tell of a success as if there were none.
        at_the_end.enter_context(uninterrupted(discard=True))
        parts = folder.publish(
            result.outputs, result.bad_records_paths, manifest, add=not request.job.delete_job_data
        )
        return replace(summary, parts=tuple(parts), seconds=time.monotonic() - began)


def _run(
    request: RunRequest, scratch: str, observer: Observer, engine: Engine | None
) -> tuple[RunRequest, RunResult]:
    """The outcome of a run, and the request with the actual number of workers."""
    if engine is not None:
        return _run_on(engine, request, scratch, observer)
    if request.inline:
        from pymr.local.inline import run_inline

        return request, run_inline(request, scratch, observer)
    if request.backend is not None:
        from pymr.engines.core.backends import open_engine

        with open_engine(request.backend, workers=request.workers, directory=scratch) as opened:
            return _run_on(opened, request, scratch, observer)
    from pymr.local.cluster import EmbeddedCluster

    with EmbeddedCluster(request, scratch) as cluster:
        from pymr.local.cluster_run import run_in_cluster  # 0.1 s, in which the peer starts as well

        return request, run_in_cluster(request, cluster, observer)


def _run_on(
    engine: Engine, request: RunRequest, scratch: str, observer: Observer
) -> tuple[RunRequest, RunResult]:
    from pymr.engines.core.driver import run_on

    request = replace(request, workers=engine.slots)
    return request, run_on(engine, request, scratch, observer)


def _refuse_output_in_input(request: RunRequest) -> None:
    """An output inside of an input folder would be read by the next run."""
    output = os.path.realpath(request.output_dir)
    for folder in request.input_dirs:
        if os.path.commonpath([os.path.realpath(folder), output]) == os.path.realpath(folder):
            raise OutputError(
                f"the output folder {request.output_dir} lies in the input folder {folder}, where the next "
                "run would read it; name another with --output"
            )


def _summarise(request: RunRequest, result: RunResult) -> RunSummary:
    return RunSummary(
        job_name=request.job.job_name,
        output_dir=os.path.abspath(request.output_dir),
        files=result.files,
        records=result.records,
        bytes=result.bytes,
        values=result.values,
        groups=result.groups,
        items_out=sum(part.items for _, parts in result.outputs for part in parts),
        bad_records=result.bad_records,
        counters=result.counters,
        phase_seconds=result.phase_seconds,
        notes=_notes(request.job),
        warnings=result.warnings,
    )


def _notes(job: MapReduceJob) -> tuple[str, ...]:
    """What its user should know of fields that need a lasting cluster."""
    if not job.hold_state:
        return ()
    return ("hold_state has no effect in `pymr run`: all input was read, and will be again",)


def _manifest(request: RunRequest, summary: RunSummary) -> dict[str, Any]:
    """What an output says of itself, in the file beside its parts."""
    return {
        "job_name": summary.job_name,
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "partitions": request.partitions,
        "records": summary.records,
        "groups": summary.groups,
        "bad_records": summary.bad_records,
        "counters": summary.counters,
    }

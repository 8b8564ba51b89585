"""Runs one job on this machine from start to end: what `pymr run` and tests call."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import orjson

from pymr.config import EngineConfig, memory_bytes_per_worker
from pymr.engine.inputs import InputFile, list_input_files
from pymr.engine.outputs import Part
from pymr.engine.tasks import (
    JobContext,
    MapOutput,
    MapTask,
    ReduceOutput,
    ReduceTask,
    load_auxiliary,
    plan_map_tasks,
    plan_reduce_tasks,
)
from pymr.errors import OutputError, UserFunctionError
from pymr.jobs import MapReduceJob
from pymr.local.inline import InlineRun
from pymr.local.interruption import uninterrupted
from pymr.local.output_folder import OutputFolder
from pymr.local.phases import Observer
from pymr.local.run import LocalRun
from pymr.projects import load_functions

_TASK_BYTES_MIN = 1 << 20
"""Input is not cut into smaller tasks than this for the sake of giving every worker one."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A job, and where and how to run it.

    input_dirs: absolute paths, in place of those of the job. data_dir: where `auxiliary/` lies.
    output_dir: where the output goes.
    inline: everything in this process, task after task, so that a debugger works in the functions.
    """

    job: MapReduceJob
    input_dirs: tuple[str, ...]
    projects_dir: str
    data_dir: str
    output_dir: str
    workers: int
    engine: EngineConfig
    inline: bool = False

    @property
    def partitions(self) -> int:
        """Reduce partitions: as the job says, else one for each worker."""
        return self.job.partitions or self.workers


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run that succeeded did. values: items shuffled; phase_seconds: by phase, in their order."""

    job_name: str
    output_dir: str
    files: int
    records: int
    bytes: int
    values: int
    groups: int
    items_out: int
    bad_records: int
    counters: dict[str, float]
    parts: tuple[Part, ...] = ()
    phase_seconds: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Executor(Protocol):
    """Whoever does the tasks of a run: this process, workers on this machine, or a cluster."""

    def map(self, tasks: Sequence[MapTask]) -> list[MapOutput]: ...

    def reduce(self, tasks: Sequence[ReduceTask]) -> list[ReduceOutput]: ...


def run_job(request: RunRequest, observer: Observer) -> RunSummary:
    """Run the job and replace its output folder with the result.

    Raises a PymrError that says what failed and where; then, as on KeyboardInterrupt, the output folder is as
    it was before, and no process or scratch file is left.
    """
    _refuse_output_in_input(request)
    clock = _Stopwatch()
    with (
        ExitStack() as at_the_end,
        OutputFolder(request.output_dir) as folder,
        _executor(request, folder.scratch, observer) as executor,
    ):
        files = list_input_files(request.input_dirs)
        tasks = plan_map_tasks(files, _task_bytes(files, request))
        clock.lap("plan")
        mapped = executor.map(tasks)
        _check_bad_records(request.job, mapped)
        clock.lap("map")
        reduced = executor.reduce(plan_reduce_tasks(mapped))
        clock.lap("reduce")
        summary = _summarise(request, files, mapped, reduced)
        bad_records = [output.bad_records_path for output in mapped if output.bad_records_path]
        manifest = _manifest(request, summary)
        # From here on it takes moments, and an interruption would tell of a success as if there were none.
        at_the_end.enter_context(uninterrupted(discard=True))
        parts = folder.publish(reduced, bad_records, manifest, add=not request.job.delete_job_data)
        clock.lap("publish")
    return replace(summary, parts=tuple(parts), phase_seconds=clock.seconds)


def load_context(request: RunRequest) -> JobContext:
    """What the tasks of the run need; runs the project's modules. Raises ProjectError, InputError."""
    job = request.job
    return JobContext(
        job,
        load_functions(Path(request.projects_dir), job),
        request.engine,
        memory_bytes_per_worker(request.engine, request.workers),
        request.partitions,
        load_auxiliary(request.data_dir, job.auxiliary_data_name_mapper),
        load_auxiliary(request.data_dir, job.auxiliary_data_name_reducer),
    )


def _executor(request: RunRequest, directory: str, observer: Observer) -> AbstractContextManager[Executor]:
    if request.inline:
        return nullcontext(InlineRun(load_context(request), directory, observer))
    return LocalRun(
        request.workers,
        lambda: load_context(request),
        directory,
        observer,
        max_attempts=request.job.max_attempts,
        task_timeout_s=request.job.task_timeout_seconds,
    )


def _task_bytes(files: Sequence[InputFile], request: RunRequest) -> int:
    """How much input a map task gets: at most a split, and the same number of tasks for each worker.

    Larger tasks are better: a key that recurs is sorted and written once in each of them.
    """
    total = sum(file.size for file in files)
    rounds = -(-total // (request.workers * request.engine.split_bytes)) or 1
    share = -(-total // (request.workers * rounds))
    return min(request.engine.split_bytes, max(share, _TASK_BYTES_MIN))


def _refuse_output_in_input(request: RunRequest) -> None:
    """An output inside of an input folder would be read by the next run."""
    output = os.path.realpath(request.output_dir)
    for folder in request.input_dirs:
        if os.path.commonpath([os.path.realpath(folder), output]) == os.path.realpath(folder):
            raise OutputError(
                f"the output folder {request.output_dir} lies in the input folder {folder}, where the next "
                "run would read it; name another with --output"
            )


def _check_bad_records(job: MapReduceJob, mapped: Iterable[MapOutput]) -> None:
    listed = [output for output in mapped if output.bad_records]
    bad_records = sum(output.bad_records for output in listed)
    if bad_records > job.max_bad_records:
        with open(str(listed[0].bad_records_path), "rb") as file:
            first = orjson.loads(file.readline())
        raise UserFunctionError(
            f"the map function {job.map_function_name!r} raised on {bad_records:,} records, "
            f"max_bad_records = {job.max_bad_records:,}; the first one: {first['error']}\n"
            f"  at {first['file']}, byte {first['offset']:,}: {first['line']!r}"
        )


def _summarise(
    request: RunRequest,
    files: Sequence[InputFile],
    mapped: Sequence[MapOutput],
    reduced: Sequence[ReduceOutput],
) -> RunSummary:
    counters: dict[str, float] = {}
    for counts in [output.counters for output in mapped] + [output.counters for output in reduced]:
        for name, number in counts.items():
            counters[name] = counters.get(name, 0) + number
    return RunSummary(
        job_name=request.job.job_name,
        output_dir=os.path.abspath(request.output_dir),
        files=len(files),
        records=sum(output.records for output in mapped),
        bytes=sum(output.bytes for output in mapped),
        values=sum(output.values for output in reduced),
        groups=sum(output.groups for output in reduced),
        items_out=sum(part.items for output in reduced for part in output.parts),
        bad_records=sum(output.bad_records for output in mapped),
        counters=dict(sorted(counters.items())),
        notes=_notes(request.job),
    )


def _notes(job: MapReduceJob) -> tuple[str, ...]:
    """What its user should know of fields that need a cluster."""
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


class _Stopwatch:
    """Seconds between laps, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = now - self._last
        self._last = now

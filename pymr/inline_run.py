"""A run in this very process, so that `breakpoint()` and prints in a user's function simply work."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import orjson
from msgspec.structs import replace

from pymr.config import memory_bytes_per_worker
from pymr.counters import finite
from pymr.engine.inputs import InputFile, list_input_files
from pymr.engine.pipeline import map_all, reduce_all
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
from pymr.errors import InputError, InputOutdatedError, UserFunctionError
from pymr.jobs import MapReduceJob
from pymr.projects import load_functions
from pymr.run_facts import RunRequest, RunResult
from pymr.run_phases import Observer, Phase
from pymr.run_warnings import WarningCollector, empty_input, empty_input_refused

_TASK_BYTES_MIN = 1 << 20
"""Input is not cut into smaller tasks than this for the sake of giving every worker one."""


def run_inline(request: RunRequest, scratch: str, observer: Observer) -> RunResult:
    """Do all tasks one after another, once each; the first error ends it. Only when input that was read has
    been replaced meanwhile is all planned anew, `max_attempts` times at most."""
    context = load_context(request)
    for attempt in range(1, request.job.max_attempts + 1):
        folder = os.path.join(scratch, f"attempt-{attempt}")
        os.mkdir(folder)
        try:
            return _run_once(request, context, folder, observer)
        except InputOutdatedError as error:
            if attempt == request.job.max_attempts:
                raise
            shutil.rmtree(folder)
            observer.on_notice(f"planned anew: {error}")
    raise AssertionError("max_attempts is at least 1")


def _run_once(request: RunRequest, context: JobContext, scratch: str, observer: Observer) -> RunResult:
    clock = _Stopwatch()
    warnings = WarningCollector()
    files = list_input_files(request.input_dirs, warnings.add)
    map_tasks = plan_map_tasks(files, _task_bytes(files, request))
    clock.lap("plan")
    phase = _map_phase(map_tasks)
    observer.on_phase(phase)
    mapped = map_all(context, map_tasks, scratch)
    _check_bad_records(request.job, mapped)
    _check_empty(request, mapped, warnings)
    _end(phase, [(output.records, output.bytes) for output in mapped], observer)
    clock.lap("map")
    reduce_tasks = plan_reduce_tasks(mapped)
    phase = _reduce_phase(reduce_tasks)
    observer.on_phase(phase)
    reduced = reduce_all(context, reduce_tasks, scratch)
    _end(phase, [(output.groups, output.values) for output in reduced], observer)
    clock.lap("reduce")
    return _result(files, mapped, reduced, clock.seconds, warnings.result().lines())


def load_context(request: RunRequest) -> JobContext:
    """What the tasks of the run need; runs the project's modules. Raises ProjectError, InputError."""
    job = replace(request.job, hold_state=False)  # which needs a lasting cluster
    return JobContext(
        job,
        load_functions(Path(request.projects_dir), job),
        request.engine,
        memory_bytes_per_worker(request.engine, request.workers),
        request.partitions,
        load_auxiliary(request.data_dir, job.auxiliary_data_name_mapper),
        load_auxiliary(request.data_dir, job.auxiliary_data_name_reducer),
    )


def _task_bytes(files: Sequence[InputFile], request: RunRequest) -> int:
    """How much input a map task gets: at most a split, and the same number of tasks for each worker.

    Larger tasks are better: a key that recurs is sorted and written once in each of them.
    """
    total = sum(file.size for file in files)
    rounds = -(-total // (request.workers * request.engine.split_bytes)) or 1
    share = -(-total // (request.workers * rounds))
    return min(request.engine.split_bytes, max(share, _TASK_BYTES_MIN))


def _map_phase(tasks: Sequence[MapTask]) -> Phase:
    """The map phase of these tasks, not begun."""
    return Phase("map", len(tasks), sum(split.length for task in tasks for split in task.splits))


def _reduce_phase(tasks: Sequence[ReduceTask]) -> Phase:
    """The reduce phase of these tasks, not begun."""
    return Phase("reduce", len(tasks), sum(run.values for task in tasks for run in task.runs))


def _end(phase: Phase, done: Sequence[tuple[int, int]], observer: Observer) -> None:
    phase.done = phase.total
    phase.units = sum(unit[0] for unit in done), sum(unit[1] for unit in done)
    phase.ended_at = time.monotonic()
    observer.on_phase(phase)


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


def _check_empty(request: RunRequest, mapped: Iterable[MapOutput], warnings: WarningCollector) -> None:
    if any(output.records for output in mapped):
        return
    if not request.job.allow_empty:
        raise InputError(empty_input_refused(request.input_dirs))
    warnings.add(empty_input(adds=not request.job.delete_job_data))


def _result(
    files: Sequence[InputFile],
    mapped: Sequence[MapOutput],
    reduced: Sequence[ReduceOutput],
    phase_seconds: dict[str, float],
    warnings: tuple[str, ...],
) -> RunResult:
    counters: dict[str, float] = {}
    for counts in [output.counters for output in mapped] + [output.counters for output in reduced]:
        for name, number in counts.items():
            counters[name] = counters.get(name, 0) + number
    return RunResult(
        files=len(files),
        records=sum(output.records for output in mapped),
        bytes=sum(output.bytes for output in mapped),
        values=sum(output.values for output in reduced),
        groups=sum(output.groups for output in reduced),
        bad_records=sum(output.bad_records for output in mapped),
        counters={
            name: finite(number) if isinstance(number, float) else number
            for name, number in sorted(counters.items())
        },
        outputs=[(output.directory, output.parts) for output in reduced],
        bad_records_paths=[output.bad_records_path for output in mapped if output.bad_records_path],
        phase_seconds=phase_seconds,
        warnings=warnings,
    )


class _Stopwatch:
    """Seconds between laps, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = now - self._last
        self._last = now

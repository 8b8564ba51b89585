"""A run in this very process, so that `breakpoint()` and prints in a user's function simply work."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from pymr.config.cluster import memory_bytes_per_worker
from pymr.engine.input.files import list_input_files
from pymr.engine.pipeline import map_all, reduce_all
from pymr.engine.tasks import (
    JobContext,
    MapTask,
    ReduceTask,
    load_auxiliary,
    plan_map_tasks,
    plan_reduce_tasks,
)
from pymr.projects.project import load_functions
from pymr.runs.info import RunRequest, RunResult
from pymr.runs.outcome import (
    Stopwatch,
    check_bad_records,
    check_empty,
    planned_anew,
    result_of,
    task_bytes,
)
from pymr.runs.phases import Observer, Phase
from pymr.wire.run_warnings import WarningCollector


def run_inline(request: RunRequest, scratch: str, observer: Observer) -> RunResult:
    """Do all tasks one after another, once each; the first error ends it. Only when input that was read has
    been replaced meanwhile is planned again as a whole, `max_attempts` times at most."""
    context = load_context(request)
    return planned_anew(
        request.job, scratch, observer, lambda folder: _run_once(request, context, folder, observer)
    )


def _run_once(request: RunRequest, context: JobContext, scratch: str, observer: Observer) -> RunResult:
    clock = Stopwatch()
    warnings = WarningCollector()
    files = list_input_files(request.input_dirs, warnings.add)
    map_tasks = plan_map_tasks(files, task_bytes(files, request.engine.split_bytes, request.workers))
    clock.lap("plan")
    phase = _map_phase(map_tasks)
    observer.on_phase(phase)
    mapped = map_all(context, map_tasks, scratch)
    check_bad_records(request.job, mapped)
    check_empty(request, mapped, warnings)
    _end(phase, [(output.records, output.bytes) for output in mapped], observer)
    clock.lap("map")
    reduce_tasks = plan_reduce_tasks(mapped)
    phase = _reduce_phase(reduce_tasks)
    observer.on_phase(phase)
    reduced = reduce_all(context, reduce_tasks, scratch)
    _end(phase, [(output.groups, output.values) for output in reduced], observer)
    clock.lap("reduce")
    return result_of(len(files), mapped, reduced, clock.seconds, warnings.result().lines())


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

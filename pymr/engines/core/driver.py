"""A run on an external engine, from the driver's side: planned here, done there, committed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from pymr.engine.input.files import list_input_files
from pymr.engine.tasks import MapTask, plan_map_tasks
from pymr.engines.core.commit import committed
from pymr.engines.core.reduce_side import PartitionReport
from pymr.engines.core.run_watch import RunWatch
from pymr.engines.core.setup import write_setup
from pymr.runs.info import RunRequest, RunResult
from pymr.runs.outcome import (
    Stopwatch,
    check_bad_records,
    check_empty,
    planned_anew,
    result_of,
    task_bytes,
)
from pymr.runs.phases import Observer
from pymr.wire.run_warnings import WarningCollector


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """What an engine is to do: map tasks 0 to `map_tasks` - 1, then partitions 0 to `partitions` - 1.

    run_dir: see `setup`. input_bytes: of all map tasks. attempts_max: how often a task may be tried.
    grace_s: see RunRequest.
    """

    run_dir: str
    map_tasks: int
    partitions: int
    input_bytes: int
    attempts_max: int
    grace_s: float


class Engine(Protocol):
    """A connection to an external engine.

    name: for people. slots: how many tasks it does at once. is_local: it is on this machine, for this run.
    """

    name: str
    slots: int
    is_local: bool

    def run(self, plan: EnginePlan, watch: RunWatch) -> Sequence[PartitionReport]:
        """Do all tasks; the reports of those attempts that count. Calls `watch.look` now and then; when that
        or anything else raises, all tasks are cancelled first."""


def run_on(engine: Engine, request: RunRequest, scratch: str, observer: Observer) -> RunResult:
    """Run a job. request: its workers are the engine's slots.

    scratch: a folder that all workers can write to under the same path, on the file system of the output.
    Raises PymrError with what failed and where.
    """
    return planned_anew(
        request.job, scratch, observer, lambda folder: _run_once(engine, request, folder, observer)
    )


def _run_once(engine: Engine, request: RunRequest, run_dir: str, observer: Observer) -> RunResult:
    clock = Stopwatch()
    warnings = WarningCollector()
    files = list_input_files(request.input_dirs, warnings.add)
    tasks = plan_map_tasks(files, task_bytes(files, request.engine.split_bytes, request.workers))
    job = msgspec.structs.replace(request.job, hold_state=False)  # which needs a lasting cluster
    result = run_planned(engine, replace(request, job=job), run_dir, tasks, observer, clock)
    return replace(result, files=len(files), warnings=(*warnings.result().lines(), *result.warnings))


def run_planned(
    engine: Engine,
    request: RunRequest,
    run_dir: str,
    tasks: list[MapTask],
    observer: Observer,
    clock: Stopwatch | None = None,
) -> RunResult:
    """Run the map tasks of a plan, and all reduce tasks. run_dir: an empty folder; else as `run_on`.

    clock: has begun with the plan. Of the files, the result tells nothing.
    """
    clock = clock or Stopwatch()
    warnings = WarningCollector()
    write_setup(request, run_dir, tasks, request.partitions, is_local=engine.is_local)
    plan = EnginePlan(
        run_dir,
        len(tasks),
        request.partitions,
        sum(split.length for task in tasks for split in task.splits),
        request.job.max_attempts,
        request.grace_s,
    )
    clock.lap("plan")
    watch = RunWatch(run_dir, request.job.max_attempts, observer, clock)
    reports = engine.run(plan, watch)
    watch.finish()
    mapped, reduced = committed(reports, run_dir, plan.map_tasks, plan.partitions)
    check_bad_records(request.job, mapped)
    check_empty(request, mapped, warnings)
    return result_of(0, mapped, reduced, clock.seconds, warnings.result().lines())

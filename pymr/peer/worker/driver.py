"""Driver: sees a run through whose tasks an external engine does. All of its output goes into the attempt's
folder.

Runs in a worker process, whose pane shows what `pymr run --engine` shows. That the output counts is decided
by the commit of the attempt, as of any task: a driver that comes too late has made a folder that is removed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import msgspec

from pymr.base.durable import link_or_copy, make_folders, write_file
from pymr.base.errors import RetryableError, RunFailedError, UserFunctionError, disk_error
from pymr.base.faults import fault_point
from pymr.base.scratch_folder import ScratchFolder
from pymr.config.cluster import ClusterConfig
from pymr.engine.outputs import Part
from pymr.engine.plans import plan_size, read_plan_task
from pymr.engine.segments import BAD_RECORDS_FILE, write_reduce_index
from pymr.engine.staged_output import concatenate
from pymr.engine.tasks import MapTask, ReduceOutput, TaskWatch
from pymr.engines.core.attempts import UNFINISHED
from pymr.engines.core.backends import EngineAwayError, open_engine
from pymr.engines.core.contents import read_contents
from pymr.engines.core.driver import run_planned
from pymr.engines.core.setup import BAD_RECORDS
from pymr.jobs.job import MapReduceJob
from pymr.peer.attempts.attempts import commit_attempt
from pymr.peer.attempts.worker_protocol import DriverOrder
from pymr.peer.disk.bad_records import keep_list_of_failed
from pymr.peer.disk.content_notes import ContentNotes
from pymr.peer.disk.driver_outcomes import OUTCOME_NAME, driver_outcome
from pymr.peer.disk.paths import PeerPaths
from pymr.runs.display import PlainDisplay
from pymr.runs.info import Backend, RunRequest, RunResult
from pymr.runs.phases import Phase
from pymr.runs.request import configured_backend
from pymr.wire.outcomes import DriverOutcome, EnginePhase

_SCRATCH_NAME = "engine"


@dataclass(frozen=True, slots=True)
class DriverContext:
    """What a driver knows of its run. peer: which drives, data_dir: its folder, with the auxiliary data.

    projects_dir: the folder in which that of the job's project lies. partitions: of the output.
    """

    job: MapReduceJob
    config: ClusterConfig
    peer: str
    data_dir: str
    projects_dir: str
    partitions: int


def drive(context: DriverContext, order: DriverOrder, run_dir: str, watch: TaskWatch) -> DriverOutcome:
    """Have an engine do all tasks of a run; leaves the folder TASK-ATTEMPT in `run_dir`. A finished one is
    not done again.

    Raises StartError where the engine is not installed, RetryableError where it is not there; what failed in
    it, as `run_planned`.
    """

    def work(folder: str) -> None:
        bad_records_path = os.path.join(folder, BAD_RECORDS_FILE)
        with _scratch(context, folder) as scratch:
            tasks_dir = os.path.join(scratch, order.id.run_id, "tasks")  # which functions see as PYMR_RUN
            make_folders(tasks_dir)
            try:
                result = _run(context, order, scratch, tasks_dir, watch)
            except (UserFunctionError, RunFailedError) as error:
                with suppress(OSError):  # what has failed is told first
                    concatenate(_lists_of_bad_records(tasks_dir), bad_records_path)
                    keep_list_of_failed(run_dir, order.id.task, folder)
                if isinstance(error, RunFailedError):
                    raise
                # Too many bad records, which a next driver would find too.
                raise RunFailedError(str(error), kind=type(error).__name__) from error
            _note_contents(context, order.id.run_id, tasks_dir)
            parts = _take_parts(result, folder)
            concatenate(result.bad_records_paths, bad_records_path)
        output = ReduceOutput(folder, tuple(parts), result.groups, result.values, result.counters)
        info = write_reduce_index(folder, output)
        outcome = DriverOutcome(
            records=result.records,
            bytes=result.bytes,
            groups=result.groups,
            values=result.values,
            items=info.items,
            parts=len(parts),
            stored_bytes=info.stored_bytes,
            bad_records=result.bad_records,
            counters=info.counters,
        )
        write_file(os.path.join(folder, OUTCOME_NAME), msgspec.msgpack.encode(outcome))
        fault_point("attempt.after_write")

    watch.records = watch.groups = watch.phase = None
    return commit_attempt(order.id, run_dir, work, driver_outcome)


def _run(
    context: DriverContext, order: DriverOrder, scratch: str, tasks_dir: str, watch: TaskWatch
) -> RunResult:
    me = next(peer for peer in context.config.peers if peer.name == context.peer)
    backend = configured_backend(Backend(context.job.engine), context.config)
    with ExitStack() as until_done:
        try:
            engine = until_done.enter_context(open_engine(backend, workers=me.workers, directory=scratch))
        except EngineAwayError as error:  # it may be that of an attempt before, which has been lost
            raise RetryableError(str(error)) from error
        request = RunRequest(
            job=msgspec.structs.replace(context.job, partitions=context.partitions),
            input_dirs=context.job.input_dirs,
            projects_dir=context.projects_dir,
            data_dir=context.data_dir,
            output_dir="",
            workers=engine.slots,
            engine=context.config.engine,
            backend=backend,
            grace_s=context.config.scheduler.machine_grace_seconds,
        )
        tasks = _planned_tasks(order.plan_paths)
        return run_planned(engine, request, tasks_dir, tasks, _Pane(context, watch))


def _planned_tasks(paths: Sequence[str]) -> list[MapTask]:
    """The map tasks of all plans, numbered on from one to the next."""
    found: list[MapTask] = []
    for path in paths:
        for index in range(plan_size(path)):
            found.append(MapTask(len(found), read_plan_task(path, index).splits))
    return found


@contextmanager
def _scratch(context: DriverContext, folder: str) -> Iterator[str]:
    """A folder for the files of the run, gone at the end: one that the workers of the engine see.

    What drivers of this peer have left that were killed is cleared away; not those of other peers, as a lock
    on a folder of a network mount is known on its own machine only. Raises DiskError.
    """
    prefix = f".pymr-{context.config.name}+{context.peer}+"
    shared = getattr(context.config, f"engine_{context.job.engine}").folder
    parent = shared or os.path.join(folder, _SCRATCH_NAME)
    with ExitStack() as at_the_end:
        try:
            make_folders(parent)
            path = at_the_end.enter_context(ScratchFolder(parent, prefix)).path
        except OSError as error:
            raise disk_error("preparing", parent, error) from error
        yield path
    if shared is None:
        shutil.rmtree(parent, ignore_errors=True)


def _take_parts(result: RunResult, folder: str) -> list[Part]:
    """Put the parts of the run into the attempt's folder, in the order of their partitions."""
    taken = []
    for directory, parts in result.outputs:
        for part in parts:
            link_or_copy(os.path.join(directory, part.name), os.path.join(folder, part.name))
            taken.append(part)
    return taken


def _note_contents(context: DriverContext, run_id: str, tasks_dir: str) -> None:
    """Put what compressed files hold where planning finds it: before the attempt can count."""
    if not context.job.hold_state:
        return
    notes = ContentNotes(PeerPaths(context.data_dir).content_notes(context.job.job_name, run_id))
    for file, fingerprint in read_contents(tasks_dir):
        notes.add(file, fingerprint)
    notes.flush()


def _lists_of_bad_records(tasks_dir: str) -> list[str]:
    """Of each map task one, in their order: some may have been done twice."""
    folder = os.path.join(tasks_dir, BAD_RECORDS)
    names = sorted(name for name in os.listdir(folder) if not name.endswith(UNFINISHED))
    by_task = {name.rpartition("-")[0]: os.path.join(folder, name) for name in names}
    return list(by_task.values())


class _Pane(PlainDisplay):
    """Shows the run in the worker's pane, and how far it is to who watches the worker."""

    def __init__(self, context: DriverContext, watch: TaskWatch) -> None:
        super().__init__(context.job.job_name, sys.stdout)
        self._watch = watch
        self._mapped = (0, 0)

    def on_phase(self, phase: Phase) -> None:
        super().on_phase(phase)
        if phase.name == "map":
            self._mapped = phase.units
        self._watch.moved = phase.units
        self._watch.phase = EnginePhase(
            "map" if phase.name == "map" else "reduce", phase.done, phase.total, self._mapped
        )

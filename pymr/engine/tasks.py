"""Tasks: the stages put together, as what a worker does for a run: one map task, or one reduce task."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import orjson

from pymr.base.counters import take_counts
from pymr.base.errors import (
    InputError,
    OutputError,
    TaskOverError,
    UserFunctionError,
    disk_error,
)
from pymr.base.forks import end_fork, ending_forks
from pymr.base.memory import MemoryBudget
from pymr.config.cluster import EngineConfig
from pymr.engine.disk.blocks import SortedRun
from pymr.engine.disk.keys import show
from pymr.engine.disk.merge import fan_in_within, merge_runs
from pymr.engine.disk_sort import assemble_columns
from pymr.engine.failures import (
    TRACEBACK_CHARACTERS_MAX,
    describe,
    item_failure,
    name_of,
    show_text,
)
from pymr.engine.input.files import InputFile, Split, group_splits, plan_splits
from pymr.engine.input.records import OnContent, RecordReader
from pymr.engine.mapper import first_checked, map_failures, map_lines, map_lines_tolerantly
from pymr.engine.outputs import OutputWriter, Part, encode_lines
from pymr.engine.reducer import (
    GroupReader,
    ReduceFunction,
    reduce_failures,
    reduce_groups,
    with_disk_output,
)
from pymr.engine.shuffler import Shuffler
from pymr.jobs.auxiliary_json import parse_auxiliary
from pymr.jobs.job import MapReduceJob
from pymr.projects.paths import shown_traceback
from pymr.projects.project import ProjectFunctions
from pymr.wire.outcomes import EnginePhase

COMPRESSIONS = {False: "none", True: "gzip", "gzip": "gzip", "zstd": "zstd"}
"""What the job field `compress` means."""


PORTION_BYTES_MIN = 1 << 20
_PORTIONS_PER_BOUND = 16
"""At most this part of the memory bound of input is read between two looks at the memory, whatever the lines'
lengths were before."""

_LINE_COPIES = 2
"""A long line is read as bytes and decoded as text: so many times its bytes at once."""


@dataclass(frozen=True, slots=True)
class JobContext:
    """All that the tasks of a run have in common. memory_bytes: the bound of one worker's process.

    lines_max: a map task ends after so many lines; None for all of them.
    """

    job: MapReduceJob
    functions: ProjectFunctions
    engine: EngineConfig
    memory_bytes: int
    partitions: int
    auxiliary_mapper: Any = None
    auxiliary_reducer: Any = None
    lines_max: int | None = None


@dataclass(frozen=True, slots=True)
class MapTask:
    """Splits to be mapped. index: its place among the map tasks, which is that of its input in the whole."""

    index: int
    splits: tuple[Split, ...]


@dataclass(frozen=True, slots=True)
class ReduceTask:
    """A partition to be reduced. runs: all of its runs, in the order of map tasks and of their writing."""

    partition: int
    runs: tuple[SortedRun, ...]


@dataclass(frozen=True, slots=True)
class MapOutput:
    """What a map task left in its folder, and what it counted.

    bad_records_path: of their list, if any. digest: of the content of the runs, see `Shuffler.digest`.
    """

    runs: tuple[SortedRun, ...]
    records: int
    bytes: int
    counters: dict[str, float]
    bad_records: int = 0
    bad_records_path: str | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ReduceOutput:
    """The part files a reduce task left in `directory`, and what it counted. values: items that went in."""

    directory: str
    parts: tuple[Part, ...]
    groups: int
    values: int
    counters: dict[str, float]


@dataclass(slots=True)
class TaskWatch:
    """A view of the running task for progress reports, also from another thread."""

    records: RecordReader | None = field(default=None)
    groups: GroupReader | None = field(default=None)
    ticks: int = 0  # blocks merged, which moves also where no group is complete yet
    moved: tuple[int, int] = (0, 0)  # files and bytes, of a task that is neither map nor reduce
    phase: EnginePhase | None = None  # of a driver, whose `moved` is that of the phase
    is_over: bool = False  # nobody waits for the task any more

    def tick(self) -> None:
        """Note progress other than a record or group. Raises as `check`."""
        self.ticks += 1
        self.check()

    def check(self) -> None:
        """Raise TaskOverError where nobody waits for the task any more."""
        if self.is_over:
            raise TaskOverError("nobody waits for this task any more: its run is over")

    def progress(self) -> tuple[int, int]:
        """(records read, bytes read) of a map task, (groups reduced, values reduced) of a reduce task; of
        any other, (files, bytes)."""
        if self.records is not None:
            return self.records.records_read, self.records.bytes_read
        if self.groups is not None:
            return self.groups.groups_read, self.groups.values_read
        return self.moved


@ending_forks()
def run_map_task(
    context: JobContext,
    task: MapTask,
    directory: str,
    watch: TaskWatch,
    on_content: OnContent | None = None,
) -> MapOutput:
    """Map the splits of a task into sorted runs in `directory`, which exists and is the task's own.

    on_content: see RecordReader.
    Raises InputError, RecordError, UserFunctionError naming file and byte; DiskError.
    """
    job, functions = context.job, context.functions
    reader = watch.records = RecordReader(
        task.splits,
        encoding_errors=job.encoding_errors,
        line_bytes_max=context.engine.line_bytes_max,
        downsample=job.downsample,
        seed=context.engine.downsample_seed,
        lines_max=context.lines_max,
        whole_files=job.hold_state,  # else what was appended would count again with all that was read now
        on_content=on_content,
        on_chunk=watch.check,
    )
    shuffler = Shuffler(
        os.path.join(directory, "runs"),
        context.partitions,
        MemoryBudget(context.memory_bytes),
        max_items=job.max_number_dumped_items_shuffler,
        combine=functions.combine,
        auxiliary_data=context.auxiliary_reducer,
        block_codec=context.engine.block_codec,
        block_bytes=context.engine.block_bytes,
    )
    bad_records = BadRecords(os.path.join(directory, "bad-records.jsonl"), reader, context)
    take_counts()
    with map_failures(functions.map, reader, context.auxiliary_mapper):
        for lines in reader.portions(max(context.memory_bytes // _PORTIONS_PER_BOUND, PORTION_BYTES_MIN)):
            if job.max_bad_records:
                items = map_lines_tolerantly(functions.map, lines, context.auxiliary_mapper, bad_records.add)
            else:
                items = map_lines(functions.map, lines, context.auxiliary_mapper)
            shuffler.extend(chain(first_checked(items), items))
            shuffler.make_room(_LINE_COPIES * 2 * reader.line_bytes)
        runs = shuffler.close()
    return MapOutput(
        tuple(runs),
        reader.records_read,
        reader.bytes_read,
        take_counts(),
        bad_records.count,
        bad_records.path if bad_records.count else None,
        shuffler.digest,
    )


@ending_forks()
def run_reduce_task(context: JobContext, task: ReduceTask, directory: str, watch: TaskWatch) -> ReduceOutput:
    """Merge the runs of a partition and reduce its groups into part files in `directory`.

    Raises CorruptBlockError, RecordError, UserFunctionError naming the key; OutputError, DiskError.
    """
    job = context.job
    writer = OutputWriter(
        directory,
        task.partition,
        max_items=job.max_number_dumped_items_reducer,
        compression=COMPRESSIONS[job.compress],
        nan=job.nan,
    )
    function = context.functions.reduce
    if job.disk_based_output:
        function = with_disk_output(function, directory)
    reader = watch.groups = _read_groups(context, task, directory, watch)
    take_counts()

    def reread() -> GroupReader:
        return _read_groups(context, task, directory, TaskWatch())

    try:
        with reduce_failures(function, reader, reread, context.auxiliary_reducer):
            writer.write_portions(
                reduce_groups(function, groups, context.auxiliary_reducer) for groups in reader.portions()
            )
    except OutputError as error:
        raise _bad_output(function, reread(), context, error) from error
    return ReduceOutput(directory, tuple(writer.parts), reader.groups_read, reader.values_read, take_counts())


def _read_groups(context: JobContext, task: ReduceTask, directory: str, watch: TaskWatch) -> GroupReader:
    job, engine = context.job, context.engine
    memory = MemoryBudget(context.memory_bytes)
    blocks = merge_runs(
        task.runs,
        os.path.join(directory, "merged"),
        fan_in_max=fan_in_within(context.memory_bytes, engine.block_bytes, engine.merge_fan_in_max),
        block_codec=engine.block_codec,
        block_bytes=engine.block_bytes,
        memory_bytes=context.memory_bytes,
        on_block=watch.tick,
    )
    return GroupReader(
        assemble_columns(blocks, memory, directory),
        memory,
        directory,
        sort_values=job.sort_values,
        disk_based=job.disk_based_input,
    )


def _bad_output(
    function: ReduceFunction, reader: GroupReader, context: JobContext, error: OutputError
) -> OutputError:
    """The key whose result cannot be written, which was found in a batch of many: by reducing once more."""
    for group in reader.groups():
        try:
            encode_lines(list(function(group, context.auxiliary_reducer)), context.job.nan)
        except OutputError as found:
            return OutputError(item_failure("reduce", function, f"the key {show(group.key)}", found))
        except Exception:
            break
    return OutputError(f"reduce function {name_of(function)}: {error}")


class BadRecords:
    """Collects the records that `max_bad_records` lets pass, in a file beside the task's runs."""

    def __init__(self, path: str, reader: RecordReader, context: JobContext) -> None:
        self.path = path
        self.count = 0
        self._reader = reader
        self._context = context
        self._pid = os.getpid()

    def add(self, error: Exception) -> None:
        """Note the record the reader is at. Raises UserFunctionError when it is one too many."""
        end_fork(self._pid)
        self.count += 1
        location = self._reader.location()
        text = shown_traceback("".join(traceback.format_exception(error)))
        entry = {
            "file": _encodable(location.path),
            "offset": location.offset,
            "line": _encodable(show_text(location.line)),
            "error": _encodable(describe(error)),
            "traceback": _encodable(show_text(text, TRACEBACK_CHARACTERS_MAX)),
        }
        try:
            with open(self.path, "ab") as file:
                file.write(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))
        except OSError as refusal:
            raise disk_error("writing", self.path, refusal) from refusal
        job, function = self._context.job, self._context.functions.map
        if self.count > job.max_bad_records:
            raise UserFunctionError(
                f"map function {name_of(function)} raised on more than max_bad_records = "
                f"{job.max_bad_records} records; the last one: {describe(error)}\n  at {location}"
            ) from error


def _encodable(text: str) -> str:
    """A text that has a UTF-8 form, for file names and messages that may have none."""
    return text.encode("utf-8", "backslashreplace").decode()


def load_auxiliary(data_dir: str, name: str | None) -> Any:
    """What `auxiliary/NAME.data` (JSON) below `data_dir` holds; None without a name. Raises InputError."""
    if name is None:
        return None
    path = os.path.join(data_dir, "auxiliary", f"{name}.data")
    try:
        with open(path, "rb") as file:
            return parse_auxiliary(file.read())
    except OSError as error:
        raise InputError(f"the auxiliary data {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"the auxiliary data {path} is no JSON: {error}") from error


def plan_map_tasks(files: Sequence[InputFile], task_bytes: int) -> list[MapTask]:
    """Map tasks of about `task_bytes` each, in the order of the files and of the lines in them."""
    groups = group_splits(plan_splits(files, task_bytes), task_bytes)
    return [MapTask(index, splits) for index, splits in enumerate(groups)]


def plan_reduce_tasks(outputs: Sequence[MapOutput]) -> list[ReduceTask]:
    """A reduce task for each partition that has items. outputs: in the order of the map tasks."""
    runs: dict[int, list[SortedRun]] = {}
    for output in outputs:
        for run in output.runs:
            runs.setdefault(run.partition, []).append(run)
    return [ReduceTask(partition, tuple(runs[partition])) for partition in sorted(runs)]

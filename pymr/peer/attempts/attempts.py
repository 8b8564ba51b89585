"""Attempts: a task done so that it counts: in a folder that gets its name when all in it is on the disk.

Runs in the worker process. The folder is the whole result; what is returned says again what its index says.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import TypeVar

import msgpack
import orjson

from pymr.base.durable import make_folders, replace_file, sync_file, sync_folder, write_file
from pymr.base.errors import (
    CorruptBlockError,
    DamagedFileError,
    DiskError,
    MissingSegmentError,
    PymrError,
    UserFunctionError,
    disk_error,
)
from pymr.base.faults import fault_point
from pymr.engine.disk.blocks import SortedRun
from pymr.engine.plans import read_plan_task
from pymr.engine.segments import (
    BAD_RECORDS_FILE,
    INDEX_NAME,
    RUNS_NAME,
    read_index,
    read_reduce_index,
    write_index,
    write_reduce_index,
)
from pymr.engine.tasks import JobContext, ReduceTask, TaskWatch, run_map_task, run_reduce_task
from pymr.peer.disk.bad_records import keep_list_of_failed
from pymr.peer.disk.content_notes import ContentNotes
from pymr.peer.disk.paths import HIDDEN_PREFIX, PeerPaths, attempt_of, checked_folder
from pymr.wire.outcomes import AttemptId, DriverOutcome, MapOutcome, ReduceOutcome, StepOutcome
from pymr.wire.protocol import cut_text

FACTS_SUFFIX = ".facts"
_BAD_RECORD_CHARACTERS_MAX = 4_000

RunFacts = tuple[int, int, int]
"""Of a run in a fetched segment: its length in bytes, its keys, its values."""


@dataclass(frozen=True, slots=True)
class LocalSegment:
    """A partition's part of a map output that lies on this machine: the folder of its attempt."""

    attempt_dir: str


@dataclass(frozen=True, slots=True)
class StagedSegment:
    """A fetched copy of one: the bytes of all its runs one behind another; `write_facts` has told of them.

    path: its name is that of the attempt's folder, a dot, and the partition.
    """

    path: str


Segment = LocalSegment | StagedSegment

_O = TypeVar("_O", MapOutcome, ReduceOutcome, StepOutcome, DriverOutcome)
_LOST = (errno.ENOENT, errno.ENOTDIR, errno.EIO, errno.ESTALE)


def do_map(
    context: JobContext, id: AttemptId, plan_path: str, plan_index: int, run_dir: str, watch: TaskWatch
) -> MapOutcome:
    """Do a map task of a plan; leaves the folder TASK-ATTEMPT in `run_dir`. A finished one is not done again.

    Raises as `run_map_task` and `read_plan_task`; then nothing is left of the attempt but the list of the bad
    records, where these were too many; and the notes of what was in compressed files, if the job has to know
    them again.
    """
    pid = os.getpid()
    job = context.job
    paths = PeerPaths(os.path.dirname(os.path.dirname(run_dir)))
    notes = ContentNotes(paths.content_notes(job.job_name, id.run_id)) if job.hold_state else None

    def work(folder: str) -> None:
        try:
            task = read_plan_task(plan_path, plan_index)
            output = run_map_task(context, task, folder, watch, notes.add if notes else None)
        except UserFunctionError:
            if os.getpid() == pid:  # else it is that of whoever forked
                keep_list_of_failed(run_dir, id.task, folder)
            raise
        if notes is not None:
            notes.flush()  # before the attempt can count: planning finds the notes of all that does
        runs_path = os.path.join(folder, RUNS_NAME)
        if not output.runs:
            write_file(runs_path, b"")
        write_index(folder, output)
        fault_point("attempt.after_write")
        sync_file(runs_path)
        if output.bad_records_path:
            sync_file(output.bad_records_path)
        _keep_only(folder, {RUNS_NAME, INDEX_NAME, BAD_RECORDS_FILE})

    watch.records = watch.groups = None
    return commit_attempt(id, run_dir, work, map_outcome)


def do_reduce(
    context: JobContext, id: AttemptId, partition: int, sources_path: str, run_dir: str, watch: TaskWatch
) -> ReduceOutcome:
    """Reduce a partition; leaves the folder TASK-ATTEMPT in `run_dir`. A finished one is not done again.

    sources_path: what `write_sources` wrote. Until the first group is reduced, the watch shows (0, 0).
    Raises MissingSegmentError naming the map attempt whose output is gone or damaged, else as
    `run_reduce_task`; then nothing is left of the attempt.
    """

    def work(folder: str) -> None:
        segments = read_sources(sources_path)
        owners = {_data_path(segment): segment for segment in segments}
        runs = [run for segment in segments for run in _runs_of(id.run_id, segment, partition)]
        fault_point("reduce.begin")
        try:
            output = run_reduce_task(context, ReduceTask(partition, tuple(runs)), folder, watch)
        except (CorruptBlockError, DiskError) as error:
            if error.path in owners and _is_lost(error):
                raise _missing(id.run_id, owners[error.path], error) from error
            raise
        write_reduce_index(folder, output)
        fault_point("attempt.after_write")
        _keep_only(folder, {INDEX_NAME, *(part.name for part in output.parts)})

    watch.records = watch.groups = None
    return commit_attempt(id, run_dir, work, reduce_outcome)


def map_outcome(attempt_dir: str) -> MapOutcome:
    """What a finished map attempt is reported with. Raises as `read_index`."""
    info = read_index(attempt_dir).info
    return MapOutcome(**asdict(info), bad_record=_first_bad_record(attempt_dir) if info.bad_records else "")


def _first_bad_record(attempt_dir: str) -> str:
    """What the list of bad records begins with, in words; "" where it cannot be read."""
    try:
        with open(os.path.join(attempt_dir, BAD_RECORDS_FILE), "rb") as file:
            first = orjson.loads(file.readline())
        return cut_text(
            f"{first['error']}\n  at {first['file']}, byte {first['offset']:,}: {first['line']!r}",
            _BAD_RECORD_CHARACTERS_MAX,
        )
    except (OSError, ValueError, KeyError):
        return ""


def reduce_outcome(attempt_dir: str) -> ReduceOutcome:
    """What a finished reduce attempt is reported with. Raises as `read_reduce_index`."""
    index = read_reduce_index(attempt_dir)
    info = index.info
    return ReduceOutcome(
        groups=info.groups,
        values=info.values,
        items=info.items,
        parts=len(index.parts),
        stored_bytes=info.stored_bytes,
        counters=info.counters,
    )


def write_sources(path: str, segments: Sequence[Segment]) -> None:
    """Write down what a reduce task is to read: in the order of the map tasks. Raises DiskError."""
    entries = [
        (0, os.fsencode(segment.attempt_dir))
        if isinstance(segment, LocalSegment)
        else (1, os.fsencode(segment.path))
        for segment in segments
    ]
    try:
        replace_file(path, msgpack.packb(entries))
    except OSError as error:
        raise disk_error("writing", path, error) from error


def read_sources(path: str) -> list[Segment]:
    """What `write_sources` wrote. Raises DamagedFileError, DiskError."""
    try:
        with open(path, "rb") as file:
            entries = msgpack.unpackb(file.read())
        kinds = (LocalSegment, StagedSegment)
        return [kinds[kind](os.fsdecode(name)) for kind, name in entries]
    except OSError as error:
        raise disk_error("reading", path, error) from error
    except (ValueError, TypeError, IndexError) as error:
        raise DamagedFileError(f"the list of sources {path} is damaged: {error!r}") from error


def write_facts(segment_path: str, runs: Sequence[RunFacts]) -> None:
    """Tell of the runs in a fetched segment; it counts as fetched from then on. Raises OSError.

    The segment's own bytes are on the disk before.
    """
    replace_file(segment_path + FACTS_SUFFIX, msgpack.packb([list(info) for info in runs]))


def commit_attempt(
    id: AttemptId, run_dir: str, work: Callable[[str], None], outcome_of: Callable[[str], _O]
) -> _O:
    """Let `work` fill the attempt's folder, and give that its name when all of it is on the disk.

    outcome_of: reads from the folder how it went. A finished attempt that is whole is not done again.
    Raises what `work` raises, and DiskError; then nothing is left of the attempt.
    """
    finished = os.path.join(run_dir, checked_folder(id.folder))
    unfinished = os.path.join(run_dir, HIDDEN_PREFIX + id.folder)
    try:
        make_folders(run_dir)
        if not _is_finished(finished, outcome_of):
            _remove(finished)
            _remove(unfinished)
            fault_point("attempt.begin")
            os.mkdir(unfinished)
            with _removed_on_failure(unfinished, finished):
                pid = os.getpid()
                work(unfinished)
                if os.getpid() != pid:  # a fork that a function made and did not end
                    os._exit(0)
                sync_folder(unfinished)
                fault_point("attempt.before_rename")
                os.rename(unfinished, finished)
                fault_point("commit.after_rename")
                sync_folder(run_dir)
                return outcome_of(finished)
        sync_folder(run_dir)  # whoever finished it may have been killed before that
        return outcome_of(finished)
    except OSError as error:
        raise disk_error("writing", finished, error) from error


def _is_finished(folder: str, outcome_of: Callable[[str], _O]) -> bool:
    try:
        outcome_of(folder)
    except (FileNotFoundError, NotADirectoryError, DamagedFileError):
        return False
    return True


@contextmanager
def _removed_on_failure(*folders: str) -> Iterator[None]:
    """Remove the folders where what is done in here fails: an attempt that failed leaves nothing."""
    pid = os.getpid()
    try:
        yield
    except BaseException:
        if os.getpid() != pid:  # they are not those of a fork
            os._exit(0)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _remove(folder: str) -> None:
    if os.path.lexists(folder):
        shutil.rmtree(folder)


def _keep_only(folder: str, names: set[str]) -> None:
    """Remove what was only needed on the way, such as the passes of a merge."""
    for entry in list(os.scandir(folder)):
        if entry.name not in names:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)


def _runs_of(run_id: str, segment: Segment, partition: int) -> tuple[SortedRun, ...]:
    """The runs of a partition in a map output. Raises MissingSegmentError, DiskError."""
    try:
        if isinstance(segment, LocalSegment):
            return read_index(segment.attempt_dir).runs(partition)
        return _read_staged(segment.path, partition)
    except DamagedFileError as error:
        raise _missing(run_id, segment, error) from error
    except OSError as error:
        refusal = disk_error("reading", _data_path(segment), error)
        raise (_missing(run_id, segment, refusal) if error.errno in _LOST else refusal) from error


def _read_staged(path: str, partition: int) -> tuple[SortedRun, ...]:
    with open(path + FACTS_SUFFIX, "rb") as file:
        data = file.read()
    try:
        info: list[RunFacts] = [(length, keys, values) for length, keys, values in msgpack.unpackb(data)]
        ends = [0, *accumulate(length for length, _, _ in info)]
    except (ValueError, TypeError) as error:
        raise DamagedFileError(f"{path}{FACTS_SUFFIX} is damaged: {error!r}") from error
    size = os.path.getsize(path) if info else 0
    if size != ends[-1]:
        raise DamagedFileError(f"{path} is damaged: it has {size:,} bytes of {ends[-1]:,}")
    return tuple(
        SortedRun(path, partition, offset, length, keys, values)
        for offset, (length, keys, values) in zip(ends, info, strict=False)
    )


def _data_path(segment: Segment) -> str:
    """The file in which its blocks lie."""
    return os.path.join(segment.attempt_dir, RUNS_NAME) if isinstance(segment, LocalSegment) else segment.path


def _is_lost(error: PymrError) -> bool:
    """Whether the bytes themselves are gone, so that reading once more is of no use."""
    cause = error.__cause__
    return isinstance(error, CorruptBlockError) or (isinstance(cause, OSError) and cause.errno in _LOST)


def _missing(run_id: str, segment: Segment, error: PymrError) -> MissingSegmentError:
    folder = os.path.basename(os.path.normpath(_attempt_path(segment)))
    missing = attempt_of(run_id, folder)
    task, attempt = (missing.task, missing.attempt) if missing else (folder, "")
    message = f"the output of {task} (attempt {attempt}) cannot be read: {error}"
    return MissingSegmentError(message, task, attempt, _data_path(segment), missing)


def _attempt_path(segment: Segment) -> str:
    """A path that ends in the name of the attempt's folder."""
    return segment.attempt_dir if isinstance(segment, LocalSegment) else segment.path.rpartition(".")[0]

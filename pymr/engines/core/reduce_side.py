"""The reduce side: the pieces of a partition become local files, and these are reduced into a folder for each
attempt in the run's folder. Which attempts count is the driver's to say (`commit`)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import uuid4

import msgspec
from xxhash import xxh3_64_hexdigest

from pymr.base.durable import sync_folder
from pymr.base.errors import DamagedFileError, disk_error
from pymr.engine.disk.blocks import SortedRun
from pymr.engine.segments import carried_counters
from pymr.engine.tasks import (
    JobContext,
    MapOutput,
    ReduceOutput,
    ReduceTask,
    TaskWatch,
    run_reduce_task,
)
from pymr.engines.core.attempts import attempt, local_folder
from pymr.engines.core.map_side import CLOSING, Piece, SegmentInfo, task_name
from pymr.engines.core.setup import ATTEMPTS
from pymr.wire.outcomes import INCOMPARABLE


@dataclass(frozen=True, slots=True)
class PartitionReport:
    """What a reduce attempt made. mapped: of each map task, in their order; with partition 0 only.

    digest: of what all map tasks have put out, equal in all partitions of a run; "" where it would not be.
    """

    partition: int
    output: ReduceOutput
    digest: str
    mapped: tuple[MapOutput, ...]


def reduce_pieces(run_dir: str, partition: int, pieces: Iterable[Piece]) -> PartitionReport:
    """Reduce a partition. pieces: all of it, in any order; they are taken one by one.

    Memory: a piece, then the bound of the task. Raises AttemptFailedError, DiskError; what `pieces` raises.
    """
    name = task_name("reduce", partition)
    with attempt(run_dir, name) as (setup, _, _):
        pass  # the source of the pieces may have to redo a map task in this very process
    with local_folder(run_dir, setup) as folder:
        segments = _write(pieces, folder)
        with attempt(run_dir, name) as (_, context, watch):
            runs = _runs(segments, folder, partition, setup.map_tasks)
            output = _reduce(context, ReduceTask(partition, runs), run_dir, watch)
    digests = [info.digest for _, info in sorted(segments.items())]
    is_comparable = not any(digest.startswith(INCOMPARABLE) for digest in digests)
    return PartitionReport(
        partition,
        output,
        xxh3_64_hexdigest("\n".join(digests).encode()) if is_comparable else "",
        tuple(MapOutput(**info.output) for _, info in sorted(segments.items()) if info.output is not None),
    )


def _write(pieces: Iterable[Piece], folder: str) -> dict[int, SegmentInfo]:
    """Put the pieces where they belong in a file for each map task; the facts of these."""
    segments: dict[int, SegmentInfo] = {}
    for index, offset, data in pieces:
        if offset == CLOSING:
            segments[index] = msgspec.msgpack.decode(data, type=SegmentInfo)
            continue
        path = _path(folder, index)
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                written = os.pwrite(descriptor, data, offset)
                if written != len(data):
                    os.pwrite(descriptor, data[written:], offset + written)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise disk_error("writing", path, error) from error
    return segments


def _runs(
    segments: dict[int, SegmentInfo], folder: str, partition: int, map_tasks: int
) -> tuple[SortedRun, ...]:
    """All runs of the partition, in the order of map tasks and of their writing.

    Raises DamagedFileError where a piece has not come.
    """
    runs: list[SortedRun] = []
    for index in range(map_tasks):
        path = _path(folder, index)
        offset = 0
        if index not in segments:
            raise DamagedFileError(f"{task_name('map', index)} has sent partition {partition} nothing")
        for length, keys, values in segments[index].runs:
            runs.append(SortedRun(path, partition, offset, length, keys, values))
            offset += length
        found = os.path.getsize(path) if os.path.exists(path) else 0
        if found != offset:
            raise DamagedFileError(
                f"of what {task_name('map', index)} has sent partition {partition}, {found:,} bytes of "
                f"{offset:,} have come"
            )
    return tuple(runs)


def _reduce(context: JobContext, task: ReduceTask, run_dir: str, watch: TaskWatch) -> ReduceOutput:
    folder = os.path.join(run_dir, ATTEMPTS, f"{task.partition:05d}-{uuid4().hex}")
    try:
        os.mkdir(folder)  # not those above: of a run that has ended, an attempt makes nothing more
        if not task.runs:
            return ReduceOutput(folder, (), 0, 0, {})
        output = run_reduce_task(context, task, folder, watch)
        parts = {part.name for part in output.parts}
        for entry in list(os.scandir(folder)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            elif entry.name not in parts:
                os.unlink(entry.path)
        sync_folder(folder)
        return ReduceOutput(
            folder, output.parts, output.groups, output.values, carried_counters(output.counters)
        )
    except OSError as error:
        raise disk_error("writing", folder, error) from error


def _path(folder: str, index: int) -> str:
    return os.path.join(folder, task_name("map", index))

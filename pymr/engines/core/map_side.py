"""The map side: a map task becomes a stream of pieces, each for one partition, which the engine shuffles."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from typing import Any
from uuid import uuid4

import msgspec

from pymr.base.errors import DiskError, UserFunctionError, disk_error
from pymr.engine.disk.blocks import SortedRun
from pymr.engine.plans import read_plan_task
from pymr.engine.segments import BAD_RECORDS_FILE, carried_counters
from pymr.engine.tasks import MapOutput, run_map_task
from pymr.engines.core.attempts import UNFINISHED, attempt, local_folder
from pymr.engines.core.contents import FoundContent, write_contents
from pymr.engines.core.setup import BAD_RECORDS, PLAN_NAME

PIECE_BYTES_MAX = 1 << 20
"""Most bytes of a piece. Larger: fewer calls; a worker holds several of them at once."""

CLOSING = -1

Piece = tuple[int, int, bytes]
"""(map task, offset, bytes of its runs of one partition from there on), in any order. Of offset CLOSING: the
SegmentFacts that tell what belongs there, one for each map task and partition."""

RunFacts = tuple[int, int, int]
"""Of a run: its length in bytes, its keys, its values."""


class SegmentInfo(msgspec.Struct, frozen=True, array_like=True):
    """A partition's part of a map output: its runs, one behind another, in the order of their writing.

    digest: of the whole map output. output: fields of a MapOutput, without its runs; with partition 0 only.
    """

    digest: str
    runs: tuple[RunFacts, ...]
    output: dict[str, Any] | None = None


def task_name(kind: str, index: int) -> str:
    """The name of a task in messages: `map-00012`."""
    return f"{kind}-{index:05d}"


def map_pieces(run_dir: str, index: int) -> Iterator[tuple[int, Piece]]:
    """Do a map task; its output as (partition, piece), ascending by partition.

    All of it is on this machine's disk when the first piece comes, and until the last one is taken.
    Memory: the bound of the task, then a piece. Raises AttemptFailedError, DiskError.
    """
    with ExitStack() as until_taken:
        with attempt(run_dir, task_name("map", index)) as (setup, context, watch):
            folder = until_taken.enter_context(local_folder(run_dir, setup))
            task = read_plan_task(os.path.join(run_dir, PLAN_NAME), index)
            found: list[FoundContent] = []
            note = (lambda *content: found.append(content)) if context.job.hold_state else None
            try:
                output = run_map_task(context, task, folder, watch, note)
            except UserFunctionError:
                with suppress(DiskError):  # the first failure is reported
                    _keep_bad_records(os.path.join(folder, BAD_RECORDS_FILE), run_dir, index)
                raise
            write_contents(run_dir, task_name("map", index), found)
            info = _facts_of(output, run_dir, index)
        runs: dict[int, list[SortedRun]] = {}
        for run in output.runs:
            runs.setdefault(run.partition, []).append(run)
        for partition in range(setup.partitions):
            yield from _segment(partition, index, runs.get(partition, ()), info)


def map_output_in(piece: Piece) -> MapOutput | None:
    """The facts of a map task that a piece brings, if it does: one of each map task."""
    if piece[1] != CLOSING:
        return None
    output = msgspec.msgpack.decode(piece[2], type=SegmentInfo).output
    return MapOutput(**output) if output is not None else None


def _facts_of(output: MapOutput, run_dir: str, index: int) -> MapOutput:
    """A map task's report to the driver, which reads the list of bad records in the run's folder."""
    path = output.bad_records_path
    name = None if path is None else _keep_bad_records(path, run_dir, index)
    return replace(output, runs=(), bad_records_path=name, counters=carried_counters(output.counters))


def _keep_bad_records(list_path: str, run_dir: str, index: int) -> str:
    """Put the list of a map task, if it has one, into the run's folder; its name there. Raises DiskError."""
    name = f"{task_name('map', index)}-{uuid4().hex}.jsonl"
    path = os.path.join(run_dir, BAD_RECORDS, name)
    try:
        if os.path.exists(list_path):
            shutil.copyfile(list_path, path + UNFINISHED)
            os.rename(path + UNFINISHED, path)
    except OSError as error:
        raise disk_error("writing", path, error) from error
    return name


def _segment(
    partition: int, index: int, runs: Sequence[SortedRun], output: MapOutput
) -> Iterator[tuple[int, Piece]]:
    offset = 0
    for run in runs:
        for data in _read(run):
            yield partition, (index, offset, data)
            offset += len(data)
    info = SegmentInfo(
        output.digest,
        tuple((run.length, run.keys, run.values) for run in runs),
        asdict(output) if partition == 0 else None,
    )
    yield partition, (index, CLOSING, msgspec.msgpack.encode(info))


def _read(run: SortedRun) -> Iterator[bytes]:
    try:
        with open(run.path, "rb", buffering=0) as file:
            file.seek(run.offset)
            left = run.length
            while left:
                data = file.read(min(left, PIECE_BYTES_MAX))
                if not data:
                    raise OSError(0, f"it is cut short, by {left:,} bytes")
                left -= len(data)
                yield data
    except OSError as error:
        raise disk_error("reading", run.path, error) from error

"""What tests of the engine draw from, build with, and compare with."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from hypothesis import strategies as st
from valid_jobs import MAPREDUCE

from pymr.base.memory import MemoryBudget
from pymr.config.cluster import EngineConfig
from pymr.engine.disk.blocks import Block, BlockWriter, SortedRun, read_blocks
from pymr.engine.disk.keys import sort_keys
from pymr.engine.input.files import InputFile, Split, list_input_files, plan_splits
from pymr.engine.input.records import RecordReader
from pymr.engine.tasks import JobContext, ReduceOutput
from pymr.jobs.job import parse_job
from pymr.projects.project import ProjectFunctions

Item = tuple[Any, Any]
Groups = list[tuple[Any, list[Any]]]

int64s = st.integers(-(1 << 63), (1 << 64) - 1)
finite_or_infinite = st.floats(allow_nan=False)

# Few and close together, so that equal keys of different types, and keys that are nearly equal, meet.
numbers = st.sampled_from([0, 1, 2, -1, 0.0, -0.0, 1.0, 0.5, True, False, 2**53, 2.0**53, 2**53 + 1]) | int64s
scalar_keys = st.none() | numbers | finite_or_infinite | st.text(max_size=4) | st.binary(max_size=4)
keys = st.recursive(scalar_keys, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)
few_keys = st.sampled_from(
    [None, True, 1, 1.0, 0, -0.0, 0.5, "", "a", "ab", b"", b"a", (), (1,), ("a", None)]
)
comparable_keys = st.integers(0, 30) | st.integers(0, 3)

scalars = st.none() | st.booleans() | int64s | st.floats() | st.text(max_size=8) | st.binary(max_size=8)
dict_keys = st.none() | st.booleans() | int64s | st.text(max_size=4) | st.tuples(st.integers(0, 9))
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(dict_keys, inner, max_size=3)
    ),
    max_leaves=6,
)


def carried(value: Any) -> Any:
    """What a value is once it has been through a block: sequences are tuples."""
    if isinstance(value, list | tuple):
        return tuple(map(carried, value))
    if isinstance(value, dict):
        return {carried(key): carried(held) for key, held in value.items()}
    return value


def grouped(items: Iterable[Item]) -> Groups:
    """The reference: items gathered in a dict, ascending by key; values in the order of their arrival."""
    gathered: dict[Any, list[Any]] = {}
    for key, value in items:
        gathered.setdefault(key, []).append(value)
    return [(key, gathered[key]) for key in sort_keys(gathered)]


def exactly(groups: Iterable[tuple[Any, Sequence[Any]]]) -> list[str]:
    """Groups as text, in which 1, 1.0 and True differ, and so do 0.0 and -0.0."""
    return [f"{key!r}: {[*values]!r}" for key, values in groups]


def write_run(writer: BlockWriter, items: Sequence[Item], partition: int = 0) -> SortedRun:
    """A run of one block's worth of items, cut up as the writer likes."""
    groups = grouped(items)
    writer.begin_run(partition)
    writer.write(Block([key for key, _ in groups], [held for _, held in groups]))
    return writer.end_run()


def roomy_memory() -> MemoryBudget:
    """A budget that is never used up."""
    return MemoryBudget(1 << 30, resident_bytes=lambda: 0)


def full_memory() -> MemoryBudget:
    """A budget that is used up at every look, whatever is given back."""
    resident = iter(range(1 << 30, 1 << 50, 1 << 30))
    return MemoryBudget(1 << 26, resident_bytes=lambda: next(resident))


@contextmanager
def scratch_folder() -> Iterator[str]:
    """A folder for one example, gone after it."""
    with tempfile.TemporaryDirectory(prefix="pymr-test-") as folder:
        yield folder


@contextmanager
def input_file(content: bytes, name: str = "input.txt") -> Iterator[InputFile]:
    """A file as the engine lists it."""
    with scratch_folder() as folder:
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.write(content)
        (listed,) = list_input_files([folder])
        yield listed


def lines_by_split(file: InputFile, split_bytes: int, **options: Any) -> list[str]:
    """The lines of a file, each split read by a reader of its own, as different tasks would."""
    splits: list[Split] = plan_splits([file], split_bytes)
    return [line for split in splits for line in RecordReader([split], **options).lines()]


class StillRunningError(Exception):
    """What should have ended long ago has not."""


@contextmanager
def cpu_seconds_at_most(seconds: float) -> Iterator[None]:
    """Raises StillRunningError in what would go on without end."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise StillRunningError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def job_context(
    map_function: Any = None,
    reduce_function: Any = None,
    *,
    combine: Any = None,
    partitions: int = 4,
    auxiliary_data: Any = None,
    engine: dict[str, Any] | None = None,
    **fields: Any,
) -> JobContext:
    """What the tasks of a run share, for a job whose functions are given as they are. fields: of the job."""
    return JobContext(
        job=parse_job({**MAPREDUCE, **fields}),
        functions=ProjectFunctions(map_function, reduce_function, combine),
        engine=EngineConfig(**(engine or {})),
        memory_bytes=1 << 40,
        partitions=partitions,
        auxiliary_mapper=auxiliary_data,
        auxiliary_reducer=auxiliary_data,
    )


def items_of(runs: Iterable[SortedRun]) -> list[Item]:
    """All items of some runs, in the order in which they lie there."""
    return [
        (key, value)
        for run in runs
        for block in read_blocks(run)
        for key, values in zip(block.keys, block.lists, strict=True)
        for value in values
    ]


def lines_of(output: ReduceOutput) -> list[Any]:
    """What stands in the uncompressed part files of a reduce task."""
    lines = []
    for part in output.parts:
        with open(os.path.join(output.directory, part.name), encoding="utf-8") as file:
            lines += [json.loads(line) for line in file]
    return lines

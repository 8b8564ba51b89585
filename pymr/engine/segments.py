"""Segments: what a finished attempt left in its folder, written down beside it so that others find it.

A segment is the part of a map output that belongs to one partition: its runs, in the order of their writing.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from struct import Struct
from typing import Any

import msgpack
from xxhash import xxh3_64_hexdigest, xxh3_64_intdigest

from pymr.base.durable import write_file
from pymr.base.errors import DamagedFileError
from pymr.engine.disk.blocks import SortedRun
from pymr.engine.outputs import Part
from pymr.engine.tasks import MapOutput, ReduceOutput

INDEX_NAME = "index"
RUNS_NAME = "runs"
BAD_RECORDS_FILE = "bad-records.jsonl"

_MAGIC = b"pymrindx"
_CHECKSUM = Struct("<Q")  # xxh3-64 of the payload behind it
_HEADER_BYTES = len(_MAGIC) + _CHECKSUM.size
_INTEGER_MIN, _INTEGER_MAX = -(1 << 63), (1 << 64) - 1  # what msgpack carries


@dataclass(frozen=True, slots=True)
class MapFacts:
    """What a map task did. bytes: of input. stored_bytes: of its runs. digest: see `Shuffler.digest`."""

    digest: str
    records: int
    bytes: int
    values: int
    stored_bytes: int
    counters: dict[str, int | float]
    bad_records: int


@dataclass(frozen=True, slots=True)
class ReduceFacts:
    """What a reduce task did. values: items that went in. digest: of names, items and sizes of its parts."""

    digest: str
    groups: int
    values: int
    items: int
    stored_bytes: int
    counters: dict[str, int | float]


class MapIndex:
    """Where the runs of a map output lie, by partition.

    The columns stay as they were read; a Run is made when it is asked for.
    """

    def __init__(self, attempt_dir: str, info: MapFacts, columns: _Columns) -> None:
        self.path = os.path.join(attempt_dir, RUNS_NAME)
        self.info = info
        self._columns = columns
        self._rows = _row_ranges(columns.partitions)

    @property
    def partitions(self) -> Sequence[int]:
        """The partitions that have runs, ascending."""
        return list(self._rows)

    def runs(self, partition: int) -> tuple[SortedRun, ...]:
        """The runs of a partition, in the order of their writing; none where it has no items."""
        first, last = self._rows.get(partition, (0, 0))
        columns = self._columns
        return tuple(
            SortedRun(self.path, partition, *numbers)
            for numbers in zip(
                columns.offsets[first:last],
                columns.lengths[first:last],
                columns.keys[first:last],
                columns.values[first:last],
                strict=True,
            )
        )


@dataclass(frozen=True, slots=True)
class ReduceIndex:
    """The part files of a reduce task, in their order."""

    info: ReduceFacts
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class _Columns:
    """Facts of runs, ascending by partition, then in the order of their writing: whole numbers of 8 bytes."""

    partitions: Sequence[int]
    offsets: Sequence[int]
    lengths: Sequence[int]
    keys: Sequence[int]
    values: Sequence[int]


def write_index(attempt_dir: str, output: MapOutput) -> MapFacts:
    """Write down what a map task left in `attempt_dir`, and flush that to the disk. Returns its facts.

    All runs lie one behind another in the one file `runs`.
    """
    runs = sorted(output.runs, key=lambda run: run.partition)  # of equal ones the order stays
    info = MapFacts(
        digest=output.digest,
        records=output.records,
        bytes=output.bytes,
        values=sum(run.values for run in runs),
        stored_bytes=sum(run.length for run in runs),
        counters=carried_counters(output.counters),
        bad_records=output.bad_records,
    )
    columns = [
        array("Q", [getattr(run, name) for run in runs]).tobytes()
        for name in ("partition", "offset", "length", "keys", "values")
    ]
    _write(attempt_dir, [asdict(info), columns])
    return info


def read_index(attempt_dir: str) -> MapIndex:
    """The index of a finished map output, after a look at whether its runs are all there.

    Raises DamagedFileError naming the file; OSError where it is gone or cannot be read.
    """
    path = os.path.join(attempt_dir, INDEX_NAME)
    try:
        info, columns = _read(path)
        index = MapIndex(attempt_dir, MapFacts(**info), _Columns(*map(_column, columns)))
    except (TypeError, ValueError) as error:
        raise _damaged(path, repr(error)) from error
    _check_size(index.path, index.info.stored_bytes)
    return index


def write_reduce_index(attempt_dir: str, output: ReduceOutput) -> ReduceFacts:
    """Write down what a reduce task left in `attempt_dir`, and flush that to the disk. Returns its facts."""
    parts = [[part.name, part.items, part.length] for part in output.parts]
    info = ReduceFacts(
        digest=xxh3_64_hexdigest(msgpack.packb(parts)),
        groups=output.groups,
        values=output.values,
        items=sum(part.items for part in output.parts),
        stored_bytes=sum(part.length for part in output.parts),
        counters=carried_counters(output.counters),
    )
    _write(attempt_dir, [asdict(info), parts])
    return info


def read_reduce_index(attempt_dir: str) -> ReduceIndex:
    """The index of a finished reduce output, after a look at whether its parts are all there.

    Raises DamagedFileError naming the file; OSError where it is gone or cannot be read.
    """
    path = os.path.join(attempt_dir, INDEX_NAME)
    try:
        info, parts = _read(path)
        index = ReduceIndex(ReduceFacts(**info), tuple(Part(*part) for part in parts))
    except (TypeError, ValueError) as error:
        raise _damaged(path, repr(error)) from error
    for part in index.parts:
        _check_size(os.path.join(attempt_dir, part.name), part.length)
    return index


def carried_counters(counters: Mapping[str, float]) -> dict[str, float]:
    """Counters as msgpack has a form for: whole numbers of more than 64 bits become floats."""
    carried: dict[str, float] = {}
    for name, number in counters.items():
        if isinstance(number, int) and not _INTEGER_MIN <= number <= _INTEGER_MAX:
            try:
                number = float(number)
            except OverflowError:
                number = float("inf") if number > 0 else float("-inf")
        carried[name.encode("utf-8", "backslashreplace").decode()] = number
    return carried


def _row_ranges(partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Where the rows of each partition begin and end."""
    firsts: dict[int, int] = {}
    for row, partition in enumerate(partitions):
        firsts.setdefault(partition, row)
    ends = [*firsts.values(), len(partitions)][1:]
    return {partition: (first, end) for (partition, first), end in zip(firsts.items(), ends, strict=True)}


def _column(data: bytes) -> array[int]:
    column = array("Q")
    column.frombytes(data)
    return column


def _write(attempt_dir: str, content: list[Any]) -> None:
    payload = msgpack.packb(content)
    checksum = _CHECKSUM.pack(xxh3_64_intdigest(payload))
    write_file(os.path.join(attempt_dir, INDEX_NAME), b"".join((_MAGIC, checksum, payload)))


def _read(path: str) -> list[Any]:
    with open(path, "rb") as file:
        data = file.read()
    if data[: len(_MAGIC)] != _MAGIC or len(data) < _HEADER_BYTES:
        raise _damaged(path, "it does not begin as an index does")
    payload = memoryview(data)[_HEADER_BYTES:]
    if xxh3_64_intdigest(payload) != _CHECKSUM.unpack_from(data, len(_MAGIC))[0]:
        raise _damaged(path, "its checksum does not match its bytes")
    content: list[Any] = msgpack.unpackb(payload)
    return content


def _check_size(path: str, length: int) -> None:
    found = os.path.getsize(path)
    if found != length:
        raise _damaged(path, f"it has {found:,} bytes of {length:,}")


def _damaged(path: str, reason: str) -> DamagedFileError:
    return DamagedFileError(f"{path} is damaged: {reason}; the attempt that wrote it has to be done again")

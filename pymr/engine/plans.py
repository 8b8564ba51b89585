"""Plans: the map tasks of a host in a file, of which a worker reads the one that it is to do.

Layout, all numbers little-endian:

    pymrplan                                8 bytes
    records, one per task:
        xxh3-64 of index (8 bytes) and payload
        payload: msgpack of [files, splits]; a file is [path, name, size, mtime_ns, inode, codec], paths
        as bytes; a split is [place of its file in `files`, start, end]
    offsets                                 8 bytes for each record, and 8 for where the last one ends
    trailer: number of tasks, offset of `offsets`, xxh3-64 of these two and all offsets

One record is read with three small reads. Its checksum tells also when it is not that of the task asked for.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Any

import msgpack
from xxhash import xxh3_64_intdigest

from pymr.base.durable import sync_folder
from pymr.base.errors import DamagedFileError, PymrError, disk_error
from pymr.base.faults import fault_point
from pymr.engine.input.files import InputFile, Split
from pymr.engine.tasks import MapTask

_MAGIC = b"pymrplan"
_NUMBER = Struct("<Q")
_PAIR = Struct("<QQ")
_TRAILER = Struct("<QQQ")
_UNFINISHED_SUFFIX = ".unfinished"
_WRITE_BUFFER_BYTES = 1 << 20


def write_plan(path: str, tasks: Sequence[MapTask]) -> None:
    """Write a plan in one step that a crash cannot halve, and flush it to the disk. Raises DiskError."""
    unfinished = path + _UNFINISHED_SUFFIX
    offsets = array("Q", [len(_MAGIC)])
    try:
        with open(unfinished, "wb", buffering=_WRITE_BUFFER_BYTES) as file:
            fault_point("plan.write")
            file.write(_MAGIC)
            for record in _records(tasks):
                file.write(record)
                offsets.append(offsets[-1] + len(record))
            table = _table_bytes(offsets)
            head = _PAIR.pack(len(tasks), offsets[-1])
            file.write(table)
            file.write(head + _NUMBER.pack(xxh3_64_intdigest(head + table)))
            file.flush()
            os.fsync(file.fileno())
        os.rename(unfinished, path)
        sync_folder(os.path.dirname(path))
    except OSError as error:
        raise disk_error("writing", path, error) from error


def read_plan_task(path: str, index: int) -> MapTask:
    """The task at a place in a plan, from 0. Cost: some 50 us, whatever the number of tasks.

    Raises DamagedFileError naming file and byte, also where there is none of that index; DiskError.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            descriptor = file.fileno()
            size = os.fstat(descriptor).st_size
            count, table_offset, _ = _read_trailer(descriptor, path, size)
            if not 0 <= index < count:
                raise _damaged(path, size, f"it has {count:,} tasks, and none of index {index:,}")
            at = table_offset + index * _NUMBER.size
            start, end = _PAIR.unpack(_read_exactly(descriptor, path, at, _PAIR.size))
            if not len(_MAGIC) <= start < end <= table_offset:
                raise _damaged(path, at, "it points outside of the records")
            record = _read_exactly(descriptor, path, start, end - start)
    except OSError as error:
        raise disk_error("reading", path, error) from error
    return MapTask(index, _unpack(record, index, path, start))


def plan_size(path: str) -> int:
    """The number of tasks in a plan, all of whose offsets are verified. Raises as `read_plan_task`."""
    try:
        with open(path, "rb", buffering=0) as file:
            descriptor = file.fileno()
            size = os.fstat(descriptor).st_size
            count, table_offset, checksum = _read_trailer(descriptor, path, size)
            table = _read_exactly(descriptor, path, table_offset, (count + 1) * _NUMBER.size)
    except OSError as error:
        raise disk_error("reading", path, error) from error
    if xxh3_64_intdigest(_PAIR.pack(count, table_offset) + table) != checksum:
        raise _damaged(path, table_offset, "its checksum does not match its bytes")
    return count


def is_whole_plan(path: str) -> bool:
    """Whether a plan is there and every task in it can be read. Cost: reads all of it."""
    try:
        count = plan_size(path)
        with open(path, "rb") as file:
            table_offset = os.fstat(file.fileno()).st_size - _TRAILER.size - (count + 1) * _NUMBER.size
            file.seek(table_offset)
            offsets = array("Q", file.read((count + 1) * _NUMBER.size))
            file.seek(len(_MAGIC))
            for index in range(count):
                _unpack(file.read(offsets[index + 1] - offsets[index]), index, path, offsets[index])
    except (PymrError, OSError):
        return False
    return True


def _records(tasks: Sequence[MapTask]) -> Iterator[bytes]:
    packer = msgpack.Packer(autoreset=True)
    for index, task in enumerate(tasks):
        places: dict[int, int] = {}
        files: list[list[Any]] = []
        splits = []
        for split in task.splits:
            place = places.setdefault(id(split.file), len(files))
            if place == len(files):
                files.append(_packable(split.file))
            splits.append([place, split.start, split.end])
        payload = packer.pack([files, splits])
        yield _NUMBER.pack(_record_checksum(index, payload)) + payload


def _packable(file: InputFile) -> list[Any]:
    # As bytes, as names need not be UTF-8.
    path, name = os.fsencode(file.path), os.fsencode(file.name)
    return [path, name, file.size, file.mtime_ns, file.inode, file.codec]


def _unpack(record: bytes, index: int, path: str, offset: int) -> tuple[Split, ...]:
    payload = record[_NUMBER.size :]
    if len(record) < _NUMBER.size or _NUMBER.unpack_from(record)[0] != _record_checksum(index, payload):
        raise _damaged(path, offset, "its checksum does not match its bytes")
    try:
        listed, splits = msgpack.unpackb(payload)
        files = [InputFile(os.fsdecode(at), os.fsdecode(name), *info) for at, name, *info in listed]
        return tuple(Split(files[place], start, end) for place, start, end in splits)
    except (ValueError, TypeError, IndexError) as error:
        raise _damaged(path, offset, f"it is not a task ({error!r})") from error


def _record_checksum(index: int, payload: bytes) -> int:
    return xxh3_64_intdigest(_NUMBER.pack(index) + payload)


def _table_bytes(offsets: array[int]) -> bytes:
    return b"".join(map(_NUMBER.pack, offsets))


def _read_trailer(descriptor: int, path: str, size: int) -> tuple[int, int, int]:
    """(number of tasks, offset of the table, checksum), after a look at whether they fit the file."""
    at = size - _TRAILER.size
    if at < len(_MAGIC):
        raise _damaged(path, 0, "it is cut short")
    count, table_offset, checksum = _TRAILER.unpack(_read_exactly(descriptor, path, at, _TRAILER.size))
    if table_offset + (count + 1) * _NUMBER.size != at:
        raise _damaged(path, at, "its trailer does not fit its size")
    return count, table_offset, checksum


def _read_exactly(descriptor: int, path: str, offset: int, length: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    if len(data) != length:
        raise _damaged(path, offset, "it is cut short")
    return data


def _damaged(path: str, offset: int, reason: str) -> DamagedFileError:
    return DamagedFileError(f"the plan {path} is damaged at byte {offset:,}: {reason}")

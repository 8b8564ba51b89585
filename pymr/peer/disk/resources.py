"""Resources: what of a host's data folders can be read from elsewhere, as bytes at an offset.

Names that come from elsewhere become paths here, and nowhere else: checked, then opened folder by folder
without following links, and nothing but regular files is read.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgpack
import msgspec

from pymr.base.errors import DamagedFileError, FatalError
from pymr.config.cluster import ClusterConfig
from pymr.data.contents import Piece
from pymr.data.protocol import (
    INFO_BYTES_MAX,
    DataRefused,
    Output,
    Pack,
    Pane,
    Plan,
    Resource,
    Segment,
    Staged,
    StepFile,
)
from pymr.engine.segments import INDEX_NAME, RUNS_NAME, MapIndex, read_index
from pymr.peer.disk.file_lists import FILES
from pymr.peer.disk.packs import Packs
from pymr.peer.disk.paths import checked_folder, plain
from pymr.peer.disk.uploads import touch_upload, upload_folder
from pymr.peer.panes.panes import has_pane, latest_run, read_pane

INDEXES_MAX = 256
INDEX_BYTES_MAX = 64 << 20
"""Of map outputs whose index is kept in memory: so many, and so much of their files, but for the last."""

_SEGMENTS_MAX = 64
_OUTPUT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")
_STEP_FILE_NAME = re.compile(r"[a-z]{1,20}(?:-[0-9]{5,9}){0,2}")
_STAGED_LIST_NAME = re.compile(rf"{FILES}-[0-9]{{5,9}}")  # none that a console can write
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not hold us up


@dataclass(frozen=True, slots=True)
class _Extents:
    """A segment as a virtual file: (offset, length) in the file `runs`, in their order. size: their sum."""

    parts: Sequence[tuple[int, int]]
    size: int
    info: bytes


class Resources:
    """Reads the resources of all peers that share the host of `peer_name`. To be used in one thread."""

    def __init__(self, config: ClusterConfig, peer_name: str) -> None:
        host = next(peer.host for peer in config.peers if peer.name == peer_name)
        self._data_dirs = {peer.name: peer.data_dir for peer in config.peers if peer.host == host}
        self._indexes: OrderedDict[str, tuple[MapIndex, int]] = OrderedDict()
        self._index_bytes = 0
        self._segments: OrderedDict[Segment, _Extents] = OrderedDict()
        self._packs = Packs()

    def read(self, resource: Resource, offset: int, length: int) -> Piece:
        """`length` bytes at `offset`, or up to the end; none beyond it. Raises DataRefused."""
        data_dir = self._data_dirs.get(resource.peer)
        if data_dir is None:
            raise DataRefused("invalid", f"{resource.peer!r:.100} is no peer of this host")
        if offset < 0 and not isinstance(resource, Pane):
            raise DataRefused("invalid", f"the offset {offset} is negative")
        try:
            if isinstance(resource, Segment):
                return self._read_segment(data_dir, resource, offset, length)
            if isinstance(resource, Pane):
                return _read_pane(data_dir, resource, offset, length)
            if isinstance(resource, Pack) or (isinstance(resource, Staged) and resource.is_content):
                return self._read_pack(data_dir, resource, offset, length)
            return _read_file(data_dir, _names_of(resource), offset, length)
        except (FatalError, ValueError) as error:
            raise DataRefused("invalid", str(error)) from error
        except DamagedFileError as error:
            raise DataRefused("corrupt", str(error)) from error
        except OSError as error:
            raise _refusal(resource, error) from error

    def close(self) -> None:
        """Close what is kept open."""
        self._packs.close()

    def _read_segment(self, data_dir: str, segment: Segment, offset: int, length: int) -> Piece:
        folder = checked_folder(f"{segment.task}-{segment.attempt}")
        names = ("runs", plain(segment.run_id), folder, RUNS_NAME)
        descriptor = _open_file(data_dir, names)
        try:
            extents = self._extents(segment, os.path.join(data_dir, *names[:-1]))
            data = _join(descriptor, extents, offset, length)
        finally:
            os.close(descriptor)
        return Piece(data, offset, extents.size, b"" if offset else extents.info)

    def _read_pack(self, data_dir: str, resource: Pack | Staged, offset: int, length: int) -> Piece:
        names = _names_of(resource)
        if isinstance(resource, Staged):
            if not _STAGED_LIST_NAME.fullmatch(resource.name):
                raise FatalError(f"{resource.name!r:.200} is no list of what was downloaded")
            touch_upload(data_dir, resource.upload_id)
        descriptor = _open_file(data_dir, names)
        try:
            pack = self._packs.get(os.path.join(data_dir, *names), descriptor)
        finally:
            os.close(descriptor)
        return Piece(pack.read(offset, length), offset, pack.size)

    def _extents(self, segment: Segment, attempt_dir: str) -> _Extents:
        if segment in self._segments:
            self._segments.move_to_end(segment)
            return self._segments[segment]
        runs = self._index(attempt_dir).runs(segment.partition)
        info = msgpack.packb([[run.length, run.keys, run.values] for run in runs])
        if len(info) > INFO_BYTES_MAX:
            reason = (
                f"{attempt_dir} has {len(runs):,} runs in a partition: raise max_number_dumped_items_shuffler"
            )
            raise DataRefused("invalid", reason)
        extents = _Extents([(run.offset, run.length) for run in runs], sum(run.length for run in runs), info)
        self._segments[segment] = extents
        if len(self._segments) > _SEGMENTS_MAX:
            self._segments.popitem(last=False)
        return extents

    def _index(self, attempt_dir: str) -> MapIndex:
        """A finished attempt never changes: what was read of it holds for as long as its file is there."""
        if attempt_dir in self._indexes:
            self._indexes.move_to_end(attempt_dir)
            return self._indexes[attempt_dir][0]
        index = read_index(attempt_dir)
        size = os.path.getsize(os.path.join(attempt_dir, INDEX_NAME))
        self._indexes[attempt_dir] = index, size
        self._index_bytes += size
        while len(self._indexes) > INDEXES_MAX or (
            len(self._indexes) > 1 and self._index_bytes > INDEX_BYTES_MAX
        ):
            _, (_, size) = self._indexes.popitem(last=False)
            self._index_bytes -= size
        return index


def _names_of(resource: Plan | Output | StepFile | Pack | Staged) -> tuple[str, ...]:
    """The way to a file from the data folder. Raises FatalError for names that would lead elsewhere."""
    if isinstance(resource, StepFile | Pack | Staged):
        if not _STEP_FILE_NAME.fullmatch(resource.name):
            raise FatalError(f"{resource.name!r:.200} is no name of a list")
        if isinstance(resource, Staged):
            return (*upload_folder(resource.upload_id), resource.name)
        folder = checked_folder(f"{resource.task}-{resource.attempt}")
        return "runs", plain(resource.run_id), folder, resource.name
    if isinstance(resource, Plan):
        return "runs", plain(resource.run_id), "plan-shared" if resource.shared else "plan"
    if not _OUTPUT_NAME.fullmatch(resource.name):
        raise FatalError(f"{resource.name!r:.200} is no name of an output file")
    return "jobs", plain(resource.job_name), "reduce", resource.name


def _read_file(data_dir: str, names: Sequence[str], offset: int, length: int) -> Piece:
    descriptor = _open_file(data_dir, names)
    try:
        size = os.fstat(descriptor).st_size
        return Piece(_read_range(descriptor, offset, max(0, min(length, size - offset))), offset, size)
    finally:
        os.close(descriptor)


def _read_pane(data_dir: str, pane: Pane, offset: int, length: int) -> Piece:
    directory = Path(data_dir, "panes")
    run_id = pane.run_id or latest_run(directory, pane.slot) or ""
    if not pane.run_id and not (run_id and has_pane(directory, pane.slot, run_id)):
        return Piece(b"", 0, 0, msgpack.packb(("", 0, ())))
    if not has_pane(directory, pane.slot, run_id):
        raise DataRefused(
            "missing",
            f"nothing of run {run_id} is kept: it took no part in that run, or its output is older than "
            "panes.keep_days or was over panes.keep_bytes",
        )
    chunk = read_pane(directory, pane.slot, run_id, offset, length)
    return Piece(chunk.data, chunk.offset, chunk.end, msgpack.packb((run_id, chunk.skipped, chunk.marks)))


def _open_file(data_dir: str, names: Sequence[str]) -> int:
    """A descriptor of a regular file. Raises OSError; also for a link anywhere below the data folder."""
    folder = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names[:-1]:
            below = os.open(name, _FOLDER_FLAGS, dir_fd=folder)
            os.close(folder)
            folder = below
        descriptor = os.open(names[-1], _FILE_FLAGS, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FatalError(f"{'/'.join(names)} is no regular file")
    return descriptor


def _join(descriptor: int, extents: _Extents, offset: int, length: int) -> bytes:
    """The bytes of a virtual file, which may lie in several places of the real one."""
    pieces = [_read_range(descriptor, *part) for part in _overlap(extents.parts, offset, offset + length)]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _overlap(parts: Sequence[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    """What of each part lies between `start` and `end`, as (offset, length) in the real file."""
    at = 0
    for offset, length in parts:
        first, last = max(start, at), min(end, at + length)
        if first < last:
            yield offset + first - at, last - first
        at += length
        if at >= end:
            return


def _read_range(descriptor: int, offset: int, length: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            raise DamagedFileError(f"a file ends at byte {offset + len(data):,}, before its index says so")
        data += more
    return data


def _refusal(resource: Resource, error: OSError) -> DataRefused:
    what = f"{type(resource).__name__} {'/'.join(map(str, msgspec.structs.astuple(resource)))}"
    if error.errno in _GONE:
        return DataRefused("missing", f"{what} is not there")
    if error.errno == errno.ELOOP:
        return DataRefused("invalid", f"{what} lies behind a symbolic link, which is not followed")
    return DataRefused("unreadable", f"{what} cannot be read: {error.strerror or error}")

"""The lists of consumed files on the disk of a host, with a copy in the folder of each of its peers.

pymrused                                8 bytes
xxh3-64 of the payload                  8 bytes, little-endian
payload: msgpack of [incarnation, turn, edition, paths, sizes, times, inodes, devices, lengths, digests,
left out]; paths: bytes joined by NUL, as zstd; left out: a list of [device, inode]; the others: 8 bytes for
each file, in the order of the machine, devices and lengths as zstd. Those of an earlier release end with the
inodes.
"""

from __future__ import annotations

import logging
import os
import re
import time
from array import array
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

import msgpack
from xxhash import xxh3_64_intdigest

from pymr.base.durable import make_folders, replace_file
from pymr.base.errors import DamagedFileError, DiskError, disk_error
from pymr.base.file_locks import lock_within
from pymr.base.zstd import zstd
from pymr.config.cluster import PeerConfig
from pymr.engine.input.fingerprints import Fingerprint
from pymr.peer.disk.content_notes import NoteKey, read_notes
from pymr.peer.disk.paths import NOTES_SUFFIX, PeerPaths

LOCK_SECONDS_MAX = 10.0
"""How long the lists are waited for: others hold them for a moment, unless they were stopped in it."""

_LOCK_LOOK_SECONDS = 0.02
_MAGIC = b"pymrused"
_CHECKSUM = Struct("<Q")
_HEADER_BYTES = len(_MAGIC) + _CHECKSUM.size
_ZSTD_LEVEL = 1
_LIST_NAME = re.compile(r"(.+-[0-9]+)(-shared)?")
_NOTES_NAME = re.compile(rf"(.+-[0-9]+){re.escape(NOTES_SUFFIX)}")

_log = logging.getLogger("pymr")


class Fact(NamedTuple):
    """A file as it was: its real path, size in bytes, time of the last change in ns, inode, device (0: not
    known), and the fingerprint of its content (digest 0: not known)."""

    path: bytes
    size: int
    mtime_ns: int
    inode: int
    device: int = 0
    length: int = 0
    digest: int = 0


@dataclass(frozen=True, slots=True)
class ConsumedList:
    """All that was consumed up to a run. files: sorted. incarnation: of the cluster in which it was written.

    turn: of the planning that wrote it, see PlanOrder. edition: how often files were forgotten from it.
    Of copies that differ the one of the last turn counts, of these the highest edition.
    left_out: (device, inode) of files that grew while this run, or one of the outdated ones right before it,
    read them, and that are not in it.
    """

    files: tuple[Fact, ...] = ()
    incarnation: str = ""
    edition: int = 0
    turn: tuple[int, int] = (0, 0)
    left_out: frozenset[tuple[int, int]] = frozenset()


class HostLists:
    """The lists of all jobs on a host. peer: the one that is at work. peers: all of the host, in the order of
    the configuration; each of them that was ever started has a copy of every list."""

    def __init__(self, peer: PeerConfig, peers: Sequence[PeerConfig]) -> None:
        self.peer = peer
        self.peers = peers
        self._own = PeerPaths(peer.data_dir)
        paths = [PeerPaths(one.data_dir) for one in peers]
        self._paths = [one for one in paths if one == self._own or os.path.isdir(one.state)]

    def way_out(self, job_name: str) -> str:
        """What to do where it is not known what a job has consumed on this host."""
        return (
            f"put it back, or begin anew on this machine with `pymr state {job_name} --forget '*' --peer "
            f"{self.peer.name}`: then the next run reads all files there once more"
        )

    def path(self, job_name: str, run_id: str, *, shared: bool) -> str:
        """Where the list lies in the folder of the peer that is at work."""
        return self._own.consumed(job_name, run_id, shared=shared)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other peers of the host from the lists. Raises DiskError after LOCK_SECONDS_MAX."""
        deadline = time.monotonic() + LOCK_SECONDS_MAX
        with ExitStack() as held:
            try:
                make_folders(self._own.state)
                for one in self._paths:
                    descriptor = os.open(one.state, os.O_RDONLY | os.O_CLOEXEC)
                    held.callback(os.close, descriptor)
                    _lock(descriptor, one.state, deadline)
            except OSError as error:
                raise disk_error("locking", self._own.state, error) from error
            yield

    def find(self, job_name: str, run_id: str, *, shared: bool) -> ConsumedList | None:
        """A list; None where there is none. Raises DamagedFileError where no copy is whole, DiskError."""
        found: list[ConsumedList] = []
        damage: DamagedFileError | None = None
        for one in self._paths:
            try:
                copy = read_list(one.consumed(job_name, run_id, shared=shared))
            except DamagedFileError as error:
                _log.warning("%s", error)
                damage = error
            else:
                found += [copy] if copy is not None else []
        if not found and damage is not None:
            raise DamagedFileError(f"{damage}; {self.way_out(job_name)}") from damage
        return max(found, key=lambda copy: (copy.turn, copy.edition), default=None)

    def write(self, job_name: str, run_id: str, content: ConsumedList, *, shared: bool) -> None:
        """Write a list into every folder, that of the peer at work first. Raises DiskError where that fails;
        without the others it is only not as safe."""
        data = _encoded(content)
        for one in sorted(self._paths, key=lambda one: one != self._own):
            path = one.consumed(job_name, run_id, shared=shared)
            try:
                make_folders(os.path.dirname(path))
                replace_file(path, data)
            except OSError as error:
                if one == self._own:
                    raise disk_error("writing", path, error) from error
                _log.warning("the copy %s was not written: %s", path, error)

    def remove(self, job_name: str, keep: Collection[str], *, shared: bool) -> None:
        """Remove the lists and notes of all runs but `keep`, and what is unfinished. Raises DiskError."""
        for one in self._paths:
            folder = one.consumed_of(job_name)
            for name in _names(folder):
                if not _is_kept(name, keep, shared=shared):
                    path = os.path.join(folder, name)
                    try:
                        os.unlink(path)
                    except OSError as error:
                        raise disk_error("removing", path, error) from error

    def runs(self, job_name: str, *, shared: bool) -> set[str]:
        """The runs of which there are lists, whether they count or not. Raises DiskError."""
        names = (name for one in self._paths for name in _names(one.consumed_of(job_name)))
        matches = filter(None, map(_LIST_NAME.fullmatch, names))
        return {match[1] for match in matches if bool(match[2]) == shared}

    def notes(self, job_name: str, run_id: str) -> dict[NoteKey, Fingerprint]:
        """What map tasks on this host have found in the compressed files that a run has read. Raises
        DiskError."""
        return read_notes(one.content_notes(job_name, run_id) for one in self._paths)

    def has_run(self, run_id: str) -> bool:
        """Whether a peer of this host has anything of a run, which is so until it has ended."""
        return any(os.path.isdir(one.run(run_id)) for one in self._paths)


def read_list(path: str) -> ConsumedList | None:
    """A copy of a list; None where there is none. Raises DamagedFileError, DiskError."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk_error("reading", path, error) from error
    payload = memoryview(data)[_HEADER_BYTES:]
    if data[: len(_MAGIC)] != _MAGIC or len(data) < _HEADER_BYTES:
        raise _damaged(path, "it does not begin as one")
    if xxh3_64_intdigest(payload) != _CHECKSUM.unpack_from(data, len(_MAGIC))[0]:
        raise _damaged(path, "its checksum does not match its bytes")
    try:
        incarnation, (epoch, number), edition, packed, *columns = msgpack.unpackb(payload)
        numbers = [_column(kind, column) for kind, column in zip("QqQ", columns[:3], strict=True)]
        left_out: list[tuple[int, int]] = []
        if len(columns) > 3:
            devices, lengths, digests, left_out = columns[3:]
            numbers += [_column("Q", zstd.decompress(column)) for column in (devices, lengths)]
            numbers.append(_column("Q", digests))
        paths = zstd.decompress(packed).split(b"\0") if numbers[0] else []
        files = tuple(Fact(*one) for one in zip(paths, *numbers, strict=True))
        grown = frozenset((device, inode) for device, inode in left_out)
        return ConsumedList(files, incarnation, edition, (epoch, number), grown)
    except (ValueError, TypeError, zstd.ZstdError) as error:
        raise _damaged(path, repr(error)) from error


def _encoded(content: ConsumedList) -> bytes:
    paths, *columns = zip(*content.files, strict=True) if content.files else ((),) * len(Fact._fields)
    packed = zstd.compress(b"\0".join(paths), _ZSTD_LEVEL)
    numbers = [array(kind, column).tobytes() for kind, column in zip("QqQQQQ", columns, strict=True)]
    numbers[3:5] = [zstd.compress(column, _ZSTD_LEVEL) for column in numbers[3:5]]
    payload = msgpack.packb(
        [content.incarnation, content.turn, content.edition, packed, *numbers, sorted(content.left_out)]
    )
    return b"".join((_MAGIC, _CHECKSUM.pack(xxh3_64_intdigest(payload)), payload))


def _column(kind: str, data: bytes) -> array[int]:
    column = array(kind)
    column.frombytes(data)
    return column


def _is_kept(name: str, keep: Collection[str], *, shared: bool) -> bool:
    if notes := _NOTES_NAME.fullmatch(name):
        return notes[1] in keep
    match = _LIST_NAME.fullmatch(name)
    return match is not None and (bool(match[2]) != shared or match[1] in keep)


def _lock(descriptor: int, path: str, deadline: float) -> None:
    try:
        lock_within(descriptor, deadline, look_s=_LOCK_LOOK_SECONDS)
    except BlockingIOError as error:
        text = f"another peer of this host has been busy in {path} for {LOCK_SECONDS_MAX:.0f} s"
        raise DiskError(f"{text}; it is tried again", path) from error


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise disk_error("reading", folder, error) from error


def _damaged(path: str, reason: str) -> DamagedFileError:
    return DamagedFileError(f"the list of consumed files {path} is damaged: {reason}")

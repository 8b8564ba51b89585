"""Kept jobs: the job table on a peer's disk, as a snapshot and a journal of what has changed since.

    jobs            pymrjobs, xxh3-64 of the rest, msgpack of a JobTable; an earlier release: the last alone
    jobs.journal    pymrjrnl, the checksum of the snapshot that it goes on from; then entries, each its
                    length (4 bytes), xxh3-64 of length and payload, msgpack of [incarnation, changes]

Numbers are little-endian. A journal of another snapshot says nothing. An entry that is not whole ends it: the
machine lost power while it was written, and Redis has what it would have said.
"""

from __future__ import annotations

import os
from contextlib import suppress
from struct import Struct

import msgspec
from xxhash import xxh3_64_intdigest

from pymr.base.durable import replace_file
from pymr.base.errors import disk_error
from pymr.base.faults import fault_point
from pymr.control.stored_state import JobChanges, JobRecord, JobState

_SNAPSHOT_MAGIC, _JOURNAL_MAGIC = b"pymrjobs", b"pymrjrnl"
_NUMBER, _LENGTH = Struct("<Q"), Struct("<I")
_HEADER_BYTES = len(_JOURNAL_MAGIC) + _NUMBER.size
_ENTRY_HEADER_BYTES = _LENGTH.size + _NUMBER.size


class JobTableSnapshot(msgspec.Struct, frozen=True):
    """The jobs as they were at a change of some incarnation: what `pymr cluster recover` puts back.

    cycle, states, paused: see JobChanges. One that an earlier release kept has none of them, and is read all
    the same: as of the first cycle, with nothing consumed.
    """

    incarnation: str
    change: int
    jobs: tuple[JobRecord, ...]
    cycle: int = 1
    states: dict[str, JobState] = {}
    paused: bool = False


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    incarnation: str
    changes: JobChanges


class JobJournal:
    """The two files. To be used in one thread; how long they are may be asked for in any.

    snapshot_bytes: 0 while there is none. journal_bytes: None while nothing can be added, and a snapshot has
    to be written first.
    """

    def __init__(self, path: str) -> None:
        self.snapshot_bytes = 0
        self.journal_bytes: int | None = None
        self._path = path
        self._journal_path = f"{path}.journal"
        self._descriptor: int | None = None

    def load(self) -> JobTableSnapshot | None:
        """The table as it was kept last; None where there is none, or none that can be read."""
        table = checksum = None
        with suppress(OSError, msgspec.MsgspecError), open(self._path, "rb") as file:
            data = file.read()
            table, checksum = _read_snapshot(data)
            self.snapshot_bytes = len(data)
        if table is None or checksum is None:
            return table
        with suppress(OSError):
            return self._go_through_journal(table, checksum)
        return table

    def write(self, table: JobTableSnapshot) -> None:
        """Keep a whole table, and begin a journal for it. Raises DiskError."""
        self.close()
        payload = msgspec.msgpack.encode(table)
        checksum = _NUMBER.pack(xxh3_64_intdigest(payload))
        try:
            replace_file(self._path, b"".join((_SNAPSHOT_MAGIC, checksum, payload)))
            self.snapshot_bytes = len(payload)
            fault_point("jobs.between")
            replace_file(self._journal_path, _JOURNAL_MAGIC + checksum)
            self._open(_HEADER_BYTES)
        except OSError as error:
            raise disk_error("writing", self._path, error) from error

    def add(self, incarnation: str, changes: JobChanges) -> None:
        """Keep what has changed since; it is on the disk when this returns. Raises DiskError; then a whole
        table has to be written next, as nobody knows what of this has reached the disk."""
        if self._descriptor is None or self.journal_bytes is None:
            raise ValueError("there is no journal to add to")
        payload = msgspec.msgpack.encode(_Entry(incarnation, changes))
        length = _LENGTH.pack(len(payload))
        entry = b"".join((length, _NUMBER.pack(xxh3_64_intdigest(length + payload)), payload))
        try:
            fault_point("jobs.journal")
            rest, offset = memoryview(entry), self.journal_bytes
            while rest:
                written = os.pwrite(self._descriptor, rest, offset)
                rest, offset = rest[written:], offset + written
            os.fdatasync(self._descriptor)
        except OSError as error:
            self.close()
            raise disk_error("writing", self._journal_path, error) from error
        self.journal_bytes = offset

    def close(self) -> None:
        """Free the descriptor; nothing can be added before `write`."""
        self.journal_bytes = None
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):  # what matters of it was flushed
                os.close(descriptor)

    def _open(self, length: int) -> None:
        self._descriptor = os.open(self._journal_path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.ftruncate(self._descriptor, length)
        except OSError:
            self.close()
            raise
        self.journal_bytes = length

    def _go_through_journal(self, table: JobTableSnapshot, checksum: bytes) -> JobTableSnapshot:
        with open(self._journal_path, "rb") as file:
            data = file.read()
        if data[:_HEADER_BYTES] != _JOURNAL_MAGIC + checksum:
            return table
        end = _HEADER_BYTES
        jobs, states = {job.name: job for job in table.jobs}, dict(table.states)
        while (found := _read_entry(data, end)) is not None:
            entry, end = found
            changes = entry.changes
            if changes.is_whole:
                jobs.clear()
                states.clear()
            elif entry.incarnation != table.incarnation:
                break  # never written
            for name in changes.deleted:
                jobs.pop(name, None)
            jobs.update((job.name, job) for job in changes.jobs)
            states.update(changes.states)
            table = JobTableSnapshot(entry.incarnation, changes.change, (), changes.cycle, {}, changes.paused)
        with suppress(OSError):  # a disk that takes nothing now: a whole table is written next
            self._open(end)
        return msgspec.structs.replace(table, jobs=tuple(jobs.values()), states=states)


class GatheredChanges:
    """What has changed since it was kept, put together: of a job that has changed often, the last counts."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._incarnation = ""
        self._last: JobChanges | None = None
        self._is_whole = False
        self._jobs: dict[str, JobRecord] = {}
        self._deleted: dict[str, None] = {}
        self._states: dict[str, JobState] = {}

    def __bool__(self) -> bool:
        return self._last is not None

    def add(self, incarnation: str, changes: JobChanges) -> None:
        """Later changes; a whole table makes all others pointless."""
        if changes.is_whole:
            self._clear()
            self._is_whole = True
        self._incarnation, self._last = incarnation, changes
        for name in changes.deleted:
            self._jobs.pop(name, None)
            self._deleted[name] = None
        self._jobs.update((job.name, job) for job in changes.jobs)
        self._states.update(changes.states)

    def take(self) -> tuple[str, JobChanges]:
        """(incarnation, changes), which are forgotten here."""
        assert self._last is not None
        changes = msgspec.structs.replace(
            self._last,
            jobs=tuple(self._jobs.values()),
            deleted=tuple(self._deleted),
            states=self._states,
            is_whole=self._is_whole,
        )
        incarnation = self._incarnation
        self._clear()
        return incarnation, changes


def _read_snapshot(data: bytes) -> tuple[JobTableSnapshot | None, bytes | None]:
    """(the table, the checksum by which its journal knows it). Raises MsgspecError."""
    if not data.startswith(_SNAPSHOT_MAGIC):
        return msgspec.msgpack.decode(data, type=JobTableSnapshot), None
    checksum, payload = data[len(_SNAPSHOT_MAGIC) : _HEADER_BYTES], memoryview(data)[_HEADER_BYTES:]
    if checksum != _NUMBER.pack(xxh3_64_intdigest(payload)):
        return None, None
    return msgspec.msgpack.decode(payload, type=JobTableSnapshot), checksum


def _read_entry(data: bytes, start: int) -> tuple[_Entry, int] | None:
    """The entry at an offset, and where it ends; None where none is whole."""
    head = data[start : start + _ENTRY_HEADER_BYTES]
    if len(head) < _ENTRY_HEADER_BYTES:
        return None
    end = start + _ENTRY_HEADER_BYTES + _LENGTH.unpack_from(head)[0]
    payload = data[start + _ENTRY_HEADER_BYTES : end]
    checksum = _NUMBER.pack(xxh3_64_intdigest(head[: _LENGTH.size] + payload))
    if end > len(data) or checksum != head[_LENGTH.size :]:
        return None
    with suppress(msgspec.MsgspecError):
        return msgspec.msgpack.decode(payload, type=_Entry), end
    return None

"""Notes of what compressed files hold, made by the map tasks that read them, for the lists of consumed files.

A note is of a file with a path, inode, size and time: it is true whichever attempt made it, in whatever run.
So notes count without a commit, and any number of equal ones does no harm.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from xxhash import xxh3_64_intdigest

from pymr.base.durable import make_folders, sync_folder
from pymr.base.errors import disk_error
from pymr.base.faults import fault_point
from pymr.engine.input.files import InputFile
from pymr.engine.input.fingerprints import Fingerprint

NOTES_HELD_MAX = 1_000
"""So many notes of a task are held in memory before they are written: some 100 bytes each."""

_NUMBERS = 6

NoteKey = tuple[int, int, int, int]
"""Of a file: the digest of its real path, inode, size, time of the last change in ns."""


class ContentNotes:
    """Adds notes to a file, which several processes may do at once. Raises DiskError.

    A line per note, with a checksum; each write begins with a line end, so that what a kill has cut short
    spoils no other. The file is made with the first note.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._held: list[bytes] = []

    def add(self, file: InputFile, fingerprint: Fingerprint) -> None:
        """Note what was found in a file that is still as it was listed."""
        real = os.fsencode(os.path.realpath(file.path))
        numbers = b" ".join(b"%d" % one for one in (*note_key(real, *_facts_of(file)), *fingerprint))
        self._held.append(b"%s %d\n" % (numbers, xxh3_64_intdigest(numbers)))
        if len(self._held) >= NOTES_HELD_MAX:
            self.flush()

    def flush(self) -> None:
        """Have all on the disk that was noted."""
        if not self._held:
            return
        try:
            make_folders(os.path.dirname(self._path))
            is_new = not os.path.exists(self._path)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o644)
            try:
                fault_point("notes.write")
                data = memoryview(b"\n" + b"".join(self._held))
                while data:
                    data = data[os.write(descriptor, data) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                sync_folder(os.path.dirname(self._path))
        except OSError as error:
            raise disk_error("writing", self._path, error) from error
        self._held.clear()


def note_key(path: bytes, inode: int, size: int, mtime_ns: int) -> NoteKey:
    """By which a note is found. path: the real one."""
    return xxh3_64_intdigest(path), inode, size, mtime_ns


def read_notes(paths: Iterable[str]) -> dict[NoteKey, Fingerprint]:
    """All notes in these files, of which some may not be there. Lines that are damaged are passed over: of
    those files nothing is known. Raises DiskError."""
    found: dict[NoteKey, Fingerprint] = {}
    for path in paths:
        try:
            with open(path, "rb") as file:
                for line in file:
                    numbers = _numbers_of(line)
                    if numbers is not None:
                        found[numbers[0], numbers[1], numbers[2], numbers[3]] = Fingerprint(*numbers[4:])
        except FileNotFoundError:
            continue
        except OSError as error:
            raise disk_error("reading", path, error) from error
    return found


def _numbers_of(line: bytes) -> list[int] | None:
    told, _, checksum = line.strip().rpartition(b" ")
    try:
        if xxh3_64_intdigest(told) != int(checksum):
            return None
        numbers = list(map(int, told.split()))
    except ValueError:
        return None
    return numbers if len(numbers) == _NUMBERS else None


def _facts_of(file: InputFile) -> tuple[int, int, int]:
    return file.inode, file.size, file.mtime_ns

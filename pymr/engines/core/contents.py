"""Contents: what map tasks have found in compressed files, for a job with `hold_state` that has to know them
again. In the run's folder, a file for each attempt; any number of equal ones does no harm."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from uuid import uuid4

import msgspec

from pymr.base.durable import write_file
from pymr.base.errors import disk_error
from pymr.engine.input.files import InputFile
from pymr.engine.input.fingerprints import Fingerprint
from pymr.engines.core.setup import CONTENTS

FoundContent = tuple[InputFile, Fingerprint]

_UNFINISHED = ".unfinished"
_FileFacts = tuple[bytes, bytes, int, int, int, str]
_Note = tuple[_FileFacts, tuple[int, int]]


def write_contents(run_dir: str, task: str, found: Sequence[FoundContent]) -> None:
    """Tell the driver of files that a task has read. Raises DiskError."""
    if not found:
        return
    path = os.path.join(run_dir, CONTENTS, f"{task}-{uuid4().hex}")
    notes: list[_Note] = [
        (
            # Paths as bytes, as names need not be UTF-8.
            (
                os.fsencode(file.path),
                os.fsencode(file.name),
                file.size,
                file.mtime_ns,
                file.inode,
                file.codec,
            ),
            (fingerprint.length, fingerprint.digest),
        )
        for file, fingerprint in found
    ]
    try:
        write_file(path + _UNFINISHED, msgspec.msgpack.encode(notes))
        os.rename(path + _UNFINISHED, path)
    except OSError as error:
        raise disk_error("writing", path, error) from error


def read_contents(run_dir: str) -> Iterator[FoundContent]:
    """The reports of all tasks. Raises DiskError."""
    folder = os.path.join(run_dir, CONTENTS)
    try:
        for name in sorted(os.listdir(folder)):
            if name.endswith(_UNFINISHED):
                continue
            with open(os.path.join(folder, name), "rb") as file:
                notes = msgspec.msgpack.decode(file.read(), type=list[_Note])
            for (path, shown, size, mtime_ns, inode, codec), fingerprint in notes:
                listed = InputFile(os.fsdecode(path), os.fsdecode(shown), size, mtime_ns, inode, codec)
                yield listed, Fingerprint(*fingerprint)
    except OSError as error:
        raise disk_error("reading", folder, error) from error

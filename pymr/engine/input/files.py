"""Inputs: folders become files, files become splits, splits become lines. The first stage of a map task."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from pymr.base.errors import InputError, disk_error
from pymr.engine.input.signatures import CODEC_NAMES, HEAD_BYTES, NOT_COMPRESSED, codec_of, what_is_no_text

SPLIT_BYTES = 64 << 20
"""Default size of a split. Larger: fewer, longer tasks; smaller: more even load, more segments to merge."""

COMPRESSED_SUFFIXES = {f".{codec}": codec for codec in CODEC_NAMES}

IGNORED_PREFIXES = (".", "_")
"""Names in an input folder that begin so are not read, as elsewhere in the field: hidden files, and what
tools leave beside the data (`_SUCCESS`, `_temporary`)."""

MANIFEST_NAME = "_manifest.json"
BAD_RECORDS_NAME = "_bad_records.jsonl"
IGNORED_NAMES = frozenset({MANIFEST_NAME, BAD_RECORDS_NAME})
"""What pymr itself writes beside the parts of an output."""

OnWarning = Callable[[str], object]
"""Takes the text of a warning about the input."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file as it was listed. `name` is its path below the input folder; size in bytes.

    codec: how it is compressed, by its first bytes; "" before `plan_splits` has looked at them. device: of
    its file system; not known to the tasks of a plan.
    """

    path: str
    name: str
    size: int
    mtime_ns: int
    inode: int
    codec: str = ""
    device: int = 0


@dataclass(frozen=True, slots=True)
class Split:
    """The lines of `file` that begin at a byte in [start, end). A compressed file is one split."""

    file: InputFile
    start: int
    end: int

    @property
    def length(self) -> int:
        """Bytes on disk."""
        return self.end - self.start


def no_warning(text: str) -> None:
    """Pass over a warning."""


def list_input_files(input_dirs: Iterable[str], on_warning: OnWarning = no_warning) -> list[InputFile]:
    """All files below the folders, deep, in the order of `input_dirs`, then of their paths.

    A file reachable in two ways counts once. An entry may also be a single file. Names in a folder that begin
    with one of IGNORED_PREFIXES are passed over, and so are links that lead nowhere, with a warning. Raises
    InputError for what is missing, cannot be read or is not a regular file (FIFO, device, socket), and for a
    folder that contains itself through a link.
    """
    found: dict[str, InputFile] = {}
    for input_dir in input_dirs:
        for file in walk_input_files(input_dir, on_warning):
            found.setdefault(os.path.realpath(file.path), file)
    return list(found.values())


def walk_input_files(input_dir: str, on_warning: OnWarning = no_warning) -> Iterator[InputFile]:
    """The files below one folder, in the same order, one after the other as they are found; likewise.

    A file that is reachable in two ways comes twice.
    """
    for path, name in _walk(input_dir):
        if path == input_dir or _is_there(path):
            yield _examine(path, name)
        elif os.path.islink(path):
            on_warning(f"{path} is a link that leads nowhere, and was left out")


def plan_splits(files: Iterable[InputFile], split_bytes: int = SPLIT_BYTES) -> list[Split]:
    """Cut plain files into ranges of at most `split_bytes`; a reader moves the cuts to line ends.

    An empty file has no split; a compressed one is a single split. Cost: one small read per file.
    Raises InputError for a file that is not text, DiskError.
    """
    splits = []
    for file in files:
        if file.size:
            file = recognise(file)
        step = split_bytes if file.codec == NOT_COMPRESSED else max(file.size, 1)
        splits += [Split(file, at, min(at + step, file.size)) for at in range(0, file.size, step)]
    return splits


def group_splits(splits: Iterable[Split], task_bytes: int = SPLIT_BYTES) -> list[tuple[Split, ...]]:
    """Neighbouring splits put together up to `task_bytes`, so that many small files make few tasks."""
    groups: list[tuple[Split, ...]] = []
    group: list[Split] = []
    held_bytes = 0
    for split in splits:
        if group and held_bytes + split.length > task_bytes:
            groups.append(tuple(group))
            group, held_bytes = [], 0
        group.append(split)
        held_bytes += split.length
    if group:
        groups.append(tuple(group))
    return groups


def refuse_other_than_text(path: str, head: bytes, codec: str = NOT_COMPRESSED) -> None:
    """Raise InputError, naming the apparent type, if a file is not text. head: of its content."""
    told = what_is_no_text(head)
    if told is not None:
        seems, advice = told
        within = "" if codec == NOT_COMPRESSED else f" inside its {CODEC_NAMES[codec]} compression"
        raise InputError(f"the input file {path} seems to be {seems}{within}: {advice}")


def codec_by_head(path: str, head: bytes) -> str:
    """How a file is compressed that begins with `head`, see `signatures.codec_of`."""
    by_name = COMPRESSED_SUFFIXES.get(os.path.splitext(path)[1].lower(), NOT_COMPRESSED)
    return codec_of(head, by_name)


def recognise(file: InputFile) -> InputFile:
    """The file with its codec. Raises InputError if it is not text, DiskError."""
    if file.codec:
        return file
    try:
        with open(file.path, "rb", buffering=0) as raw:
            head = raw.read(min(HEAD_BYTES, file.size))
    except OSError as error:
        raise disk_error("reading", file.path, error) from error
    codec = codec_by_head(file.path, head)
    if codec == NOT_COMPRESSED:
        refuse_other_than_text(file.path, head)
    return replace(file, codec=codec)


def _walk(input_dir: str) -> Iterator[tuple[str, str]]:
    """(path, path below input_dir) of everything in there that is not a folder, sorted."""
    try:
        is_folder = stat.S_ISDIR(os.stat(input_dir).st_mode)
    except OSError as error:
        raise InputError(
            f"the input folder {input_dir} cannot be read: {error.strerror}; "
            "check input_dirs in the job, or give another folder with --input"
        ) from error
    if not is_folder:
        yield input_dir, os.path.basename(input_dir)
        return
    yield from _walk_folder(input_dir, "", (os.path.realpath(input_dir),))


def _walk_folder(folder: str, below: str, ancestors: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        if below and error.errno == errno.ENOENT:
            return  # it has gone since the folder above was listed
        raise InputError(f"the input folder {folder} cannot be read: {error.strerror}") from error
    for entry in entries:
        if entry.name.startswith(IGNORED_PREFIXES):
            continue
        name = f"{below}{entry.name}"
        if not _is_folder(entry):
            yield entry.path, name
            continue
        real = os.path.realpath(entry.path)
        if real in ancestors:
            raise InputError(f"the input folder {entry.path} is a link to {real}, which contains it")
        yield from _walk_folder(entry.path, f"{name}/", (*ancestors, real))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself, which leads nowhere
            return False
        raise InputError(f"the input {entry.path} cannot be read: {error.strerror}") from error


def _is_there(path: str) -> bool:
    """False where there is nothing (any more), also where a link leads to."""
    try:
        os.stat(path)
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ELOOP)  # of whatever else it is, opening it tells
    return True


def _examine(path: str, name: str) -> InputFile:
    """The facts of a file, after a look at whether it can be read at all."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            kind = next((kind for test, kind in _KINDS if test(status.st_mode)), "no regular file")
            raise InputError(f"the input {path} is {kind}; only regular files can be read")
        if not os.access(path, os.R_OK):
            raise InputError(f"the input file {path} cannot be read: permission denied")
    except OSError as error:
        raise InputError(f"the input file {path} cannot be read: {error.strerror}") from error
    return InputFile(path, name, status.st_size, status.st_mtime_ns, status.st_ino, device=status.st_dev)


_KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)

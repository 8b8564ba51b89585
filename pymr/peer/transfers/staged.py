"""Staged files: those of a console's machine that is no peer, on their way through a peer's `uploads` folder.

An upload: the console calls `write_upload(client, peer, id, path)`, then submits the job with `local_peer =
peer` and `input_dir` (or `input_file_name`) `uploads/ID`, waits for it, and calls `client.discard(peer, id)`.
A download: it submits the job with `output_dir = "uploads/ID"`, waits for its success, calls `read_tree`,
then discards. ID: `new_upload_id()`. What a console leaves behind goes after an hour (see `upload_sweep`).
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import groupby

import msgspec

from pymr.base.errors import DamagedFileError, InputError
from pymr.config.cluster import ClusterConfig
from pymr.data.client import DataClient
from pymr.data.protocol import READ_BYTES_MAX, Staged
from pymr.data.stream import DataStream, Range
from pymr.peer.disk.file_lists import (
    ENTRIES_PER_PIECE,
    FILES,
    LEVELS_MAX,
    PACK_NAME,
    SUMMARY_NAME,
    TEMPORARY_PREFIX,
    Entry,
    FileList,
    ListWriter,
    name_problem,
    parse_list,
    parse_summary,
    piece_name,
    sealed,
    sums_of,
)
from pymr.peer.disk.packs import OpenPack
from pymr.peer.disk.rooted_files import RootedFiles, kind_of
from pymr.peer.disk.uploads import LIST_NAME
from pymr.peer.transfers.copy import Buffer
from pymr.peer.transfers.walk import digest_of, digest_of_range, examine_file, walk_files
from pymr.peer.transfers.writer import TreeWriter
from pymr.wire.keys import Security

PATIENCE_SECONDS = 60.0
"""How long a console waits for a data service that has gone."""

_LENGTH_BYTES = 4
_PIECE_BYTES_MAX = 64 << 20
_MODE_BITS = 0o777
_TIMES_END = 1 << 63
OnBytes = Callable[[int], object]


def new_upload_id() -> str:
    return secrets.token_hex(16)


# ---- on the console's machine


def write_upload(
    client: DataClient, peer: str, upload_id: str, path: str, on_bytes: OnBytes = lambda _: None
) -> tuple[int, int]:
    """Send the files below a folder, or a single file, to a peer; (files, bytes).

    on_bytes: called with how much has arrived. Raises InputError for what cannot be moved and what changes
    meanwhile, DataRefused (`full`: the peer's disk), Unreachable. Again under the same id it goes on.
    """
    real = os.path.realpath(path)
    root = real if os.path.isdir(real) else os.path.dirname(real)
    with RootedFiles(root) as folder:
        if root == real:
            entries = list(walk_files(folder, (), lambda _: None))
        else:
            entries = [examine_file(folder, os.path.basename(real), "", lambda _: None)]
    last = ""
    for entry in entries:  # as the peer will, once all is there
        _check_path(entry.path, last)
        last = entry.path
    size = sum(entry.size for entry in entries)
    with closing(OpenPack(FileList(root, entries))) as pack:
        _send(client, peer, upload_id, PACK_NAME, size, pack.read, on_bytes)
    listed = b"".join(_list_of(entries))
    _send(client, peer, upload_id, LIST_NAME, len(listed), lambda at, count: listed[at : at + count])
    return len(entries), size


def read_tree(
    config: ClusterConfig,
    security: Security,
    peer: str,
    upload_id: str,
    folder: str,
    on_bytes: OnBytes = lambda _: None,
    *,
    skip_existing: bool = False,
) -> tuple[int, int, int]:
    """Write the files of a staged download below a folder that exists, verified; (files, bytes, skipped).

    skip_existing: pass over files that are there already, with the size and checksum of the list.
    Raises DataRefused, Unreachable, PathRefusedError for what is in the way, RetryableError, OSError.
    """
    files = size = skipped = 0
    stream = DataStream(config, security, peer, patience_s=PATIENCE_SECONDS)
    with closing(stream), RootedFiles(os.path.realpath(folder)) as target:
        writer = TreeWriter(target, f"{upload_id}@console", is_bulk=True, on_done=lambda keys, size: None)
        try:
            for number in range(_pieces_of(stream, peer, upload_id)):
                name = piece_name(FILES, number)
                piece = parse_list(_whole(stream, Staged(peer, upload_id, name)), name)
                missing = [not (skip_existing and _is_there(target, entry)) for entry in piece.entries]
                ranges = _ranges_of(piece.entries, missing)
                content = stream.read(Staged(peer, upload_id, name, is_content=True), ranges)
                buffer = Buffer(content, on_bytes)
                for index, entry in enumerate(piece.entries):
                    if not missing[index]:
                        skipped += 1
                        continue
                    target.check_place(entry.path)
                    writer.write((name, index), entry, entry.path, buffer.take(entry.size))
                    files, size = files + 1, size + entry.size
            writer.finish()
        except BaseException:
            writer.discard()
            raise
    return files, size, skipped


# ---- on the peer


def list_staged(folder: str, on_bytes: OnBytes) -> Iterator[Entry]:
    """The entries of an upload in their order, each after its bytes in the pack were compared with it.

    Raises InputError where it is not whole, or names what it must not.
    """
    with RootedFiles(folder) as staged:
        descriptor = _open_plain(staged, PACK_NAME)
        try:
            end, last = 0, ""
            for listed in _entries_in(_open_plain(staged, LIST_NAME), os.path.join(folder, LIST_NAME)):
                _check_path(listed.path, last)
                entry = _checked(listed)
                if entry.start != end or digest_of_range(descriptor, end, entry.size) != entry.digest:
                    raise InputError(f"{entry.path!r:.200} of the upload is not whole: upload it again")
                on_bytes(entry.size)
                end, last = end + entry.size, entry.path
                yield entry
        finally:
            os.close(descriptor)


def write_staged_lists(folder: str, files: RootedFiles, on_bytes: OnBytes) -> None:
    """Write the lists that `read_tree` reads into `folder`, of what was downloaded into `files`."""
    writer = ListWriter(folder, os.path.realpath(files.root))
    writer.write(FILES, walk_files(files, (), on_bytes))
    writer.finish()


def _list_of(entries: list[Entry]) -> Iterator[bytes]:
    start = 0
    for first in range(0, len(entries), ENTRIES_PER_PIECE):
        piece = []
        for entry in entries[first : first + ENTRIES_PER_PIECE]:
            piece.append(msgspec.structs.replace(entry, start=start, source=""))
            start += entry.size
        data = sealed(FileList("", piece, is_packed=True))
        yield len(data).to_bytes(_LENGTH_BYTES, "big")
        yield data


def _open_plain(staged: RootedFiles, name: str) -> int:
    """A descriptor of a regular file of an upload."""
    status = staged.status(name)
    if status is None:
        raise InputError(f"the upload {staged.root} has no {name}: upload it again")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(
            f"{os.path.join(staged.root, name)} is {kind_of(status.st_mode)}, and no regular file"
        )
    return staged.open(name)


def _entries_in(descriptor: int, path: str) -> Iterator[Entry]:
    with open(descriptor, "rb") as file:
        while head := file.read(_LENGTH_BYTES):
            length = int.from_bytes(head, "big")
            if length > _PIECE_BYTES_MAX:
                raise InputError(f"the upload {path} is no list of files")
            try:
                yield from parse_list(file.read(length), path).entries
            except DamagedFileError as error:
                raise InputError(f"{error}: upload it again") from error


def _check_path(path: str, last: str) -> None:
    parts = path.split("/")
    is_plain = not any(part in ("", ".", "..") or part.startswith(TEMPORARY_PREFIX) for part in parts)
    is_deep = len(parts) > LEVELS_MAX + 1
    if not is_plain or is_deep or name_problem(path) or path <= last:
        raise InputError(f"{path!r:.200} cannot be the path of a file of an upload")


def _checked(entry: Entry) -> Entry:
    """What a console says of a file, as far as it may say it."""
    if entry.size < 0 or entry.mtime_ns >= _TIMES_END:
        raise InputError(f"{entry.path!r:.200} of the upload has no right size or time")
    return msgspec.structs.replace(entry, mode=entry.mode & _MODE_BITS, source="")


def _is_there(target: RootedFiles, entry: Entry) -> bool:
    present = target.check_place(entry.path)
    if present is None or present[0] != entry.size:
        return False
    descriptor = target.open(entry.path)
    try:
        return digest_of(descriptor) == (entry.size, entry.digest)
    finally:
        os.close(descriptor)


def _ranges_of(entries: Sequence[Entry], wanted: Sequence[bool]) -> Iterator[Range]:
    """Where the wanted ones lie in the stream of all, neighbours as one range."""
    ends = zip(wanted, entries, sums_of(entries), strict=True)
    for is_wanted, neighbours in groupby(ends, key=lambda one: one[0]):
        found = list(neighbours)
        start = found[0][2] - found[0][1].size
        if is_wanted and found[-1][2] > start:
            yield start, found[-1][2] - start


def _send(
    client: DataClient,
    peer: str,
    upload_id: str,
    name: str,
    size: int,
    read: Callable[[int, int], bytes],
    on_bytes: OnBytes = lambda _: None,
) -> None:
    offset = client.write(peer, upload_id, name, 0, b"")  # how much is there of an earlier time
    on_bytes(offset)
    while offset < size:
        payload = read(offset, min(READ_BYTES_MAX, size - offset))
        written = client.write(peer, upload_id, name, offset, payload)
        on_bytes(max(0, written - offset))
        offset = written


def _pieces_of(stream: DataStream, peer: str, upload_id: str) -> int:
    summary = parse_summary(_whole(stream, Staged(peer, upload_id, SUMMARY_NAME)), SUMMARY_NAME)
    return summary.pieces.get(FILES, 0)


def _whole(stream: DataStream, resource: Staged) -> bytes:
    data = b""
    while True:
        piece = b"".join(stream.read(resource, [(len(data), READ_BYTES_MAX)]))
        data += piece
        if len(piece) < READ_BYTES_MAX:
            return data

"""Deleting: what a download has moved away, file by file, or a whole folder of the cluster.

Asked for again, it goes on where it was: what is gone already is no error.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

from pymr.base.durable import sync_folder, write_file
from pymr.base.errors import InputError
from pymr.base.faults import fault_point
from pymr.engine.input.files import MANIFEST_NAME
from pymr.engine.staged_output import locked
from pymr.peer.disk.file_lists import Entry
from pymr.peer.disk.leftovers import temporary_name
from pymr.peer.disk.packs import is_same_file
from pymr.peer.disk.paths import HIDDEN_PREFIX, PeerPaths
from pymr.peer.disk.rooted_files import PathRefusedError, RootedFiles, kind_of
from pymr.peer.transfers.progress import TransferProgress
from pymr.peer.transfers.walk import check_level
from pymr.wire.output_shares import taken_items


def job_of(path: str) -> str | None:
    """The job whose output lies in a folder of a data folder, `jobs/NAME` or `jobs/NAME/reduce`."""
    parts = os.path.normpath(path).split("/")
    return parts[1] if parts[0] == "jobs" and len(parts) in (2, 3) else None


def holding_job(paths: PeerPaths, path: str) -> AbstractContextManager[None]:
    """Let nothing be published in the meantime, where a path is a job's output."""
    job_name = job_of(path)
    if job_name is None or not os.path.isdir(paths.job(job_name)):
        return nullcontext()
    return locked(paths.job(job_name))


def delete_listed(
    paths: PeerPaths, path: str, entries: Iterable[Entry], run_id: str, progress: TransferProgress
) -> tuple[int, int]:
    """Delete files of the folder `path` that are as they were listed; (how many, their bytes).

    Those that have changed since are kept, and told of. Folders that are empty then go too, but for `path`.
    Raises PathRefusedError, OSError.
    """
    listed = list(entries)
    if not listed or not os.path.isdir(os.path.join(paths.data_dir, path)):
        return len(listed), sum(entry.size for entry in listed)
    with holding_job(paths, path), RootedFiles(paths.data_dir, path) as folder:
        fault_point("transfer.before_delete")
        if job_of(path):
            _forget_parts(
                paths, path, {entry.path for entry in listed if _is_as_listed(folder, entry)}, run_id
            )
        deleted = [entry for entry in _links_first(listed) if _delete(folder, entry, progress)]
        _remove_empty_folders(folder, listed)
        folder.sync("")
    _tell_of_kept(len(listed) - len(deleted))
    return len(deleted), sum(entry.size for entry in deleted)


def delete_folder(
    paths: PeerPaths, path: str, run_id: str, peer: str, progress: TransferProgress
) -> tuple[int, int]:
    """Delete a folder, or a single file, of a data folder; (files, bytes) of it. Nothing there is no error.

    It is renamed first, so that nobody finds half of it. Raises PathRefusedError for a link, OSError.
    """
    path = os.path.normpath(path)
    above, _, name = path.rpartition("/")
    with holding_job(paths, path), RootedFiles(paths.data_dir) as root:
        try:
            descriptor = os.dup(root.folder(above))
        except FileNotFoundError:
            return 0, 0
        try:
            return _delete_name(descriptor, name, root, path, f"{run_id}@{peer}", progress)
        finally:
            os.close(descriptor)


def _delete_name(
    folder: int, name: str, root: RootedFiles, path: str, tag: str, progress: TransferProgress
) -> tuple[int, int]:
    files = size = 0
    abandoned = temporary_name(tag)
    for present in (abandoned, name):  # the former: of an attempt that was killed
        try:
            status = os.stat(present, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            continue
        fault_point("transfer.before_delete")
        if stat.S_ISDIR(status.st_mode):
            found = _count(folder, present, os.path.join(root.root, path))
            if present != abandoned:
                os.rename(present, abandoned, src_dir_fd=folder, dst_dir_fd=folder)
                os.fsync(folder)
            shutil.rmtree(abandoned, dir_fd=folder)
        elif stat.S_ISREG(status.st_mode):
            found = 1, status.st_size
            os.unlink(present, dir_fd=folder)
        else:
            what = kind_of(status.st_mode)
            raise PathRefusedError(f"output_dir: {os.path.join(root.root, path)} is {what}, no folder")
        os.fsync(folder)
        progress.add(*found)
        files, size = files + found[0], size + found[1]
    return files, size


def _count(folder: int, name: str, shown: str) -> tuple[int, int]:
    files = size = 0
    for path, _, names, descriptor in os.fwalk(name, dir_fd=folder, follow_symlinks=False):
        try:
            check_level(shown, path.partition("/")[2])
        except InputError as error:
            raise InputError(f"output_dir: {error}") from error
        for file in names:
            files += 1
            size += os.stat(file, dir_fd=descriptor, follow_symlinks=False).st_size
    return files, size


def _delete(folder: RootedFiles, entry: Entry, progress: TransferProgress) -> bool:
    """Whether a file is gone now."""
    try:
        if folder.status(entry.path) is None:
            return True
        if not _is_as_listed(folder, entry):
            return False
        folder.unlink(entry.path)
    except FileNotFoundError:
        return True
    except PathRefusedError:
        return False  # a folder on the way was replaced by something else
    progress.add(1, entry.size)
    return True


def _is_as_listed(folder: RootedFiles, entry: Entry) -> bool:
    try:
        status = folder.status(entry.path)
        if status is not None and stat.S_ISLNK(status.st_mode) and entry.source:
            status = folder.status(entry.source)
    except (FileNotFoundError, PathRefusedError):
        return False
    return status is not None and is_same_file(status, entry)


def _links_first(entries: list[Entry]) -> list[Entry]:
    """What a link leads to tells whether it may go; so it goes before that."""
    return sorted(entries, key=lambda entry: not entry.source)


def _remove_empty_folders(folder: RootedFiles, entries: list[Entry]) -> None:
    """Those in which the files were, deepest first."""
    found: set[str] = set()
    for entry in entries:
        path = entry.path.rpartition("/")[0]
        while path and path not in found:
            found.add(path)
            path = path.rpartition("/")[0]
    for path in sorted(found, key=lambda path: -path.count("/")):
        above, _, name = path.rpartition("/")
        folder.forget(path)
        try:
            os.rmdir(name, dir_fd=folder.folder(above))
        except (OSError, PathRefusedError):  # it is not empty, or gone already
            continue


def _forget_parts(paths: PeerPaths, path: str, names: set[str], run_id: str) -> None:
    """Take parts out of the manifest of an output, so that nobody misses them; its runs stay known."""
    manifest_path = os.path.join(paths.data_dir, path, MANIFEST_NAME)
    try:
        with open(manifest_path, "rb") as file:
            manifest = json.loads(file.read())
    except FileNotFoundError:
        return
    removed = {part["name"]: part["items"] for part in manifest["parts"] if part["name"] in names}
    manifest["taken"] = taken_items(manifest, removed)
    manifest["parts"] = [part for part in manifest["parts"] if part["name"] not in names]
    job_name = job_of(path) or ""
    staged = os.path.join(paths.job(job_name), f"{HIDDEN_PREFIX}manifest-{run_id}")
    text = json.dumps(manifest, indent=2, ensure_ascii=False)  # counters may be larger than orjson takes
    write_file(staged, text.encode("utf-8", "backslashreplace") + b"\n")
    os.rename(staged, manifest_path)
    sync_folder(os.path.dirname(manifest_path))


def _tell_of_kept(count: int) -> None:
    if count:
        print(f"{count:,} files were kept: they have changed since they were copied", flush=True)

"""A job's output, collected from all peers into a folder of this machine, which is replaced in one step."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from pymr.base.errors import OutputError, disk_error
from pymr.client.errors import ClientError
from pymr.engine.input.files import BAD_RECORDS_NAME
from pymr.engine.outputs import Part
from pymr.engine.staged_output import complete, number_parts, refuse_foreign_files, swap

if TYPE_CHECKING:
    from pymr.client.client import Client, Listing
    from pymr.wire.rows import OutputPart

_ATTEMPTS = 3
"""How often an output is collected again when a run has replaced it meanwhile."""

_SCRATCH_PREFIX = ".pymr-output-"


def collect_output(client: Client, job_name: str, folder: str, *, partial: bool = False) -> Listing:
    """Write the output of a job into `folder`: all of it, or the folder stays as it was.

    partial: what is there of it; see `Client.output`.

    folder: new, empty, or with an earlier output. Raises OutputError where it holds anything else; DiskError,
    and as `Client.output` does.
    """
    folder = os.path.realpath(folder)  # what a link leads to is replaced, not the link
    if folder == os.path.realpath(os.getcwd()) or os.path.ismount(folder):
        raise OutputError(f"{folder} is the current folder or a mount point: name another one with --to")
    refuse_foreign_files(folder, "name another one with --to, or empty it")
    parent = os.path.dirname(folder)
    scratch = ""
    try:
        os.makedirs(parent, exist_ok=True)
        scratch = tempfile.mkdtemp(prefix=_SCRATCH_PREFIX, dir=parent)
        staged = os.path.join(scratch, "output")
        listing = _download(client, job_name, staged, partial)
        swap(staged, folder, os.path.join(scratch, "previous"))
    except OSError as error:
        raise disk_error("collecting the output into", folder, error) from error
    finally:
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)
    return listing


def _download(client: Client, job_name: str, staged: str, partial: bool) -> Listing:
    """All files of one run's output, whole: again from the start where another run came in between."""
    for attempt in range(1, _ATTEMPTS + 1):
        listing = client.output(job_name, partial=partial)
        shutil.rmtree(staged, ignore_errors=True)
        os.mkdir(staged)
        try:
            parts = _fetch_parts(client, listing, staged)
            bad_records = [
                _fetch(client, job_name, file, os.path.join(os.path.dirname(staged), f"bad-{number}"))
                for number, file in enumerate(listing.others)
                if file.name == BAD_RECORDS_NAME
            ]
            is_same = client.output(job_name, partial=partial).run_id == listing.run_id
        except ClientError:
            # What was listed may be gone because a new output has taken its place.
            if attempt == _ATTEMPTS or client.output(job_name, partial=partial).run_id == listing.run_id:
                raise
            is_same = False
        if is_same:
            complete(staged, _manifest(client, listing, parts), bad_records)
            return listing
    raise ClientError(
        f"{job_name}: new runs replace its output faster than it can be collected; pause the queue"
    )


def _fetch_parts(client: Client, listing: Listing, staged: str) -> list[Part]:
    """The part files, renumbered where those of two peers have the same name."""
    kept: list[Part] = []
    for file in listing.parts:
        has_name = any(part.name == file.name for part in kept)
        part = Part(file.name, file.items, file.length)
        if has_name:
            _, part = next(number_parts([("", [part])], kept))
        _fetch(client, listing.job_name, file, os.path.join(staged, part.name))
        kept.append(part)
    return kept


def _fetch(client: Client, job_name: str, file: OutputPart, path: str) -> str:
    with open(path, "wb") as target:
        for piece in client.read_part(job_name, file):
            target.write(piece)
        target.flush()
        os.fsync(target.fileno())
    return path


def _manifest(client: Client, listing: Listing, parts: list[Part]) -> dict[str, Any]:
    """What the folder says of itself: the run, where the history still knows it, and the parts."""
    manifest: dict[str, Any] = {"job_name": listing.job_name, "run_id": listing.run_id}
    if listing.missing:
        manifest["missing"] = listing.missing
    with suppress(ClientError):
        for run in client.history(listing.job_name):
            if run.run_id == listing.run_id:
                manifest |= msgspec.to_builtins(run)
    return manifest | {"parts": parts}

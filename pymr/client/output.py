"""A job's output as all hosts have it together: which part files there are, and what is in them."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pymr.client.errors import ClientError, RefusedError, UnreachableError
from pymr.wire.output_shares import missing_in_words, missing_items
from pymr.wire.requests import OutputView
from pymr.wire.rows import OutputPart, RunRow

if TYPE_CHECKING:
    from pymr.config.cluster import ClusterConfig
    from pymr.data.client import DataClient

AGREEMENT_SECONDS = 10.0
"""Hosts show a new output one after the other: they are asked again for this long while they differ."""

_POLL_SECONDS = 0.25
_CHANGING = "changing"


@dataclass(frozen=True, slots=True)
class Listing:
    """An output. run_id: of the newest run in it. parts: the part files by name, then peer; others: the files
    beside them, such as the list of bad records. missing: why it is only a part of the output, where that was
    asked for; "" where it is whole."""

    job_name: str
    run_id: str
    parts: tuple[OutputPart, ...]
    others: tuple[OutputPart, ...] = ()
    missing: str = ""


class OutputClient(Protocol):
    """What `list_output` needs of a client."""

    @property
    def config(self) -> ClusterConfig: ...

    def output_of(self, job_name: str, peer: str) -> OutputView: ...

    def history(self, job_name: str = "", limit: int = 100) -> tuple[RunRow, ...]: ...


def list_output(client: OutputClient, job_name: str, *, partial: bool = False) -> Listing:
    """The output of a job on all hosts, which show that of the same run. A part of it is never given for all.

    partial: give what is there, and say in `missing` what is not. What hosts show of different runs is never
    given as one.
    Raises ClientError where there is no output, where some of it is not there, where hosts or the peers of
    one go on differing for AGREEMENT_SECONDS, and UnreachableError where no peer of a host answers.
    """
    views, silent = _agreed_views(client, job_name, partial=partial)
    runs = {view.run_id for view in views.values()} - {""}
    if not runs:
        raise ClientError("; ".join([f"{job_name} has no output: no run of it has succeeded yet", *silent]))
    problems = silent
    missing = missing_items(
        (share for view in views.values() for share in view.expected),
        (share for view in views.values() for share in view.shown),
    )
    if missing is not None and not silent:  # else that is why
        problems = [missing_in_words(job_name, missing, [peer.name for peer in client.config.peers])]
    if problems and not partial:
        raise ClientError("; ".join(problems))
    return _listing(job_name, runs.pop(), views.values(), "; ".join(problems))


def _agreed_views(
    client: OutputClient, job_name: str, *, partial: bool
) -> tuple[dict[str, OutputView], list[str]]:
    """What each host shows, once they show the same run; and, of a partial output, why some hosts do not."""
    deadline = time.monotonic() + AGREEMENT_SECONDS
    while True:
        silent: list[str] = []
        try:
            views = _views_by_host(client, job_name, silent if partial else None)
        except RefusedError as error:
            if error.code != _CHANGING or time.monotonic() >= deadline:
                raise
            time.sleep(_POLL_SECONDS)
            continue
        runs = {view.run_id for view in views.values()}
        if len(runs) <= 1 or _is_whole(client, job_name, views):
            return views, silent
        if time.monotonic() >= deadline:
            if not partial or len(runs - {""}) > 1:
                raise ClientError(_difference(job_name, views))
            return views, [*silent, _difference(job_name, views)]
        time.sleep(_POLL_SECONDS)


def _views_by_host(client: OutputClient, job_name: str, silent: list[str] | None) -> dict[str, OutputView]:
    """What each host has, from one of its peers. silent: gets why others do not answer; None: raise that."""
    peers_by_host: dict[str, list[str]] = {}
    for peer in client.config.peers:
        peers_by_host.setdefault(peer.host, []).append(peer.name)
    views = {}
    for host, names in peers_by_host.items():
        try:
            views[host] = _view_of_host(client, job_name, host, names)
        except UnreachableError as error:
            if silent is None:
                raise
            silent.append(str(error))
    return views


def _view_of_host(client: OutputClient, job_name: str, host: str, peers: list[str]) -> OutputView:
    errors = []
    for peer in peers:
        try:
            return client.output_of(job_name, peer)
        except UnreachableError as error:
            errors.append(f"{peer}: {error}")
        except RefusedError as error:
            if error.code != "unavailable":
                raise
            errors.append(f"{peer}: {error}")
    raise UnreachableError(
        f"the part of {job_name}'s output on {host} cannot be had, as none of its peers answers; start one "
        f"of them, then ask again ({'; '.join(errors)})"
    )


def _is_whole(client: OutputClient, job_name: str, views: dict[str, OutputView]) -> bool:
    """Whether hosts without any output are such as took no part in the run that the others show."""
    runs = {view.run_id for view in views.values()} - {""}
    if len(runs) != 1:
        return False
    expected = [share for view in views.values() for share in view.expected]
    if any(share.peer for share in expected):
        return missing_items(expected, [share for view in views.values() for share in view.shown]) is None
    shown = sum(part.items for view in views.values() for part in view.parts if _is_part(part.name))
    return any(
        run.run_id in runs and run.status == "succeeded" and run.items == shown
        for run in client.history(job_name)
    )


def _difference(job_name: str, views: dict[str, OutputView]) -> str:
    shown = ", ".join(
        f"{host} that of run {view.run_id}" if view.run_id else f"{host} none" for host, view in views.items()
    )
    return (
        f"the hosts do not show the same output of {job_name}: {shown}. A run may be publishing: ask again "
        "when it has ended; if they still differ then, run the job again"
    )


def _listing(job_name: str, run_id: str, views: Iterable[OutputView], missing: str) -> Listing:
    files = {(part.name, part.peer): part for view in views for part in view.parts}
    ordered = [files[key] for key in sorted(files)]
    return Listing(
        job_name,
        run_id,
        tuple(file for file in ordered if _is_part(file.name)),
        tuple(file for file in ordered if not _is_part(file.name)),
        missing,
    )


def _is_part(name: str) -> bool:
    return name.startswith("part-")


def read_part(data: DataClient, job_name: str, part: OutputPart) -> Iterator[bytes]:
    """The content of a file of an output as it is stored, piece by piece.

    Raises UnreachableError, and ClientError where the file is not as it was listed.
    """
    from pymr.data.client import DataRefused, Output, Unreachable

    left = part.length
    try:
        for piece in data.read(Output(part.peer, job_name, part.name), 0, part.length):
            left -= len(piece)
            yield piece
    except Unreachable as error:
        raise UnreachableError(str(error)) from error
    except DataRefused as error:
        raise RefusedError(error.code, f"{part.name} of {job_name} on {part.peer}: {error}") from error
    if left:
        raise ClientError(
            f"{part.name} of {job_name} on {part.peer} ends {left:,} bytes too early: ask again"
        )


def decompressed(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    """The lines in the pieces of a part file, by its suffix. Raises ClientError for damaged ones."""
    if not name.endswith((".gz", ".zst")):
        yield from pieces
        return
    stream = _decompressor(name)
    try:
        for piece in pieces:
            while piece:
                if stream.eof:
                    stream = _decompressor(name)
                yield stream.decompress(piece)
                piece = stream.unused_data
    except Exception as error:
        if isinstance(error, ClientError):
            raise
        raise ClientError(f"{name} is damaged: {error}; run the job again") from error
    if not stream.eof:
        raise ClientError(f"{name} ends before its compressed content does; run the job again")


def _decompressor(name: str) -> Any:
    if name.endswith(".gz"):
        return zlib.decompressobj(zlib.MAX_WBITS | 16)
    from pymr.base.zstd import zstd

    return zstd.ZstdDecompressor()

"""Panes: what a worker put out, by byte offsets, for consoles, live or afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pymr.client.errors import ClientError, RefusedError, UnreachableError
from pymr.client.runs import History, ended_run
from pymr.jobs.run_ids import job_of_run

if TYPE_CHECKING:
    from pymr.config.cluster import ClusterConfig
    from pymr.data.client import DataClient
    from pymr.wire.requests import JobView
    from pymr.wire.rows import WorkerRow

PANE_PIECE_BYTES = 256 << 10
"""Most bytes of a pane that are read at once."""

PANES_LOOKED_AT_MAX = 64
"""So many workers at most are asked whether they have put out anything in a run."""

PANES_SECONDS = 1.0
"""How long to wait for a data service's answer to that question."""

_SLOT_DIGITS_MAX = 6


@dataclass(frozen=True, slots=True)
class PaneBytes:
    """A piece of a pane. start: the offset of its first byte, behind `skipped` bytes that are not kept.

    run_id: whose it is; "" where the worker has put out nothing yet. end: how long the pane is by now.
    times: (offset, Unix seconds) of what was put out when, ascending: bytes from an offset on came no earlier
    than then, up to the next one; the first may lie before `start`. () where that is not known.
    """

    run_id: str
    start: int
    data: bytes
    end: int
    skipped: int = 0
    times: tuple[tuple[int, float], ...] = ()

    @property
    def next(self) -> int:
        """The offset to read on from."""
        return self.start + len(self.data)


def split_worker(worker: str) -> tuple[str, int]:
    """(peer, slot) of a worker's name. Raises ClientError for what is none."""
    peer, slash, slot = worker.rpartition("/")
    if not slash or not peer or not slot.isascii() or not slot.isdigit() or len(slot) > _SLOT_DIGITS_MAX:
        raise ClientError(f"{worker!r} is not a worker: a worker is named PEER/SLOT, such as alpha/0")
    return peer, int(slot)


def read_pane(
    data: DataClient, worker: str, run_id: str, offset: int, bytes_max: int = PANE_PIECE_BYTES
) -> PaneBytes:
    """What a worker put out in a run, from a byte on, `bytes_max` at most; none if that is all yet.

    run_id: "" for the newest. offset: from the beginning; a negative one from the end.
    """
    peer, slot = split_worker(worker)
    with told_by_data_service(f"the output of {worker} cannot be had"):
        piece = data.read_pane(peer, slot, run_id, offset, bytes_max)
    times = tuple((at, when / 1_000) for at, when in piece.marks)
    return PaneBytes(piece.run_id, piece.offset, piece.data, piece.end, piece.skipped, times)


class Knowing(History, Protocol):
    """What is asked of a client about a worker and a run."""

    config: ClusterConfig

    def workers(self) -> tuple[WorkerRow, ...]: ...
    def job(self, job_name: str) -> JobView: ...


def check_pane(client: Knowing, worker: str, run_id: str) -> None:
    """Raise ClientError where there is no such worker, or no such run, which a pane without a byte may be
    due to. run_id: "" for any. Cost: two questions, and see ended_run."""
    peer, slot = split_worker(worker)
    count = max((one.workers for one in client.config.peers if one.name == peer), default=0)
    if slot >= count and all(row.name != worker for row in client.workers()):
        last = f" to {peer}/{count - 1}" if count > 1 else ""
        raise ClientError(f"there is no worker {worker}; {peer} has {peer}/0{last}")
    if not run_id or ended_run(client, run_id) is not None:
        return
    job_name = job_of_run(run_id)
    row = client.job(job_name).row if job_name else None
    if row is None or row.run_id != run_id:
        raise ClientError(f"there is no run {run_id}; `pymr history` shows the runs")


@dataclass(frozen=True, slots=True)
class RunPanes:
    """What is kept of what workers put out in a run. sizes: in bytes, by worker, of those that put out
    something. is_kept: whether there is any pane, be it empty; None if that cannot be determined soon."""

    sizes: Mapping[str, int]
    is_kept: bool | None


def panes_in(data: DataClient, workers: Iterable[str], run_id: str) -> RunPanes:
    """The panes of a run. Cost: a question for each worker, of PANES_LOOKED_AT_MAX at most. A peer that
    cannot be asked is passed over."""
    sizes, silent, has_empty = {}, set(), False
    for worker in list(workers)[:PANES_LOOKED_AT_MAX]:
        peer = split_worker(worker)[0]
        if peer in silent:
            continue
        try:
            size = read_pane(data, worker, run_id, 0, 1).end
        except UnreachableError:
            silent.add(peer)
        except RefusedError:
            continue
        else:
            has_empty |= not size
            if size:
                sizes[worker] = size
    return RunPanes(sizes, True if sizes or has_empty else None if silent else False)


def keeps_pane(data: DataClient, worker: str, run_id: str) -> bool | None:
    """Whether what a worker put out in a run is still kept; None if that cannot be determined soon."""
    try:
        read_pane(data, worker, run_id, 0, 1)
    except UnreachableError:
        return None
    except RefusedError as error:
        return False if error.code == "missing" else None
    return True


@contextmanager
def told_by_data_service(owner: str) -> Iterator[None]:
    """Raise a data service's error as an error for a console. owner: what, or whose it is, for a person."""
    from pymr.data.client import DataRefused, Unreachable

    try:
        yield
    except UnicodeEncodeError as error:
        raise ClientError(f"{owner}: there is nothing of the name {error.object!r:.100}") from error
    except Unreachable as error:
        raise UnreachableError(str(error)) from error
    except DataRefused as error:
        raise RefusedError(error.code, f"{owner}: {error}") from error

"""What jobs have consumed, and the records that runs passed over: each host tells of its own, by one peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from pymr.client.errors import ClientError, RefusedError, UnreachableError
from pymr.client.runs import ended_run
from pymr.wire.requests import BadRecordsView, StateView
from pymr.wire.rows import RunRow, StateRow

if TYPE_CHECKING:
    from pymr.config.cluster import ClusterConfig

READINGS_MAX = 5
"""A list that changes while its pages are read is read from its beginning again, so often at most."""

Answer = TypeVar("Answer")


class StateClient(Protocol):
    """What is needed of a client here."""

    @property
    def config(self) -> ClusterConfig: ...

    def state_of(self, job_name: str, peer: str, start: int = 0) -> StateView: ...

    def forget_state_of(self, job_name: str, pattern: str, peer: str) -> int: ...

    def bad_records_of(self, run_id: str, peer: str, start: int = 0) -> BadRecordsView: ...

    def history(self, job_name: str = "", limit: int = 100) -> tuple[RunRow, ...]: ...


@dataclass(frozen=True, slots=True)
class Consumed:
    """What a job has consumed. run_id: of the run that consumed the last of it; "" if there is no state.

    files: host by host, each in the order of the paths. silent: hosts that did not tell, and why.
    """

    job_name: str
    run_id: str
    files: tuple[StateRow, ...]
    silent: dict[str, str]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten. files: how many, by host. silent: hosts that have not done it, and why."""

    files: dict[str, int]
    silent: dict[str, str]

    @property
    def total(self) -> int:
        return sum(self.files.values())


def consumed_files(client: StateClient, job_name: str) -> Consumed:
    """What a job with `hold_state` has consumed, on all hosts. Cost: a question for every few thousand files.

    Raises UnreachableError where no host tells.
    """
    views, silent = _of_each_host(client, lambda peer: _all_pages(client, job_name, peer))
    run_id = next((run_id for run_id, _ in views.values() if run_id), "")
    return Consumed(job_name, run_id, tuple(row for _, rows in views.values() for row in rows), silent)


def forget_files(client: StateClient, job_name: str, pattern: str, peer: str = "") -> Forgotten:
    """Forget that files were consumed whose path matches a pattern of fnmatch, as `consumed_files` gives it.

    peer: only on the host of this one; "" for all hosts. Done again, it forgets what is left.
    Raises RefusedError where the job has no state, UnreachableError where no host answers, ClientError where
    there is no such peer.
    """
    if peer and peer not in (one.name for one in client.config.peers):
        names = ", ".join(one.name for one in client.config.peers)
        raise ClientError(f"there is no peer {peer}; there are: {names}")
    files, silent = _of_each_host(client, lambda one: client.forget_state_of(job_name, pattern, one), peer)
    return Forgotten(files, silent)


@dataclass(slots=True)
class BadRecordListing:
    """The bad records of a run, one after another, each with host, file, offset, line, error and traceback.

    left_out: how many there were beyond what is kept; silent: hosts that did not tell, and why. Both are
    known when all have been read.
    """

    client: StateClient
    run_id: str
    left_out: int = 0
    silent: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.left_out, self.silent = 0, {}
        for host, peers in _hosts(self.client).items():
            try:
                yield from self._of_host(host, peers)
            except (UnreachableError, RefusedError) as error:
                self.silent[host] = str(error)

    def _of_host(self, host: str, peers: list[str]) -> Iterator[dict[str, Any]]:
        seen = set()
        start: int | None = 0
        while start is not None:
            view = _first_answer(peers, partial(self._page, start))
            for line in view.lines:
                entry = _entry(line)
                self.left_out += entry.get("left_out", 0)
                # Of an attempt that was done twice, the one that does not count may be there still.
                if "file" in entry and hash(line) not in seen:
                    seen.add(hash(line))
                    yield {"host": host, **entry}
            start = view.next

    def _page(self, start: int, peer: str) -> BadRecordsView:
        return self.client.bad_records_of(self.run_id, peer, start)

    def run(self) -> RunRow | None:
        """The run in the history; None while it has not ended, and where it is not known."""
        return ended_run(self.client, self.run_id)


def _all_pages(client: StateClient, job_name: str, peer: str) -> tuple[str, list[StateRow]]:
    """(run, all rows) of a host."""
    for _ in range(READINGS_MAX):
        view = first = client.state_of(job_name, peer)
        rows = list(view.rows)
        while view.rows and len(rows) < view.total:
            view = client.state_of(job_name, peer, len(rows))
            if (view.run_id, view.total) != (first.run_id, first.total):
                break
            rows += view.rows
        else:
            return first.run_id, rows
    raise RefusedError("unavailable", f"what {job_name} has consumed changes while it is read; ask again")


def _of_each_host(
    client: StateClient, ask: Callable[[str], Answer], peer: str = ""
) -> tuple[dict[str, Answer], dict[str, str]]:
    """(answers, why there is none) by host; of the host of one peer, or of all."""
    answers: dict[str, Answer] = {}
    silent: dict[str, str] = {}
    last: Exception | None = None
    for host, peers in _hosts(client).items():
        if peer and peer not in peers:
            continue
        try:
            answers[host] = _first_answer(peers, ask)
        except (UnreachableError, RefusedError) as error:
            if isinstance(error, RefusedError) and error.code in ("unknown", "denied"):
                raise  # so would all others
            silent[host], last = str(error), error
    if not answers and last is not None:
        raise last
    return answers, silent


def _hosts(client: StateClient) -> dict[str, list[str]]:
    """The peers of each host."""
    found: dict[str, list[str]] = {}
    for peer in client.config.peers:
        found.setdefault(peer.host, []).append(peer.name)
    return found


def _first_answer(peers: list[str], ask: Callable[[str], Answer]) -> Answer:
    """What the first of a host's peers says that can be asked. Raises the error of the last one."""
    for peer in peers[:-1]:
        try:
            return ask(peer)
        except UnreachableError:
            continue
        except RefusedError as error:
            if error.code != "unavailable":
                raise
    return ask(peers[-1])


def _entry(line: str) -> dict[str, Any]:
    """A line of a list; nothing for one that is cut."""
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}

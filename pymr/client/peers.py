"""Peers and workers while no peer leads: each peer is asked about itself only."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from pymr.client.errors import ClientError
from pymr.wire.requests import PeersView, WorkersView
from pymr.wire.rows import PeerRow, WorkerRow

EACH_SECONDS = 1.0
"""How long a peer may take to tell of itself."""

ALL_SECONDS = 4.0
"""How long all may take together; of those that are not asked by then nothing is known."""

NO_ANSWER = "does not answer"


@dataclass(frozen=True, slots=True)
class AskOne:
    """How one peer is asked: by its name, and with so many seconds to answer."""

    peers: Callable[[str, float], PeersView]
    workers: Callable[[str, float], WorkersView]


def peers_alone(ask: AskOne, rows: Sequence[PeerRow]) -> tuple[PeerRow, ...]:
    """The rows that a peer has told without a leader, in which it knows of itself only, with what the others
    say of themselves. As soon as one has a leader, what that one knows of all."""
    found = {row.name: row for row in rows}
    deadline = time.monotonic() + ALL_SECONDS
    for row in rows:
        if row.alive or row.state == "removed" or time.monotonic() > deadline:
            continue
        try:
            told = ask.peers(row.name, EACH_SECONDS).rows
        except ClientError:
            found[row.name] = replace(row, state=NO_ANSWER)
            continue
        if any(one.leader for one in told):
            return tuple(told)
        found[row.name] = next((one for one in told if one.name == row.name and one.alive), row)
    return tuple(found.values())


def workers_alone(ask: AskOne, rows: Sequence[WorkerRow], peers: Sequence[str]) -> tuple[WorkerRow, ...]:
    """The workers of the peers that answer, each reporting its own. peers: all, in their order."""
    found = {name: [row for row in rows if row.peer == name] for name in peers}
    deadline = time.monotonic() + ALL_SECONDS
    for name in peers:
        if found[name] or time.monotonic() > deadline:
            continue
        try:
            told = ask.workers(name, EACH_SECONDS).rows
        except ClientError:
            continue
        found[name] = [row for row in told if row.peer == name]
    return tuple(row for name in peers for row in found[name])

"""Recovery of a cluster whose Redis has forgotten it: which peer's memory is restored."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pymr.client.errors import ClientError
from pymr.wire.requests import MemoryView

FOLLOW_SECONDS = 3.0
"""How long to wait for peers to notice that the cluster has a new life; usually moments."""

_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Recovery:
    """peer: whose job table is put back. epoch: the highest that any peer remembers."""

    peer: str
    incarnation: str
    epoch: int


def choose_recovery(memories: Mapping[str, MemoryView | None], *, at_least: int) -> Recovery:
    """The newest job table of the life of the cluster that most peers remember.

    memories: by peer, None for one that does not answer. at_least: how many have to, so that the others
    cannot know better.
    Raises ClientError where fewer answer, or none remembers anything.
    """
    answered = {peer: memory for peer, memory in memories.items() if memory is not None}
    if len(answered) < at_least:
        silent = ", ".join(peer for peer in memories if peer not in answered)
        raise ClientError(
            f"only {len(answered)} of {len(memories)} peers answer, and the others may remember more: start "
            f"{silent} first"
        )
    votes = Counter(memory.incarnation for memory in answered.values() if memory.incarnation)
    if not votes:
        raise ClientError("no peer remembers anything of the cluster: there is nothing to recover")
    epoch = max(memory.epoch for memory in answered.values())
    incarnation = max(
        votes,
        key=lambda one: (votes[one], max(m.epoch for m in answered.values() if m.incarnation == one)),
    )
    holders = {peer: memory for peer, memory in answered.items() if memory.incarnation == incarnation}
    peer = max(holders, key=lambda one: (holders[one].change, holders[one].jobs))
    return Recovery(peer, incarnation, epoch)


def wait_until_forgotten(
    incarnation: str, memory_of: Callable[[str], MemoryView | None], peers: Sequence[str]
) -> None:
    """Wait until none of these peers is in that life of the cluster any more: one that is refuses
    commands."""
    deadline = time.monotonic() + FOLLOW_SECONDS
    for peer in peers:
        while time.monotonic() < deadline:
            memory = memory_of(peer)
            if memory is None or memory.incarnation != incarnation:
                break
            time.sleep(_POLL_SECONDS)

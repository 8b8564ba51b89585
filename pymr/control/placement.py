"""Placement: which peer reduces which partition."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence

from pymr.control.messages import PeerInfo


def place_partitions(
    partitions: int, peers: Sequence[PeerInfo], load: Mapping[str, int] | None = None
) -> tuple[str, ...]:
    """The home of each partition: every peer gets its share by its number of workers, in turn.

    peers: those that take work, at least one. load: partitions that they have already. Neighbouring ones go
    to different peers, so that a range of keys that is heavier than others is spread.
    """
    homes: list[str] = []
    shares = [load.get(peer.name, 0) if load else 0 for peer in peers]
    heap = [
        (share / peer.workers, -peer.workers, place, share)
        for place, (peer, share) in enumerate(zip(peers, shares, strict=True))
    ]
    heapq.heapify(heap)
    for _ in range(partitions):
        _, workers, place, share = heap[0]
        homes.append(peers[place].name)
        heapq.heapreplace(heap, ((share + 1) / -workers, workers, place, share + 1))
    return tuple(homes)


def replace_homes(
    partitions: int, peers: Iterable[PeerInfo], host: str, load: Mapping[str, int]
) -> tuple[str, ...]:
    """Other homes for partitions whose peer is gone: on the same host if there is anybody, who can read what
    the other has gathered; else everywhere. Empty where there is nobody at all."""
    everybody = list(peers)
    candidates = [peer for peer in everybody if peer.host == host] or everybody
    return place_partitions(partitions, candidates, load) if candidates else ()

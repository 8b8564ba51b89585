"""Placement: which peer reduces which partition, and how many partitions there are."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from pymr.control.messages import PeerFacts


def place_partitions(partitions: int, peers: Sequence[PeerFacts]) -> tuple[str, ...]:
    """The home of each partition: every peer gets its share by its number of workers, in turn.

    peers: those alive, at least one. Neighbouring partitions go to different peers, so that a range of keys
    that is heavier than others is spread.
    """
    homes: list[str] = []
    heap = [(0.0, -peer.workers, place, 0) for place, peer in enumerate(peers)]
    heapq.heapify(heap)
    for _ in range(partitions):
        _, workers, place, share = heap[0]
        homes.append(peers[place].name)
        heapq.heapreplace(heap, ((share + 1) / -workers, workers, place, share + 1))
    return tuple(homes)


def replace_home(partition: int, homes: Sequence[str], peers: Sequence[PeerFacts], host: str) -> str:
    """Another home for a partition whose peer is gone: one of the same host if there is any, as it can read
    what the other has gathered; else the one with the fewest partitions per worker."""
    candidates = [peer for peer in peers if peer.host == host] or list(peers)
    load = {peer.name: 0 for peer in candidates}
    for home in homes:
        if home in load:
            load[home] += 1
    return min(candidates, key=lambda peer: (load[peer.name] / peer.workers, peer.name)).name

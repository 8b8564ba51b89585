"""Fetching: segments pulled from other hosts, by the simulated data service of a peer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.step_rules import StepContent

from pymr.control.follower.events import (
    DropPartitions,
    FetchSegments,
    MeasureSegments,
    SegmentFetched,
    SegmentLost,
    SegmentRefused,
    SegmentsMeasured,
)
from pymr.wire.outcomes import AttemptId
from pymr.wire.protocol import Source

if TYPE_CHECKING:
    from simulation.peers import SimulatedPeer

RETRY_SECONDS = 0.5
FULL = "disk full: no space left"


class Fetching:
    """The fetches of one life of a peer."""

    def __init__(self, peer: SimulatedPeer) -> None:
        self._peer = peer
        self._world = peer.cluster.world
        self._forgotten: set[str] = set()
        self._dropped: set[tuple[str, int]] = set()

    def fetch(self, command: FetchSegments) -> None:
        self._forgotten.discard(command.run_id)
        self._dropped.discard((command.run_id, command.partition))
        for source in command.sources:
            self._try_later(command.run_id, source, command.partition)

    def drop(self, command: DropPartitions) -> None:
        self._dropped.update((command.run_id, partition) for partition in command.partitions)

    def measure(self, command: MeasureSegments) -> None:
        """Look at the outputs on this host, of which some may have gone meanwhile."""
        for source in command.sources:
            id = source.id_in(command.run_id)
            attempt = self._peer.cluster.peers[source.peer].disk.attempts.get(id)
            if attempt is None:
                continue
            assert not isinstance(attempt.content, tuple | StepContent)
            sizes = tuple((one, len(attempt.content.get(one, ()))) for one in command.partitions)
            self._tell_measured(SegmentsMeasured(command.run_id, source, sizes))

    def _tell_measured(self, event: SegmentsMeasured) -> None:
        self._peer.tell(lambda: self._peer.step(event))

    def forget(self, run_id: str) -> None:
        self._forgotten.add(run_id)

    def _try_later(self, run_id: str, source: Source, partition: int, seconds: float = 0.0) -> None:
        delay = seconds + self._world.between(0.005, 0.1)
        self._peer.beside(delay, lambda: self._try(run_id, source, partition))

    def _try(self, run_id: str, source: Source, partition: int) -> None:
        if run_id in self._forgotten or (run_id, partition) in self._dropped:
            return
        id = AttemptId(run_id, f"map-{source.task:05d}", source.attempt)
        fetched = self._peer.disk.fetched
        if (id, partition) not in fetched:
            if not self.reaches_host_of(source.peer):
                self._try_later(run_id, source, partition, RETRY_SECONDS)
                return
            if self._peer.is_disk_full:
                refused = SegmentRefused(run_id, source, partition, FULL, is_of_disk=True)
                self._peer.tell(lambda: self._peer.step(refused))
                self._try_later(run_id, source, partition, RETRY_SECONDS)
                return
            attempt = self._peer.cluster.peers[source.peer].disk.attempts.get(id)
            if attempt is None:
                self._peer.tell(lambda: self._peer.step(SegmentLost(run_id, source)))
                return
            assert not isinstance(attempt.content, tuple | StepContent)
            fetched[id, partition] = attempt.content.get(partition, ())
        size = len(fetched[id, partition])
        self._peer.tell(lambda: self._peer.step(SegmentFetched(run_id, source, partition, size)))

    def reaches_host_of(self, owner: str) -> bool:
        """Whether any peer of the owner's host answers: they all can read its data folder."""
        peers = self._peer.cluster.peers
        network = self._peer.cluster.network
        return any(
            one.life is not None
            and network.reaches(self._peer.name, one.name)
            and network.reaches(one.name, self._peer.name)
            for one in peers.values()
            if one.info.host == peers[owner].info.host
        )

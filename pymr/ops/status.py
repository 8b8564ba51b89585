"""How a cluster is, as each of its peers answers for itself."""

from __future__ import annotations

from dataclasses import dataclass

from pymr.wire.requests import ClusterView


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """A peer as it answers for itself. pid: 0 where it is not known. view: None when it does not answer."""

    name: str
    host: str
    address: str
    pid: int
    alive: bool
    leader: bool
    epoch: int
    workers: int
    problem: str
    view: ClusterView | None = None

    @property
    def is_draining(self) -> bool:
        """Whether it is about to end."""
        return self.view is not None and self.view.is_draining


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """A cluster as its peers see it. problem: why nothing is scheduled, and what to do;
    "" if all is well. warning: what is not right, though it works."""

    name: str
    peers: tuple[PeerStatus, ...]
    leader: str
    epoch: int
    problem: str
    warning: str = ""

    @property
    def is_well(self) -> bool:
        are_up = all(peer.alive and not peer.is_draining for peer in self.peers)
        return bool(self.leader) and not self.problem and are_up

    @property
    def paused(self) -> bool:
        """Whether no more runs are started until `pymr resume`."""
        return any(peer.view.paused for peer in self.peers if peer.view is not None)

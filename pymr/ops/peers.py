"""The peers of a cluster as `ClusterManager` deals with them: which are of this machine, and asking them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from pymr.base.errors import FatalError, PymrError
from pymr.client import Client, ClientError
from pymr.config.cluster import ClusterConfig, PeerConfig
from pymr.ops.processes import find_daemons
from pymr.wire.addresses import is_here
from pymr.wire.requests import ClusterView

if TYPE_CHECKING:
    from psutil import Process

ANSWER_SECONDS = 2.5
"""More than a peer waits for a leader that has just died, before it answers from what it knows itself."""

CONNECT_SECONDS = 2.0
"""A machine that does not even refuse a connection within this time is out of reach."""

_AT_ONCE_MAX = 16

Report = Callable[[str], object]
Result = TypeVar("Result")


class ClusterPeers:
    """here, elsewhere: the peers of this machine, and of others. source: the path of the cluster.toml.

    report: is given a line on each step.
    """

    def __init__(self, config: ClusterConfig, report: Report) -> None:
        if config.source is None:
            raise FatalError("a cluster is started from a cluster.toml, which its daemons read themselves")
        self.config = config
        self.source = config.source
        self.report = report
        self.here = tuple(peer for peer in config.peers if is_here(peer.host))
        self.elsewhere = tuple(peer for peer in config.peers if peer not in self.here)

    def daemons(self) -> dict[str, Process]:
        """The running daemons of this machine, by name."""
        return find_daemons(self.source, [peer.name for peer in self.here])

    def ask(self, peer: PeerConfig, timeout_s: float = ANSWER_SECONDS) -> ClusterView | PymrError:
        """A peer's answer, or why there is none."""
        try:
            with Client(self.config, timeout_s=timeout_s) as client:
                return client.cluster(peer.name)
        except ClientError as error:
            return error

    def ask_all(
        self, peers: Sequence[PeerConfig], timeout_s: float = ANSWER_SECONDS
    ) -> dict[str, ClusterView | PymrError]:
        """The answers of peers by name, all asked at the same time."""
        return self.each(peers, lambda peer: self.ask(peer, timeout_s))

    def listening(self, peers: Sequence[PeerConfig]) -> dict[str, bool | None]:
        """By name, whether a process listens where a peer would: one that has ended does not, one that hangs
        does. None where its machine is out of reach."""
        return self.each(peers, _is_listening)

    @staticmethod
    def each(peers: Sequence[PeerConfig], work: Callable[[PeerConfig], Result]) -> dict[str, Result]:
        """The result of `work` for each of these peers, by name; several run at the same time."""
        with ThreadPoolExecutor(min(len(peers) or 1, _AT_ONCE_MAX)) as threads:
            return dict(zip((peer.name for peer in peers), threads.map(work, peers), strict=True))


def _is_listening(peer: PeerConfig) -> bool | None:
    try:
        with socket.create_connection((peer.host, peer.control_port), CONNECT_SECONDS):
            return True
    except ConnectionRefusedError:
        return False
    except OSError:
        return None

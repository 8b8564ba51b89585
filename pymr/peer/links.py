"""Links: the ways from this peer to the others, renewed where nothing comes back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pymr.config import PeerConfig
from pymr.keys import Security
from pymr.peer.transport import Context, Link
from pymr.protocol import SUSPECT_SECONDS, PeerMessage, Wake

WARM_LINKS_MAX = 200
"""Up to so many peers, each is connected to all others from its start on: a new leader is heard at once."""


class Links:
    """One link to each of the others. What is sent may be lost: it is said again until it has been heard."""

    def __init__(
        self, context: Context, me: PeerConfig, peers: Sequence[PeerConfig], security: Security
    ) -> None:
        self._context = context
        self._security = security
        self._others = {peer.name: peer for peer in peers if peer.name != me.name}
        self._links: dict[str, Link] = {}
        self._renewed_at: dict[str, float] = {}

    def warm(self) -> None:
        """Connect to everybody, where they are not too many."""
        if len(self._others) < WARM_LINKS_MAX:
            for name in self._others:
                self.send(name, Wake(0))

    def send(self, peer: str, message: PeerMessage) -> None:
        """Send, if a connection takes it."""
        link = self._links.get(peer)
        if link is None:
            facts = self._others.get(peer)
            if facts is None:
                return
            link = self._links[peer] = Link(
                self._context, peer, facts.host, facts.control_port, self._security
            )
        link.send(message)

    def renew(self, silent: Iterable[str], now: float) -> None:
        """Connect anew to peers that are silent: a connection may be a dead one that does not know it."""
        for name in silent:
            if name in self._links and now - self._renewed_at.get(name, 0.0) > SUSPECT_SECONDS:
                self._renewed_at[name] = now
                self._links[name].renew()

    def close(self) -> None:
        for link in self._links.values():
            link.close()

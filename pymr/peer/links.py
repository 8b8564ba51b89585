"""Links: the ways from this peer to the others, renewed where nothing comes back."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence

from pymr.config.cluster import PeerConfig
from pymr.wire.addresses import Address
from pymr.wire.frames import BadFrame, encode
from pymr.wire.keys import KeysError, Security
from pymr.wire.protocol import SUSPECT_SECONDS, PeerMessage, Wake
from pymr.wire.requests import Request
from pymr.wire.sockets import Context, Dealer

WARM_LINKS_MAX = 200
"""Up to so many peers, each is connected to all others from its start on: a new leader is heard at once."""

RENEW_SECONDS = 6.0
"""A link that could send nothing for this long connects anew. More than a handshake may take."""

_log = logging.getLogger("pymr")


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
            info = self._others.get(peer)
            if info is None:
                return
            link = self._links[peer] = Link(self._context, peer, info.host, info.control_port, self._security)
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


class Link:
    """The way to one peer. What is sent may be lost: it is to be repeated until it is seen to have arrived.

    unsent: messages that no connection took. A peer whose key is not listed is out of reach until it is.
    """

    def __init__(self, context: Context, name: str, host: str, port: int, security: Security) -> None:
        self._dealer = Dealer(context, name, Address(host, port), security)
        self._took_at = time.monotonic()
        self._has_no_key = False
        self.unsent = 0

    def send(self, message: PeerMessage | Request) -> bool:
        """Whether the message is on its way. Never blocks, nor raises, whatever the network does."""
        try:
            frame = encode(message)
        except BadFrame as error:
            _log.error("not sent to %s: %s", self._dealer.name, error)
            self.unsent += 1
            return False
        now = time.monotonic()
        if self._sends(frame):
            self._took_at = now
            return True
        self.unsent += 1
        if now - self._took_at > RENEW_SECONDS:
            self.renew()
        return False

    def _sends(self, frame: bytes) -> bool:
        try:
            is_sent = self._dealer.send(frame)
        except KeysError as error:
            if not self._has_no_key:
                _log.warning("%s is out of reach: it %s", self._dealer.name, error.problems[0].reason)
            self._has_no_key = True
            return False
        if is_sent:
            self._has_no_key = False
        return is_sent

    def renew(self) -> None:
        """Connect anew, and drop what is queued: a connection can look alive that is none."""
        self._dealer.close()
        self._dealer.address.look_up()
        self._took_at = time.monotonic()

    def close(self) -> None:
        self._dealer.close(linger_ms=1_000)

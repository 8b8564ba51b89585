"""Sockets between peers, and from consoles to peers (ZeroMQ): encrypted where there are keys, never blocking.

Frames are judged in `authorization`, connections in `authenticator`. A socket stays in the thread that made
it.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import zmq

from pymr.base.errors import ConfigError, Problem
from pymr.wire.addresses import Address, bind_address, tcp_endpoint
from pymr.wire.authenticator import Admission
from pymr.wire.authorization import Authorization, Sender
from pymr.wire.frames import FRAME_BYTES_MAX, BadFrame, encode
from pymr.wire.keys import KeysError, Security
from pymr.wire.protocol import PeerMessage
from pymr.wire.requests import Refused, Reply, Request
from pymr.wire.retry import Requester, Unreachable

__all__ = [
    "Authenticator",
    "ConsoleSocket",
    "Dealer",
    "Endpoint",
    "Sender",
    "Unreachable",
    "make_keypair",
    "secure_client",
    "secure_server",
    "shared_context",
]  # fmt: skip

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

MESSAGES_PER_TURN = 200
TURN_SECONDS = 0.02
"""Most messages that an endpoint deals with before the loop goes on to other things, and for how long."""

HANDSHAKE_SECONDS = 5
"""A connection that has not said who it is after this long is closed."""

FAILED_HANDSHAKES_SECONDS = 600.0
"""Connections that failed in their handshake are told of this often at most, with their number."""

_SOCKETS_MAX = 4_096
_LOOK_UP_SECONDS = 0.02  # between looks at whether a host name has been found out
_OPTIONS = {
    zmq.MAXMSGSIZE: FRAME_BYTES_MAX + 64,  # encryption adds 33 bytes
    zmq.HANDSHAKE_IVL: HANDSHAKE_SECONDS * 1_000,
    zmq.SNDHWM: 100,
    zmq.RCVHWM: 100,
    zmq.LINGER: 0,  # until `close` says otherwise
    zmq.CONNECT_TIMEOUT: 2_000,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 5,
    zmq.TCP_KEEPALIVE_INTVL: 2,
    zmq.TCP_KEEPALIVE_CNT: 3,
    zmq.TCP_MAXRT: 5_000,  # a connection whose other end confirms nothing for this long is cut
}
# Mandatory: so that it is known what could not be sent.
_ROUTER_OPTIONS = {zmq.BACKLOG: 256, zmq.ROUTER_HANDOVER: 1, zmq.ROUTER_MANDATORY: 1}
# Immediate: nothing is put into a queue before there is a connection.
_DEALER_OPTIONS = {zmq.IMMEDIATE: 1, zmq.RECONNECT_IVL: 50, zmq.RECONNECT_IVL_MAX: 1_000}
_ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_ZAP_DOMAIN = b"pymr"
_STOP = b"stop"
_HANDSHAKE_FAILURES = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
# Whom the authenticator is not asked about: of these nobody else tells.
_STRANGERS = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_log = logging.getLogger("pymr")


def shared_context() -> Context:
    """The ZeroMQ context of this process; a forked child gets its own."""
    context: Context = zmq.Context.instance()
    context.set(zmq.MAX_SOCKETS, _SOCKETS_MAX)
    return context


def make_keypair() -> tuple[bytes, bytes]:
    """(public, secret) of a new key, in Z85."""
    return zmq.curve_keypair()


class Authenticator:
    """Decides, in a thread of its own, on every connection to the servers of a context. One per context.

    Made before the first of them, closed after the last. What they let in has a User-Id: `role:name`.
    """

    def __init__(self, context: Context, security: Security) -> None:
        self._admission = Admission(security)
        self._context = context
        self._socket = context.socket(zmq.REP)
        self._socket.bind(_ZAP_ENDPOINT)
        self._thread = threading.Thread(target=self._serve, name="authenticator", daemon=True)
        self._thread.start()

    @property
    def denied(self) -> int:
        """How many connections were turned away."""
        return self._admission.denied

    def close(self) -> None:
        stop = self._context.socket(zmq.REQ)
        stop.connect(_ZAP_ENDPOINT)
        stop.send(_STOP)
        self._thread.join()
        stop.close(linger=0)

    def _serve(self) -> None:
        while (question := self._socket.recv_multipart()) != [_STOP]:
            self._socket.send_multipart(self._admission.answer(question))
        self._socket.close(linger=0)


def secure_server(socket: Socket, security: Security) -> None:
    """Let a socket that is to be bound admit only whom the context's Gatekeeper admits."""
    socket.setsockopt(zmq.ZAP_DOMAIN, _ZAP_DOMAIN)
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    if security.public is not None and security.secret is not None:
        socket.curve_server = True
        socket.curve_publickey = security.public
        socket.curve_secretkey = security.secret


def secure_client(socket: Socket, security: Security, peer_name: str) -> None:
    """Let a socket that is to be connected show its key, and trust that peer's only. Raises KeysError."""
    if security.public is not None and security.secret is not None:
        socket.curve_serverkey = security.key_of_peer(peer_name)
        socket.curve_publickey = security.public
        socket.curve_secretkey = security.secret


class Endpoint:
    """Where a peer hears other peers and consoles; for `Loop.watch_socket`.

    port: 0 for a free one. on_message: called with what is valid and allowed; what is not is counted, and
    refused where a console waits for an answer. unsent: answers that nobody took. failed_handshakes:
    connections that did not come through their handshake, such as those without a key where there are keys.
    Raises ConfigError where it cannot listen.
    """

    def __init__(
        self,
        context: Context,
        host: str,
        port: int,
        security: Security,
        on_message: Callable[[Sender, PeerMessage | Request], None],
    ) -> None:
        self._authorization = Authorization(security)
        self._on_message = on_message
        self.unsent = 0
        self.failed_handshakes = 0
        self._handshakes_told = 0
        self._tell_at = -math.inf
        address = bind_address(host, has_keys=security.has_keys)
        self._socket = context.socket(zmq.ROUTER)
        _set_options(self._socket, _ROUTER_OPTIONS, ipv6=":" in address)
        secure_server(self._socket, security)
        self._notices = _notices_of(context, self._socket, _STRANGERS)
        try:
            self._socket.bind(tcp_endpoint(address, port))
        except zmq.ZMQError as error:
            self.close()
            reason = f"{address} cannot be listened on: {error.strerror}; give another port, or stop its user"
            raise ConfigError("peers", (Problem("control_port", port, reason),)) from error
        self.port = int(str(self._socket.getsockopt_string(zmq.LAST_ENDPOINT)).rpartition(":")[2])

    @property
    def bad_frames(self) -> int:
        return self._authorization.bad_frames

    @property
    def denied(self) -> int:
        """Requests and messages that their sender's role does not allow."""
        return self._authorization.denied

    def fileno(self) -> int:
        return int(self._socket.fileno())

    def has_pending(self) -> bool:
        return not self._socket.closed and bool(int(self._socket.get(zmq.EVENTS)) & zmq.POLLIN)

    def on_ready(self) -> None:
        """Deal with what has come, as far as one turn may."""
        until = time.monotonic() + TURN_SECONDS
        for _ in range(MESSAGES_PER_TURN):
            try:
                identity, *parts = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._receive(identity.bytes, parts)
            if time.monotonic() > until:
                return

    def reply(self, sender: Sender, reply: Reply) -> bool:
        """Answer a console, from the loop's thread. Never blocks; false where it is not there to hear."""
        try:
            frame = encode(reply)
        except BadFrame as error:
            reason = f"the answer is too long: {error}"
            frame = encode(Refused(id=reply.id, code="unavailable", reason=reason))
        try:
            self._socket.send_multipart((sender.identity, frame), zmq.NOBLOCK)
        except zmq.ZMQError:  # it is gone, or takes nothing more; it asks again if it wants to know
            self.unsent += 1
            return False
        return True

    def look_for_failed_handshakes(self, now: float) -> None:
        """Count connections that failed before they were anybody's, and tell of them now and then."""
        while self._notices.poll(0):
            self._notices.recv_multipart()
            self.failed_handshakes += 1
        if self.failed_handshakes > self._handshakes_told and now >= self._tell_at:
            count = self.failed_handshakes - self._handshakes_told
            self._handshakes_told, self._tell_at = self.failed_handshakes, now + FAILED_HANDSHAKES_SECONDS
            _log.warning(
                "connections given up in their handshake: %d; whoever it was is no pymr, shows no key, left "
                "at once, or was silent for %d s",
                count, HANDSHAKE_SECONDS,
            )  # fmt: skip

    def close(self) -> None:
        self._socket.disable_monitor()
        self._notices.close(linger=0)
        self._socket.close(linger=1_000)

    def _receive(self, identity: bytes, parts: Sequence[zmq.Frame]) -> None:
        user = _user_of(parts[-1]) if parts else ""
        judged = self._authorization.authorize(identity, user, [part.bytes for part in parts])
        if judged is None:
            return
        sender, message = judged
        if isinstance(message, Refused):
            self.reply(sender, message)
        else:
            self._on_message(sender, message)


class Dealer:
    """A connection to one peer, made when first needed, and kept up by ZeroMQ."""

    def __init__(self, context: Context, name: str, address: Address, security: Security) -> None:
        self.name = name
        self.address = address
        self.socket: Socket | None = None
        self._context = context
        self._security = security

    def send(self, frame: bytes) -> bool:
        """Whether a connection took the frame. Never blocks. Raises KeysError."""
        try:
            if self.socket is None and (endpoint := self.address.endpoint()) is not None:
                self.socket = self._connect(endpoint)
            if self.socket is not None:
                self.socket.send(frame, zmq.NOBLOCK)
        except zmq.ZMQError:  # no connection, a queue that is full, or no descriptors left for a socket
            return False
        return self.socket is not None

    def close(self, linger_ms: int = 0) -> None:
        if self.socket is not None:
            self.socket.close(linger=linger_ms)
            self.socket = None

    def _connect(self, endpoint: str) -> Socket:
        if self._security.has_keys:
            self._security.key_of_peer(self.name)  # before there is a socket: it may be missing for long
        socket = self._context.socket(zmq.DEALER)
        try:
            _set_options(socket, _DEALER_OPTIONS, ipv6="[" in endpoint)
            socket.setsockopt(zmq.ROUTING_ID, b"\1" + os.urandom(15))
            secure_client(socket, self._security, self.name)
            self._before_connecting(socket)
            socket.connect(endpoint)
        except BaseException:
            socket.close(linger=0)
            raise
        return socket

    def _before_connecting(self, socket: Socket) -> None:
        """For those who want to know how it goes."""


class ConsoleSocket(Requester["_ConsoleDealer"]):
    """Asks peers, in one thread (see `retry`). Costs nothing until the first request.

    addresses: (name, host, port) of peers, in the order in which they are asked.
    """

    def __init__(
        self, addresses: Sequence[tuple[str, str, int]], security: Security, timeout_s: float = 10.0
    ) -> None:
        dealers = [_ConsoleDealer(name, Address(host, port), security) for name, host, port in addresses]
        super().__init__(dealers, _wait, timeout_s)


class _ConsoleDealer(Dealer):
    """A connection that can tell how it stands."""

    def __init__(self, name: str, address: Address, security: Security) -> None:
        super().__init__(shared_context(), name, address, security)
        self.problem = ""
        self.notices: Socket | None = None
        self._was_sent = False

    def begin(self) -> None:
        if self.problem:
            self.close()
        self._was_sent = False

    def send(self, frame: bytes) -> bool:
        try:
            is_sent = super().send(frame)
        except KeysError as error:
            self.problem = str(error)
            return False
        self._was_sent |= is_sent
        return is_sent

    def receive(self) -> bytes | None:
        while self.notices is not None and self.notices.poll(0):
            self.notices.recv_multipart()
            self.problem = self._why_turned_away()
        if self.socket is None:
            return None
        try:
            return self.socket.recv_multipart(zmq.NOBLOCK)[-1]
        except zmq.Again:
            return None

    def state(self) -> str:
        if self.problem or self.address.problem:
            return self.problem or self.address.problem
        what = "is connected, but silent" if self._was_sent else "cannot be reached; is it running?"
        return f"{self.address} {what}"

    def close(self, linger_ms: int = 0) -> None:
        if self.socket is not None and self.notices is not None:
            self.socket.disable_monitor()
            self.notices.close(linger=0)
            self.notices = None
        super().close(linger_ms)
        self.problem = ""

    def _before_connecting(self, socket: Socket) -> None:
        self.notices = _notices_of(self._context, socket, _HANDSHAKE_FAILURES)

    def _why_turned_away(self) -> str:
        if not self._security.has_keys:
            return f"{self.address} turned this console away: set security.keys_dir if the cluster has keys"
        return (
            f"{self.address} does not admit the key {self._security.name}: list it in authorized.toml there"
        )


def _wait(
    dealers: Sequence[_ConsoleDealer], seconds: float, writer: _ConsoleDealer | None
) -> list[_ConsoleDealer]:
    """Those dealers that have received something, or were turned away; see `asking.Wait`."""
    poller = zmq.Poller()
    for dealer in dealers:
        if dealer.socket is not None and dealer.notices is not None:
            poller.register(dealer.socket, zmq.POLLIN | (zmq.POLLOUT if dealer is writer else 0))
            poller.register(dealer.notices, zmq.POLLIN)
    if writer is not None and writer.socket is None:  # its name is being looked up
        seconds = min(seconds, _LOOK_UP_SECONDS)
    if not poller.sockets:  # of nothing, ZeroMQ would not wait for anything
        time.sleep(seconds)
        return []
    ready = {socket for socket, _ in poller.poll(math.ceil(seconds * 1_000))}
    return [dealer for dealer in dealers if dealer.socket in ready or dealer.notices in ready]


def _notices_of(context: Context, socket: Socket, events: int) -> Socket:
    """Where a socket tells what becomes of its connections."""
    endpoint = f"inproc://notices-{os.urandom(8).hex()}"
    socket.monitor(endpoint, events)
    notices = context.socket(zmq.PAIR)
    notices.setsockopt(zmq.RCVHWM, 0)  # or a full one would hold up ZeroMQ itself
    notices.connect(endpoint)
    return notices


def _set_options(socket: Socket, options: Mapping[zmq.SocketOption, int], *, ipv6: bool) -> None:
    for option, value in {**_OPTIONS, **options, zmq.IPV6: int(ipv6)}.items():
        socket.setsockopt(option, value)


def _user_of(frame: zmq.Frame) -> str:
    """`role:name` of whoever sent a frame, as the authenticator gave it; "" where none did."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return ""

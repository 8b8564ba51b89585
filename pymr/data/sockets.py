"""The ZeroMQ sockets of the data service, and of consoles that read from it: nothing here blocks but `wait`.

No ZMTP heartbeats, which can abort a process that is slow to read (libzmq#3937); memory is bounded by what
is asked for. Every socket stays in the thread that made it.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterator, Sequence

import zmq
from zmq.utils.monitor import parse_monitor_message

from pymr.base.errors import ConfigError, Problem
from pymr.data.protocol import FRAME_BYTES_MAX
from pymr.wire.addresses import Address, bind_address, tcp_endpoint
from pymr.wire.keys import Security
from pymr.wire.sockets import secure_client, secure_server

Context = zmq.Context[zmq.Socket[bytes]]
Frame = zmq.Frame

READS_PER_LINK_MAX = 32
"""Questions that one client may have open. The server's queue takes 2.5 times that: ZeroMQ learns in batches
of half a queue what has left it, and not at once."""

_SERVER_QUEUE = 80
_HANDSHAKE_MS = 5_000
_CONNECT_MS = 3_000
_RECONNECT_MS, _RECONNECT_MS_MAX = 200, 2_000
_SOCKETS_MAX = 4_096
_FRAMES_MAX = 3

_UP = zmq.EVENT_HANDSHAKE_SUCCEEDED
_REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_DOWN = zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED | _REFUSED


def make_context(io_threads: int = 1) -> Context:
    """A context of its own; a Gatekeeper decides for all servers of one."""
    context: Context = zmq.Context(io_threads)
    context.set(zmq.MAX_SOCKETS, _SOCKETS_MAX)
    return context


def _limit(socket: zmq.Socket[bytes]) -> None:
    socket.linger = 0
    socket.setsockopt(zmq.MAXMSGSIZE, FRAME_BYTES_MAX)
    socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 10)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 5)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)


class ServerSocket:
    """Where reads come in. dropped: answers that their client took too slowly, or was no longer there for.

    port: 0 for a free one. Raises ConfigError where it cannot listen.
    """

    def __init__(self, context: Context, host: str, port: int, security: Security) -> None:
        self.dropped = 0
        address = bind_address(host, has_keys=security.has_keys)
        self._socket = context.socket(zmq.ROUTER)
        _limit(self._socket)
        self._socket.setsockopt(zmq.IPV6, int(":" in address))
        self._socket.setsockopt(zmq.SNDHWM, _SERVER_QUEUE)
        self._socket.setsockopt(zmq.RCVHWM, _SERVER_QUEUE)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # so that what cannot be sent is known
        secure_server(self._socket, security)
        try:
            self._socket.bind(tcp_endpoint(address, port))
        except zmq.ZMQError as error:
            self._socket.close(linger=0)
            reason = f"cannot listen on {address}: {error.strerror}; stop what uses the port, or give another"
            raise ConfigError("peers", (Problem("data_port", port, reason),)) from error
        self.port = int(self._socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0").rpartition(":")[2])

    def wait(self, seconds: float) -> bool:
        """Whether something has come; waits for it."""
        return bool(self._socket.poll(int(seconds * 1000)))

    def receive(self) -> tuple[bytes, str, list[bytes]] | None:
        """(connection, `role:name`, frames) of a message that has come; of many frames only the first few."""
        try:
            identity = self._socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None
        user = ""
        frames: list[bytes] = []
        while self._socket.getsockopt(zmq.RCVMORE):
            frame = self._socket.recv(zmq.NOBLOCK, copy=False)
            if len(frames) < _FRAMES_MAX:
                user = _user_of(frame)
                frames.append(frame.bytes)
        return identity, user, frames

    def send(self, identity: bytes, header: bytes, payload: bytes | None) -> bool:
        """Answer. False, and counted, where the client does not take it: it asks again if it needs it."""
        frames = (identity, header) if payload is None else (identity, header, payload)
        for _ in range(2):
            try:
                self._socket.send_multipart(frames, zmq.NOBLOCK)
                return True
            except zmq.Again:
                self._socket.getsockopt(zmq.EVENTS)  # lets ZeroMQ look what has left the queue meanwhile
            except zmq.ZMQError:
                break
        self.dropped += 1
        return False

    def close(self) -> None:
        self._socket.close(linger=0)


class ClientSocket:
    """A connection to one data service, made as soon as its address is known, and made anew by ZeroMQ.

    was_refused: the last attempt ended in the handshake. Raises KeysError where the peer has no key here.
    """

    def __init__(self, context: Context, name: str, address: Address, security: Security) -> None:
        self.name = name
        self.was_refused = False
        self._context = context
        self._address = address
        self._security = security
        if security.has_keys:
            security.key_of_peer(name)
        self._unsent: deque[tuple[bytes, ...]] = deque()
        self._socket: zmq.Socket[bytes] | None = None
        self._events: zmq.Socket[bytes] | None = None
        self.open()

    @property
    def sockets(self) -> tuple[zmq.Socket[bytes], ...]:
        """What to wait for; none while the address is being looked up."""
        return (self._socket, self._events) if self._socket is not None and self._events is not None else ()

    def open(self) -> bool:
        """Begin to connect, unless that has been done. Whether it has."""
        endpoint = self._address.endpoint() if self._socket is None else None
        if endpoint is not None:
            self._connect(endpoint)
        return self._socket is not None

    def send(self, *frames: bytes) -> None:
        """Send a message now, or with the next `flush`."""
        self._unsent.append(frames)
        self.flush()

    def flush(self) -> None:
        is_second = False
        while self._unsent and self._socket is not None:
            try:
                self._socket.send_multipart(self._unsent[0], zmq.NOBLOCK)
                self._unsent.popleft()
            except zmq.Again:
                if is_second:
                    return
                is_second = True
                self._socket.getsockopt(zmq.EVENTS)  # it may not have looked yet whether it is connected

    def receive(self) -> list[zmq.Frame] | None:
        """The frames of the next message that has come."""
        if self._socket is None:
            return None
        try:
            return self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return None

    def changes(self) -> Iterator[bool]:
        """What has become of the connection since: True for up, False for down."""
        while self._events is not None and self._events.poll(0):
            event = parse_monitor_message(self._events.recv_multipart(zmq.NOBLOCK))["event"]
            self.was_refused = bool(event & _REFUSED) or (self.was_refused and event != _UP)
            if event != _UP:
                self._unsent.clear()
            yield event == _UP

    def close(self) -> None:
        if self._socket is not None and self._events is not None:
            self._socket.disable_monitor()
            self._events.close(linger=0)
            self._socket.close(linger=0)
            self._socket = self._events = None

    def _connect(self, endpoint: str) -> None:
        socket = self._context.socket(zmq.DEALER)
        _limit(socket)
        socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing is put into a queue before there is a connection
        socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MS_MAX)
        socket.setsockopt(zmq.CONNECT_TIMEOUT, _CONNECT_MS)
        secure_client(socket, self._security, self.name)
        events_endpoint = f"inproc://events-{secrets.token_hex(8)}"
        socket.monitor(events_endpoint, _UP | _DOWN)
        events = self._context.socket(zmq.PAIR)
        events.setsockopt(zmq.RCVHWM, 0)  # or a full one would hold up ZeroMQ itself
        events.connect(events_endpoint)
        socket.connect(endpoint)
        self._socket, self._events = socket, events


class Poll:
    """Waits for sockets of ZeroMQ and descriptors alike."""

    def __init__(self) -> None:
        self._poller = zmq.Poller()

    def add(self, sockets: Sequence[zmq.Socket[bytes] | int], *, writing: bool = False) -> None:
        for socket in sockets:
            self._poller.register(socket, zmq.POLLIN | (zmq.POLLOUT if writing else 0))

    def remove(self, sockets: Sequence[zmq.Socket[bytes] | int]) -> None:
        for socket in sockets:
            self._poller.unregister(socket)

    def wait(self, seconds: float) -> list[object]:
        """Those that are ready."""
        return [socket for socket, _ in self._poller.poll(int(seconds * 1000))]


def _user_of(frame: zmq.Frame) -> str:
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return ""

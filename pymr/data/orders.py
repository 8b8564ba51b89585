"""What a daemon and its data service say to each other, over a pair of sockets that never makes either wait.

Messages are msgpack, each behind its length (4 bytes).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from struct import Struct

import msgspec
from msgspec import msgpack

from pymr.config.cluster import ClusterConfig
from pymr.data.protocol import Resource

Owner = tuple[str, str, int]
"""Of a data service: the name of its peer, host and data port."""

_LENGTH = Struct("<I")
_RECEIVE_BYTES = 256 << 10


class Setup(msgspec.Struct, frozen=True, tag="setup"):
    """The first message: whose data service this is. Answered by Serving."""

    config: ClusterConfig
    peer: str


class FetchOrder(msgspec.Struct, frozen=True, tag="fetch"):
    """Copy a resource from another host into the file `target`, and its facts into `target`.facts.

    key: unique in its run. owners: who can be asked, in order of preference, at least one.
    segments_in_flight: most fetches of the run under way at once (`simultaneous_files_in_redis`).
    """

    run_id: str
    key: str
    resource: Resource
    owners: tuple[Owner, ...]
    target: str
    segments_in_flight: int = 10


class CancelFetches(msgspec.Struct, frozen=True, tag="cancel"):
    """Forget the orders of a run, and remove what has come of them so far. key: "" for all of the run's."""

    run_id: str
    key: str = ""


class Serving(msgspec.Struct, frozen=True, tag="serving"):
    """The data service listens."""

    port: int


class Taken(msgspec.Struct, frozen=True, tag="taken"):
    """Messages have been read: there is room for more."""


class Fetched(msgspec.Struct, frozen=True, tag="fetched"):
    """`target` is complete. bytes: its size."""

    run_id: str
    key: str
    bytes: int


class FetchFailed(msgspec.Struct, frozen=True, tag="failed"):
    """An order was given up. code: `missing` or `corrupt`: its owner has it no longer, or never whole;
    `disk`: it cannot be written here; `denied`, `invalid`: its owner will not give it."""

    run_id: str
    key: str
    code: str
    reason: str


Order = Setup | FetchOrder | CancelFetches
Notice = Serving | Taken | Fetched | FetchFailed

_ENCODER = msgpack.Encoder()
_ORDERS = msgpack.Decoder(Order)
_NOTICES = msgpack.Decoder(Notice)


class Channel:
    """One end of the pair. is_closed: the other side has gone; what is sent then goes nowhere."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._unsent = bytearray()
        self._received = bytearray()
        self.is_closed = False

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: Order | Notice) -> None:
        """Queue a message; `flush` sends it."""
        data = _ENCODER.encode(message)
        if not self.is_closed:
            self._unsent += _LENGTH.pack(len(data))
            self._unsent += data

    def flush(self) -> None:
        """Send as much as there is room for."""
        try:
            while self._unsent and not self.is_closed:
                sent = self._socket.send(memoryview(self._unsent)[:_RECEIVE_BYTES])
                del self._unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._lose()

    def orders(self) -> Iterator[Order]:
        """What the daemon has sent since."""
        return map(_ORDERS.decode, self._receive())

    def notices(self) -> Iterator[Notice]:
        """What the data service has sent since."""
        return map(_NOTICES.decode, self._receive())

    def close(self) -> None:
        self.is_closed = True
        self._socket.close()

    def _receive(self) -> list[bytes]:
        """Complete messages; reads once, as a watcher is told again of what remains."""
        if self.is_closed:
            return []
        with contextlib.suppress(BlockingIOError):
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except ConnectionError:
                data = b""
            if not data:
                self._lose()
            self._received += data
        messages = []
        start = 0
        while len(self._received) - start >= _LENGTH.size:
            end = start + _LENGTH.size + _LENGTH.unpack_from(self._received, start)[0]
            if end > len(self._received):
                break
            messages.append(bytes(self._received[start + _LENGTH.size : end]))
            start = end
        del self._received[:start]
        return messages

    def _lose(self) -> None:
        self.is_closed = True
        self._unsent.clear()

"""Reading from data services and uploading to them, for consoles: one question at a time, in one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count, cycle

import msgpack
import msgspec

from pymr.config.cluster import ClusterConfig
from pymr.data.contents import Mark, Piece
from pymr.data.protocol import (
    READ_BYTES_MAX,
    Chunk,
    DataRefused,
    Discard,
    Output,
    Pane,
    Question,
    Read,
    Refusal,
    Resource,
    UploadWritten,
    Write,
    checksum_of,
    decode_answer,
    encode_header,
)
from pymr.data.sockets import ClientSocket, Poll
from pymr.wire.addresses import Address
from pymr.wire.frames import BadFrame
from pymr.wire.keys import KeysError, Security
from pymr.wire.retry import Unreachable
from pymr.wire.sockets import shared_context

__all__ = ["DataClient", "DataRefused", "Output", "Pane", "PanePiece", "Piece", "Unreachable"]

ATTEMPT_SECONDS = 3.0
"""A data service that has not answered for so long is connected to anew, after another one was asked."""

DAMAGED_MAX = 3
_PAUSE_SECONDS = 0.1
_Answered = tuple[Chunk, bytes] | Refusal | UploadWritten | None
_Asking = Callable[[int], tuple[Question, bytes | None]]


class PanePiece(msgspec.Struct, frozen=True):
    """A piece of a pane. offset: of `data`. skipped: bytes before it that are not kept. end: of the pane.

    marks: when its bytes came.
    """

    run_id: str
    offset: int
    data: bytes
    end: int
    skipped: int
    marks: tuple[Mark, ...] = ()


class DataClient:
    """Reads resources from any peer of their host. Costs nothing until the first read.

    timeout_s: how long a read may go without an answer. Reads raise DataRefused, and Unreachable.
    """

    def __init__(self, config: ClusterConfig, security: Security, timeout_s: float = 10.0) -> None:
        self._config = config
        self._security = security
        self._timeout_s = timeout_s
        self._connections: dict[str, _Connection] = {}
        self._numbers = count()

    def read(self, resource: Resource, offset: int, length: int) -> Iterator[bytes]:
        """`length` bytes at `offset`, or up to the end, in pieces of READ_BYTES_MAX at most."""
        end = offset + length
        while offset < end:
            piece = self.read_piece(resource, offset, min(end - offset, READ_BYTES_MAX))
            if not piece.data:
                return
            yield piece.data
            offset += len(piece.data)

    def read_pane(self, peer: str, slot: int, run_id: str, offset: int, length: int) -> PanePiece:
        """What a pane has at an offset. run_id: "" for the newest. offset: a negative one from the end."""
        piece = self.read_piece(Pane(peer, slot, run_id), offset, min(length, READ_BYTES_MAX))
        found, skipped, marks = msgpack.unpackb(piece.info)
        return PanePiece(
            found, piece.offset, piece.data, piece.size, skipped, tuple((at, when) for at, when in marks)
        )

    def read_piece(self, resource: Resource, offset: int, length: int) -> Piece:
        """At most READ_BYTES_MAX bytes at `offset`, with what is known of the whole."""
        damaged = 0
        for connection, answer in self._answers(
            resource.peer, lambda number: (Read(number, resource, offset, length), None)
        ):
            if isinstance(answer, tuple):
                chunk, payload = answer
                if checksum_of(payload, chunk.info) == chunk.checksum:
                    return Piece(payload, chunk.offset, chunk.size, chunk.info)
                damaged += 1
            if damaged >= DAMAGED_MAX:
                raise DataRefused("corrupt", f"what {connection.name} sent came damaged {damaged} times")
        raise Unreachable(self._states(resource.peer))

    def write(self, peer: str, upload_id: str, name: str, offset: int, payload: bytes) -> int:
        """Put at most READ_BYTES_MAX bytes at an offset of a file of an upload; the size that it has then.

        Nothing is written where that is less than `offset`: go on from there. Again it changes nothing.
        """
        checksum = checksum_of(payload, b"")
        return self._told(
            peer, lambda number: (Write(number, peer, upload_id, name, offset, checksum), payload)
        )

    def discard(self, peer: str, upload_id: str) -> None:
        """Remove an upload, if there is one."""
        self._told(peer, lambda number: (Discard(number, peer, upload_id), None))

    def _told(self, peer: str, ask: _Asking) -> int:
        for _, answer in self._answers(peer, ask):
            if isinstance(answer, UploadWritten):
                return answer.size
        raise Unreachable(self._states(peer))

    def _answers(self, peer: str, ask: _Asking) -> Iterator[tuple[_Connection, _Answered]]:
        """What the data services of the host say, one after the other, until there is no time left.

        ask: the question, and what goes with it, under a number. Raises DataRefused.
        """
        deadline = time.monotonic() + self._timeout_s
        for connection in cycle(self._connections_to(peer)):
            attempt_end = min(deadline, time.monotonic() + ATTEMPT_SECONDS)
            answer = connection.ask(*ask(next(self._numbers)), attempt_end)
            if isinstance(answer, Refusal):
                raise DataRefused(answer.code, answer.reason)
            yield connection, answer
            if time.monotonic() >= deadline:
                return
            time.sleep(min(_PAUSE_SECONDS, max(0.0, deadline - time.monotonic())))

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def _connections_to(self, peer_name: str) -> list[_Connection]:
        """To all peers of that peer's host, itself first. Raises Unreachable for a peer that there is not."""
        hosts = {peer.name: peer.host for peer in self._config.peers}
        if peer_name not in hosts:
            raise Unreachable(f"there is no peer {peer_name} in the cluster.toml")
        names = [peer_name, *(name for name in hosts if name != peer_name)]
        return [self._connection(name) for name in names if hosts[name] == hosts[peer_name]]

    def _connection(self, name: str) -> _Connection:
        if name not in self._connections:
            peer = next(peer for peer in self._config.peers if peer.name == name)
            address = Address(peer.host, peer.data_port)
            self._connections[name] = _Connection(name, address, self._security)
        return self._connections[name]

    def _states(self, peer_name: str) -> str:
        tried = self._connections_to(peer_name)
        listed = "; ".join(f"{connection.name}: {connection.state()}" for connection in tried)
        return f"no data service of the host of {peer_name} answers ({listed})"


class _Connection:
    """A way to one data service, made when first needed."""

    def __init__(self, name: str, address: Address, security: Security) -> None:
        self.name = name
        self._address = address
        self._security = security
        self._socket: ClientSocket | None = None
        self._is_up = False
        self._problem = ""
        self._was_refused = False

    def ask(self, question: Question, payload: bytes | None, deadline: float) -> _Answered:
        """The answer; None where there is no connection, or none by the deadline."""
        try:
            socket = self._open(deadline)
        except KeysError as error:
            self._problem = str(error)
            return None
        is_sent = False
        while socket is not None:
            if (answer := _answer_to(question, socket)) is not None:
                return answer
            for is_up in socket.changes():
                self._is_up = is_up
                self._was_refused = socket.was_refused
                if not is_up:  # the next owner first, and this one when ZeroMQ has connected again
                    return None
            if self._is_up and not is_sent:
                socket.send(encode_header(question), *([] if payload is None else [payload]))
                is_sent = True
            socket.flush()
            left = deadline - time.monotonic()
            if left <= 0:
                self.close()
                return None
            _wait(socket, left)
        return None

    def state(self) -> str:
        if self._was_refused:
            return f"{self._address} turned this console away: its authorized.toml does not list the key used"
        return self._problem or self._address.problem or f"{self._address} cannot be reached; is it running?"

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._is_up = False

    def _open(self, deadline: float) -> ClientSocket | None:
        if self._socket is None:
            self._socket = ClientSocket(shared_context(), self.name, self._address, self._security)
        while not self._socket.open():
            if time.monotonic() > deadline:
                return None
            time.sleep(_PAUSE_SECONDS)
        return self._socket


def _answer_to(question: Question, socket: ClientSocket) -> _Answered:
    """What has come in answer to this question; what else has come is dropped."""
    while (frames := socket.receive()) is not None:
        try:
            answer = decode_answer(frames[0].buffer)
        except BadFrame:
            continue
        if answer.id != question.id:
            continue
        if not isinstance(answer, Chunk):
            return answer
        if len(frames) == 2:
            return answer, frames[1].bytes
    return None


def _wait(socket: ClientSocket, seconds: float) -> None:
    poll = Poll()
    poll.add(socket.sockets)
    poll.wait(min(seconds, ATTEMPT_SECONDS))

"""Streams: many bytes of one resource in their order, with several questions under way, in one thread.

Goes on where it was when a data service, or the way to it, was gone for a while. See `client` for
single questions and `fetcher` for segments.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import count

from pymr.base.zstd import zstd
from pymr.config.cluster import ClusterConfig
from pymr.data.protocol import (
    READ_BYTES_MAX,
    Chunk,
    DataRefused,
    Read,
    Refusal,
    Resource,
    checksum_of,
    decode_answer,
    encode_header,
)
from pymr.data.sockets import ClientSocket, Frame, Poll
from pymr.wire.addresses import Address
from pymr.wire.frames import BadFrame
from pymr.wire.keys import Security
from pymr.wire.retry import Unreachable
from pymr.wire.sockets import shared_context

WINDOW = 8
"""Questions under way at once, and answers that are held: of READ_BYTES_MAX each."""

SILENT_SECONDS = 3.0
"""A data service that has not answered for so long is connected to anew, after another one of its host."""

DAMAGED_MAX = 3
_UNREADABLE_SECONDS = 0.5
_POLL_SECONDS = 0.5

Range = tuple[int, int]
"""(offset, length)"""

Bytes = bytes | memoryview


class _Question:
    """A range that is to be read. number: under which it was asked last; 0 while it is to be asked."""

    __slots__ = ("answer", "length", "number", "offset")

    def __init__(self, offset: int, length: int) -> None:
        self.offset = offset
        self.length = length
        self.number = 0
        self.answer: Bytes | None = None


class DataStream:
    """Reads resources of one peer, from any data service of its host.

    patience_s: how long there may be no answer. on_wait: called now and then while there is none, with the
    reason. Reads raise DataRefused, and Unreachable when the patience is at its end.
    """

    def __init__(
        self,
        config: ClusterConfig,
        security: Security,
        peer_name: str,
        *,
        patience_s: float,
        on_wait: Callable[[str], object] = lambda _: None,
    ) -> None:
        host = next((peer.host for peer in config.peers if peer.name == peer_name), None)
        if host is None:
            raise Unreachable(f"there is no peer {peer_name} in the cluster.toml")
        owners = [peer for peer in config.peers if peer.host == host]
        owners.sort(key=lambda peer: peer.name != peer_name)
        self._owners = deque((peer.name, Address(peer.host, peer.data_port)) for peer in owners)
        self._peer_name = peer_name
        self._security = security
        self._patience_s = patience_s
        self._on_wait = on_wait
        self._numbers = count(1)
        self._socket: ClientSocket | None = None
        self._is_up = False
        self._problem = ""
        self._damaged = 0
        self._asked_at = self._answered_at = time.monotonic()
        self._not_before = 0.0

    def read(self, resource: Resource, ranges: Iterable[Range], *, compress: bool = False) -> Iterator[Bytes]:
        """The bytes of the ranges, in their order, in pieces of READ_BYTES_MAX at most."""
        coming = (_Question(*piece) for one in ranges for piece in _cut(one))
        window: deque[_Question] = deque()
        self._answered_at = self._asked_at = time.monotonic()
        while True:
            while len(window) < WINDOW and (question := next(coming, None)) is not None:
                window.append(question)
            if not window:
                return
            if window[0].answer is not None:
                yield window.popleft().answer or b""
                self._answered_at = self._asked_at = time.monotonic()  # the reader may have taken its time
                continue
            self._ask(resource, window, compress=compress)
            if not self._receive(window):
                self._wait(window)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._is_up = False

    def _ask(self, resource: Resource, window: Iterable[_Question], *, compress: bool) -> None:
        """Ask what has not been asked, if there is a connection."""
        now = time.monotonic()
        if self._socket is None:
            name, address = self._owners[0]
            self._socket = ClientSocket(shared_context(), name, address, self._security)
            self._asked_at = now
        self._socket.open()
        for is_up in self._socket.changes():
            self._is_up = is_up
            if not is_up:
                self._note_problem()
                self._ask_again(window)
        if not self._is_up or now < self._not_before:
            return
        for question in window:
            if not question.number and question.answer is None:
                question.number = next(self._numbers)
                read = Read(question.number, resource, question.offset, question.length, compress)
                self._socket.send(encode_header(read))
                self._asked_at = now
        self._socket.flush()

    def _receive(self, window: deque[_Question]) -> bool:
        """Take what has come; whether any of it was of use."""
        was_useful = False
        while self._socket is not None and (frames := self._socket.receive()) is not None:
            was_useful = self._take(frames, window) or was_useful
        if was_useful:
            self._answered_at = self._asked_at = time.monotonic()
        return was_useful

    def _take(self, frames: list[Frame], window: Iterable[_Question]) -> bool:
        try:
            answer = decode_answer(frames[0].buffer)
        except BadFrame:
            return False
        found = next((question for question in window if question.number == answer.id), None)
        if found is None or found.answer is not None:
            return False
        for question in window:  # answers come in order: what was asked before and not answered is lost
            if question is not found and question.answer is None and 0 < question.number < answer.id:
                question.number = 0
        if isinstance(answer, Refusal):
            return self._refuse(answer, found)
        if not isinstance(answer, Chunk):
            return False
        payload = frames[1].buffer if len(frames) == 2 else b""
        found.answer = _content(answer, payload, found)
        if found.answer is None:
            self._damaged += 1
            if self._damaged >= DAMAGED_MAX:
                reason = f"what {self._peer_name} sent came damaged {self._damaged} times"
                raise DataRefused("corrupt", reason)
            found.number = 0
            return False
        self._damaged = 0
        return True

    def _refuse(self, refusal: Refusal, question: _Question) -> bool:
        if refusal.code != "unreadable":
            raise DataRefused(refusal.code, refusal.reason)
        question.number = 0
        self._problem = refusal.reason
        self._not_before = time.monotonic() + _UNREADABLE_SECONDS
        return False

    def _wait(self, window: deque[_Question]) -> None:
        """Until something comes, or for a while; gives a data service up that is silent for too long."""
        now = time.monotonic()
        waited = now - self._answered_at
        if waited > self._patience_s:
            raise Unreachable(
                f"no data service of the host of peer {self._peer_name} has answered for {waited:.0f} s "
                f"({self._state()})"
            )
        if waited > SILENT_SECONDS:
            self._on_wait(self._state())
        if now - self._asked_at > SILENT_SECONDS:
            self._note_problem()
            self._ask_again(window)
            self.close()
            self._owners.rotate(-1)
            return
        poll = Poll()
        if self._socket is not None and self._socket.sockets:
            poll.add(self._socket.sockets)
            poll.wait(_POLL_SECONDS)
        else:
            time.sleep(_POLL_SECONDS / 10)  # the address is being looked up

    def _ask_again(self, window: Iterable[_Question]) -> None:
        for question in window:
            question.number = 0

    def _note_problem(self) -> None:
        if self._socket is not None and self._socket.was_refused:
            address = self._owners[0][1]
            self._problem = f"{address} turned this peer away: its authorized.toml does not list its key"
        else:
            self._problem = ""

    def _state(self) -> str:
        address = self._owners[0][1]
        return self._problem or address.problem or f"{address} cannot be reached; is it running?"


def _cut(whole: Range) -> Iterator[Range]:
    offset, length = whole
    for start in range(offset, offset + length, READ_BYTES_MAX):
        yield start, min(READ_BYTES_MAX, offset + length - start)


def _content(chunk: Chunk, payload: Bytes, question: _Question) -> Bytes | None:
    """The bytes of an answer, up to the end of the resource; None where they are not those asked for."""
    if checksum_of(payload, chunk.info) != chunk.checksum or chunk.offset != question.offset:
        return None
    expected = max(0, min(question.length, chunk.size - chunk.offset))
    data = payload
    if chunk.codec == "zstd":
        try:
            data = zstd.ZstdDecompressor().decompress(payload, max_length=expected + 1)
        except zstd.ZstdError:
            return None
    return data if len(data) == expected else None

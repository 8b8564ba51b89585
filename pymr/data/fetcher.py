"""Fetching, the hands of it: connections and files, as `fetching` decides. Main thread of a data service."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from pymr.base.errors import disk_error
from pymr.data.fetch import Fetch
from pymr.data.fetching import FailedFetch, Fetching, FetchLimits, OwnerLink
from pymr.data.orders import CancelFetches, Channel, Fetched, FetchFailed, FetchOrder, Order, Taken
from pymr.data.protocol import Chunk, Refusal, UploadWritten, checksum_of, decode_answer, encode_header
from pymr.data.sockets import READS_PER_LINK_MAX, ClientSocket, Context, Frame, Poll
from pymr.data.staging import StagedFile
from pymr.wire.addresses import Address
from pymr.wire.frames import BadFrame
from pymr.wire.keys import KeysError, Security

LOOK_SECONDS = 0.25
"""Longest time between two looks at what has been silent for too long."""

_MESSAGES_PER_TURN = 2 * READS_PER_LINK_MAX
_log = logging.getLogger("pymr")


class Fetcher:
    """Does what comes from `channel`, and tells what became of it. bad_frames: answers that said nothing."""

    def __init__(self, context: Context, channel: Channel, security: Security) -> None:
        self.bad_frames = 0
        self._context = context
        self._channel = channel
        self._security = security
        self._fetching = Fetching(FetchLimits(reads_per_link=READS_PER_LINK_MAX))
        self._connections: dict[OwnerLink, ClientSocket] = {}
        self._files: dict[Fetch, StagedFile] = {}
        self._poll = Poll()
        self._looked_at = 0.0

    def run(self, orders: Iterable[Order] = ()) -> None:
        """Go on until the daemon has closed its end, or ended. orders: that have come already."""
        self._follow(orders)
        while not self._channel.is_closed:
            self._poll.add((self._channel.fileno(),), writing=self._channel.has_unsent)
            ready = set(map(id, self._poll.wait(LOOK_SECONDS)))
            self._follow(self._channel.orders())
            for link, connection in list(self._connections.items()):
                if any(id(socket) in ready for socket in connection.sockets):
                    self._receive(link, connection)
            now = time.monotonic()
            if now - self._looked_at > LOOK_SECONDS:
                self._looked_at = now
                self._look_after_links(now)
            self._connect_new()
            for link, read in self._fetching.reads(now):
                self._connections[link].send(encode_header(read))
            self._channel.flush()

    def _follow(self, orders: Iterable[Order]) -> None:
        is_any = False
        for order in orders:
            is_any = True
            if isinstance(order, FetchOrder):
                self._fetching.add(order, time.monotonic())
            elif isinstance(order, CancelFetches):
                for transfer in self._fetching.cancel(order.run_id, order.key):
                    self._discard(transfer)
        if is_any:
            self._channel.send(Taken())

    def _receive(self, link: OwnerLink, connection: ClientSocket) -> None:
        """Answers first, then what became of the connection: what came before it was lost still counts."""
        for _ in range(_MESSAGES_PER_TURN):
            frames = connection.receive()
            if frames is None:
                break
            self._on_answer(link, frames)
        for is_up in connection.changes():
            if is_up:
                self._fetching.link_up(link, time.monotonic())
            else:
                self._lose(link)

    def _on_answer(self, link: OwnerLink, frames: list[Frame]) -> None:
        now = time.monotonic()
        try:
            answer = decode_answer(frames[0].buffer)
            if isinstance(answer, UploadWritten):
                raise BadFrame("an answer to a write, where nothing was written", "garbage")
            if len(frames) != (2 if isinstance(answer, Chunk) else 1):
                raise BadFrame(f"{len(frames)} frames in an answer", "garbage")
        except BadFrame as error:
            if not self.bad_frames:
                _log.warning("a bad answer from the data service of %s: %s", link.owner[0], error.reason)
            self.bad_frames += 1
            return
        if isinstance(answer, Refusal):
            self._tell(self._fetching.on_refusal(link, answer, now))
            return
        payload = frames[1].buffer
        is_intact = checksum_of(payload, answer.info) == answer.checksum
        accepted = self._fetching.on_chunk(link, answer, len(payload), is_intact, now)
        if isinstance(accepted, Fetch):
            self._write(accepted, answer.offset, payload)
        else:
            self._tell(accepted)

    def _write(self, transfer: Fetch, offset: int, payload: memoryview) -> None:
        order = transfer.order
        file = self._files.get(transfer)
        if file is None:
            file = self._files[transfer] = StagedFile(order.target)
        try:
            file.write(payload, offset)
            if self._fetching.on_written(transfer, offset, len(payload)):
                file.finish(transfer.info)
                del self._files[transfer]
                self._channel.send(Fetched(order.run_id, order.key, transfer.size or 0))
        except OSError as error:
            reason = str(disk_error("writing", order.target, error))
            self._tell(self._fetching.fail(transfer, "disk", reason))

    def _tell(self, failure: FailedFetch | None) -> None:
        if failure is not None:
            self._discard(failure.transfer)
            order = failure.transfer.order
            self._channel.send(FetchFailed(order.run_id, order.key, failure.code, failure.reason))

    def _discard(self, transfer: Fetch) -> None:
        file = self._files.pop(transfer, None)
        if file is not None:
            file.discard()

    def _lose(self, link: OwnerLink) -> None:
        connection = self._connections.get(link)
        if not link.has_failed and connection is not None:
            why = (
                "it turned this peer away; is its key listed there?"
                if connection.was_refused
                else "it is tried again"
            )
            _log.warning("no connection to the data service of %s: %s", link.owner[0], why)
        for transfer in self._fetching.link_down(link, time.monotonic()):
            if transfer in self._files:
                self._files[transfer].close()

    def _look_after_links(self, now: float) -> None:
        for link in self._fetching.silent_links(now):
            connection = self._connections[link]
            self._receive(link, connection)  # while this thread was held up, something may have come
            if link in self._fetching.silent_links(time.monotonic()):
                _log.warning("the data service of %s is silent: connecting to it anew", link.owner[0])
                self._lose(link)
                self._close(link)
        for link in self._fetching.late_links(now):
            self._lose(link)
        for link in self._fetching.drop_idle_links(now):
            self._close(link)

    def _connect_new(self) -> None:
        """Make the connections that are missing; of hosts whose address is not known yet, later."""
        links = self._fetching.links
        if len(self._connections) == len(links) and all(
            connection.sockets for connection in self._connections.values()
        ):
            return
        for link in list(links.values()):
            connection = self._connections.get(link)
            if connection is None:
                self._connect(link)
            elif not connection.sockets and connection.open():
                self._poll.add(connection.sockets)

    def _connect(self, link: OwnerLink) -> None:
        name, host, port = link.owner
        try:
            connection = ClientSocket(self._context, name, Address(host, port), self._security)
        except KeysError as error:
            if not link.has_failed:
                _log.error("nothing can be fetched from %s: %s", name, error)
                self._lose(link)
            return
        self._connections[link] = connection
        self._poll.add(connection.sockets)

    def _close(self, link: OwnerLink) -> None:
        connection = self._connections.pop(link, None)
        if connection is not None:
            self._poll.remove(connection.sockets)
            connection.close()

"""Fetching: which bytes to ask of whom, so that many segments come in at once and memory stays bounded.

Decisions only: no sockets, no files, and the time is an argument. `fetcher` does what is decided here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from pymr.data.fetch import Fetch
from pymr.data.orders import FetchOrder, Owner
from pymr.data.protocol import Chunk, Read, Refusal

SILENT_SECONDS = 3.0
"""A connection on which no answer comes for this long, with questions open, is given up and made anew."""

IDLE_SECONDS = 60.0
"""A connection that nothing needs for this long is closed."""

BAD_CHUNKS_MAX = 3
"""Chunks of one transfer that may come damaged, or not be readable for now, before it fails."""

UNREADABLE_SECONDS = 0.5
"""How long to wait before asking again for what its owner could not read."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """chunk_bytes: asked for at once. The others: most that may be asked for and not yet answered.

    With CURVE, chunks of 256 KiB took some 20% more CPU per byte than those of 512 KiB or 1 MiB, which did
    not differ (tests/bench/shuffle.py, two runs each on a busy machine of 2 cores).
    reads_per_link: less than half of what the server's queue holds, so that nothing asked for is dropped.
    """

    chunk_bytes: int = 512 << 10
    bytes_per_link: int = 8 << 20
    reads_per_link: int = 32
    bytes_altogether: int = 256 << 20


@dataclass(frozen=True, slots=True)
class FailedFetch:
    """A transfer that is given up."""

    transfer: Fetch
    code: str
    reason: str


@dataclass(slots=True)
class _Asked:
    transfer: Fetch
    offset: int
    length: int


@dataclass(slots=True, eq=False)
class OwnerLink:
    """A way to one owner. is_up: there is a connection; has_failed: there was none when last it was tried.

    asked: by the number of the question, in the order of asking, which is that of the answers.
    waiting: by run, transfers without a slot; active: those that have one; asking: these, with more to ask.
    """

    owner: Owner
    heard_at: float
    is_up: bool = False
    has_failed: bool = False
    asked_bytes: int = 0
    asked: dict[int, _Asked] = field(default_factory=dict)
    waiting: dict[str, deque[Fetch]] = field(default_factory=dict)
    active: dict[Fetch, None] = field(default_factory=dict)
    asking: deque[Fetch] = field(default_factory=deque)

    @property
    def is_idle(self) -> bool:
        return not (self.asked or self.waiting or self.active)


@dataclass(slots=True)
class _Run:
    slots: int
    active: int = 0


class Fetching:
    """What is to be fetched, and how far it is. links: by owner; for each of them a connection is to be made.

    Every answer on a link also tells that what was asked there before and not answered is lost: a server
    answers in order. Bounds: see Limits, and `segments_in_flight` of each run.
    """

    def __init__(self, limits: FetchLimits | None = None) -> None:
        self.limits = limits or FetchLimits()
        self.links: dict[Owner, OwnerLink] = {}
        self.asked_bytes = 0
        self._transfers: dict[str, dict[str, Fetch]] = {}
        self._runs: dict[str, _Run] = {}
        self._delayed: deque[tuple[float, OwnerLink, Fetch]] = deque()
        self._numbers = count()

    def add(self, order: FetchOrder, now: float) -> None:
        """Take on an order; one that is known already changes nothing."""
        transfers = self._transfers.setdefault(order.run_id, {})
        if order.key not in transfers:
            transfer = transfers[order.key] = Fetch(order)
            self._runs.setdefault(order.run_id, _Run(0)).slots = order.segments_in_flight
            self._wait(transfer, self._choose_link(transfer, now))

    def cancel(self, run_id: str, key: str = "") -> list[Fetch]:
        """Forget one transfer, or all of a run; returns those that there were."""
        transfers = self._transfers.get(run_id, {})
        ended = [transfers[key]] if key in transfers else [] if key else list(transfers.values())
        for transfer in ended:
            self._end(transfer)
        for link in self.links.values():
            if run_id in link.waiting:
                self._keep_waiting(link, run_id)
        return ended

    def reads(self, now: float) -> Iterator[tuple[OwnerLink, Read]]:
        """What to ask for now, one question of each link in turn, until no window has room."""
        while self._delayed and self._delayed[0][0] <= now:
            _, link, transfer = self._delayed.popleft()
            if transfer in link.active:
                link.asking.append(transfer)
        links = [link for link in self.links.values() if link.is_up]
        while links:
            going_on = []
            for link in links:
                read = self._next_read(link, now)
                if read is not None:
                    yield link, read
                    going_on.append(link)
            links = going_on

    def on_chunk(
        self, link: OwnerLink, chunk: Chunk, length: int, is_intact: bool, now: float
    ) -> Fetch | FailedFetch | None:
        """Judge a chunk. A transfer: the payload is to be written into it, then `on_written` called.

        length: of the payload. None: it is of no use (any more).
        """
        asked = self._on_answer(link, chunk.id, now)
        if asked is None:
            return None
        transfer = asked.transfer
        is_right = (
            is_intact
            and chunk.offset == asked.offset
            and transfer.size in (None, chunk.size)
            and length == max(0, min(asked.length, chunk.size - chunk.offset))
        )
        if not is_right:
            return self._ask_again(link, asked, "its bytes came damaged", now, 0.0)
        if transfer.size is None:
            transfer.size = chunk.size
            transfer.info = chunk.info
            link.asking.appendleft(transfer)
        return None if transfer.has(chunk.offset) else transfer

    def on_written(self, transfer: Fetch, offset: int, length: int) -> bool:
        """Note what lies in the file now. Whether that was the last of it; the transfer is forgotten then."""
        transfer.add(offset, length)
        if transfer.durable != transfer.size:
            return False
        self._end(transfer)
        return True

    def on_refusal(self, link: OwnerLink, refusal: Refusal, now: float) -> FailedFetch | None:
        asked = self._on_answer(link, refusal.id, now)
        if asked is None:
            return None
        if refusal.code == "unreadable":
            return self._ask_again(link, asked, refusal.reason, now, UNREADABLE_SECONDS)
        return self.fail(asked.transfer, refusal.code, refusal.reason)

    def fail(self, transfer: Fetch, code: str, reason: str) -> FailedFetch:
        """Give a transfer up."""
        self._end(transfer)
        return FailedFetch(transfer, code, reason)

    def link_up(self, link: OwnerLink, now: float) -> None:
        """There is a connection: what waits for it, and what waits where there is none, goes on here."""
        link.is_up, link.has_failed = True, False
        link.heard_at = now
        for other in self.links.values():
            if other.has_failed:
                for transfer in _take_all(other):
                    to_here = link.owner in transfer.order.owners
                    self._wait(transfer, link if to_here else other)

    def link_down(self, link: OwnerLink, now: float) -> list[Fetch]:
        """There is no connection: what went on here waits for another owner, or for this one to come back.

        Returns the transfers that were under way, whose files may be closed.
        """
        link.is_up, link.has_failed = False, True
        link.heard_at = now
        self.asked_bytes -= link.asked_bytes
        link.asked_bytes = 0
        link.asked.clear()
        link.asking.clear()
        stopped = [transfer for transfer in link.active if not transfer.is_over]
        for transfer in reversed(stopped):
            self._release_slot(link, transfer)
            transfer.rewind()
            self._wait(transfer, link, first=True)
        link.active.clear()
        for transfer in _take_all(link):
            self._wait(transfer, self._choose_link(transfer, now))
        return stopped

    def silent_links(self, now: float) -> list[OwnerLink]:
        """Those that should have answered long since."""
        return [link for link in self.links.values() if link.asked and now - link.heard_at > SILENT_SECONDS]

    def late_links(self, now: float) -> list[OwnerLink]:
        """Those for which a connection should have been made long since."""
        return [
            link
            for link in self.links.values()
            if not (link.is_up or link.has_failed) and now - link.heard_at > SILENT_SECONDS
        ]

    def drop_idle_links(self, now: float) -> list[OwnerLink]:
        """Forget the links that nothing has needed for long; their connections are to be closed."""
        idle = [link for link in self.links.values() if link.is_idle and now - link.heard_at > IDLE_SECONDS]
        for link in idle:
            del self.links[link.owner]
        return idle

    def _choose_link(self, transfer: Fetch, now: float) -> OwnerLink:
        """That of the first owner that has not failed; the first of all where every one has."""
        for owner in transfer.order.owners:
            link = self.links.get(owner)
            if link is None:
                link = self.links[owner] = OwnerLink(owner, now)
            if not link.has_failed:
                return link
        return self.links[transfer.order.owners[0]]

    def _wait(self, transfer: Fetch, link: OwnerLink, *, first: bool = False) -> None:
        queue = link.waiting.setdefault(transfer.order.run_id, deque())
        if first:
            queue.appendleft(transfer)
        else:
            queue.append(transfer)

    def _keep_waiting(self, link: OwnerLink, run_id: str) -> None:
        left = deque(transfer for transfer in link.waiting.pop(run_id) if not transfer.is_over)
        if left:
            link.waiting[run_id] = left

    def _next_read(self, link: OwnerLink, now: float) -> Read | None:
        limits = self.limits
        if (
            not link.is_up
            or len(link.asked) >= limits.reads_per_link
            or link.asked_bytes + limits.chunk_bytes > limits.bytes_per_link
            or self.asked_bytes + limits.chunk_bytes > limits.bytes_altogether
        ):
            return None
        while link.asking or self._activate(link):
            transfer = link.asking[0]
            found = None if transfer.is_over else transfer.next_range(limits.chunk_bytes)
            if found is None:
                link.asking.popleft()
                continue
            offset, length = found
            if not link.asked:
                link.heard_at = now  # the silence begins with the question
            read = Read(next(self._numbers), transfer.order.resource, offset, length)
            link.asked[read.id] = _Asked(transfer, offset, length)
            link.asked_bytes += length
            self.asked_bytes += length
            return read
        return None

    def _activate(self, link: OwnerLink) -> bool:
        """Give a slot to a transfer that waits, if its run has one free."""
        for run_id, queue in link.waiting.items():
            run = self._runs[run_id]
            if run.active < run.slots:
                transfer = queue.popleft()
                if not queue:
                    del link.waiting[run_id]
                run.active += 1
                link.active[transfer] = None
                transfer.link = link
                link.asking.append(transfer)
                return True
        return False

    def _on_answer(self, link: OwnerLink, number: int, now: float) -> _Asked | None:
        """The question that is answered; those before it on the link are to be asked again."""
        link.heard_at = now
        if number not in link.asked:
            return None
        for first in list(link.asked):
            asked = link.asked.pop(first)
            link.asked_bytes -= asked.length
            self.asked_bytes -= asked.length
            if first == number:
                return None if asked.transfer.is_over else asked
            if not asked.transfer.is_over:
                asked.transfer.ask_again(asked.offset)
                link.asking.append(asked.transfer)
        return None

    def _ask_again(
        self, link: OwnerLink, asked: _Asked, reason: str, now: float, delay: float
    ) -> FailedFetch | None:
        transfer = asked.transfer
        transfer.bad_chunks += 1
        if transfer.bad_chunks >= BAD_CHUNKS_MAX:
            return self.fail(transfer, "corrupt", f"{reason}, {BAD_CHUNKS_MAX} times")
        transfer.ask_again(asked.offset)
        if delay:
            self._delayed.append((now + delay, link, transfer))
        else:
            link.asking.append(transfer)
        return None

    def _end(self, transfer: Fetch) -> None:
        if transfer.is_over:
            return
        transfer.is_over = True
        run_id = transfer.order.run_id
        if transfer.link is not None:
            self._release_slot(transfer.link, transfer)
        transfers = self._transfers[run_id]
        del transfers[transfer.order.key]
        if not transfers:
            del self._transfers[run_id], self._runs[run_id]

    def _release_slot(self, link: OwnerLink, transfer: Fetch) -> None:
        link.active.pop(transfer, None)
        transfer.link = None
        self._runs[transfer.order.run_id].active -= 1


def _take_all(link: OwnerLink) -> list[Fetch]:
    """Everything that waits at a link, which waits there no longer."""
    waiting = [transfer for queue in link.waiting.values() for transfer in queue]
    link.waiting.clear()
    return waiting

"""Segment fetches: what a peer has asked its data service for, and not got yet. Part of `executor`."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial

from pymr.config.cluster import ClusterConfig, PeerConfig
from pymr.control.follower.events import (
    FetchSegments,
    PeerEvent,
    SegmentFetched,
    SegmentLost,
    SegmentRefused,
)
from pymr.control.long_work import LongWork
from pymr.data.orders import Fetched, FetchFailed, FetchOrder, Owner
from pymr.data.protocol import Segment
from pymr.data.staging import FACTS_SUFFIX
from pymr.peer.data_service import DataService
from pymr.peer.disk.paths import FETCHED, PeerPaths
from pymr.peer.loop.disk_threads import Disk
from pymr.peer.output.publication import make_run_folder
from pymr.wire.protocol import Source, cut_text

FETCH_LOG_SECONDS = 10.0
"""A fetch that failed is logged this often at most."""

ORDERS_PER_CALL = 500
"""Segments that are asked for, or no longer wanted, before the loop goes on to other things."""

PROBES = 10
"""Of the segments for which the disk had no room so many are tried at once, and the others when one of them
has come: to try all would fetch some of each, for nothing."""

_RETRY_S = 2.0
_log = logging.getLogger("pymr")


class SegmentFetches:
    """The fetches of all runs. A run of many map tasks wants hundreds of thousands: they are asked for little
    by little.

    data: the data service of this moment. on_event: called with what has come of a fetch.
    """

    def __init__(
        self,
        config: ClusterConfig,
        me: PeerConfig,
        disk: Disk,
        data: Callable[[], DataService],
        on_event: Callable[[PeerEvent], None],
        call_later: Callable[[float, Callable[[], object]], object],
    ) -> None:
        self._peers = config.peers
        self._by_name = {peer.name: peer for peer in config.peers}
        self._paths = PeerPaths(me.data_dir)
        self._disk = disk
        self._data = data
        self._on_event = on_event
        self._call_later = call_later
        self._runs: dict[str, dict[int, _Partition]] = {}
        self._work = LongWork()
        self._is_going_on = False
        self._refused: list[FetchSegments] = []  # of one source each
        self._unwritten: deque[FetchSegments] = deque()  # likewise, for want of space
        self._is_retrying = False
        # By (run, partition): those whose copies are being removed, with what is to be fetched after that.
        self._leaving: dict[tuple[str, int], list[FetchSegments]] = {}
        self._logged_at = float("-inf")

    def owners(self, peer: str) -> tuple[Owner, ...]:
        """Who can give what lies in a peer's data folder: itself, then the others of its host."""
        owner = self._by_name[peer]
        near = [one for one in self._peers if one.host == owner.host and one is not owner]
        return tuple((one.name, one.host, one.data_port) for one in (owner, *near))

    def fetch(self, command: FetchSegments) -> None:
        """Ask for segments, little by little, once there is a folder for them; without it fetches fail, and
        are tried again."""
        held = self._leaving.get((command.run_id, command.partition))
        if held is not None:
            held.append(command)
            return
        partitions = self._runs.setdefault(command.run_id, {})
        partition = partitions.setdefault(command.partition, _Partition(command.in_flight))

        def begin(_: object) -> None:
            self._do_later(self._ask_for(command, partition))

        work = partial(make_run_folder, self._paths, command.run_id, FETCHED)
        self._disk.do("short", work, begin, begin, run_id=command.run_id)

    def ask_anew(self) -> None:
        """The data service has forgotten everything."""
        self._refused.clear()
        self._unwritten.clear()
        for run_id, partitions in self._runs.items():
            for number, partition in partitions.items():
                sources = tuple(partition.sources.values())
                command = FetchSegments(run_id, number, sources, partition.in_flight)
                self._do_later(self._ask_for(command, partition))

    def drop(self, run_id: str, partitions: Sequence[int]) -> None:
        """Another peer reduces them. What has come of them goes: the disk may be full of it."""
        left = []
        for number in partitions:
            partition = self._runs.get(run_id, {}).pop(number, None)
            if partition is not None:
                self._do_later(self._cancel(run_id, partition))
                left.append(number)
                self._leaving[run_id, number] = []
            elif (run_id, number) in self._leaving:
                self._leaving[run_id, number].clear()

        def go_on(_: object) -> None:
            for number in left:
                for command in self._leaving.pop((run_id, number), ()):
                    self.fetch(command)

        if left:
            work = partial(remove_copies, self._paths.fetched(run_id), left)
            self._disk.do("short", work, go_on, go_on, run_id=run_id)

    def forget(self, run_id: str) -> None:
        """The run is over; its fetches are for the caller to cancel."""
        self._runs.pop(run_id, None)
        for key in [key for key in self._leaving if key[0] == run_id]:
            del self._leaving[key]

    # -- what has come

    def fetched(self, notice: Fetched) -> None:
        """A segment is here."""
        number, source = self._find(notice.run_id, notice.key, is_done=True)
        if source is not None:
            self._refused += self._unwritten
            self._unwritten.clear()
            self._on_event(SegmentFetched(notice.run_id, source, number, notice.bytes))

    def failed(self, notice: FetchFailed) -> None:
        """A segment cannot be had: for good, or for now."""
        is_lost = notice.code in ("missing", "corrupt")
        number, source = self._find(notice.run_id, notice.key, is_done=is_lost)
        if source is None:
            return
        if is_lost:
            self._on_event(SegmentLost(notice.run_id, source))
            return
        # No space here, or a key that is not admitted there.
        text, is_of_disk = cut_text(notice.reason), notice.code == "disk"
        self._on_event(SegmentRefused(notice.run_id, source, number, text, is_of_disk))
        in_flight = self._runs[notice.run_id][number].in_flight
        refused = self._unwritten if is_of_disk else self._refused
        refused.append(FetchSegments(notice.run_id, number, (source,), in_flight))
        self._retry_later()

    def log(self, notice: FetchFailed) -> None:
        """Tell operators. A full disk fails a thousand fetches, again and again: a record is enough, once in
        FETCH_LOG_SECONDS."""
        now = time.monotonic()
        if now - self._logged_at >= FETCH_LOG_SECONDS:
            self._logged_at = now
            _log.warning("a fetch for %s failed (%s): %s", notice.run_id, notice.code, notice.reason)

    def _find(self, run_id: str, key: str, *, is_done: bool) -> tuple[int, Source | None]:
        """The partition and the source of a fetch; None for one that nobody waits for any more."""
        number = int(key.rpartition(".")[2])
        partition = self._runs.get(run_id, {}).get(number)
        if partition is None:
            return number, None
        source = partition.sources.pop(key, None) if is_done else partition.sources.get(key)
        return number, source

    def _retry_later(self) -> None:
        if not self._is_retrying:
            self._is_retrying = True
            self._call_later(_RETRY_S, self._try_refused_again)

    def _try_refused_again(self) -> None:
        self._is_retrying = False
        refused, self._refused = self._refused, []
        for command in refused:
            self._try_again(command)
        probes = 0
        while self._unwritten and probes < PROBES:
            probes += self._try_again(self._unwritten.popleft())
        if self._unwritten:
            self._retry_later()

    def _try_again(self, command: FetchSegments) -> bool:
        """False where nobody wants it any more."""
        partition = self._runs.get(command.run_id, {}).get(command.partition)
        if partition is None or _key(command, command.sources[0]) not in partition.sources:
            return False
        self._do_later(self._ask_for(command, partition))
        return True

    # -- little by little

    def _do_later(self, work: Iterator[None]) -> None:
        self._work.add(work)
        if not self._is_going_on:
            self._is_going_on = True
            self._call_later(0.0, self._go_on)

    def _go_on(self) -> None:
        self._is_going_on = self._work.go_on(ORDERS_PER_CALL)
        self._data().flush()
        if self._is_going_on:
            self._call_later(0.0, self._go_on)

    def _ask_for(self, command: FetchSegments, partition: _Partition) -> Iterator[None]:
        run_id, number = command.run_id, command.partition
        for source in command.sources:
            if self._runs.get(run_id, {}).get(number) is not partition:
                return  # it has been dropped, or the run is over
            id = source.id_in(run_id)
            key = _key(command, source)
            partition.sources[key] = source
            resource = Segment(source.peer, run_id, id.task, id.attempt, number)
            target = self._paths.segment(id, number)
            order = FetchOrder(run_id, key, resource, self.owners(source.peer), target, partition.in_flight)
            self._data().add(order)
            yield

    def _cancel(self, run_id: str, partition: _Partition) -> Iterator[None]:
        for key in partition.sources:
            self._data().cancel(run_id, key)
            yield


def remove_copies(folder: str, partitions: Collection[int]) -> None:
    """Remove the copies of segments of some partitions of a run; what another process removes is no error.
    Cost: a look at the name of each copy."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            number = entry.name.removesuffix(FACTS_SUFFIX).rpartition(".")[2]
            if number.isdecimal() and int(number) in partitions:
                with suppress(FileNotFoundError):
                    os.unlink(entry.path)


class _Partition:
    """The fetches of a partition. sources: what is still to come, by the key of its order."""

    __slots__ = ("in_flight", "sources")

    def __init__(self, in_flight: int) -> None:
        self.in_flight = in_flight
        self.sources: dict[str, Source] = {}


def _key(command: FetchSegments, source: Source) -> str:
    """Of one order in its run."""
    return f"{source.id_in(command.run_id).folder}.{command.partition}"

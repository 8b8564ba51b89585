"""Gathering: which segments a peer has to pull for its partitions, and when a partition is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

from pymr.control.follower.partition_sizes import PartitionSizes
from pymr.wire.outcomes import AttemptId
from pymr.wire.protocol import LOST_MAX, ShuffleReport, Source
from pymr.wire.requests import PARTITIONS_SHOWN_MAX

SETTLED_MAX = 250_000
"""Most segments, about, that one step learns to be wanted as partitions have got their home here: 40 ms."""

Wanted = list[tuple[int, list[Source]]]
"""What to fetch, by partition."""


class ShuffleProgress:
    """The segments of one run for the partitions that are reduced on one peer.

    is_near: whether the data folder of a peer can be read directly, being on this host.
    measure: called with partitions, and outputs on this host that are to be measured for them; then
    `sizes.measured`. Of a run with more than PARTITIONS_SHOWN_MAX partitions no sizes are gathered.
    """

    def __init__(
        self,
        run_id: str,
        is_near: Callable[[str], bool],
        measure: Callable[[tuple[int, ...], tuple[Source, ...]], object],
    ) -> None:
        self._run_id = run_id
        self._is_near = is_near
        self._measure = measure
        self._shows_sizes = False
        self.sizes = PartitionSizes()
        self._homes: frozenset[int] = frozenset()
        self._sources: dict[int, Source] = {}
        self._total: int | None = None
        self._missing: dict[int, set[Source]] = {}
        self._lost: dict[Source, AttemptId] = {}
        self._refused: dict[int, dict[Source, str]] = {}  # by partition; none is empty
        self._known = 0
        self._fetched = self._fetched_bytes = 0
        self._in_order: tuple[Source, ...] | None = None  # None: to be put together again

    def begin_epoch(self) -> None:
        """Another leader announces the sources anew, in an order of its own."""
        self._known = 0

    def announce(self, start: int, sources: Iterable[Source], total: int) -> Wanted:
        """Learn of map outputs; returns what to fetch, by partition. What comes behind a gap in the
        announcements is passed over until the gap is closed."""
        self._total = total
        if start > self._known:
            return []
        news: dict[int, Source] = {}  # by task: the later of two announcements counts
        for source in list(sources)[self._known - start :]:
            self._known += 1
            before = self._sources.get(source.task)
            if before == source:
                continue
            if before is not None:
                if news.pop(source.task, None) is None:
                    self._note_replaced(before)
                self._drop(before)
            self._sources[source.task] = news[source.task] = source
            self._in_order = None
        return self._want(self._homes, news.values())

    def settle(self, homes: Iterable[int], partitions: int) -> Wanted:
        """Learn which of the run's partitions are reduced here; returns what to fetch for new ones.

        Of those that come when very many outputs are known, some: the others with the next orders.
        """
        self._shows_sizes = partitions <= PARTITIONS_SHOWN_MAX
        before, wanted = self._homes, frozenset(homes)
        room = max(1, SETTLED_MAX // max(1, len(self._sources)))
        self._homes = before & wanted | frozenset(sorted(wanted - before)[:room])
        for partition in before - self._homes:
            self._missing.pop(partition, None)
            self._refused.pop(partition, None)
        self.sizes.forget(before - self._homes)
        return self._want(self._homes - before, self._sources.values())

    def _want(self, homes: Iterable[int], sources: Iterable[Source]) -> Wanted:
        partitions = tuple(sorted(homes))
        near: list[Source] = []
        distant: list[Source] = []
        for source in sources if partitions else ():
            (near if self._is_near(source.peer) else distant).append(source)
        if near and self._shows_sizes:
            self.sizes.want(partitions, near)
            self._measure(partitions, tuple(near))
        if not distant:
            return []
        for partition in partitions:
            self._missing.setdefault(partition, set()).update(distant)
        return [(partition, distant) for partition in partitions]

    def _drop(self, source: Source) -> None:
        self._lost.pop(source, None)
        for partition in list(self._refused):
            self._accept(source, partition)
        for missing in self._missing.values():
            missing.discard(source)

    def _note_replaced(self, source: Source) -> None:
        if self._shows_sizes:
            here = [one for one in self._homes if source not in self._missing.get(one, ())]
            self.sizes.replace(source, here)

    def fetched(self, source: Source, partition: int, size_bytes: int) -> None:
        """A segment has come."""
        self._accept(source, partition)
        missing = self._missing.get(partition)
        if missing is not None and source in missing:
            missing.discard(source)
            self._fetched += 1
            self._fetched_bytes += size_bytes
            if self._shows_sizes:
                self.sizes.add(source, partition, size_bytes)

    def lose(self, source: Source) -> None:
        """The owner of an output does not have it: the leader is told until another takes its place."""
        if self._sources.get(source.task) == source:
            self._lost[source] = source.id_in(self._run_id)

    def refuse(self, source: Source, partition: int, error: str) -> bool:
        """A segment does not come for now. Whether that is the first such trouble."""
        if source not in self._missing.get(partition, ()):
            return False
        is_first = not self._refused
        self._refused.setdefault(partition, {})[source] = error
        return is_first

    def _accept(self, source: Source, partition: int) -> None:
        refused = self._refused.get(partition)
        if refused is not None and refused.pop(source, None) is not None and not refused:
            del self._refused[partition]

    def is_complete(self, partition: int) -> bool:
        """Whether all map outputs are known, and those of other hosts are here, for a partition."""
        return (
            partition in self._homes
            and self._total is not None
            and len(self._sources) == self._total
            and not self._missing.get(partition)
            and not self._lost
        )

    @property
    def knows_all(self) -> bool:
        """Whether an output of every map task has been announced in this epoch."""
        return self._total is not None and self._known >= self._total

    def in_order(self) -> tuple[Source, ...]:
        """All sources, in the order of their map tasks; put together once, unless others are announced."""
        if self._in_order is None:
            total = self._total or 0
            is_whole = len(self._sources) == total
            tasks = range(total) if is_whole else sorted(self._sources)  # sorting many takes long
            self._in_order = tuple(map(self._sources.__getitem__, tasks))
        return self._in_order

    def report(self) -> ShuffleReport:
        """How far it is."""
        left = sum(map(len, self._missing.values()))
        return ShuffleReport(
            self._run_id,
            self._known,
            self._fetched,
            self._fetched + left,
            self._fetched_bytes,
            tuple(islice(self._lost.values(), LOST_MAX)),
            self.sizes.all() if self._shows_sizes else (),
            next((error for refused in self._refused.values() for error in refused.values()), ""),
        )

"""Partition sizes: how much of each partition a peer has that is to reduce it, for operators. Part of
`shuffle_progress`."""

from __future__ import annotations

from collections.abc import Iterable

from pymr.wire.protocol import Source


class PartitionSizes:
    """The bytes of a run's map outputs, by partition: of those that have come from other hosts, and of those
    that lie on this one, which are to be measured.

    An output that is made again is as large as the one that was lost, and is not counted twice.
    """

    def __init__(self) -> None:
        self._bytes: dict[int, int] = {}
        self._unmeasured: dict[Source, set[int]] = {}  # of this host, with the partitions to look for
        self._counted: dict[int, set[int]] = {}  # of tasks whose output was replaced: its partitions

    def want(self, partitions: Iterable[int], sources: Iterable[Source]) -> None:
        """Outputs on this host are to be measured for these partitions."""
        for source in sources:
            self._unmeasured.setdefault(source, set()).update(partitions)

    def measured(self, source: Source, sizes: Iterable[tuple[int, int]]) -> None:
        """An output on this host was looked at. sizes: (partition, bytes)."""
        wanted = self._unmeasured.get(source, set())
        for partition, size_bytes in sizes:
            if partition in wanted:
                wanted.discard(partition)
                self.add(source, partition, size_bytes)
        if not wanted:
            self._unmeasured.pop(source, None)

    def add(self, source: Source, partition: int, size_bytes: int) -> None:
        """A segment is here."""
        if partition not in self._counted.get(source.task, ()):
            self._bytes[partition] = self._bytes.get(partition, 0) + size_bytes

    def replace(self, source: Source, here: Iterable[int]) -> None:
        """Another output takes the place of this one. here: the partitions of it that had come, or had not to
        come."""
        unmeasured = self._unmeasured.pop(source, set())
        self._counted.setdefault(source.task, set()).update(set(here) - unmeasured)

    def forget(self, partitions: Iterable[int]) -> None:
        """These partitions are reduced elsewhere."""
        gone = set(partitions)
        for partition in gone:
            self._bytes.pop(partition, None)
        for kept in (*self._counted.values(), *self._unmeasured.values()) if gone else ():
            kept -= gone

    def all(self) -> tuple[tuple[int, int], ...]:
        """(partition, bytes), ascending by partition."""
        return tuple(sorted(self._bytes.items()))

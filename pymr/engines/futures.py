"""Engines of tasks and futures (Dask, Ray): map tasks, then reduce tasks that take what these have put out.

A map task gives a part for each partition, and its facts; the engine keeps the parts, and does the map task
again when it has lost one. A reduce task is given references, and takes one part after the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Generic, Protocol, TypeVar

from pymr.engine.tasks import MapOutput
from pymr.engines.core.driver import EnginePlan
from pymr.engines.core.map_side import Piece, map_output_in, map_pieces
from pymr.engines.core.reduce_side import PartitionReport
from pymr.engines.core.run_watch import LOOK_SECONDS, RunWatch, error_of_engine

Part = list[Piece]
"""The pieces of one map task and partition."""

REDUCES_PER_SLOT = 2

F = TypeVar("F")


class FutureEngine(Protocol[F]):
    """What the two have in common. F: a future. Errors of any kind may be raised."""

    name: str
    slots: int

    def submit_map(self, plan: EnginePlan, index: int) -> tuple[F, list[Any]]:
        """(future of the MapOutput, the reference of each part) of a map task."""

    def submit_reduce(self, plan: EnginePlan, partition: int, parts: Sequence[Any]) -> F:
        """Future of a PartitionReport. parts: references, of all map tasks in their order."""

    def done(self, futures: Collection[F], timeout_s: float) -> Collection[F]:
        """Those that are done, well or not, once there is one or the time is over."""

    def result(self, future: F) -> Any:
        """What came of it; raises what went wrong."""

    def cancel(self, futures: Iterable[F]) -> None:
        """They are not needed any more."""


class TaskRun(Generic[F]):
    """One run on such an engine."""

    def __init__(self, engine: FutureEngine[F], plan: EnginePlan, watch: RunWatch) -> None:
        self._engine = engine
        self._plan = plan
        self._watch = watch
        self._pending: dict[F, int] = {}

    def reports(self) -> list[PartitionReport]:
        """Do all tasks. When something raises, those that are not done are cancelled."""
        try:
            parts = self._map()
            return self._reduce(parts)
        finally:
            self._engine.cancel(self._pending)

    def _map(self) -> list[list[Any]]:
        """References of the parts of all map tasks."""
        plan = self._plan
        self._watch.begin("map", plan.map_tasks, plan.input_bytes)
        parts = []
        for index in range(plan.map_tasks):
            future, references = self._engine.submit_map(plan, index)
            self._pending[future] = index
            parts.append(references)
        outputs: list[MapOutput] = []
        for output in self._results():
            outputs.append(output)
            self._watch.mapped(outputs)
        self._watch.end()
        return parts

    def _reduce(self, parts: list[list[Any]]) -> list[PartitionReport]:
        """REDUCES_PER_SLOT at once: while one reduces, another is given its parts."""
        plan = self._plan
        self._watch.begin("reduce", plan.partitions)
        waiting = iter(range(plan.partitions))
        reports: list[PartitionReport] = []

        def submit_next() -> None:
            for partition in waiting:
                of_partition = [references[partition] for references in parts]
                self._pending[self._engine.submit_reduce(plan, partition, of_partition)] = partition
                return

        for _ in range(self._engine.slots * REDUCES_PER_SLOT):
            submit_next()
        for report in self._results():
            reports.append(report)
            for references in parts:
                references[report.partition] = None  # the engine need not keep it any more
            submit_next()
            self._watch.reduced([report.output for report in reports])
        self._watch.end()
        return reports

    def _results(self) -> Iterator[Any]:
        """The results of the pending futures, in the order of completion."""
        while self._pending:
            for future in list(self._engine.done(self._pending, LOOK_SECONDS)):
                del self._pending[future]
                try:
                    result = self._engine.result(future)
                except Exception as error:
                    self._watch.give_up(error)  # which knows more of it
                    raise error_of_engine(error, self._engine.name) from error
                yield result
            self._watch.look()


def map_parts(run_dir: str, index: int) -> Iterator[Part | MapOutput]:
    """A map task as such engines do it: the part of each partition, then the MapOutput.

    Memory beyond the bound of the task: a part, of those that the engine has not taken.
    """
    output: MapOutput | None = None
    for _, pieces in groupby(map_pieces(run_dir, index), key=itemgetter(0)):
        part = [piece for _, piece in pieces]
        output = output or map_output_in(part[-1])
        yield part
    assert output is not None  # partition 0 has it
    yield output

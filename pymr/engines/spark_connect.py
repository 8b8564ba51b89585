"""Spark Connect: the same two stages where there are no RDDs, as functions over Arrow batches."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

import msgspec

from pymr.base.interruption import uninterrupted
from pymr.engine.outputs import Part
from pymr.engine.tasks import MapOutput, ReduceOutput
from pymr.engines.core.backends import check_address, refused_address
from pymr.engines.core.driver import EnginePlan
from pymr.engines.core.map_side import Piece, map_pieces
from pymr.engines.core.opened import OpenedEngine
from pymr.engines.core.reduce_side import PartitionReport, reduce_pieces
from pymr.engines.core.run_watch import LOOK_SECONDS, RunWatch
from pymr.engines.spark_errors import in_words

PIECES_PER_BATCH = 16
"""Rows of a batch that a reduce task is given: it has so many pieces in memory, and Spark some more."""

_PIECES = "partition int, task int, place long, data binary"
_REPORTS = "report binary"
SETTINGS = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": str(PIECES_PER_BATCH),
    "spark.sql.adaptive.enabled": "false",  # which would put small partitions together
}


class SparkConnectEngine(OpenedEngine):
    """A context: a session of a Spark Connect server at `address` (sc://HOST:PORT). options: of the session.

    workers: how many tasks are planned for, as the server does not say how many it does at once.
    """

    name = "Spark"

    def __init__(
        self, address: str | None, options: Mapping[str, Any], *, workers: int, directory: str
    ) -> None:
        super().__init__(address or "", options, workers=workers, directory=directory)
        self._session: Any = None

    def _open(self) -> None:
        address = self._address or ""
        check_address(self.name, address, "sc", 15002)
        try:
            session = _connect(address)
            self._at_the_end.callback(session.stop)
            for key, value in self._options.items():
                session.conf.set(key, str(value))
        except Exception as error:
            raise refused_address(self.name, address, error) from error
        self._session = session

    def _close(self) -> None:
        with uninterrupted(), suppress(Exception):  # the server may be what has failed
            super()._close()

    def run(self, plan: EnginePlan, watch: RunWatch) -> list[PartitionReport]:
        """See Engine."""
        return run_on_session(self._session, plan, watch)


def run_on_session(session: Any, plan: EnginePlan, watch: RunWatch) -> list[PartitionReport]:
    """Do all tasks in a session of Spark Connect. When something raises, they are interrupted there."""
    for key, value in SETTINGS.items():
        session.conf.set(key, value)
    job = _Job(session, plan)
    thread = threading.Thread(target=job.run, daemon=True)
    watch.begin("map", plan.map_tasks, plan.input_bytes)
    session.registerProgressHandler(job.on_progress)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(LOOK_SECONDS)
            watch.look()
            watch.move(min(job.tasks_done, plan.map_tasks), (0, 0))
    finally:
        with suppress(Exception):
            session.removeProgressHandler(job.on_progress)
            if thread.is_alive():
                session.interruptTag(job.tag)
    if job.error is not None:
        watch.give_up(job.error)
        raise in_words(job.error) from job.error
    watch.mapped([output for report in job.reports for output in report.mapped])
    watch.end()
    watch.begin("reduce", plan.partitions)
    watch.reduced([report.output for report in job.reports])
    watch.end()
    return job.reports


def _connect(address: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of versions of pandas, which is not used here
        from pyspark.sql import SparkSession

        return SparkSession.builder.remote(address).create()


class _Job:
    """The query of a run, whose `run` is called in a thread. tag: by which it is interrupted."""

    def __init__(self, session: Any, plan: EnginePlan) -> None:
        self._session = session
        self._plan = plan
        self.tag = f"pymr-{uuid4().hex}"
        self.tasks_done = 0
        self.reports: list[PartitionReport] = []
        self.error: Exception | None = None

    def on_progress(self, stages: Any, **_: Any) -> None:
        """How far it is, as Spark tells: both stages together."""
        self.tasks_done = sum(stage.num_completed_tasks for stage in stages or ())

    def run(self) -> None:
        plan, run_dir = self._plan, self._plan.run_dir

        def mapped(batches: Iterable[Any]) -> Iterator[Any]:
            import pyarrow

            for batch in batches:
                for index in batch.column(0).to_pylist():
                    for partition, (task, place, data) in map_pieces(run_dir, index):
                        columns = [
                            pyarrow.array([partition], pyarrow.int32()),
                            pyarrow.array([task], pyarrow.int32()),
                            pyarrow.array([place], pyarrow.int64()),
                            pyarrow.array([data], pyarrow.binary()),
                        ]
                        names = ["partition", "task", "place", "data"]
                        yield pyarrow.RecordBatch.from_arrays(columns, names)

        def reduced(batches: Iterable[Any]) -> Iterator[Any]:
            import pyarrow

            rows = (row for batch in batches for row in zip(*map(_values, batch.columns), strict=True))
            first = next(rows, None)
            if first is None:  # a partition of Spark's that is none of ours
                return

            def pieces() -> Iterator[Piece]:
                yield first[1:]
                yield from (row[1:] for row in rows)

            report = reduce_pieces(run_dir, first[0], pieces())
            encoded = msgspec.msgpack.encode(report)
            yield pyarrow.RecordBatch.from_arrays([pyarrow.array([encoded], pyarrow.binary())], ["report"])

        try:
            if not plan.map_tasks:  # then no piece tells which partition it is
                self.reports = [reduce_pieces(run_dir, one, iter(())) for one in range(plan.partitions)]
                return
            self._session.addTag(self.tag)
            tasks = self._session.range(plan.map_tasks).selectExpr("cast(id as int) as id")
            placed = tasks.repartitionById(plan.map_tasks, "id").mapInArrow(mapped, _PIECES)
            pieces = placed.repartitionById(plan.partitions, "partition")
            rows = pieces.mapInArrow(reduced, _REPORTS).collect()
            self.reports = [_report_of(bytes(row.report)) for row in rows]
        except Exception as error:  # for the thread that waits
            self.error = error


def _values(column: Any) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return values


def _report_of(data: bytes) -> PartitionReport:
    fields = msgspec.msgpack.decode(data)
    output = fields["output"]
    output["parts"] = tuple(Part(**part) for part in output["parts"])
    mapped = tuple(MapOutput(**one | {"runs": ()}) for one in fields["mapped"])
    return PartitionReport(fields["partition"], ReduceOutput(**output), fields["digest"], mapped)

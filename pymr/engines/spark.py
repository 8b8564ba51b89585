"""Spark: map tasks and reduce tasks as the two stages of a job on RDDs, with its own shuffle between them."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psutil

from pymr.base.errors import StartError
from pymr.base.interruption import uninterrupted
from pymr.engines.core.backends import check_address, refused_address, refused_start
from pymr.engines.core.driver import EnginePlan
from pymr.engines.core.map_side import Piece, map_output_in, map_pieces
from pymr.engines.core.opened import OpenedEngine, environment, interrupting_handlers_kept
from pymr.engines.core.reduce_side import PartitionReport, reduce_pieces
from pymr.engines.core.run_watch import LOOK_SECONDS, RunWatch
from pymr.engines.java import java_home
from pymr.engines.spark_connect import run_on_session
from pymr.engines.spark_errors import in_words
from pymr.runs.info import RunSummary

if TYPE_CHECKING:
    from pymr.api.run import JobSource

FAILURES_MAX = 8
"""So often Spark tries a task; deaths of workers count there too. Failures are counted by the watch."""

CANCEL_SECONDS = 10.0

_LOG_NAME = "spark.log"
_LOG_LINES = 15
_DEFAULTS = {
    "spark.app.name": "pymr",
    "spark.task.maxFailures": str(FAILURES_MAX),
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.python.worker.memory": "64m",  # of what a map task puts out, half of it is held by its Python
}


class SparkEngine(OpenedEngine):
    """A context: a Spark application. address: of its master; None for `workers` slots on this machine.

    options: of SparkConf. directory: where that of this machine keeps what it shuffles.
    """

    name = "Spark"

    def __init__(
        self, address: str | None, options: Mapping[str, Any], *, workers: int, directory: str
    ) -> None:
        super().__init__(address, options, workers=workers, directory=directory)
        self._context: Any = None

    def run(self, plan: EnginePlan, watch: RunWatch) -> list[PartitionReport]:
        """See Engine."""
        return run_on_context(self._context, plan, watch)

    def _close(self) -> None:
        with uninterrupted():
            super()._close()

    def _open(self) -> None:
        from pyspark import SparkConf, SparkContext

        if self._address is not None:
            check_address(self.name, self._address, "spark", 7077)
        settings = dict(_DEFAULTS)
        variables = {}
        if self._address is None:
            settings["spark.local.dir"] = os.path.join(self._directory, "spark")
            settings["spark.driver.host"] = settings["spark.driver.bindAddress"] = "127.0.0.1"
            variables = {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
        settings |= {key: _as_spark(value) for key, value in self._options.items()}
        conf = SparkConf().setAll(list(settings.items()))
        conf.setMaster(self._address or f"local[{self.slots},{FAILURES_MAX}]")
        home = java_home(self._directory)
        variables |= {"JAVA_HOME": home} if home else {}
        log = os.path.join(self._directory, _LOG_NAME)
        try:
            with (
                environment(variables),
                interrupting_handlers_kept(),
                _standard_error_in(log),
                _killed_unless_started(),
            ):
                self._context = SparkContext(conf=conf)
        except Exception as error:
            if self._address is None:
                reason = f"{error}\nIts last lines:\n{_tail(log)}"
                raise refused_start(self.name, StartError(reason)) from error
            raise refused_address(self.name, self._address, error) from error
        self._at_the_end.callback(_end, self._context)
        self._context.setLogLevel("ERROR")
        if self._address is not None:
            self.slots = self._context.defaultParallelism


class OpenSpark:
    """A session of somebody's, of either way to Spark, as an engine that stays open."""

    name = "Spark"
    is_local = False

    def __init__(self, session: Any) -> None:
        self._session = session
        self._is_connect = "connect" in type(session).__module__.split(".")
        # By Spark Connect nobody says how many tasks there are at once.
        self.slots = (os.cpu_count() or 1) if self._is_connect else session.sparkContext.defaultParallelism

    def run(self, plan: EnginePlan, watch: RunWatch) -> list[PartitionReport]:
        """See Engine."""
        if self._is_connect:
            return run_on_session(self._session, plan, watch)
        return run_on_context(self._session.sparkContext, plan, watch)


def run(job: JobSource, spark: Any, **options: Any) -> RunSummary:
    """Run a mapreduce job in a SparkSession that you have, and write its output into a folder.

    options: `projects`, `inputs`, `output`, `config`, as of `pymr.run`. The output folder has to be one that
    the executors can write to under the same path. Raises PymrError.
    """
    from pymr.api.run import run_with

    return run_with(OpenSpark(spark), job, **options)


def run_on_context(context: Any, plan: EnginePlan, watch: RunWatch) -> list[PartitionReport]:
    """Do all tasks in a SparkContext. When something raises, the job is cancelled there."""
    group = f"pymr-{uuid4().hex}"
    job = _Job(context, plan, group)
    thread = threading.Thread(target=job.run, daemon=True)
    thread.start()
    watch.begin("map", plan.map_tasks, plan.input_bytes)
    in_reduce = False
    try:
        while thread.is_alive():
            # Its JVM is spoken to in whole messages, also by the garbage collector, whenever that comes.
            with uninterrupted():
                thread.join(LOOK_SECONDS)
                watch.look()
                mapped, reduced = job.done()
                if not in_reduce:
                    watch.move(mapped, (job.records.value, job.bytes.value))
                    if in_reduce := mapped == plan.map_tasks and (reduced > 0 or not thread.is_alive()):
                        watch.end()
                        watch.begin("reduce", plan.partitions)
                elif reduced < plan.partitions:
                    watch.move(reduced, (0, 0))
    finally:
        if thread.is_alive():
            with uninterrupted(), suppress(Exception):  # its JVM may be what has failed
                context.cancelJobGroup(group)
                thread.join(CANCEL_SECONDS)
    if job.error is not None:
        watch.give_up(job.error)
        raise in_words(job.error) from job.error
    if not in_reduce:
        watch.move(plan.map_tasks, (job.records.value, job.bytes.value))
        watch.end()
        watch.begin("reduce", plan.partitions)
    watch.reduced([report.output for report in job.reports])
    watch.end()
    return job.reports


class _Job:
    """The job of a run, whose `run` is called in a thread. records, bytes: of map tasks so far, to be shown:
    those of tasks that were done twice count twice."""

    def __init__(self, context: Any, plan: EnginePlan, group: str) -> None:
        self._context = context
        self._plan = plan
        self._group = group
        self.records = context.accumulator(0)
        self.bytes = context.accumulator(0)
        self.reports: list[PartitionReport] = []
        self.error: Exception | None = None

    def run(self) -> None:
        run_dir, records, length = self._plan.run_dir, self.records, self.bytes

        def mapped(indexes: Iterable[int]) -> Iterator[tuple[int, Piece]]:
            for index in indexes:
                for partition, piece in map_pieces(run_dir, index):
                    if output := map_output_in(piece):
                        records.add(output.records)
                        length.add(output.bytes)
                    yield partition, piece

        def reduced(partition: int, items: Iterable[tuple[int, Piece]]) -> Iterator[PartitionReport]:
            yield reduce_pieces(run_dir, partition, (piece for _, piece in items))

        try:
            self._context.setJobGroup(self._group, "pymr", interruptOnCancel=True)
            tasks = range(self._plan.map_tasks)
            pieces = self._context.parallelize(tasks, max(len(tasks), 1)).mapPartitions(mapped)
            shuffled = pieces.partitionBy(self._plan.partitions, _itself)
            self.reports = shuffled.mapPartitionsWithIndex(reduced).collect()
        except Exception as error:  # for the thread that waits
            self.error = error

    def done(self) -> tuple[int, int]:
        """(map tasks, reduce tasks) that are done, as Spark tells."""
        tracker = self._context.statusTracker()
        counts = [0, 0]
        for job in tracker.getJobIdsForGroup(self._group):
            stages = sorted(tracker.getJobInfo(job).stageIds) if tracker.getJobInfo(job) else []
            for place, stage in enumerate(stages[:2]):
                if info := tracker.getStageInfo(stage):
                    counts[place] = info.numCompletedTasks
        return counts[0], counts[1]


def _itself(partition: int) -> int:
    return partition


def _as_spark(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _end(context: Any) -> None:
    """End the application, and the JVM that was started for it, which else ends with this process only."""
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    logging.getLogger("py4j").setLevel(logging.CRITICAL)  # it tells of each connection that ends
    with suppress(Exception):
        context.stop()
    if gateway is not None:
        with suppress(Exception):
            gateway.shutdown()
        gateway.proc.stdin.close()
        gateway.proc.wait(10)
        SparkContext._gateway = SparkContext._jvm = None


@contextmanager
def _killed_unless_started() -> Iterator[None]:
    """What is started in here is killed where it raises: a JVM interrupted at its start would stay."""
    this = psutil.Process()
    before = set(this.children())
    try:
        yield
    except BaseException:
        with uninterrupted():
            started = set(this.children()) - before
            started |= {process for one in started for process in _below(one)}
            for process in started:
                with suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(started, CANCEL_SECONDS)
        raise


def _below(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return process.children(recursive=True)
    return []


def _tail(path: str) -> str:
    with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        lines = [line for line in file if not line.startswith("\tat ")]  # where in Spark it happened
        return "".join(lines[-_LOG_LINES:]).rstrip()
    return ""


@contextmanager
def _standard_error_in(path: str) -> Iterator[None]:
    """What is started in here writes its errors into a file: a JVM and all that it starts."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(path, "ab", buffering=0) as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)

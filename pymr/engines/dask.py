"""Dask: map tasks whose parts stay in memory or on the disk, and reduce tasks that fetch them.

A reduce task does not depend on its parts, but asks for them: Dask would else hold all of them in memory
before it began.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing import resource_tracker
from operator import getitem
from typing import Any
from uuid import uuid4

from pymr.base.errors import FatalError, RetryableError
from pymr.base.interruption import uninterrupted
from pymr.engines.absence import Absence
from pymr.engines.core.backends import (
    EngineAwayError,
    Worker,
    check_workers,
    refused_address,
    refused_start,
    shown_address,
    this_worker,
)
from pymr.engines.core.driver import EnginePlan
from pymr.engines.core.map_side import Piece
from pymr.engines.core.opened import OpenedEngine
from pymr.engines.core.reduce_side import PartitionReport, reduce_pieces
from pymr.engines.core.run_watch import RunWatch
from pymr.engines.futures import Part, TaskRun, map_parts

CONNECT_SECONDS = 15

FIRST_WORKER_SECONDS = 5
"""So long a run waits for a worker before it begins."""

PARTS_AT_ONCE = 8
"""Parts on their way to a reduce task. Higher: less waiting. A worker has so many in memory."""

WORKERS_SECONDS = 1.0
"""Between two looks at whether there are any workers, while nothing is done."""

CLOSE_SECONDS = 10.0
"""How long workers of this run may take to end before they are killed."""


class DaskEngine(OpenedEngine):
    """A context: a client of a Dask scheduler, or a cluster of this machine that ends with it.

    address: of the scheduler; None for a cluster of `workers` processes. options: arguments of Client where
    there is an address, else of LocalCluster. directory: where a cluster of this machine spills.
    """

    name = "Dask"

    def __init__(
        self, address: str | None, options: Mapping[str, Any], *, workers: int, directory: str
    ) -> None:
        super().__init__(address, options, workers=workers, directory=directory)
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._client: Any = None
        self._token = ""
        self._absence: Absence | None = None
        self._looked_at = 0.0

    def _open(self) -> None:
        if self._address is None:
            self._start()
        else:
            self._connect(self._address)

    def run(self, plan: EnginePlan, watch: RunWatch) -> list[PartitionReport]:
        """See Engine."""
        self._done = queue.SimpleQueue()
        self._token = uuid4().hex[:12]
        self._absence = Absence(self._where, plan.grace_s, watch)
        return TaskRun(self, plan, watch).reports()

    def submit_map(self, plan: EnginePlan, index: int) -> tuple[Any, list[Any]]:
        """See FutureEngine. The reference of each part is the future of them all."""
        parts = self._client.submit(
            _map, plan.run_dir, index, key=f"pymr-map-{self._token}-{index}", retries=plan.attempts_max - 1
        )
        output = self._client.submit(
            getitem, parts, plan.partitions, key=f"pymr-output-{self._token}-{index}"
        )
        output.add_done_callback(self._done.put)
        return output, [parts] * plan.partitions

    def submit_reduce(self, plan: EnginePlan, partition: int, parts: Sequence[Any]) -> Any:
        """See FutureEngine. On any worker: a task that was given a preferred one, also where others would do,
        waits forever when no worker was there at the moment in which that one died."""
        future = self._client.submit(
            _reduce,
            plan.run_dir,
            partition,
            [part.key for part in parts],
            key=f"pymr-reduce-{self._token}-{partition}",
            retries=plan.attempts_max - 1,
        )
        future.add_done_callback(self._done.put)
        return future

    def done(self, futures: Collection[Any], timeout_s: float) -> Collection[Any]:
        """See FutureEngine."""
        found = []
        with suppress(queue.Empty):
            found.append(self._done.get(timeout=timeout_s))
            while True:
                found.append(self._done.get_nowait())
        if not found:
            self._look_for_workers()
        return found

    def result(self, future: Any) -> Any:
        """See FutureEngine."""
        from distributed import CancelledError, KilledWorker

        try:
            return future.result()
        except CancelledError as error:
            raise self._lost() from error
        except KilledWorker as error:
            raise FatalError(
                f"workers of Dask were killed again and again while they did {_task_of(error.task)}: they "
                "ran out of memory, or the function crashes; a lower engine.memory_bytes_per_worker may help"
            ) from error

    def cancel(self, futures: Iterable[Any]) -> None:
        """See FutureEngine."""
        if futures := list(futures):
            with suppress(Exception):  # the scheduler may be what has failed
                self._client.cancel(futures, force=True)

    @property
    def _where(self) -> str:
        return f"Dask at {shown_address(self._address)}" if self._address else "Dask on this machine"

    def _lost(self) -> RetryableError:
        return RetryableError(
            f"the connection to the scheduler of {self._where} is lost: it has ended, or its machine or the "
            "network is gone; all tasks have to be done again"
        )

    def _look_for_workers(self) -> None:
        now = time.monotonic()
        if self._absence is None or now - self._looked_at < WORKERS_SECONDS:
            return
        self._looked_at = now
        try:
            workers = len(self._client.nthreads())
        except (OSError, TypeError, AttributeError) as error:  # as it comes, where it has just been closed
            raise self._lost() from error
        self._absence.look(workers, now)

    def _start(self) -> None:
        from distributed import Client, LocalCluster

        arguments = {
            "n_workers": self.slots,
            "threads_per_worker": 1,
            "processes": True,
            "host": "127.0.0.1",
            "dashboard_address": "127.0.0.1:0",
            "local_directory": os.path.join(self._directory, "dask"),
            "silence_logs": logging.CRITICAL,
            **self._options,
        }
        resource_tracker.ensure_running()  # which would let signals through again in the midst of that
        with uninterrupted():  # its threads and processes leave signals to this one
            try:
                cluster = LocalCluster(**arguments)
            except (OSError, TypeError, ValueError, RuntimeError) as error:
                raise refused_start(self.name, error) from error
            self._at_the_end.callback(_end, cluster)
            self._client = self._at_the_end.enter_context(Client(cluster, set_as_default=False))
        self.slots = len(self._client.nthreads())

    def _connect(self, address: str) -> None:
        from distributed import Client

        options = {"timeout": CONNECT_SECONDS, "set_as_default": False, **self._options}
        try:
            self._client = self._at_the_end.enter_context(Client(address, **options))
        except (OSError, ValueError) as error:
            raise refused_address(self.name, address, error) from error
        with suppress(TimeoutError):  # of a scheduler that has just begun they come soon
            self._client.wait_for_workers(1, FIRST_WORKER_SECONDS)
        threads = self._client.nthreads()
        if not threads:
            raise EngineAwayError(
                f"the Dask scheduler at {shown_address(address)} has no workers: start some, then run the job"
            )
        check_workers(self.name, self._fitness())
        self.slots = len(threads)

    def _fitness(self) -> Iterable[Worker]:
        try:
            found: Mapping[str, Worker] = self._client.run(this_worker)
        except ModuleNotFoundError as error:
            raise FatalError(
                f"the workers of {self._address} cannot import pymr ({error}): install pymr-cluster there, "
                "in the same version as here"
            ) from error
        return found.values()


def _end(cluster: Any) -> None:
    """Close a cluster of this machine. What it fails to end is killed: a function may hang."""
    from distributed import Status

    pids = [pid for worker in cluster.workers.values() if (pid := getattr(worker, "pid", None))]
    try:
        cluster.close(timeout=CLOSE_SECONDS)
    except Exception:  # it has its own ideas of what may go wrong, and would try again at exit
        cluster.status = Status.closed
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _task_of(key: object) -> str:
    kind, _, index = str(key).removeprefix("pymr-").rpartition("-")
    return f"{kind.partition('-')[0]} task {index}"


def _map(run_dir: str, index: int) -> list[Any]:
    return list(map_parts(run_dir, index))


def _reduce(run_dir: str, partition: int, keys: Sequence[str]) -> PartitionReport:
    """The slot is free meanwhile: others fetch their parts from this worker, and a map task whose output is
    lost may have to be done again in it."""
    from distributed import worker_client

    with worker_client() as client:
        return reduce_pieces(run_dir, partition, _pieces(client, partition, keys))


def _pieces(client: Any, partition: int, keys: Sequence[str]) -> Iterator[Piece]:
    """The pieces of a partition, of PARTS_AT_ONCE map tasks at once."""
    from distributed import Future

    for at in range(0, len(keys), PARTS_AT_ONCE):
        outputs = [Future(key, client) for key in keys[at : at + PARTS_AT_ONCE]]
        futures = client.map(getitem, outputs, [partition] * len(outputs), pure=False)
        while futures:
            part: Part = futures.pop(0).result()
            yield from part

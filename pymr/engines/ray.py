"""Ray: map tasks whose parts lie in its object store, and reduce tasks that are given references to them.

The store spills to disk by itself; a part that is lost with its machine is made again by doing its map task
again, for which a reduce task that waits lends its slot.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any

from pymr.base.errors import FatalError
from pymr.base.interruption import uninterrupted
from pymr.base.scratch_folder import ScratchFolder
from pymr.engines.core.attempts import TaskGivenUpError
from pymr.engines.core.backends import (
    EngineAwayError,
    check_address,
    check_workers,
    refused_address,
    refused_start,
    shown_address,
    this_worker,
)
from pymr.engines.core.driver import EnginePlan
from pymr.engines.core.map_side import Piece
from pymr.engines.core.opened import OpenedEngine, environment, interrupting_handlers_kept
from pymr.engines.core.reduce_side import PartitionReport, reduce_pieces
from pymr.engines.core.run_watch import RunWatch
from pymr.engines.futures import Part, TaskRun, map_parts

DEATHS_MAX = 3
"""So many workers may die of a task."""

_SCRATCH_PREFIX = "pymr-ray-"
_OF_ATTEMPTS = ("Error: User exception", TaskGivenUpError.__name__)
"""In what Ray says of attempts that have failed or are not begun again, of which pymr tells itself."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Nothing is sent to its makers; no warning of what a later version will do with accelerators."""


class RayEngine(OpenedEngine):
    """A context: a driver of a Ray cluster, or a cluster of this machine that ends with it.

    address: of the cluster, as `ray.init` takes it; None for one of `workers` slots. options: further
    arguments of `ray.init`.
    """

    name = "Ray"

    def __init__(
        self, address: str | None, options: Mapping[str, Any], *, workers: int, directory: str
    ) -> None:
        super().__init__(address, options, workers=workers, directory=directory)
        self._map: Any = None
        self._reduce: Any = None

    def _open(self) -> None:
        if self._address is None:
            self._start()
        else:
            self._connect(self._address)

    def _close(self) -> None:
        with uninterrupted(), _quiet():
            super()._close()

    def run(self, plan: EnginePlan, watch: RunWatch) -> list[PartitionReport]:
        """See Engine."""
        import ray

        # Deaths of workers count there too; failures are counted by the watch.
        retries = {"max_retries": max(plan.attempts_max - 1, DEATHS_MAX), "retry_exceptions": True}
        self._map = ray.remote(_map).options(num_returns=plan.partitions + 1, **retries)
        self._reduce = ray.remote(_reduce).options(**retries)
        with redirect_stdout(_Said(watch)), redirect_stderr(_Said(watch)):
            return TaskRun(self, plan, watch).reports()

    def submit_map(self, plan: EnginePlan, index: int) -> tuple[Any, list[Any]]:
        """See FutureEngine."""
        *parts, output = self._map.remote(plan.run_dir, index)
        return output, parts

    def submit_reduce(self, plan: EnginePlan, partition: int, parts: Sequence[Any]) -> Any:
        """See FutureEngine. In a list references stay what they are."""
        return self._reduce.remote(plan.run_dir, partition, list(parts))

    def done(self, futures: Collection[Any], timeout_s: float) -> Collection[Any]:
        """See FutureEngine."""
        import ray

        ready, _ = ray.wait(list(futures), num_returns=1, timeout=timeout_s, fetch_local=False)
        return list(ready)

    def result(self, future: Any) -> Any:
        """See FutureEngine."""
        import ray

        try:
            return ray.get(future)
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
            raise FatalError(
                "workers of Ray were killed again and again while they did a task: they ran out of memory, "
                "or the function crashes; a lower engine.memory_bytes_per_worker may help "
                f"({_first_line(error)})"
            ) from error

    def cancel(self, futures: Iterable[Any]) -> None:
        """See FutureEngine."""
        import ray

        for future in futures:
            with suppress(Exception):  # the cluster may be what has failed
                ray.cancel(future, force=True)

    def _start(self) -> None:
        # A folder of its own, which ends with it; sockets lie in there, so its path is short.
        folder = self._at_the_end.enter_context(ScratchFolder(tempfile.gettempdir(), _SCRATCH_PREFIX))
        arguments = {"num_cpus": self.slots, "include_dashboard": False, **self._options}
        with environment(_unset({**_ENVIRONMENT, "RAY_TMPDIR": folder.path})):
            try:
                self._init(arguments)
            except (OSError, TypeError, ValueError, RuntimeError) as error:
                raise refused_start(self.name, error) from error

    def _connect(self, address: str) -> None:
        import ray

        if ":" in address:  # not for names such as auto
            scheme, port = ("ray", 10001) if address.startswith("ray://") else ("", 6379)
            check_address(self.name, address, scheme, port)
        try:
            with environment(_unset(_ENVIRONMENT)):
                self._init({"address": address, **self._options})
        except (OSError, ValueError, RuntimeError) as error:
            raise refused_address(self.name, address, error) from error
        self.slots = int(ray.cluster_resources().get("CPU", 0))
        if not self.slots:
            raise EngineAwayError(
                f"the Ray cluster at {shown_address(address)} has no CPUs: add some nodes, then run the job"
            )
        try:
            check_workers(self.name, [ray.get(ray.remote(this_worker).remote())])
        except ray.exceptions.RayError as error:
            raise FatalError(
                f"the workers of {address} cannot import pymr ({_first_line(error)}): install pymr-cluster "
                "there, in the same version as here"
            ) from error

    def _init(self, arguments: Mapping[str, Any]) -> None:
        import ray

        with interrupting_handlers_kept(), _quiet():
            self._at_the_end.callback(ray.shutdown)
            ray.init(log_to_driver=False, configure_logging=False, **arguments)


def _map(run_dir: str, index: int) -> Iterator[Any]:
    """The map task is done here: Ray does not retry what a generator raises."""
    parts = map_parts(run_dir, index)
    first = next(parts)

    def all_parts() -> Iterator[Any]:
        yield first
        yield from parts

    return all_parts()


def _reduce(run_dir: str, partition: int, parts: Sequence[Any]) -> PartitionReport:
    return reduce_pieces(run_dir, partition, _pieces(parts))


def _pieces(parts: Sequence[Any]) -> Iterator[Piece]:
    """The pieces of a partition, one part after the other."""
    import ray

    for reference in parts:
        part: Part = ray.get(reference)
        yield from part


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _unset(values: Mapping[str, str]) -> dict[str, str]:
    """Of values for the environment, those for which nobody has set others."""
    return {name: value for name, value in values.items() if name not in os.environ}


class _Said(io.TextIOBase):
    """What Ray prints during a run, such as that a worker has died."""

    def __init__(self, watch: RunWatch) -> None:
        self._watch = watch

    def write(self, text: str) -> int:
        said = _COLOURS.sub("", text).strip()
        if said and not any(words in said for words in _OF_ATTEMPTS):
            self._watch.note(f"Ray: {said}")
        return len(text)


@contextmanager
def _quiet() -> Iterator[None]:
    """It greets its user; what is wrong it raises."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield

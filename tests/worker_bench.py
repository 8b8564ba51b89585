"""A small daemon for tests of workers: real processes, their panes, and a loop to wait in."""

from __future__ import annotations

import os
import select
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil
from cluster.running import lives
from valid_jobs import MAPREDUCE
from written_projects import PLAIN, REDUCE, write_project

from pymr.base.counters import count, take_counts
from pymr.engine.tasks import JobContext, TaskWatch
from pymr.peer.attempts.worker_protocol import MapOrder, WorkerSetup
from pymr.peer.panes.panes import PaneStore, read_pane
from pymr.peer.panes.writers import PaneWriters
from pymr.peer.worker.worker import TaskFunctions
from pymr.peer.workers.events import WorkerEvent, WorkerFinished
from pymr.peer.workers.fork_server import ForkServer
from pymr.peer.workers.pool import Workers
from pymr.wire.outcomes import (
    AttemptId,
    EarlierFailure,
    Failure,
    MapOutcome,
    ReduceOutcome,
    error_digest,
)

DEADLINE_S = 60.0
RUN = "run-1"


def do_map(
    context: JobContext, id: AttemptId, plan_path: str, plan_index: int, run_dir: str, watch: TaskWatch
) -> MapOutcome:
    """The task of these tests: what stands for a path is Python, to be run."""
    exec(compile(textwrap.dedent(plan_path), "<task>", "exec"), {"watch": watch, "count": count})
    return MapOutcome(
        digest=run_dir, records=plan_index, bytes=0, values=0, stored_bytes=0, counters=take_counts()
    )


def do_reduce(
    context: JobContext, id: AttemptId, partition: int, sources_path: str, run_dir: str, watch: TaskWatch
) -> ReduceOutcome:
    return ReduceOutcome(groups=partition, values=0, items=0, parts=context.partitions, stored_bytes=0)


TASKS = TaskFunctions(do_map, do_reduce)


class Bench:
    """A small daemon: workers, what they told, and a loop to wait in. tasks: None for those of pymr."""

    def __init__(self, folder: Path, slots: int = 3, tasks: TaskFunctions | None = TASKS) -> None:
        self.folder = folder
        self.panes = folder / "panes"
        write_project(folder / "projects", map_functions=PLAIN, reduce_functions=REDUCE)
        self.fork_server = ForkServer.start(tasks)
        self.events: list[WorkerEvent] = []
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self.writers = PaneWriters(PaneStore(self.panes), self._calls.put)
        self.workers = Workers("alpha", slots, self.fork_server, self.writers, self.events.append)

    def setup(self, run_id: str = RUN, **fields: Any) -> WorkerSetup:
        job = {**MAPREDUCE, "project_name": "demo", "map_function_name": "words", **fields}
        return WorkerSetup(
            run_id=run_id,
            worker="alpha/0",
            fields=job,
            projects_dir=str(self.folder / "projects"),
            data_dir=str(self.folder),
            engine={},
            memory_bytes=256 << 20,
            partitions=7,
            runs_dir=str(self.folder / "runs"),
        )

    def do(
        self,
        source: str,
        slot: int = 0,
        task: int = 0,
        *,
        attempt: int = 1,
        earlier: WorkerFinished | None = None,
    ) -> AttemptId:
        """Let a slot run some Python as a map task; its worker is started if there is none. earlier: how an
        earlier attempt at it failed."""
        if self.workers.view(slot) is None:
            self.workers.start(slot, self.setup())
        id = AttemptId(RUN, f"map-{task:05d}", f"1.{attempt}")
        before = None
        if earlier is not None and isinstance(earlier.outcome, Failure):
            digest = error_digest(earlier.outcome.error)
            before = EarlierFailure(earlier.id.attempt, f"alpha/{earlier.slot}", digest)
        assert self.workers.assign(slot, MapOrder(id, source, task, before))
        return id

    def turn(self) -> None:
        """One turn of the loop."""
        handlers = dict(self.workers.descriptors())
        poll = select.poll()  # unlike select() with any descriptor
        for descriptor in handlers:
            poll.register(descriptor, select.POLLIN)
        for descriptor, _ in poll.poll(20):
            if descriptor in dict(self.workers.descriptors()):
                handlers[descriptor]()
        self.workers.tick(time.monotonic())
        while not self._calls.empty():
            self._calls.get()()

    def write_panes(self) -> None:
        """Wait until all that was read from workers is in their panes."""
        deadline = time.monotonic() + DEADLINE_S
        while self.writers.unwritten:
            self._calls.get(timeout=max(0.0, deadline - time.monotonic()))()

    def until(self, condition: Callable[[], Any], what: str = "", seconds: float = DEADLINE_S) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, (
                f"{what or condition} not in time; {self.events[-5:]}\n" + (self.pane()[-2000:])
            )
            self.turn()
        return found

    def event(self, kind: type[Any], slot: int | None = None) -> Any:
        """The first event of a kind not taken yet, waited for; what was printed before it is in the pane."""

        def take() -> Any:
            for event in self.events:
                if isinstance(event, kind) and (slot is None or getattr(event, "slot", None) == slot):
                    self.events.remove(event)
                    return event
            return None

        found = self.until(take, kind.__name__)
        self.write_panes()
        return found

    def pane(self, slot: int = 0) -> str:
        self.write_panes()
        text = b""
        while (chunk := read_pane(self.panes, slot, RUN, len(text), 1 << 30)).data:
            text += chunk.data
        return text.decode("utf-8", "replace")

    def prints(self, text: str, slot: int = 0) -> None:
        self.until(lambda: text in self.pane(slot), f"the output {text!r}")

    def pid(self, slot: int = 0) -> int:
        def started() -> int:
            view = self.workers.view(slot)
            return view.pid if view else 0

        return int(self.until(started))

    def number_in(self, name: str) -> int:
        """A number that a process has written into a file."""
        path = self.folder / name
        return int(self.until(lambda: path.exists() and path.read_text().strip()))

    def is_gone(self, *pids: int, seconds: float = 2.0) -> None:
        self.until(lambda: all(map(has_ended, pids)), f"the end of {pids}", seconds)


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def check_end(bench: Bench, files: int) -> None:
    """End a bench; nothing of it is left. files: how many this process had open before."""
    below = (
        psutil.Process(bench.fork_server.pid).children(recursive=True) if not bench.workers._is_lost else []
    )
    bench.workers.close()
    bench.writers.stop(DEADLINE_S)

    assert has_ended(bench.fork_server.pid)
    assert [process for process in below if lives(process)] == []
    assert list(bench.workers.descriptors()) == []
    assert len(os.listdir("/proc/self/fd")) == files

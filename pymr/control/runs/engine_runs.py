"""Engine runs: mapreduce runs whose map and reduce tasks an external engine does, such as Dask.

They are planned and published as all others. In between they have one task, the driver, on the leader's
machine: it hands the plan to the engine, and its output is that of all partitions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pymr.control.runs.leader_state import LeaderState
from pymr.control.runs.mapreduce_run import MapReduceRun
from pymr.control.runs.run import Task
from pymr.control.stored_state import RunPlan
from pymr.wire.outcomes import DRIVER, AttemptId
from pymr.wire.protocol import DRIVER_TASK, Assignment


class EngineRun(MapReduceRun):
    """A run that an external engine does. Which of several drivers counts is decided by its commit, as with
    any task: what a late one has made is never published.

    home: the peer that is to drive it; "" while that is not decided.
    """

    PHASES = ("plan", "map", "reduce", "publish")
    home = ""

    def begin_tasks(self, plan: RunPlan) -> None:
        self.plan = plan
        self.input_warnings = plan.warnings
        self.stage = "tasks"
        self.reduces_left = 1
        self.tasks[DRIVER_TASK] = Task(DRIVER_TASK, 0)

    def _let_wait(self, mapped: Collection[int], reduced: Collection[int]) -> None:
        """It waits for nothing but a worker of its home."""

    @property
    def driver(self) -> Task:
        """The task."""
        return self.tasks[DRIVER_TASK]

    def find(self, name: str) -> Task | None:
        return self.tasks.get(name)

    def wait(self, task: Task, *, first: bool = False) -> None:
        self.home = ""
        self.is_touched = True  # whose it is has to be decided again

    def place_of(self, task: Task) -> tuple[str, str]:
        return self.home, ""

    def next_task(self, peer: str, host: str) -> Task | None:
        may_begin = peer == self.home and not self.releasing and self.driver.is_waiting
        return self.driver if may_begin else None

    def assignment(self, task: Task, epoch: int, slot: int, peer: str, now: float) -> Assignment:
        task.tries += 1
        id = AttemptId(self.run_id, task.name, f"{epoch}.{task.tries}")
        self.begin(task, id, peer, now)
        hosts = self.plan.hosts if self.plan is not None else ()
        return Assignment(id, slot, plans=tuple((host.peer, host.shared) for host in hosts if host.tasks))

    def may_adopt(self, task: Task, peer: str) -> bool:
        return True

    def homes_left(self) -> set[str]:
        return set()  # it can be driven anywhere

    @property
    def first_phase(self) -> str:
        return "map"

    @property
    def bytes_read(self) -> int:
        return self.sums.of(DRIVER, "bytes")

    @property
    def has_no_records(self) -> bool:
        return not self.reduces_left and not self.sums.of(DRIVER, "records")

    def sum_fields(self) -> Mapping[str, object]:
        names = ("records", "bytes", "bad_records", "values", "groups", "items")
        sums = {name: self.sums.of(DRIVER, name) for name in names}
        return sums | {"files": sum(host.files for host in self.plan.hosts) if self.plan else 0}


def follow_leader(leader: LeaderState, run: EngineRun) -> None:
    """A driver that waits is the leader's, once no other peer is left that might be at it."""
    if not run.driver.is_waiting or run.home == leader.name:
        return
    if all(peer.state == "dead" or peer.has_inventory for peer in leader.peers.values()):
        run.home = leader.name
        leader.feed(run, run.driver)

"""Workers: simulated processes that do the tasks of a peer, and die now and then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulation.disk import Attempt
from simulation.fetching import FULL
from simulation.models import JobModel, StepModel, reduce
from simulation.step_rules import StepContent, inputs_read

from pymr.control.follower.events import (
    EndWorker,
    FailWorker,
    GiveDriver,
    GiveMap,
    GiveReduce,
    GiveStep,
    PeerEvent,
    StartWorker,
    TaskEnded,
    WorkerEnded,
    WorkerMoved,
    WorkerReady,
    WorkerStarted,
)
from pymr.wire.outcomes import DRIVER, AttemptId, Failure, Outcome
from pymr.wire.protocol import DRIVER_TASK, RunOrder

if TYPE_CHECKING:
    from simulation.peers import SimulatedPeer


_FIRST_TASKS = ("map-00000", DRIVER_TASK)


@dataclass
class Worker:
    """A process. is_alive: false once it was ended, or has died. is_ended: by its daemon."""

    slot: int
    order: RunOrder
    is_alive: bool = True
    is_ended: bool = False


class Workers:
    """The workers of one life of a peer."""

    def __init__(self, peer: SimulatedPeer) -> None:
        self._peer = peer
        self._world = peer.cluster.world
        self.by_slot: dict[int, Worker] = {}

    def start(self, command: StartWorker) -> None:
        if command.slot in self.by_slot:
            raise AssertionError(f"{self._peer.name}/{command.slot} has a worker already")
        worker = self.by_slot[command.slot] = Worker(command.slot, command.order)

        def ready() -> None:
            if not worker.is_alive:
                return
            self._tell(worker, WorkerStarted(worker.slot, 1000 + worker.slot))
            if self._world.chance(self._peer.cluster.plan.worker_death):
                self.die(worker)
            else:
                self._tell(worker, WorkerReady(worker.slot))

        self._peer.beside(self._world.between(0.01, 0.2), ready)

    def _tell(self, worker: Worker, event: PeerEvent) -> None:
        """What a worker says; nobody listens to one that was ended."""
        self._peer.tell(lambda: None if worker.is_ended else self._peer.step(event))

    def end(self, command: EndWorker) -> None:
        worker = self.by_slot.pop(command.slot, None)
        if worker is not None:
            worker.is_alive, worker.is_ended = False, True

    def end_all(self) -> None:
        for worker in self.by_slot.values():
            worker.is_alive, worker.is_ended = False, True
        self.by_slot.clear()

    def die(self, worker: Worker) -> None:
        """A crash: it costs the task an attempt, as nobody knows whose fault it is."""
        worker.is_alive = False
        self._world.log(self._peer.name, "worker", worker.slot, "dies")
        self._tell_of_end(worker, Failure("WorkerDiedError", "the worker died"))

    def fail(self, command: FailWorker) -> None:
        """It hangs: its end costs the task an attempt."""
        worker = self.by_slot.get(command.slot)
        if worker is None:
            event = WorkerEnded(command.slot, command.failure)
            self._peer.tell(lambda: self._peer.step(event))
            return
        worker.is_alive, worker.is_ended = False, True
        self._tell_of_end(worker, command.failure)

    def _tell_of_end(self, worker: Worker, failure: Failure) -> None:
        def told() -> None:
            if self.by_slot.get(worker.slot) is worker:
                del self.by_slot[worker.slot]
                self._peer.step(WorkerEnded(worker.slot, failure))

        self._peer.tell(told)

    # -- tasks

    def do_map(self, command: GiveMap) -> None:
        id = command.assignment.id
        worker = self.by_slot[command.slot]

        def work() -> Outcome:
            failure = self._failure(worker, id)
            if failure is not None:
                return failure
            cluster, assignment = self._peer.cluster, command.assignment
            planner = cluster.peers[assignment.plan_peer]
            plan = planner.disk.plans.get((id.run_id, assignment.plan_shared))
            if plan is None:
                return Failure("InputError", f"no plan of {id.run_id} on {planner.name}", is_final=True)
            records = plan[assignment.plan_index]
            model = cluster.model_of(worker.order)
            assert isinstance(model, JobModel)
            content = model.map(records, worker.order.partitions, id.attempt)
            return self._peer.disk.keep(id, content)

        self._do(worker, id, work)

    def do_reduce(self, command: GiveReduce) -> None:
        worker = self.by_slot[command.slot]

        def work() -> Outcome:
            failure = self._failure(worker, command.id)
            if failure is not None:
                return failure
            segments = []
            for source in command.sources:
                id = AttemptId(command.id.run_id, f"map-{source.task:05d}", source.attempt)
                segment = self._segment(id, source.peer, command.partition)
                if segment is None:
                    return Failure("MissingSegmentError", f"{id.folder} is gone", False, False, id)
                segments.append(segment)
            return self._peer.disk.keep(command.id, reduce(segments))

        self._do(worker, command.id, work)

    def _segment(self, id: AttemptId, owner: str, partition: int) -> tuple[tuple[int, int], ...] | None:
        peers = self._peer.cluster.peers
        if peers[owner].info.host != self._peer.info.host:
            return self._peer.disk.fetched.get((id, partition))
        attempt: Attempt | None = peers[owner].disk.attempts.get(id)
        if attempt is None:
            return None
        assert not isinstance(attempt.content, tuple | StepContent)
        return attempt.content.get(partition, ())

    def drive(self, command: GiveDriver) -> None:
        """All map and reduce tasks at once, as an engine does them."""
        id, plans = command.assignment.id, command.assignment.plans
        worker = self.by_slot[command.slot]

        def work() -> Outcome:
            failure = self._failure(worker, id)
            if failure is not None:
                return failure
            cluster = self._peer.cluster
            model = cluster.model_of(worker.order)
            assert isinstance(model, JobModel)
            partitions = worker.order.partitions
            contents = []
            for name, shared in plans:
                plan = cluster.peers[name].disk.plans.get((id.run_id, shared))
                if plan is None:
                    return Failure("InputError", f"no plan of {id.run_id} on {name}", is_final=True)
                contents += [model.map(records, partitions, id.attempt) for records in plan]
            parts = [reduce(one.get(partition, ()) for one in contents) for partition in range(partitions)]
            return self._peer.disk.keep(id, tuple(group for part in parts for group in part))

        self._do(worker, id, work)

    def do_step(self, command: GiveStep) -> None:
        id, inputs = command.assignment.id, command.assignment.inputs
        worker = self.by_slot[command.slot]
        self._peer.cluster.step_rules.begins(id)
        self._world.log(self._peer.name, "does", id.folder, "of", id.run_id)
        read = inputs_read(id, inputs)

        def work() -> Outcome:
            failure = self._failure(worker, id)
            if failure is not None:
                return failure
            for one in read:
                other = AttemptId(id.run_id, one.task, one.attempt)
                if not self._peer.fetching.reaches_host_of(one.peer):
                    return Failure("DiskError", f"{one.peer} cannot be reached", is_counted=False)
                if other not in self._peer.cluster.peers[one.peer].disk.attempts:
                    return Failure("MissingSegmentError", f"{other.folder} is gone", False, False, other)
            return self._peer.disk.keep(id, StepContent(read))

        self._do(worker, id, work)

    def _failure(self, worker: Worker, id: AttemptId) -> Failure | None:
        plan, model = self._peer.cluster.plan, self._peer.cluster.model_of(worker.order)
        if self._peer.is_disk_full:
            return Failure("DiskError", FULL, is_counted=False, is_of_disk=True)
        if isinstance(model, StepModel) and model.kind == "broken":
            return Failure("ScriptError", "it raised", is_final=True, exit_status=1)
        if model.kind == "wrong" and id.task in _FIRST_TASKS:
            return Failure("InputError", "it cannot be read", is_final=True)
        if model.kind == "broken" and id.task in _FIRST_TASKS:
            return Failure("UserFunctionError", "it raised")
        if model.kind == "flaky" and self._world.chance(plan.flakiness):
            return Failure("UserFunctionError", "it raised now")
        if model.kind == "flaky" and id.kind in ("map", DRIVER) and self._world.chance(plan.flakiness / 8):
            return Failure("InputOutdatedError", "its input was replaced", is_final=True)
        return None

    def _do(self, worker: Worker, id: AttemptId, work: Callable[[], Outcome]) -> None:
        """Work for a while; a finished attempt is on the disk before anybody is told of it."""
        world, peer = self._world, self._peer
        seconds = world.between(0.02, peer.cluster.plan.task_seconds)

        def move() -> None:
            if worker.is_alive:
                self._tell(worker, WorkerMoved(worker.slot, (1, 1)))

        def finish() -> None:
            if not worker.is_alive:
                return
            if world.chance(peer.cluster.plan.worker_death):
                self.die(worker)
                return
            outcome = work()
            peer.cluster.at_fault_point("attempt.after_rename", peer)
            peer.beside(world.between(0.0, 0.02), lambda: tell(outcome))

        def tell(outcome: Outcome) -> None:
            if worker.is_alive:
                self._tell(worker, TaskEnded(worker.slot, id, outcome))

        peer.beside(seconds / 2, move)
        peer.beside(seconds, finish)

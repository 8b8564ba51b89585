"""Peers: a Follower with its disk and workers, its part in the election, and perhaps a leadership."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from simulation.disk import FIRST_BOOT, Disk
from simulation.fetching import FULL, Fetching
from simulation.leaderships import Leadership
from simulation.memory_store import MemoryStore
from simulation.models import JobModel
from simulation.workers import Workers
from simulation.world import ViolationError

from pymr.control.follower.events import (
    Drain,
    DropPartitions,
    EndWorker,
    FailWorker,
    Fence,
    FetchSegments,
    GiveDriver,
    GiveMap,
    GiveReduce,
    GiveStep,
    Learned,
    MakePlan,
    MeasureSegments,
    Ordered,
    PeerCommand,
    PeerEvent,
    PeerTick,
    Planned,
    PrepareProject,
    ProjectPrepared,
    Publish,
    Published,
    Remember,
    RemoveAttempt,
    RemoveRun,
    SendReport,
    StartWorker,
)
from pymr.control.follower.follower import Follower
from pymr.control.messages import PeerInfo, Reported
from pymr.wire.outcomes import Failure
from pymr.wire.protocol import (
    INVENTORY_MAX,
    Fenced,
    MachineFigures,
    Orders,
    PlanReport,
    PublishOrder,
    PublishReport,
    Report,
    Wake,
)

if TYPE_CHECKING:
    from simulation.cluster import Cluster

TICK_SECONDS = 0.25
TTL_SECONDS = 1.5
RENEW_SECONDS = 0.4
STEP_DOWN_SECONDS = 1.0

_FIGURES = MachineFigures()


class Life:
    """One process of a peer, from its start to its end."""


class SimulatedPeer:
    """A peer. life: None while its process is not there. is_paused: it is stopped, as by SIGSTOP."""

    def __init__(self, cluster: Cluster, info: PeerInfo) -> None:
        self.cluster = cluster
        self.info = info
        self.name = info.name
        self.disk = Disk(boot=FIRST_BOOT)
        self.store = MemoryStore(cluster.redis)
        self.life: Life | None = None
        self.is_paused = False
        self.is_disk_full = False
        self.is_without_redis = False
        self.leadership: Leadership | None = None
        self._world = cluster.world
        self._clock_offset = self._world.between(0.0, 1000.0)
        self._waiting: list[Callable[[], None]] = []

    def clock(self) -> float:
        """A clock of its own, that goes on while it is stopped."""
        return self._world.now + self._clock_offset

    # -- life and death

    def start(self) -> None:
        if self.life is not None:
            return
        self.life = Life()
        self.disk.boot += 1
        self._world.log(self.name, "starts, boot", self.disk.boot)
        self.workers = Workers(self)
        self.fetching = Fetching(self)
        self._disk_work: list[Callable[[], None]] = []
        self._stay_away_until = 0.0
        self._renewed_at = 0.0
        self.follower = Follower(
            self.info,
            {one.name: one.info.host for one in self.cluster.peers.values()},
            boot=self.disk.boot,
            pid=1,
            version="1",
            incarnation=self.disk.incarnation,
            epoch=self.disk.epoch,
            held=self.disk.held(),
            found_runs=self.disk.runs(),
            now=self.clock(),
            inventory_max=self._world.random.choice([1, 2, INVENTORY_MAX]),
        )
        self.later(self._world.between(0.0, TICK_SECONDS), self._tick)
        self.later(self._world.between(0.0, 0.2), self._look_at_lease)

    def crash(self, why: str) -> None:
        """As by SIGKILL: at once, with all workers."""
        if self.life is None:
            return
        self._world.log(self.name, "crashes", why)
        self.life = None
        self.is_paused = False
        self._waiting.clear()
        self.workers.end_all()
        if self.leadership is not None:
            self.leadership.is_over = True
            self.leadership = None

    def drain(self, seconds_down: float) -> None:
        """End as soon as nothing is under way, and start again later."""
        self.tell(lambda: self.step(Drain()))
        life = self.life

        def look() -> None:
            if not self.follower.is_idle:
                self.later(0.2, look)
                return
            self.crash("as it was to end")
            self._world.later(seconds_down, self.start)

        if life is not None:
            self.later(0.2, look)

    def pause(self, seconds: float) -> None:
        if self.life is None or self.is_paused:
            return
        self._world.log(self.name, f"is stopped for {seconds:.1f} s")
        self.is_paused = True
        life = self.life
        self._world.later(seconds, lambda: self.resume() if self.life is life else None)

    def resume(self) -> None:
        """All that has been waiting happens now, at once."""
        life = self.life
        if life is None or not self.is_paused:
            return
        self._world.log(self.name, "goes on")
        self.is_paused = False
        waiting, self._waiting = self._waiting, []
        for function in waiting:
            if self.life is life:
                function()

    # -- what happens in the process, and beside it

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function of the daemon: when it is stopped, once it goes on; never, when it has ended."""
        self.beside(seconds, lambda: self.tell(function))

    def beside(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function of another process that ends with the daemon."""
        life = self.life

        def fire() -> None:
            if self.life is life and life is not None:
                function()

        self._world.later(seconds, fire)

    def tell(self, function: Callable[[], None]) -> None:
        if self.is_paused:
            self._waiting.append(function)
        elif self.life is not None:
            function()

    def send(self, receiver: str, message: object) -> None:
        self.cluster.network.send(self.name, receiver, message)

    def receive(self, message: object) -> None:
        match message:
            case Orders():
                self.step(Ordered(message))
            case Report() if self.leadership is not None:
                self.leadership.step(Reported(message))
            case Fenced(_, epoch) if self.leadership is not None and epoch > self.leadership.epoch:
                self.leadership.end(0.0, "it was fenced")
            case Wake() if self.leadership is not None:
                self.leadership.read_jobs()

    # -- lease

    def reaches_redis(self) -> bool:
        return self.cluster.redis.is_available and not self.is_without_redis

    def has_lease(self) -> bool:
        return self._world.now - self._renewed_at < STEP_DOWN_SECONDS

    def _look_at_lease(self) -> None:
        self.later(RENEW_SECONDS if self.leadership else self._world.between(0.05, 0.35), self._look_at_lease)
        if not self.reaches_redis():
            if self.leadership is not None and not self.has_lease():
                self.leadership.end(0.0, "it cannot renew its lease")
            return
        cluster = self.cluster
        lease = cluster.lease
        if self.leadership is not None:
            if lease is None or lease.epoch != self.leadership.epoch:
                self.leadership.end(0.0, "another has the lease")
            else:
                lease.ends_at, self._renewed_at = self._world.now + TTL_SECONDS, self._world.now
        elif lease is None and self._world.now >= self._stay_away_until:
            self._lead(cluster.take_lease(self))
            return
        cluster.present[self.name] = self._world.now
        if cluster.redis.incarnation:
            leader = cluster.lease.peer if cluster.lease else ""
            self.step(Learned(cluster.redis.incarnation, cluster.redis.epoch, leader))

    def _lead(self, epoch: int) -> None:
        self._renewed_at = self._world.now
        self._world.log(self.name, "leads, epoch", epoch)
        assert self.cluster.redis.incarnation is not None
        self.step(Learned(self.cluster.redis.incarnation, epoch, self.name))
        if self.life is not None:
            self.leadership = Leadership(self, epoch)
            self.leadership.begin()

    def leadership_ended(self, leadership: Leadership, seconds: float) -> None:
        if self.leadership is leadership:
            self.leadership = None
        self._stay_away_until = self._world.now + seconds
        if seconds and self.reaches_redis():
            self.cluster.give_lease_back(leadership.epoch)

    # -- the follower's commands

    def _tick(self) -> None:
        self.step(PeerTick(_FIGURES))
        self.later(TICK_SECONDS, self._tick)

    def step(self, event: PeerEvent) -> None:
        life = self.life
        epoch = self.follower.epoch
        commands = self.follower.step(event, self.clock())
        if self.follower.epoch < epoch:
            raise ViolationError(f"the epoch of {self.name} went back from {epoch} to {self.follower.epoch}")
        if isinstance(event, Ordered) and event.orders.epoch < epoch:
            self._check_refusal(commands)
        for command in commands:
            if self.life is life:
                self._carry_out(command)

    def _check_refusal(self, commands: list[PeerCommand]) -> None:
        if any(not isinstance(one, Fence | SendReport) for one in commands):
            raise ViolationError(f"{self.name} follows orders of an epoch that has passed: {commands}")

    def _carry_out(self, command: PeerCommand) -> None:
        match command:
            case Remember(incarnation, epoch):
                if incarnation == self.disk.incarnation and epoch < self.disk.epoch:
                    raise ViolationError(f"{self.name} remembers epoch {epoch} after {self.disk.epoch}")
                self.disk.incarnation, self.disk.epoch = incarnation, epoch
                self.cluster.at_fault_point("epoch.after_remember", self)
            case SendReport(leader, report):
                self.send(leader, report)
            case Fence(leader, epoch):
                self.send(leader, Fenced(self.name, epoch))
            case StartWorker():
                self.workers.start(command)
            case EndWorker():
                self.workers.end(command)
            case FailWorker():
                self.workers.fail(command)
            case GiveMap():
                self.workers.do_map(command)
            case GiveReduce():
                self.workers.do_reduce(command)
            case GiveStep():
                self.workers.do_step(command)
            case GiveDriver():
                self.workers.drive(command)
            case FetchSegments():
                self.fetching.fetch(command)
            case DropPartitions():
                self.fetching.drop(command)
            case MeasureSegments():
                self._on_disk(lambda: self.fetching.measure(command))
            case PrepareProject(order):
                self._prepare(order.run_id)
            case MakePlan():
                self._on_disk(lambda: self._plan(command))
            case Publish(order):
                self._on_disk(lambda: self._publish(order))
            case RemoveRun(run_id):
                self.fetching.forget(run_id)
                self._on_disk(lambda: self.disk.remove_run(run_id))
            case RemoveAttempt(id):
                self._on_disk(lambda: self.disk.remove(id))

    def _prepare(self, run_id: str) -> None:
        failure = Failure("StoreUnavailable", "not now", is_counted=False)
        failed = self._world.chance(self.cluster.plan.disk_errors)
        if self.is_disk_full:
            failed, failure = True, Failure("DiskError", FULL, is_counted=False, is_of_disk=True)
        event = ProjectPrepared(run_id, failure if failed else None)
        self.later(self._world.between(0.001, 0.1), lambda: self.step(event))

    # -- the thread of the disk: one thing after the other

    def _on_disk(self, work: Callable[[], None]) -> None:
        self._disk_work.append(work)
        if len(self._disk_work) == 1:
            self._go_on_with_disk()

    def _go_on_with_disk(self) -> None:
        def do() -> None:
            self._disk_work[0]()
            if self.life is not None and self._disk_work:
                del self._disk_work[0]
                if self._disk_work:
                    self._go_on_with_disk()

        self.later(self._world.between(0.001, 0.05), do)

    def _plan(self, command: MakePlan) -> None:
        run_id, shared = command.plan.run_id, command.plan.shared
        if self._world.chance(self.cluster.plan.disk_errors):
            text = "the disk fails now"
            report = PlanReport(run_id, 0, 0, 0, text, is_final=False, shared=shared, turn=command.plan.turn)
        elif self.is_disk_full:
            turn = command.plan.turn
            report = PlanReport(run_id, 0, 0, 0, FULL, False, shared=shared, turn=turn, is_of_disk=True)
        else:
            report = self._list(command)
        if self.life is not None:
            self.tell(lambda: self.step(Planned(report)))

    def _list(self, command: MakePlan) -> PlanReport:
        run_id, shared = command.plan.run_id, command.plan.shared
        model = self.cluster.model_of(command.order)
        assert isinstance(model, JobModel)
        records: tuple[int, ...] | None = model.input_of(self.info.host, is_shared=shared)
        if model.holds:
            self.cluster.at_fault_point("plan.before_state", self)
            records = self.cluster.held_input.plan(self, model.name, command.plan)
            self.cluster.at_fault_point("plan.after_state", self)
        if records is None:
            text = "the list of what was consumed is gone"
            return PlanReport(run_id, 0, 0, 0, text, shared=shared, turn=command.plan.turn)
        tasks = model.cut(records, workers=command.plan.workers)
        self.disk.plans[run_id, shared] = tasks
        count = len(records)
        return PlanReport(run_id, len(tasks), count, count, shared=shared, turn=command.plan.turn)

    def _publish(self, order: PublishOrder) -> None:
        report = PublishReport(order.run_id, order.peer)
        if self._world.chance(self.cluster.plan.disk_errors):
            report = PublishReport(order.run_id, order.peer, "the disk fails now")
        elif self.cluster.peers[order.peer].is_disk_full:
            report = PublishReport(order.run_id, order.peer, FULL, is_of_disk=True)
        else:
            self.cluster.at_fault_point("publish.before_swap", self)
            if self.life is None:
                return
            error = self.cluster.publish(order)
            if error:
                report = PublishReport(order.run_id, order.peer, error, is_final=True)
            self.cluster.at_fault_point("publish.after_swap", self)
        self.tell(lambda: self.step(Published(report)))

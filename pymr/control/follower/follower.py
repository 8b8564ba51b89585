"""Following: what a peer does about its orders; the other half of `control.leader`. Workers: see `slots`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from pymr.control.follower import reporting
from pymr.control.follower.disk_health import DiskHealth
from pymr.control.follower.events import (
    Drain,
    DropPartitions,
    Fence,
    FetchSegments,
    Held,
    InputLocksHeld,
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
    ReadJobs,
    Remember,
    RemoveRun,
    SegmentFetched,
    SegmentLost,
    SegmentRefused,
    SegmentsMeasured,
    SendReport,
)
from pymr.control.follower.publications import Publications
from pymr.control.follower.shuffle_progress import ShuffleProgress
from pymr.control.follower.slots import KnownRun, Slots
from pymr.control.messages import PeerInfo
from pymr.wire.protocol import (
    INVENTORY_MAX,
    REPORT_SECONDS,
    SOURCES_MAX,
    SUSPECT_SECONDS,
    Assignment,
    MachineFigures,
    Orders,
    PlanOrder,
    Report,
    RunOrder,
    Source,
    SourcesOrder,
)

_FILES_IN_FLIGHT = 10


class Follower:
    """A peer's side of the protocol. Pure: `step` takes an event and gives commands.

    hosts: the host of every peer of the configuration. held, found_runs: finished attempts, and runs of which
    there is anything, that a restart found on the disk. boot: higher than that of every earlier start.
    inventory_max: finished attempts that one report tells of.
    """

    def __init__(
        self,
        info: PeerInfo,
        hosts: Mapping[str, str],
        *,
        boot: int,
        pid: int,
        version: str,
        incarnation: str,
        epoch: int,
        held: Sequence[Held],
        found_runs: Sequence[str] = (),
        now: float,
        inventory_max: int = INVENTORY_MAX,
    ) -> None:
        self.info = info
        self.incarnation = incarnation
        self.epoch = epoch
        self.leader = ""
        self.orders_at = now  # when orders last came
        self.is_draining = False
        self._hosts = hosts
        self._boot, self._pid, self._version = boot, pid, version
        self._now = now
        self._sequence = 0
        self._orders = 0
        self._inventory: reporting.Inventory | None = None  # while it is asked for
        self._inventory_from = 0
        self._inventory_max = inventory_max
        self._machine = MachineFigures()
        self._disk_health = DiskHealth()
        self._runs: dict[str, KnownRun] = {}
        self._found_runs = dict.fromkeys(found_runs)
        self._commands: list[PeerCommand] = []
        self._slots = Slots(info.name, self._runs, held, self._emit)
        self._publications = Publications()
        self._jobs_change = -1
        self._is_news = False
        self._next_report_at = now

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way or waits for the leader to hear of it."""
        return not self._slots.attempts and not self._slots.results

    def leader_at(self, now: float) -> str:
        """The leader, while it is heard; "" where it has fallen silent."""
        return self.leader if now - self.orders_at <= SUSPECT_SECONDS else ""

    def step(self, event: PeerEvent, now: float) -> list[PeerCommand]:
        """What is to be done about an event. The commands are in the order in which to carry them out."""
        self._now = max(self._now, now)
        match event:
            case Ordered(orders):
                self._apply_orders(orders)
            case Learned(incarnation, epoch, leader):
                self._learn(incarnation, epoch, leader)
            case PeerTick(machine):
                self._machine = machine
                self._slots.check_timeouts(self._now)
            case Drain():
                self.is_draining = self._is_news = True
            case Published(published):
                self._publications.done(published)
                self._is_news = True
            case InputLocksHeld(holders):
                self._slots.holders = holders
                self._is_news = True
            case (
                Planned()
                | ProjectPrepared()
                | SegmentFetched()
                | SegmentLost()
                | SegmentRefused()
                | SegmentsMeasured()
            ):
                run = self._runs.get(_run_of(event))
                if run is not None:
                    self._apply_run_event(run, event)
            case _:
                self._slots.on_event(event, self._now)
        if self._disk_health.take(event, self._now):
            self._is_news = True
        self._slots.start(self._now)
        is_news = self._is_news or self._slots.is_news
        if self.leader and (is_news or self._now >= self._next_report_at):
            self._report()
        commands = self._commands[:]
        self._commands.clear()
        return commands

    def _apply_run_event(self, run: KnownRun, event: PeerEvent) -> None:
        match event:
            case Planned(report):
                run.planned(report, self._now)
                self._is_news = True
            case ProjectPrepared(_, failure):
                run.is_prepared, run.failure = True, failure
            case SegmentFetched(_, source, partition, size_bytes):
                run.shuffle.fetched(source, partition, size_bytes)
            case SegmentLost(_, source):
                run.shuffle.lose(source)
                self._is_news = True
            case SegmentRefused(_, source, partition, error):
                self._is_news = run.shuffle.refuse(source, partition, error) or self._is_news
            case SegmentsMeasured(_, source, sizes):
                run.shuffle.sizes.measured(source, sizes)

    def _emit(self, command: PeerCommand) -> None:
        self._commands.append(command)

    # -- epochs

    def _learn(self, incarnation: str, epoch: int, leader: str) -> None:
        if incarnation != self.incarnation or epoch > self.epoch:
            self.incarnation, self.epoch = incarnation, max(epoch, self.epoch)
            self._begin_epoch()
        if leader and leader != self.leader and epoch == self.epoch:
            self.leader, self._is_news = leader, True

    def _begin_epoch(self) -> None:
        self._orders = 0
        self._inventory = None
        for run in self._runs.values():
            run.shuffle.begin_epoch()
        self._emit(Remember(self.incarnation, self.epoch))

    # -- orders

    def _apply_orders(self, orders: Orders) -> None:
        if orders.incarnation != self.incarnation or orders.peer != self.info.name:
            return
        if orders.epoch < self.epoch:
            self._emit(Fence(orders.leader, self.epoch))
            return
        if orders.epoch > self.epoch:
            self.epoch = orders.epoch
            self._begin_epoch()
        if self.leader != orders.leader:
            self.leader, self._is_news = orders.leader, True
        if orders.sequence <= self._orders:
            return
        self.orders_at = self._now
        if orders.boot != self._boot:
            self._is_news = True  # meant for an earlier boot, or for none: the leader has to hear of this one
            return
        self._follow(orders)

    def _follow(self, orders: Orders) -> None:
        self._orders = orders.sequence
        self._is_news = self._is_news or orders.wants_inventory
        if orders.jobs_change > self._jobs_change:
            self._jobs_change = orders.jobs_change
            self._emit(ReadJobs(orders.jobs_change))
        self._apply_runs(orders.runs)
        for attempt in orders.cancelled:
            self._slots.cancel(attempt)
        for acknowledged in orders.acknowledged:
            self._slots.acknowledge(acknowledged)
        self._apply_stock(orders)
        self._apply_plans(orders)
        for announced in orders.sources:
            self._apply_sources(announced)
        for publication in self._publications.take(orders.publish):
            self._emit(Publish(publication))
        for assignment in orders.assignments:
            self._apply_assignment(assignment)

    def _apply_stock(self, orders: Orders) -> None:
        """Get ready to tell what lies on the disk, from where the leader wants to know it."""
        start = orders.inventory_from
        if not orders.wants_inventory:
            self._inventory = None
        elif not start or self._inventory is None:
            page = sys.maxsize if start is None else self._inventory_max
            self._inventory = reporting.Inventory(self._slots.held, page)
        self._inventory_from = start or 0

    def _apply_runs(self, orders: Sequence[RunOrder]) -> None:
        alive = {order.run_id for order in orders}
        known = sorted(self._slots.run_ids().union(self._found_runs, self._runs))
        for run_id in known:
            if run_id not in alive:
                self._end_run(run_id)
        for order in orders:
            run = self._runs.get(order.run_id)
            if run is None:
                run = self._runs[order.run_id] = KnownRun(order, self._shuffle(order.run_id))
                self._emit(PrepareProject(order))
            gone = tuple(sorted(set(run.order.homes).difference(order.homes)))
            if gone:
                self._emit(DropPartitions(order.run_id, gone))
            run.order = order
            self._fetch(run, run.shuffle.settle(order.homes, order.partitions))

    def _shuffle(self, run_id: str) -> ShuffleProgress:
        return ShuffleProgress(
            run_id,
            self._is_near,
            lambda partitions, sources: self._emit(MeasureSegments(run_id, partitions, sources)),
        )

    def _end_run(self, run_id: str) -> None:
        self._slots.end_run(run_id)
        self._runs.pop(run_id, None)
        self._found_runs.pop(run_id, None)
        self._emit(RemoveRun(run_id))
        self._is_news = True

    def _is_near(self, peer: str) -> bool:
        return self._hosts.get(peer) == self.info.host

    def _apply_sources(self, announced: SourcesOrder) -> None:
        run = self._runs.get(announced.run_id)
        if run is None:
            return
        self._fetch(run, run.shuffle.announce(announced.start, announced.sources, announced.total))
        # The next announcements follow when these are known to have come: at once where many are left.
        is_page_full = len(announced.sources) >= SOURCES_MAX
        self._is_news = self._is_news or is_page_full or (bool(announced.sources) and run.shuffle.knows_all)

    def _fetch(self, run: KnownRun, wanted: Sequence[tuple[int, list[Source]]]) -> None:
        value = run.order.fields.get("simultaneous_files_in_redis")
        in_flight = value if isinstance(value, int) else _FILES_IN_FLIGHT
        for partition, sources in wanted:
            self._emit(FetchSegments(run.order.run_id, partition, tuple(sources), in_flight))

    def _apply_plans(self, orders: Orders) -> None:
        wanted = {(plan.run_id, plan.shared) for plan in orders.plans}
        for plan in orders.plans:
            run = self._runs.get(plan.run_id)
            if run is not None and _is_to_be_made(run, plan, self._now):
                run.plans[plan.shared] = None
                self._emit(MakePlan(run.order, plan))
        for run_id, run in self._runs.items():
            # A plan that is not asked for any more has been heard of; asked for again, it is made anew.
            for shared in [one for one, report in run.plans.items() if report is not None]:
                if (run_id, shared) not in wanted:
                    del run.plans[shared]

    def _apply_assignment(self, assignment: Assignment) -> None:
        run = self._runs.get(assignment.id.run_id)
        if run is None:
            return
        if run.failure is not None and not run.failure.is_final:
            run.is_prepared, run.failure = False, None  # it may go well this time
            self._emit(PrepareProject(run.order))
        self._slots.take(assignment, self._now)

    # -- reports

    def _report(self) -> None:
        self._sequence += 1
        self._is_news = self._slots.is_news = False
        self._next_report_at = self._now + REPORT_SECONDS
        slots = self._slots
        results = reporting.results_to_tell(slots.results.values())
        stock, start = self._inventory, self._inventory_from
        report = Report(
            incarnation=self.incarnation,
            epoch=self.epoch,
            peer=self.info.name,
            boot=self._boot,
            sequence=self._sequence,
            version=self._version,
            pid=self._pid,
            slots=self.info.workers,
            orders=self._orders,
            is_draining=self.is_draining,
            machine=self._disk_health.in_figures(self._machine, self._now),
            running_version=slots.running_version,
            running=reporting.running_attempts(slots),
            workers=reporting.worker_reports(slots),
            results=results,
            has_more_results=len(results) < len(slots.results),
            plans=tuple(plan for run in self._runs.values() for plan in run.plans.values() if plan),
            shuffles=tuple(run.shuffle.report() for run in self._runs.values()),
            published=self._publications.reports(),
            inventory=stock.page(start) if stock else None,
            inventory_from=start if stock else 0,
            has_more_inventory=stock.has_more(start) if stock else False,
        )
        self._emit(SendReport(self.leader, report))


def _run_of(
    event: Planned | ProjectPrepared | SegmentFetched | SegmentLost | SegmentRefused | SegmentsMeasured,
) -> str:
    return event.report.run_id if isinstance(event, Planned) else event.run_id


def _is_to_be_made(run: KnownRun, plan: PlanOrder, now: float) -> bool:
    """Whether a plan is to be made now; never two at a time, which would write the same file."""
    if now < run.plans_rest_until:
        return False
    if plan.shared not in run.plans:
        return True
    report = run.plans[plan.shared]
    if report is None:
        return False
    return report.turn != plan.turn or (bool(report.error) and not report.is_final)

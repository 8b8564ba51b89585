"""Execution: carries out what `control.follower.follower` decides: workers, files, fetches, publications."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from pymr.base.errors import DiskError, FatalError, OutputInTheWayError, disk_error
from pymr.config.cluster import ClusterConfig, PeerConfig
from pymr.control.follower.events import (
    DropPartitions,
    EndWorker,
    FailWorker,
    FetchSegments,
    GiveDriver,
    GiveMap,
    GiveReduce,
    GiveStep,
    MakePlan,
    MeasureSegments,
    PeerCommand,
    PeerEvent,
    Planned,
    PrepareProject,
    ProjectPrepared,
    Publish,
    Published,
    RemoveAttempt,
    RemoveRun,
    SegmentsMeasured,
    StartWorker,
    TaskEnded,
    WorkerEnded,
)
from pymr.data.orders import Fetched, FetchFailed, FetchOrder
from pymr.data.protocol import Plan
from pymr.engine.plans import is_whole_plan
from pymr.jobs.external_engines import external_engine
from pymr.jobs.required_project import project_of
from pymr.peer.attempts.attempts import LocalSegment, Segment, StagedSegment, write_sources
from pymr.peer.attempts.worker_protocol import (
    DriverOrder,
    MapOrder,
    ReduceOrder,
    StepOrder,
    TaskOrder,
    WorkerSetup,
)
from pymr.peer.data_service import DataService
from pymr.peer.disk.local_state import StandIn
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.disk.unpacked_projects import UnpackedProjects
from pymr.peer.failure_reports import failed_plan, failure_of
from pymr.peer.input.host_plan import plan_host, workers_memory_bytes
from pymr.peer.loop.disk_threads import Disk
from pymr.peer.output.partition_sizes import Sizes, measure_segments
from pymr.peer.output.publication import (
    abandoned_folders,
    clear_abandoned,
    forget_attempt,
    forget_run,
    make_run_folder,
    publish,
)
from pymr.peer.segment_fetches import SegmentFetches
from pymr.peer.workers.pool import Workers
from pymr.wire.outcomes import AttemptId, Failure
from pymr.wire.protocol import PublishOrder, PublishReport, RunOrder, Source, cut_text

_PLAN_KEY = "plan"
_MEASURED_AT_ONCE = 32

_log = logging.getLogger("pymr")


class Executor:
    """The hands of a peer. on_event: called in the loop with what has come of a command."""

    def __init__(
        self,
        config: ClusterConfig,
        me: PeerConfig,
        *,
        workers: Workers,
        disk: Disk,
        projects: UnpackedProjects,
        incarnation: Callable[[], str],
        on_event: Callable[[PeerEvent], None],
        call_later: Callable[[float, Callable[[], object]], object],
    ) -> None:
        self._config = config
        self._me = me
        self._peers = {peer.name: peer for peer in config.peers}
        self._paths = PeerPaths(me.data_dir)
        self._workers = workers
        self._disk = disk
        self._projects = projects
        self._incarnation = incarnation
        self._on_event = on_event
        self._call_later = call_later
        self._orders: dict[str, RunOrder] = {}
        self._given: dict[int, AttemptId] = {}  # by slot
        self._waiting_for_plan: dict[str, list[GiveMap | GiveDriver]] = {}
        self._copied_plans: set[str] = set()  # runs whose plan another host has made, and that is here
        self._memory_bytes = workers_memory_bytes(config, me.host)
        self.data = self._start_data_service()
        self._fetches = SegmentFetches(config, me, disk, lambda: self.data, on_event, call_later)

    def begin(self) -> None:
        """Go on with what an earlier life of this peer was about to remove; before there is anything new."""
        for folder in abandoned_folders(self._paths):
            self._disk.do("clean", partial(clear_abandoned, folder), lambda _: None, _warn)

    def _start_data_service(self) -> DataService:
        return DataService.start(
            self._config, self._me.name, on_fetched=self._on_fetched, on_lost=self._on_fetch_failed
        )

    def restart_data_service(self) -> None:
        """It has ended: start another, and ask it for everything that is still to come."""
        self.data.close()
        self.data = self._start_data_service()
        self._fetches.ask_anew()
        waiting, self._waiting_for_plan = self._waiting_for_plan, {}
        for commands in waiting.values():
            for command in commands:
                self._give_planned(command)

    def fields_of_runs(self) -> list[Mapping[str, Any]]:
        """Of the jobs of which this peer knows a run."""
        return [order.fields for order in self._orders.values()]

    def known_runs(self) -> list[str]:
        """The ids of the runs that this peer takes part in."""
        return list(self._orders)

    def carry_out(self, command: PeerCommand) -> None:
        """Do what a command says; errors come back as events."""
        match command:
            case StartWorker(slot, order):
                self._given.pop(slot, None)
                self._workers.start(slot, self._setup(slot, order))
            case GiveMap(slot, assignment) | GiveDriver(slot, assignment):
                self._given[slot] = assignment.id
                self._give_planned(command)
            case GiveReduce(slot, id):
                self._given[slot] = id
                self._give_reduce(command)
            case GiveStep(slot, assignment):
                self._given[slot] = assignment.id
                self._assign(slot, StepOrder(assignment.id, assignment.inputs, assignment.earlier))
            case EndWorker(slot):
                self._given.pop(slot, None)
                self._workers.end(slot)
            case FailWorker(slot, failure):
                self._given.pop(slot, None)
                if not self._workers.fail(slot, failure):
                    self._on_event(WorkerEnded(slot, failure))
            case FetchSegments():
                self._fetches.fetch(command)
            case MeasureSegments():
                self._measure(command)
            case PrepareProject(order):
                self._prepare(order)
            case MakePlan(order, plan):
                incarnation = self._incarnation()
                self._disk.plan(
                    order.run_id,
                    lambda: plan_host(order, plan, self._config, self._me.name, incarnation),
                    lambda report: self._on_event(Planned(report)),
                    lambda error: self._on_event(Planned(failed_plan(plan, error))),
                )
            case Publish():
                self._publish(command.order)
            case DropPartitions(run_id, partitions):
                self._fetches.drop(run_id, partitions)
            case RemoveRun(run_id):
                self._orders.pop(run_id, None)
                self.data.cancel(run_id)
                self._waiting_for_plan.pop(run_id, None)
                self._copied_plans.discard(run_id)
                self._fetches.forget(run_id)
                self._disk.remove_run(run_id, lambda: forget_run(self._paths, run_id), _warn)
            case RemoveAttempt(id):
                work = partial(forget_attempt, self._paths, id)
                self._disk.do("clean", work, lambda _: None, _warn, run_id=id.run_id)

    # -- workers

    def _setup(self, slot: int, order: RunOrder) -> WorkerSetup:
        needs_cluster = order.fields.get("job_type") != "mapreduce" or bool(external_engine(order.fields))
        return WorkerSetup(
            run_id=order.run_id,
            worker=f"{self._me.name}/{slot}",
            fields=order.fields,
            projects_dir=self._paths.project(order.project_hash) if order.project_hash else "",
            data_dir=self._me.data_dir,
            engine=msgspec.structs.asdict(self._config.engine),
            memory_bytes=self._memory_bytes,
            partitions=order.partitions,
            runs_dir=self._paths.runs,
            cluster=self._config if needs_cluster else None,
        )

    def _give_planned(self, command: GiveMap | GiveDriver) -> None:
        """Once the run has a folder here, and its plan: that of shared folders was made on another host."""
        assignment = command.assignment
        id = assignment.id
        is_map = isinstance(command, GiveMap)
        plans = ((assignment.plan_peer, assignment.plan_shared),) if is_map else assignment.plans
        planners = [self._peers[name] for name, _ in plans]
        distant = next((planner for planner in planners if planner.host != self._me.host), None)

        def fail(error: Exception) -> None:
            self._on_event(TaskEnded(command.slot, id, failure_of(error)))

        if distant is None or id.run_id in self._copied_plans:
            paths = tuple(self._plan_path(id.run_id, *plan) for plan in plans)
            order: TaskOrder = DriverOrder(id, paths, assignment.earlier)
            if is_map:
                order = MapOrder(id, paths[0], assignment.plan_index, assignment.earlier)
            work = partial(make_run_folder, self._paths, id.run_id)
            self._disk.do("short", work, lambda _: self._assign(command.slot, order), fail, run_id=id.run_id)
            return
        waiting = self._waiting_for_plan.setdefault(id.run_id, [])
        waiting.append(command)
        if len(waiting) == 1:
            self._have_plan(id.run_id, distant, self._paths.plan_copy(id.run_id))

    def _plan_path(self, run_id: str, peer: str, shared: bool) -> str:
        planner = self._peers[peer]
        if planner.host == self._me.host:
            return PeerPaths(planner.data_dir).plan(run_id, shared=shared)
        return self._paths.plan_copy(run_id)

    def _have_plan(self, run_id: str, planner: PeerConfig, path: str) -> None:
        """Fetch a plan, unless this host has it, whole, from an earlier life of the daemon."""

        def look() -> bool:
            make_run_folder(self._paths, run_id)
            return is_whole_plan(path)

        def take(is_here: bool) -> None:
            if run_id not in self._waiting_for_plan:
                return  # the run was removed meanwhile
            if is_here:
                self._take_plan(run_id)
                return
            resource = Plan(planner.name, run_id, shared=True)
            self.data.fetch(FetchOrder(run_id, _PLAN_KEY, resource, self._fetches.owners(planner.name), path))

        def give_up(error: Exception) -> None:
            for command in self._waiting_for_plan.pop(run_id, []):
                self._on_event(TaskEnded(command.slot, command.assignment.id, failure_of(error)))

        self._disk.do("project", look, take, give_up, run_id=run_id)

    def _take_plan(self, run_id: str) -> None:
        """The plan that another host has made is here."""
        self._copied_plans.add(run_id)
        for command in self._waiting_for_plan.pop(run_id, []):
            self._give_planned(command)

    def _assign(self, slot: int, order: TaskOrder) -> None:
        """Unless the worker was ended while what the task needs was got: the slot may have another by now."""
        if self._given.get(slot) == order.id:
            self._workers.assign(slot, order)

    def _give_reduce(self, command: GiveReduce) -> None:
        """Put the list of segments on the disk, beside the attempt: with many map tasks it is long."""
        path = self._paths.sources(command.id)
        order = ReduceOrder(command.id, command.partition, path, command.earlier)

        def write() -> None:
            segments = [self._segment(command, source) for source in command.sources]
            make_run_folder(self._paths, command.id.run_id)
            write_sources(path, segments)

        self._disk.do(
            "short",
            write,
            lambda _: self._assign(command.slot, order),
            lambda error: self._on_event(TaskEnded(command.slot, command.id, failure_of(error))),
            run_id=command.id.run_id,
        )

    def _segment(self, command: GiveReduce, source: Source) -> Segment:
        id = source.id_in(command.id.run_id)
        owner = self._peers[source.peer]
        if owner.host == self._me.host:
            return LocalSegment(PeerPaths(owner.data_dir).attempt(id))
        return StagedSegment(self._paths.segment(id, command.partition))

    # -- fetching

    def _measure(self, command: MeasureSegments) -> None:
        """A few outputs at a time: what the disk is needed for besides comes in between."""
        first, rest = command.sources[:_MEASURED_AT_ONCE], command.sources[_MEASURED_AT_ONCE:]
        if command.run_id not in self._orders or not first:
            return
        folders = {
            source: PeerPaths(self._peers[source.peer].data_dir).attempt(source.id_in(command.run_id))
            for source in first
        }

        def take(measured: dict[Source, Sizes]) -> None:
            for source, sizes in measured.items():
                self._on_event(SegmentsMeasured(command.run_id, source, sizes))
            self._measure(msgspec.structs.replace(command, sources=rest))

        self._disk.do(
            "short",
            lambda: measure_segments(folders, command.partitions),
            take,
            lambda error: _log.warning("segments of %s cannot be measured: %s", command.run_id, error),
            run_id=command.run_id,
        )

    def _on_fetched(self, notice: Fetched) -> None:
        if notice.key == _PLAN_KEY:
            self._take_plan(notice.run_id)
            return
        self._fetches.fetched(notice)

    def _on_fetch_failed(self, notice: FetchFailed) -> None:
        self._fetches.log(notice)
        if notice.key == _PLAN_KEY:
            for command in self._waiting_for_plan.pop(notice.run_id, []):
                text = f"the plan of {notice.run_id} cannot be had: {notice.reason}"
                is_of_disk = notice.code == "disk"
                failure = Failure("InputError", text, is_counted=False, is_of_disk=is_of_disk)
                self._on_event(TaskEnded(command.slot, command.assignment.id, failure))
            return
        self._fetches.failed(notice)

    # -- projects and outputs

    def _prepare(self, order: RunOrder) -> None:
        self._orders[order.run_id] = order

        def fail(error: Exception) -> None:
            self._on_event(ProjectPrepared(order.run_id, failure_of(error)))

        if not order.project_hash:  # a run that needs no project
            self._on_event(ProjectPrepared(order.run_id))
            return
        try:
            self._projects.prepare(
                order.project_hash,
                project_of(order.fields),
                lambda: self._on_event(ProjectPrepared(order.run_id)),
                fail,
                lambda: order.run_id in self._orders,
            )
        except FatalError as error:
            fail(error)

    def _publish(self, order: PublishOrder) -> None:
        incarnation = self._incarnation()

        def work() -> None:
            paths = PeerPaths(self._peers[order.peer].data_dir)
            if order.peer == self._me.name:
                publish(paths, order, incarnation)
                return
            with StandIn(paths):
                publish(paths, order, incarnation)

        def report(error: Exception | None) -> None:
            if isinstance(error, OSError):
                error = disk_error("publishing", self._peers[order.peer].data_dir, error)
            text = cut_text(str(error)) if error else ""
            is_final = isinstance(error, FatalError) and not isinstance(error, OutputInTheWayError)
            is_of_disk = isinstance(error, DiskError) and error.is_unwritable
            self._on_event(Published(PublishReport(order.run_id, order.peer, text, is_final, is_of_disk)))

        self._disk.do("publish", work, lambda _: report(None), report, run_id=order.run_id)


def _warn(error: Exception) -> None:
    _log.warning("cleaning up failed: %s", error)

"""Execution: carries out what `control.following` decides: workers, files, fetches, publications."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from pymr.config import ClusterConfig, PeerConfig
from pymr.control.duties import (
    DropPartitions,
    EndWorker,
    FailWorker,
    FetchSegments,
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
from pymr.errors import DiskError, FatalError, OutputInTheWayError, ProjectError, PymrError, disk_error
from pymr.job_projects import project_of
from pymr.outcomes import AttemptId, Failure
from pymr.peer.attempts import LocalSegment, Segment, StagedSegment, write_sources
from pymr.peer.data_orders import Fetched, FetchFailed, FetchOrder
from pymr.peer.data_protocol import Plan
from pymr.peer.data_service import DataService
from pymr.peer.kept_state import StandIn
from pymr.peer.measuring import Sizes, measure_segments
from pymr.peer.places import Places, plain
from pymr.peer.planning import plan_host, workers_memory_bytes
from pymr.peer.publication import forget_attempt, forget_run, publish
from pymr.peer.segment_fetches import SegmentFetches
from pymr.peer.threads import StoreThread, Thread
from pymr.peer.worker_protocol import MapOrder, ReduceOrder, StepOrder, TaskOrder, WorkerSetup
from pymr.peer.workers import Workers
from pymr.projects import unpack_project
from pymr.protocol import PlanOrder, PlanReport, PublishOrder, PublishReport, RunOrder, Source, cut_text

_PLAN_KEY = "plan"
_MEASURED_AT_ONCE = 32
_PACKAGE_RETRY_S = 0.3

_log = logging.getLogger("pymr")


class Execution:
    """The hands of a peer. on_event: called in the loop with what has come of a command."""

    def __init__(
        self,
        config: ClusterConfig,
        me: PeerConfig,
        *,
        workers: Workers,
        store: StoreThread,
        disk: Thread,
        incarnation: Callable[[], str],
        on_event: Callable[[PeerEvent], None],
        call_later: Callable[[float, Callable[[], object]], object],
    ) -> None:
        self._config = config
        self._me = me
        self._peers = {peer.name: peer for peer in config.peers}
        self._places = Places(me.data_dir)
        self._workers = workers
        self._store = store
        self._disk = disk
        self._incarnation = incarnation
        self._on_event = on_event
        self._call_later = call_later
        self._orders: dict[str, RunOrder] = {}
        self._given: dict[int, AttemptId] = {}  # by slot
        self._waiting_for_plan: dict[str, list[GiveMap]] = {}
        self._memory_bytes = workers_memory_bytes(config, me.host)
        self.data = self._start_data_service()
        self._fetches = SegmentFetches(config, me, lambda: self.data, on_event, call_later)

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
                self._give_map(command)

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
            case GiveMap(slot, assignment):
                self._given[slot] = assignment.id
                self._give_map(command)
            case GiveReduce(slot, id):
                self._given[slot] = id
                self._give_reduce(command)
            case GiveStep(slot, assignment):
                self._given[slot] = assignment.id
                self._assign(slot, StepOrder(assignment.id, assignment.inputs))
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
                self._disk.do(
                    lambda: plan_host(order, plan, self._config, self._me.name, incarnation),
                    lambda report: self._on_event(Planned(report)),
                    lambda error: self._on_event(Planned(_failed_plan(plan, error))),
                )
            case Publish():
                self._publish(command.order)
            case DropPartitions(run_id, partitions):
                self._fetches.drop(run_id, partitions)
            case RemoveRun(run_id):
                self._orders.pop(run_id, None)
                self.data.cancel(run_id)
                self._waiting_for_plan.pop(run_id, None)
                self._fetches.forget(run_id)
                self._in_background(lambda: forget_run(self._places, run_id))
            case RemoveAttempt(id):
                self._in_background(lambda: forget_attempt(self._places, id))

    # -- workers

    def _setup(self, slot: int, order: RunOrder) -> WorkerSetup:
        return WorkerSetup(
            run_id=order.run_id,
            worker=f"{self._me.name}/{slot}",
            fields=order.fields,
            projects_dir=self._places.project(order.project_hash) if order.project_hash else "",
            data_dir=self._me.data_dir,
            engine=msgspec.structs.asdict(self._config.engine),
            memory_bytes=self._memory_bytes,
            partitions=order.partitions,
            runs_dir=self._places.runs,
            cluster=self._config if order.fields.get("job_type") != "mapreduce" else None,
        )

    def _give_map(self, command: GiveMap) -> None:
        id = command.assignment.id
        try:
            os.makedirs(self._places.run(id.run_id), exist_ok=True)
        except OSError as error:
            failure = failure_of(disk_error("preparing", self._places.run(id.run_id), error))
            self._on_event(TaskEnded(command.slot, id, failure))
            return
        assignment = command.assignment
        planner = self._peers[assignment.plan_peer]
        path = Places(planner.data_dir).plan(assignment.id.run_id, shared=assignment.plan_shared)
        if planner.host != self._me.host:
            path = self._places.plan_copy(assignment.id.run_id)
            if not os.path.exists(path):
                self._fetch_plan(command, planner, path)
                return
        self._assign(command.slot, MapOrder(assignment.id, path, assignment.plan_index))

    def _assign(self, slot: int, order: TaskOrder) -> None:
        """Unless the worker was ended while what the task needs was got: the slot may have another by now."""
        if self._given.get(slot) == order.id:
            self._workers.assign(slot, order)

    def _fetch_plan(self, command: GiveMap, planner: PeerConfig, path: str) -> None:
        """The plan of folders that all hosts share was made on another host."""
        run_id = command.assignment.id.run_id
        self._waiting_for_plan.setdefault(run_id, []).append(command)
        if len(self._waiting_for_plan[run_id]) == 1:
            resource = Plan(planner.name, run_id, shared=True)
            self.data.fetch(FetchOrder(run_id, _PLAN_KEY, resource, self._fetches.owners(planner.name), path))

    def _give_reduce(self, command: GiveReduce) -> None:
        """Put the list of segments on the disk, beside the attempt: with many map tasks it is long."""
        path = self._places.sources(command.id)

        def write() -> None:
            segments = [self._segment(command, source) for source in command.sources]
            os.makedirs(self._places.run(command.id.run_id), exist_ok=True)
            write_sources(path, segments)

        self._disk.do(
            write,
            lambda _: self._assign(command.slot, ReduceOrder(command.id, command.partition, path)),
            lambda error: self._on_event(TaskEnded(command.slot, command.id, failure_of(error))),
        )

    def _segment(self, command: GiveReduce, source: Source) -> Segment:
        id = source.id_in(command.id.run_id)
        owner = self._peers[source.peer]
        if owner.host == self._me.host:
            return LocalSegment(Places(owner.data_dir).attempt(id))
        return StagedSegment(self._places.segment(id, command.partition))

    # -- fetching

    def _measure(self, command: MeasureSegments) -> None:
        """A few outputs at a time: what the disk is needed for besides comes in between."""
        first, rest = command.sources[:_MEASURED_AT_ONCE], command.sources[_MEASURED_AT_ONCE:]
        if command.run_id not in self._orders or not first:
            return
        folders = {
            source: Places(self._peers[source.peer].data_dir).attempt(source.id_in(command.run_id))
            for source in first
        }

        def take(measured: dict[Source, Sizes]) -> None:
            for source, sizes in measured.items():
                self._on_event(SegmentsMeasured(command.run_id, source, sizes))
            self._measure(replace(command, sources=rest))

        self._disk.do(
            lambda: measure_segments(folders, command.partitions),
            take,
            lambda error: _log.warning("segments of %s cannot be measured: %s", command.run_id, error),
        )

    def _on_fetched(self, notice: Fetched) -> None:
        if notice.key == _PLAN_KEY:
            for command in self._waiting_for_plan.pop(notice.run_id, []):
                self._give_map(command)
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
        if not order.project_hash:  # a run that needs no project
            self._on_event(ProjectPrepared(order.run_id))
            return
        try:
            name = plain(project_of(order.fields))
            folder = Path(self._places.project(order.project_hash), name)
        except FatalError as error:
            self._on_event(ProjectPrepared(order.run_id, failure_of(error)))
            return

        def unpack(package: bytes | None) -> None:
            if package is None:
                text = f"the package of project {folder.name} is not in Redis any more; submit the job again"
                self._on_event(ProjectPrepared(order.run_id, Failure("ProjectError", text, is_final=True)))
                return
            self._disk.do(
                lambda: unpack_project(package, folder, order.project_hash),
                lambda _: self._on_event(ProjectPrepared(order.run_id)),
                lambda error: self._on_event(ProjectPrepared(order.run_id, failure_of(error))),
            )

        if folder.is_dir():  # unpacked in one step, by an earlier run
            self._on_event(ProjectPrepared(order.run_id))
            return
        self._store.ask(
            lambda store: store.package(order.project_hash),
            unpack,
            # Later, and not again and again: consoles wait for the same thread.
            lambda _: self._call_later(_PACKAGE_RETRY_S, lambda: self._prepare_if_wanted(order)),
        )

    def _prepare_if_wanted(self, order: RunOrder) -> None:
        if order.run_id in self._orders:
            self._prepare(order)

    def _publish(self, order: PublishOrder) -> None:
        incarnation = self._incarnation()

        def work() -> None:
            places = Places(self._peers[order.peer].data_dir)
            if order.peer == self._me.name:
                publish(places, order, incarnation)
                return
            with StandIn(places):
                publish(places, order, incarnation)

        def report(error: Exception | None) -> None:
            if isinstance(error, OSError):
                error = disk_error("publishing", self._peers[order.peer].data_dir, error)
            text = cut_text(str(error)) if error else ""
            is_final = isinstance(error, FatalError) and not isinstance(error, OutputInTheWayError)
            is_of_disk = isinstance(error, DiskError) and error.is_unwritable
            self._on_event(Published(PublishReport(order.run_id, order.peer, text, is_final, is_of_disk)))

        self._disk.do(work, lambda _: report(None), report)

    def _in_background(self, work: Callable[[], Any]) -> None:
        self._disk.do(work, lambda _: None, lambda error: _log.warning("cleaning up failed: %s", error))


def failure_of(error: Exception) -> Failure:
    """An error of ours, on its way to the leader. What is wrong with a machine counts against no task."""
    if isinstance(error, OSError):
        error = disk_error("writing", str(error.filename or "to the data folder"), error)
    if isinstance(error, PymrError):
        is_final = isinstance(error, FatalError | ProjectError)
        disk = error if isinstance(error, DiskError) else None
        return Failure(
            type(error).__name__,
            cut_text(str(error)),
            is_final,
            is_counted=disk is None,
            is_of_disk=disk is not None and disk.is_unwritable,
        )
    _log.error("unexpected: %s", error, exc_info=error)
    return Failure(type(error).__name__, cut_text(f"unexpected: {error!r}"))


def _failed_plan(plan: PlanOrder, error: Exception) -> PlanReport:
    text = f"planning failed: {error}"
    return PlanReport(plan.run_id, 0, 0, 0, text, shared=plan.shared, turn=plan.turn)

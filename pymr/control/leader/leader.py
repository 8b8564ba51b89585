"""Leadership: what the leader does about every event. It hears peers and has runs moved on: how that is done
stands in `scheduling` and in `control.runs`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pymr.control.leader import breakpoints, inventories
from pymr.control.leader.orders import orders_to
from pymr.control.leader.scheduling import Scheduling, make_run
from pymr.control.liveness import Liveness, PeerState
from pymr.control.messages import (
    Abdicate,
    Continued,
    Ended,
    JobsChanged,
    LeaderCommand,
    LeaderEvent,
    LeaderSettings,
    PeerInfo,
    PresenceSeen,
    Reported,
    RunsLoaded,
    SendOrders,
    Tick,
    Written,
)
from pymr.control.runs import advance_steps, planning, publishing, reassignment, recovery, tasks
from pymr.control.runs.ending import end
from pymr.control.runs.leader_state import LeaderState
from pymr.control.runs.mapreduce_run import MapReduceRun
from pymr.control.runs.run import Run
from pymr.control.runs.stepped_run import SteppedRun
from pymr.control.stored_state import (
    ActiveRun,
    BeginAttempt,
    BeginCycle,
    BeginPublication,
    BeginRun,
    CommitTasks,
    EndRun,
    LeaveQueue,
    ReleaseTasks,
    RunRecord,
    SavePlan,
    Write,
)
from pymr.wire.protocol import DEAD_SECONDS, REPORT_SECONDS, Report
from pymr.wire.run_warnings import first_of

WATCH_SECONDS = 0.25
"""The silence of peers is looked at this often."""

COOL_DOWN_SECONDS = 10.0
"""A leader that does not hear most peers stays away from the lease for this long."""


class Leader(LeaderState):
    """One leadership, from an election to its end. Pure: `step` takes an event and gives commands.

    peers: all of the configuration, in its order. now: seconds of any clock that never goes back.
    Nothing is decided before the runs of `RunsLoaded` are taken over, nor after an `Abdicate`. Cost:
    O(attempts of the peer) at most for a report, less where nothing has changed; O(peers) for a tick, four
    times a second. What costs O(tasks), such as taking over a run, goes from step to step (see ContinueSoon).
    """

    def __init__(
        self,
        *,
        epoch: int,
        incarnation: str,
        name: str,
        peers: Sequence[PeerInfo],
        settings: LeaderSettings,
        now: float,
    ) -> None:
        super().__init__(
            epoch=epoch, incarnation=incarnation, name=name, peers=peers, settings=settings, now=now
        )
        self.scheduling = Scheduling()

    # -- the step

    def step(self, event: LeaderEvent, now: float) -> list[LeaderCommand]:
        """What is to be done about an event. The commands are in the order in which to carry them out."""
        if self._is_over:
            return []
        if now > self.now:
            self.now = now
        match event:
            case Reported(report):
                self._hear(report)
            case Written(ticket, outcome):
                self._on_written(self._writes.pop(ticket), outcome)
            case JobsChanged(changes):
                self.scheduling.on_jobs(self, changes)
            case RunsLoaded(runs, replaces):
                self.replaces = replaces
                self.work_on(self._load(runs))
            case Continued():
                self._is_continuing = False
                self.work_on()
            case PresenceSeen(names):
                self._present = names
            case _:
                self._watch_peers()
        if self.is_loaded and not self._is_over:
            self.scheduling.begin_runs(self)
            self.scheduling.let_leave(self)
            self._advance(is_tick=isinstance(event, Tick))
            if self._needing_orders:
                self._send_orders()
        commands, self._commands = self._commands, []
        return commands

    def _advance(self, *, is_tick: bool) -> None:
        for run in list(self.runs.values()):
            if not is_tick and not run.is_touched:
                continue
            run.is_touched = False
            if isinstance(run, SteppedRun):
                advance_steps.advance(self, run, is_tick=is_tick)
            elif isinstance(run, MapReduceRun):
                self._advance_phases(run, is_tick=is_tick)
        if self.peers_with_free_slots:
            tasks.assign(self)

    def _advance_phases(self, run: MapReduceRun, *, is_tick: bool) -> None:
        if run.stage == "planning":
            planning.advance(self, run)
        elif run.stage == "tasks":
            tasks.advance(self, run)
            if is_tick:
                recovery.check_machines(self, run)
        elif run.stage == "publishing":
            publishing.advance(self, run)

    # -- peers

    def _hear(self, report: Report) -> None:
        peer = self.peers.get(report.peer)
        if peer is None or report.incarnation != self.incarnation or not peer.accepts(report):
            return
        if report.epoch > self.epoch:
            self._abdicate(0.0, f"{report.peer} follows a leader of epoch {report.epoch}")
            return
        if peer.hear(report, self.epoch, self.now):
            recovery.lose(self, peer, peer.forget_boot())
            planning.replan(self)
            self.needs_orders(peer)
        if peer.state != "alive":
            self._note_state(peer, peer.state_at(self.now))
        if report.epoch == self.epoch and self.is_loaded:
            self._compare(peer, report)

    def _compare(self, peer: PeerState, report: Report) -> None:
        """Take over what is new in the report of a peer that follows this leader."""
        if peer.state == "dead":
            return  # it does not hear: what it says comes to nothing until it does
        last = peer.take(report)
        if report.inventory is not None and not peer.has_inventory:
            inventories.on_inventory(self, peer, report, report.inventory)
        if peer.compared != report.running_version or peer.unseen:
            peer.compared = report.running_version
            tasks.compare(self, peer, report)
        if report.results:
            tasks.on_results(self, peer, report.results)
        for plan in report.plans:
            planning.on_plan(self, peer, plan)
        if report.shuffles and (last is None or report.shuffles != last.shuffles):
            recovery.on_shuffles(self, peer, report.shuffles)
        for published in report.published:
            publishing.on_published(self, peer, published)
        tasks.note_phase(self, report)
        breakpoints.note(self, report)
        if report.is_draining:
            self.draining[peer.name] = peer
        elif self.draining.pop(peer.name, None) is not None:
            self.peers_with_free_slots[peer.name] = peer

    def _note_state(self, peer: PeerState, state: Liveness) -> None:
        was, peer.state = peer.state, state
        if was == state:
            return
        planning.replan(self)
        self.dead.pop(peer.name, None)
        if state == "dead":
            self.dead[peer.name] = peer
            heard = f"nothing heard for {self.now - (peer.heard_at or peer.known_since):.0f} s"
            self.announce("peer.lost", f"{peer.name} ({peer.host}) is gone: {heard}", peer=peer.name)
            recovery.lose(self, peer, peer.forget_boot())
        elif state == "alive":
            self.needs_orders(peer)
            self.peers_with_free_slots[peer.name] = peer
            if was != "suspect":
                self.announce("peer.joined", f"{peer.name} ({peer.host}) is there", peer=peer.name)

    def _watch_peers(self) -> None:
        while self._due and self._due[0][0] <= self.now:
            due, peer = self._due.popleft()
            if due >= peer.next_orders_at:
                self._needing_orders[peer.name] = peer
        if self.now < self._next_watch_at:
            return
        self._next_watch_at = self.now + WATCH_SECONDS
        for peer in self.peers.values():
            state = peer.state_at(self.now)
            if state != peer.state:
                self._note_state(peer, state)
        for peer in [one for one in self._backing_off.values() if one.backs_off_until <= self.now]:
            del self._backing_off[peer.name]
            self.peers_with_free_slots[peer.name] = peer
        self._check_majority()

    def _check_majority(self) -> None:
        """A leader that most peers cannot hear, although they are there, makes room for one that they can."""
        unheard = sorted(name for name in self._present if name in self.dead)
        if len(unheard) * 2 > len(self._present) and self.now - self.began_at > DEAD_SECONDS:
            self._abdicate(COOL_DOWN_SECONDS, f"{', '.join(unheard)} reach Redis, but not this leader")

    def _abdicate(self, seconds: float, reason: str) -> None:
        self._is_over = True
        self._commands.append(Abdicate(seconds, reason))

    # -- runs

    def _load(self, active: Iterable[ActiveRun]) -> Iterator[None]:
        runs: dict[str, Run] = {}
        for one in active:
            run = runs[one.record.run_id] = make_run(self, one.record)
            if one.record.plan is not None:
                run.begin_tasks(one.record.plan)
                yield from run.restore(one)
        self.runs = runs
        self.is_loaded = True
        for run in self.runs.values():
            if isinstance(run, MapReduceRun):
                self._look_at_loaded(run)
            elif isinstance(run, SteppedRun):
                advance_steps.check_peers(self, run)
        self.scheduling.end_runs_of_changed_jobs(self)
        self.all_need_orders()

    def _look_at_loaded(self, run: MapReduceRun) -> None:
        """What an earlier leader may not have come to."""
        if run.plan is not None:
            run.enter_phase(run.first_phase, self.now)
        if run.record.status == "publishing":
            publishing.begun(self, run)
        else:
            recovery.check_digests(self, run)
        recovery.check_peers(self, run)
        if run.stage == "tasks" and not run.maps_left:
            tasks.is_refused(self, run)

    def _on_written(self, write: Write, outcome: Any) -> None:
        match write:
            case BeginCycle():
                self.scheduling.cycle_begun(self, outcome)
            case LeaveQueue():
                if outcome:
                    text = f"{write.job_name} leaves the queue, as nobody has retried it since it failed"
                    self.announce("job.left", text, job_name=write.job_name)
            case BeginRun():
                self.scheduling.run_begun(self, write, is_begun=outcome is not None)
                if isinstance(outcome, RunRecord) and outcome.run_id not in self.runs:
                    run = self.runs[outcome.run_id] = make_run(self, outcome)
                    self.announce("run.started", f"{run.run_id} has begun", run)
                    self.scheduling.end_runs_of_changed_jobs(self)
                    self.all_need_orders()
            case EndRun() if isinstance(outcome, RunRecord):
                self._forget(write, outcome)
            case EndRun():
                raise AssertionError(f"the end of {write.record.run_id} has the outcome {outcome!r}")
            case _:
                run_or_none = self.runs.get(write.run_id)
                if run_or_none is not None and run_or_none.stage != "ending":
                    self._on_run_written(run_or_none, write, outcome)

    def _on_run_written(self, run: Run, write: Write, outcome: Any) -> None:
        run.is_touched = True
        match write:
            case CommitTasks() if isinstance(outcome, list | tuple):
                tasks.committed(self, run, write, outcome)
                if isinstance(run, MapReduceRun):
                    tasks.mapped(self, run, write)
            case ReleaseTasks(_, attempts):
                recovery.released(self, run, attempts)
                if isinstance(run, MapReduceRun):
                    reassignment.preempt(self, run)
                elif isinstance(run, SteppedRun):
                    advance_steps.released(self, run)
            case SavePlan() if outcome and isinstance(run, MapReduceRun):
                planning.saved(self, run)
            case SavePlan() if outcome and isinstance(run, SteppedRun):
                advance_steps.saved(self, run)
            case BeginAttempt(_, task) if outcome and isinstance(run, SteppedRun):
                advance_steps.numbered(self, run, task, outcome)
            case BeginPublication() if outcome and isinstance(run, MapReduceRun):
                publishing.begun(self, run)
            case _:  # Redis knows better: it tells how the run has ended
                end(self, run, "failed", f"Redis refused: {type(write).__name__} of {run.run_id}")

    def _forget(self, write: EndRun, record: RunRecord) -> None:
        run = self.runs.pop(record.run_id, None)
        self.scheduling.look_soon(self)
        if write.state is not None and record.status == write.record.status:
            self.job_queue.states[record.job_name] = write.state  # a next run may begin before it is read
        if record.status == "succeeded":
            self.shown[record.job_name] = record.run_id
            if isinstance(run, MapReduceRun):
                publishing.ended(self, run)
        self.all_need_orders()
        self._commands.append(Ended(record))
        why = f": {record.exception.splitlines()[0]}" if record.exception else ""
        text = f"{record.run_id} {record.status}{why}"
        self.announce(f"run.{record.status}", text, run, place=record.failed_at)
        if record.warnings:
            self.announce("run.warned", f"{record.run_id}: {first_of(record.warnings)}", run)
        if run is not None:
            self.work_on(run.clear())

    def _send_orders(self) -> None:
        peers, self._needing_orders = self._needing_orders, {}
        stages = {run.stage for run in self.runs.values()}
        for peer in peers.values():
            peer.next_orders_at = self.now + REPORT_SECONDS
            self._due.append((peer.next_orders_at, peer))
            self._commands.append(SendOrders(orders_to(self, peer, stages)))

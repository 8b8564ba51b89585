"""Leadership: what the leader does about every event. It hears peers, begins runs and sends orders; how a run
is moved on stands in `planning`, `running`, `losses` and `publishing`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from pymr.control import losses, planning, publishing, running
from pymr.control.backlog import Backlog
from pymr.control.ending import end
from pymr.control.liveness import Peer, PeerState
from pymr.control.messages import (
    Abdicate,
    Announce,
    DoWrite,
    Ended,
    JobsChanged,
    LeaderCommand,
    LeaderEvent,
    PeerFacts,
    PresenceSeen,
    Reported,
    RunsLoaded,
    SendOrders,
    Settings,
    Tick,
    Written,
)
from pymr.control.phases import Run, Stage, Task
from pymr.control.records import (
    ActiveRun,
    BeginPublication,
    BeginRun,
    CommitTasks,
    EndRun,
    Event,
    ReleaseTasks,
    RunRecord,
    SavePlan,
    Write,
)
from pymr.protocol import DEAD_SECONDS, REPORT_SECONDS, Acknowledged, AttemptId, Orders, PublishOrder, Report

WATCH_SECONDS = 0.25
"""The silence of peers is looked at this often."""

COOL_DOWN_SECONDS = 10.0
"""A leader that does not hear most peers stays away from the lease for this long."""


class Leader:
    """One leadership, from an election to its end. Pure: `step` takes an event and gives commands.

    peers: all of the configuration, in its order. now: seconds of any clock that never goes back.
    Nothing is decided before `RunsLoaded`, nor after an `Abdicate`. Cost: O(attempts of the peer) at most for
    a report, less where nothing has changed; O(peers) for a tick, four times a second; O(tasks) when a run
    begins and ends.
    """

    def __init__(
        self,
        *,
        epoch: int,
        incarnation: str,
        name: str,
        peers: Sequence[PeerFacts],
        settings: Settings,
        now: float,
    ) -> None:
        self.epoch = epoch
        self.incarnation = incarnation
        self.name = name
        self.settings = settings
        self.now = now
        self.began_at = now
        self.peers = {facts.name: Peer(facts, now) for facts in peers}
        self.hosts: dict[str, list[Peer]] = {}
        for peer in self.peers.values():
            self.hosts.setdefault(peer.host, []).append(peer)
        self.backlog = Backlog()
        self.runs: dict[str, Run] = {}
        self.is_loaded = False
        self.hungry: dict[str, Peer] = {}  # peers that may have a free worker
        self.dead: dict[str, Peer] = {}
        self.draining: dict[str, Peer] = {}
        self.shown: dict[str, str] = {}  # runs that succeeded under this leader, by job
        self._owed: dict[str, Peer] = {}  # peers that are to get orders at once
        self._due: deque[tuple[float, Peer]] = deque((now, peer) for peer in self.peers.values())
        self._resting: dict[str, Peer] = {}
        self._next_watch_at = now
        self._present: frozenset[str] = frozenset()
        self.knows_jobs = False
        self._may_begin = True
        self._beginning: set[str] = set()
        self._writes: dict[int, Write] = {}
        self._tickets = 0
        self._commands: list[LeaderCommand] = []
        self._is_over = False

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
                self._take_outcome(self._writes.pop(ticket), outcome)
            case JobsChanged(changes):
                self.backlog.apply(changes)
                self.knows_jobs = self._may_begin = True
                self._end_runs_of_changed_jobs()
            case RunsLoaded(runs):
                self._load(runs)
            case PresenceSeen(names):
                self._present = names
            case _:
                self._watch_peers()
        if self.is_loaded and not self._is_over:
            if self._may_begin:
                self._begin_runs()
            self._advance(is_tick=isinstance(event, Tick))
            if self._owed:
                self._send_orders()
        commands, self._commands = self._commands, []
        return commands

    def _advance(self, *, is_tick: bool) -> None:
        for run in list(self.runs.values()):
            if not is_tick and not run.is_touched:
                continue
            run.is_touched = False
            if run.stage == "planning":
                planning.advance(self, run)
            elif run.stage == "tasks":
                running.advance(self, run)
                if is_tick:
                    losses.check_machines(self, run)
            elif run.stage == "publishing":
                publishing.advance(self, run)
        if self.hungry:
            running.assign(self)

    # -- what the parts of the leader use

    def write(self, write: Write) -> None:
        """Ask for a write; its outcome comes back as an event."""
        self._tickets += 1
        self._writes[self._tickets] = write
        self._commands.append(DoWrite(self._tickets, write))

    def announce(self, kind: str, text: str, run: Run | None = None, peer: str = "") -> None:
        """Tell operators of something."""
        job_name, run_id = (run.job_name, run.run_id) if run else ("", "")
        self._commands.append(
            Announce(Event(kind=kind, text=text, job_name=job_name, run_id=run_id, peer=peer))
        )

    def alive(self, host: str | None = None) -> list[Peer]:
        """Peers that count as there, of one host or of all, in the order of the configuration."""
        peers: Iterable[Peer] = self.peers.values() if host is None else self.hosts.get(host, ())
        return [peer for peer in peers if peer.is_alive]

    def is_gone(self, host: str) -> bool:
        """Whether every peer of a host is dead."""
        return all(peer.state == "dead" for peer in self.hosts.get(host, ()))

    def owe(self, peer: Peer) -> None:
        """Let a peer have orders at the end of this step."""
        self._owed[peer.name] = peer

    def owe_everybody(self) -> None:
        """Something that all peers are told of runs has changed; perhaps there is work for them."""
        for peer in self.peers.values():
            peer.runs = None
            self._owed[peer.name] = peer
        self.feed_everybody()

    def feed_everybody(self) -> None:
        """Look at every peer's free workers again: there may be work for them."""
        self.hungry = {name: peer for name, peer in self.peers.items() if peer.takes_work}

    def feed(self, run: Run, task: Task) -> None:
        """A task waits: let those look who may do it."""
        if not task.is_map:
            candidates = (
                [self.peers[run.home_of[task.index]]] if run.home_of[task.index] in self.peers else []
            )
        elif run.host_plan(task).shared:
            candidates = list(self.peers.values())
        else:
            candidates = self.hosts.get(run.host_plan(task).host, [])
        self.hungry.update((peer.name, peer) for peer in candidates if peer.takes_work)

    def let_rest(self, peer: Peer) -> None:
        """The machine of a peer has failed; it gets no work for a while."""
        peer.rest(self.now)
        self._resting[peer.name] = peer

    # -- peers

    def _hear(self, report: Report) -> None:
        peer = self.peers.get(report.peer)
        if peer is None or report.incarnation != self.incarnation or not peer.accepts(report):
            return
        if report.epoch > self.epoch:
            self._abdicate(0.0, f"{report.peer} follows a leader of epoch {report.epoch}")
            return
        last = peer.report
        if peer.hear(report, self.epoch, self.now):
            losses.lose(self, peer, peer.forget_boot())
            last = None
            self.owe(peer)
        if peer.state != "alive":
            self._note_state(peer, peer.state_at(self.now))
        if report.epoch == self.epoch and self.is_loaded:
            self._compare(peer, report, last)

    def _compare(self, peer: Peer, report: Report, last: Report | None) -> None:
        """Take over what is new in the report of a peer that follows this leader."""
        if peer.state == "dead":
            return  # it does not hear: what it says comes to nothing until it does
        if report.inventory is not None and not peer.has_inventory:
            peer.has_inventory = True
            self.hungry[peer.name] = peer
            planning.look_again(self)
            losses.check_inventory(self, peer, report.inventory)
        if peer.compared != report.running_version or peer.unseen:
            peer.compared = report.running_version
            running.compare(self, peer, report)
        if report.results:
            running.take_results(self, peer, report.results)
        for plan in report.plans:
            planning.take(self, peer, plan)
        if report.shuffles and (last is None or report.shuffles != last.shuffles):
            losses.take_shuffles(self, peer, report.shuffles)
        for published in report.published:
            publishing.take(self, peer, published)
        running.note_phase(self, report)
        if report.is_draining:
            self.draining[peer.name] = peer
        elif self.draining.pop(peer.name, None) is not None:
            self.hungry[peer.name] = peer

    def _note_state(self, peer: Peer, state: PeerState) -> None:
        was, peer.state = peer.state, state
        if was == state:
            return
        planning.look_again(self)
        self.dead.pop(peer.name, None)
        if state == "dead":
            self.dead[peer.name] = peer
            heard = f"nothing heard for {self.now - (peer.heard_at or peer.known_since):.0f} s"
            self.announce("peer.lost", f"{peer.name} ({peer.host}) is gone: {heard}", peer=peer.name)
            losses.lose(self, peer, peer.forget_boot())
        elif state == "alive":
            self.owe(peer)
            self.hungry[peer.name] = peer
            if was != "suspect":
                self.announce("peer.joined", f"{peer.name} ({peer.host}) is there", peer=peer.name)

    def _watch_peers(self) -> None:
        while self._due and self._due[0][0] <= self.now:
            due, peer = self._due.popleft()
            if due >= peer.next_orders_at:
                self._owed[peer.name] = peer
        if self.now < self._next_watch_at:
            return
        self._next_watch_at = self.now + WATCH_SECONDS
        for peer in self.peers.values():
            state = peer.state_at(self.now)
            if state != peer.state:
                self._note_state(peer, state)
        for peer in [one for one in self._resting.values() if one.rests_until <= self.now]:
            del self._resting[peer.name]
            self.hungry[peer.name] = peer
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

    def _load(self, active: Iterable[ActiveRun]) -> None:
        for one in active:
            run = self.runs[one.record.run_id] = Run(one.record, self.now)
            if one.record.plan is not None:
                run.begin_tasks(one.record.plan, one)
                run.enter_phase("map" if run.maps_left else "shuffle", self.now)
        self.is_loaded = True
        for run in self.runs.values():
            if run.record.status == "publishing":
                publishing.begun(self, run)
            else:
                losses.check_digests(self, run)
            losses.check_peers(self, run)
            if run.stage == "tasks" and not run.maps_left:
                running.has_too_many_bad_records(self, run)
        self._end_runs_of_changed_jobs()
        self.owe_everybody()

    def _begin_runs(self) -> None:
        if not self.knows_jobs:
            return
        self._may_begin = False
        while len(self.runs) + len(self._beginning) < self.settings.concurrent_runs:
            job = self.backlog.next_job({run.job_name for run in self.runs.values()} | self._beginning)
            if job is None:
                return
            self._beginning.add(job.name)
            self.backlog.begin(job)
            self.write(BeginRun(job.name, job.version))

    def _end_runs_of_changed_jobs(self) -> None:
        """Runs of jobs that were deleted or replaced end, unless their output is about to be seen."""
        if not self.knows_jobs or not self.is_loaded:
            return
        for run in self.runs.values():
            job = self.backlog.jobs.get(run.job_name)
            if run.stage not in ("publishing", "ending") and (
                job is None or job.version > run.record.job_version
            ):
                end(self, run, "replaced" if job else "deleted", None)

    def _take_outcome(self, write: Write, outcome: object) -> None:
        match write:
            case BeginRun(job_name):
                self._beginning.discard(job_name)
                self._may_begin = True
                if isinstance(outcome, RunRecord) and outcome.run_id not in self.runs:
                    run = self.runs[outcome.run_id] = Run(outcome, self.now)
                    self.announce("run.started", f"{run.run_id} has begun", run)
                    self._end_runs_of_changed_jobs()
                    self.owe_everybody()
            case EndRun() if isinstance(outcome, RunRecord):
                self._forget(outcome)
            case SavePlan(run_id) | CommitTasks(run_id) | ReleaseTasks(run_id) | BeginPublication(run_id):
                run_or_none = self.runs.get(run_id)
                if run_or_none is not None and run_or_none.stage != "ending":
                    self._take_run_outcome(run_or_none, write, outcome)

    def _take_run_outcome(self, run: Run, write: Write, outcome: object) -> None:
        run.is_touched = True
        match write:
            case CommitTasks() if isinstance(outcome, list | tuple):
                running.committed(self, run, write, outcome)
            case ReleaseTasks(_, attempts):
                losses.released(self, run, attempts)
            case SavePlan() if outcome:
                planning.saved(self, run)
            case BeginPublication() if outcome:
                publishing.begun(self, run)
            case _:  # Redis knows better: it tells how the run has ended
                end(self, run, "failed", f"Redis refused: {type(write).__name__} of {run.run_id}")

    def _forget(self, record: RunRecord) -> None:
        run = self.runs.pop(record.run_id, None)
        self._may_begin = True
        if record.status == "succeeded":
            self.shown[record.job_name] = record.run_id
            if run is not None:
                publishing.ended(self, run)
        self.owe_everybody()
        self._commands.append(Ended(record))
        why = f": {record.exception.splitlines()[0]}" if record.exception else ""
        self.announce(f"run.{record.status}", f"{record.run_id} {record.status}{why}", run)

    # -- orders

    def _send_orders(self) -> None:
        owed, self._owed = self._owed, {}
        stages = {run.stage for run in self.runs.values()}
        for peer in owed.values():
            peer.next_orders_at = self.now + REPORT_SECONDS
            self._due.append((peer.next_orders_at, peer))
            self._commands.append(SendOrders(self._orders(peer, stages)))

    def _orders(self, peer: Peer, stages: set[Stage]) -> Orders:
        peer.sequence += 1
        for given in peer.unseen.values():
            given.sequence = given.sequence or peer.sequence
        if peer.runs is None:
            peer.runs = tuple(run.order(peer.name) for run in self.runs.values())
        publish: tuple[PublishOrder, ...] = ()
        if peer.reconcile or peer.reconcile is None or "publishing" in stages:
            publish = publishing.orders(self, peer)
        report = peer.report
        follows = report is not None and report.epoch == self.epoch
        return Orders(
            incarnation=self.incarnation,
            epoch=self.epoch,
            leader=self.name,
            peer=peer.name,
            boot=report.boot if report else 0,
            sequence=peer.sequence,
            jobs_change=self.backlog.change,
            wants_inventory=not peer.has_inventory,
            runs=peer.runs,
            plans=planning.orders(self, peer) if "planning" in stages else (),
            assignments=tuple([given.assignment for given in peer.unseen.values()]) if peer.unseen else (),
            cancelled=peer.cancelled,
            sources=losses.sources_orders(self, peer) if "tasks" in stages else (),
            publish=publish,
            acknowledged=self._acknowledgements(report) if report and follows and report.results else (),
        )

    def _acknowledgements(self, report: Report) -> tuple[Acknowledged, ...]:
        """What has become of the results that a peer still repeats."""
        fates = ((result.id, self._fate(result.id)) for result in report.results)
        return tuple([Acknowledged(attempt, keep) for attempt, keep in fates if keep is not None])

    def _fate(self, attempt: AttemptId) -> bool | None:
        """Whether the files of a finished attempt are kept; None while that is not decided."""
        run = self.runs.get(attempt.run_id)
        if run is None:
            return False
        task = run.tasks.get(attempt.task)
        if task is None or task.committing == attempt or run.stage == "ending":
            return None
        return task.committed is not None and task.committed.id == attempt

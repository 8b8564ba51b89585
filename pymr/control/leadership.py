"""Leadership: what the leader does about every event. It hears peers, begins runs and sends orders; how a run
is moved on stands in `planning`, `running` and `publishing`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pymr.control import planning, publishing, running
from pymr.control.backlog import Backlog
from pymr.control.liveness import Peer
from pymr.control.messages import (
    Abdicate,
    Announce,
    DoWrite,
    Ended,
    JobsChanged,
    LeaderCommand,
    LeaderEvent,
    PeerFacts,
    Reported,
    RunsLoaded,
    SendOrders,
    Settings,
    Tick,
    Written,
)
from pymr.control.phases import Run
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
from pymr.protocol import REPORT_SECONDS, Acknowledged, AttemptId, Orders, Report


class Leader:
    """One leadership, from an election to its end. Pure: `step` takes an event and gives commands.

    peers: all of the configuration, in its order. now: seconds of any clock that never goes back.
    Nothing is decided before `RunsLoaded`. Cost: O(1) for a report in which nothing has changed, O(peers) for a
    tick, O(tasks) when a run begins and ends.
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
        self.peers = {facts.name: Peer(facts, now) for facts in peers}
        self.backlog = Backlog()
        self.runs: dict[str, Run] = {}
        self.is_loaded = False
        self.hungry: dict[str, Peer] = {}  # peers that may have a free worker
        self._owed: dict[str, Peer] = {}  # peers that are to get orders at once
        self._knows_jobs = False
        self._beginning: set[str] = set()
        self._writes: dict[int, Write] = {}
        self._tickets = 0
        self._commands: list[LeaderCommand] = []

    # -- the step

    def step(self, event: LeaderEvent, now: float) -> list[LeaderCommand]:
        """What is to be done about an event. The commands are in the order in which to carry them out."""
        self.now = max(self.now, now)
        match event:
            case Reported(report):
                self._hear(report)
            case Written(ticket, outcome):
                self._take_outcome(self._writes.pop(ticket), outcome)
            case JobsChanged(changes):
                self.backlog.apply(changes)
                self._knows_jobs = True
                self._end_runs_of_changed_jobs()
            case RunsLoaded(runs):
                self._load(runs)
            case _:
                self._watch_peers()
        if self.is_loaded:
            self._begin_runs()
            self._advance(is_tick=isinstance(event, Tick))
            self._send_orders()
        commands, self._commands = self._commands, []
        return commands

    def _advance(self, *, is_tick: bool) -> None:
        for run in list(self.runs.values()):
            if run.stage == "planning":
                planning.advance(self, run)
            elif run.stage == "tasks":
                running.advance(self, run)
                if is_tick:
                    running.check_machines(self, run)
            elif run.stage == "publishing":
                publishing.advance(self, run)
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
        return [peer for peer in self.peers.values() if peer.is_alive and (host is None or peer.host == host)]

    def is_gone(self, host: str) -> bool:
        """Whether every peer of a host is dead."""
        return all(peer.state == "dead" for peer in self.peers.values() if peer.host == host)

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

    # -- peers

    def _hear(self, report: Report) -> None:
        peer = self.peers.get(report.peer)
        if peer is None or report.incarnation != self.incarnation or not peer.accepts(report):
            return
        if report.epoch > self.epoch:
            self._commands.append(Abdicate(0.0, f"{report.peer} follows a leader of epoch {report.epoch}"))
            return
        last = peer.report
        if peer.is_new_boot(report):
            running.lose(self, peer, peer.forget_boot())
            publishing.reconcile(self, peer)
            last = None
        peer.report, peer.heard_at = report, self.now
        self._note_state(peer, "alive")
        if not self.is_loaded:
            return
        follows = report.epoch == self.epoch
        if follows and report.inventory is not None and not peer.has_inventory:
            peer.has_inventory = True
            self.hungry[peer.name] = peer
            running.check_inventory(self, peer, report.inventory)
        if last is None or last.running_version != report.running_version:
            running.compare(self, peer, report)
        if report.results:
            running.take_results(self, peer, report.results)
        if follows:
            running.check_given(self, peer, report)
            self._take_progress(peer, report)

    def _take_progress(self, peer: Peer, report: Report) -> None:
        for plan in report.plans:
            planning.take(self, peer, plan)
        if report.shuffles or peer.shuffles:
            running.take_shuffles(self, peer, report.shuffles)
        for published in report.published:
            publishing.take(self, peer, published)
        running.note_phase(self, report)

    def _note_state(self, peer: Peer, state: str) -> None:
        was, peer.state = peer.state, state  # type: ignore[assignment]
        if was == state:
            return
        if state == "dead":
            heard = f"nothing heard for {self.now - (peer.heard_at or peer.known_since):.0f} s"
            self.announce("peer.lost", f"{peer.name} ({peer.host}) is gone: {heard}", peer=peer.name)
            running.lose(self, peer, peer.forget_boot())
        elif state == "alive":
            self.owe(peer)
            self.hungry[peer.name] = peer
            if was != "suspect":
                self.announce("peer.joined", f"{peer.name} ({peer.host}) is there", peer=peer.name)

    def _watch_peers(self) -> None:
        for peer in self.peers.values():
            state = peer.state_at(self.now)
            if state != peer.state:
                self._note_state(peer, state)
            if self.now >= peer.next_orders_at:
                self._owed[peer.name] = peer

    # -- runs

    def _load(self, active: Iterable[ActiveRun]) -> None:
        for one in active:
            run = self.runs[one.record.run_id] = Run(one.record, self.now)
            if one.record.plan is not None:
                run.begin_tasks(one.record.plan, one)
                run.enter_phase("map" if run.maps_left else "shuffle", self.now)
            if one.record.status == "publishing":
                run.stage = "publishing"
        self.is_loaded = True
        self._end_runs_of_changed_jobs()
        for peer in self.peers.values():
            if peer.report is not None:
                running.compare(self, peer, peer.report)
                running.take_results(self, peer, peer.report.results)
        self.owe_everybody()

    def _begin_runs(self) -> None:
        if not self._knows_jobs:
            return
        while len(self.runs) + len(self._beginning) < self.settings.concurrent_runs:
            job = self.backlog.next_job({run.job_name for run in self.runs.values()} | self._beginning)
            if job is None:
                return
            self._beginning.add(job.name)
            self.write(BeginRun(job.name, job.version))

    def _end_runs_of_changed_jobs(self) -> None:
        """Runs of jobs that were deleted or replaced end, unless their output is about to be seen."""
        if not self._knows_jobs:
            return
        for run in self.runs.values():
            job = self.backlog.jobs.get(run.job_name)
            if run.stage not in ("publishing", "ending") and (
                job is None or job.version != run.record.job_version
            ):
                running.end(self, run, "replaced" if job else "deleted", None)

    def _take_outcome(self, write: Write, outcome: object) -> None:
        match write:
            case BeginRun(job_name):
                self._beginning.discard(job_name)
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
        match write:
            case SavePlan():
                planning.saved(self, run)
            case CommitTasks() if isinstance(outcome, list | tuple):
                running.committed(self, run, write, outcome)
            case ReleaseTasks(_, attempts):
                run.is_releasing = False
                for attempt in attempts:
                    run.release(attempt)
                self.feed_everybody()
            case BeginPublication():
                publishing.begun(self, run)

    def _forget(self, record: RunRecord) -> None:
        run = self.runs.pop(record.run_id, None)
        for peer in self.peers.values():
            for attempt in [one for one in peer.attempts if one.run_id == record.run_id]:
                peer.take_back(attempt)
            if peer.report is not None:
                running.compare(self, peer, peer.report)
        self.owe_everybody()
        self._commands.append(Ended(record))
        why = f": {record.exception.splitlines()[0]}" if record.exception else ""
        self.announce(f"run.{record.status}", f"{record.run_id} {record.status}{why}", run)

    # -- orders

    def _send_orders(self) -> None:
        owed, self._owed = self._owed, {}
        for peer in owed.values():
            peer.next_orders_at = self.now + REPORT_SECONDS
            self._commands.append(SendOrders(self._orders(peer)))

    def _orders(self, peer: Peer) -> Orders:
        peer.sequence += 1
        unseen = []
        for given in peer.attempts.values():
            given.sequence = given.sequence or peer.sequence
            if not given.is_seen:
                unseen.append(given.assignment)
        if peer.runs is None:
            peer.runs = tuple(run.order(peer.name) for run in self.runs.values() if run.stage != "ending")
        return Orders(
            incarnation=self.incarnation,
            epoch=self.epoch,
            leader=self.name,
            peer=peer.name,
            boot=peer.report.boot if peer.report else 0,
            sequence=peer.sequence,
            jobs_change=self.backlog.change,
            wants_inventory=not peer.has_inventory,
            runs=peer.runs,
            plans=planning.orders(self, peer),
            assignments=tuple(unseen),
            cancelled=peer.cancelled,
            sources=running.sources_orders(self, peer),
            publish=publishing.orders(self, peer),
            acknowledged=self._acknowledgements(peer),
        )

    def _acknowledgements(self, peer: Peer) -> tuple[Acknowledged, ...]:
        """What has become of the results that the peer still repeats."""
        if peer.report is None or not peer.report.results:
            return ()
        fates = ((result.id, self._fate(result.id)) for result in peer.report.results)
        return tuple(Acknowledged(attempt, keep) for attempt, keep in fates if keep is not None)

    def _fate(self, attempt: AttemptId) -> bool | None:
        """Whether the files of a finished attempt are kept; None while that is not decided."""
        run = self.runs.get(attempt.run_id)
        task = run.tasks.get(attempt.task) if run else None
        if task is None:
            return False
        if task.committing == attempt:
            return None
        return task.committed is not None and task.committed.id == attempt

"""Requests of consoles: queries are answered here, commands are passed to `commands`."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from pymr import __version__
from pymr.config.cluster import ClusterConfig, PeerConfig
from pymr.control.counted_runs import counting_of, is_counted
from pymr.control.leader.leader import Leader
from pymr.control.stored_state import Event, JobRecord, JobState, RunRecord
from pymr.engine.input.files import BAD_RECORDS_NAME
from pymr.jobs.run_ids import run_number
from pymr.peer.disk.bad_records import read_bad_records
from pymr.peer.disk.job_table import JobTableCopy
from pymr.peer.disk.local_state import LocalState
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.input.consumed import Seen, consumed_page, forget, look
from pymr.peer.input.consumed_lists import HostLists
from pymr.peer.loop.disk_threads import Disk
from pymr.peer.output.publication import listed_output, output_manifest
from pymr.peer.output.removed_peers import RemovedPeers
from pymr.peer.requests import views
from pymr.peer.requests.commands import ClusterSnapshot, Commands, Respond, ask_store, refused
from pymr.peer.requests.input_lock import InputLocks
from pymr.peer.requests.previews import Previews
from pymr.peer.store.store import StoreUnavailable
from pymr.peer.store.thread import StoreThread
from pymr.wire.output_shares import OutputShare, expected_shares, shown_shares
from pymr.wire.protocol import MachineFigures
from pymr.wire.requests import (
    RUNS_PER_PAGE,
    AttachWorker,
    BadRecordsView,
    ClusterView,
    DetachWorker,
    Done,
    EventsView,
    ForgetState,
    GetBadRecords,
    GetCluster,
    GetEvents,
    GetHistory,
    GetJob,
    GetJobs,
    GetMemory,
    GetOutput,
    GetPeers,
    GetState,
    GetWorkers,
    JobView,
    MemoryView,
    OutputView,
    PeersView,
    PreviewJob,
    Refused,
    Reply,
    Request,
    StateView,
    StopPeer,
    TypeIntoWorker,
    WorkersView,
)
from pymr.wire.rows import OutputPart, PeerRow
from pymr.wire.sockets import Sender

EVENTS_MAX = 1_000

STORE_WAIT_SECONDS = 2.0
"""How long a listing waits for its turn at Redis, before it tells what was known last."""

SILENCE_SECONDS = 5.0
"""For how long a Redis that was silent is not asked for listings, while the lease cannot reach it either."""

_log = logging.getLogger("pymr")


class Queries:
    """Answers one request after another; some later, when Redis or the disk has answered.

    standing: how things stand. wake_leader: tells the leader that the job table has changed. stop: ends this
    peer, at once or after a drain.
    """

    def __init__(
        self,
        config: ClusterConfig,
        me: PeerConfig,
        *,
        state: LocalState,
        store: StoreThread,
        disk: Disk,
        jobs: JobTableCopy,
        input_locks: InputLocks,
        previews: Previews,
        snapshot: Callable[[], ClusterSnapshot],
        wake_leader: Callable[[], None],
        stop: Callable[[bool], None],
    ) -> None:
        self._config = config
        self._me = me
        self._state = state
        self._store = store
        self._disk = disk
        self._jobs = jobs
        self._input_locks = input_locks
        self._previews = previews
        self._snapshot = snapshot
        self._stop = stop
        self._job_views = views.JobViews(config)
        self._is_silent_until = float("-inf")
        self._removed = RemovedPeers(PeerPaths(me.data_dir), disk, [peer.name for peer in config.peers])
        self._commands = Commands(config, me, state, store, jobs, snapshot, wake_leader)

    def look(self) -> None:
        """See how far the runs are; to be called about once a second."""
        self._job_views.look(self._snapshot().leader, time.monotonic())

    def answer(self, request: Request, sender: Sender, respond: Respond) -> None:
        """Do what is asked; `respond` is called once, now or later. The reply tells what is wrong with the
        cluster as well, so that nobody takes what was known last for what is so."""

        def respond_with_problem(reply: Reply) -> None:
            outage = self._snapshot().outage
            respond(replace(reply, problem=outage) if outage and not reply.problem else reply)

        self._answer(request, sender, respond_with_problem)

    def _answer(self, request: Request, sender: Sender, respond: Respond) -> None:
        match request:
            case GetCluster():
                respond(self._cluster(request, sender))
            case GetJobs() | GetJob():
                self._answer_jobs(request, respond)
            case GetPeers():
                respond(self._peers(request))
            case GetWorkers():
                leader = self._snapshot().leader
                rows = (
                    views.worker_rows(self._config, leader)
                    if leader
                    else views.own_workers(self._me, self._snapshot().report)
                )
                respond(WorkersView(id=request.id, rows=rows, is_partial=leader is None))
            case GetHistory() | GetEvents():
                self._answer_past(request, respond)
            case GetOutput():
                self._answer_output(request, respond)
            case GetState() | ForgetState():
                self._answer_state(request, respond)
            case GetBadRecords():
                self._answer_bad_records(request, respond)
            case GetMemory():
                kept = self._jobs.as_kept()
                respond(
                    MemoryView(
                        id=request.id,
                        incarnation=self._state.incarnation or "",
                        epoch=self._state.epoch,
                        change=kept.change,
                        jobs=len(kept.jobs),
                    )
                )
            case AttachWorker() | TypeIntoWorker() | DetachWorker():
                respond(self._input_locks.answer(request))
            case PreviewJob():
                self._previews.answer(request, respond)
            case StopPeer(drain=drain):
                _log.info("%s asks this peer to stop", sender.name)
                respond(Done(id=request.id, detail="draining" if drain else "stopping"))
                self._stop(drain)
            case _:
                self._commands.execute(request, sender.user, respond)

    # -- looking

    def _cluster(self, request: GetCluster, sender: Sender) -> ClusterView:
        snapshot = self._snapshot()
        leader = snapshot.leader
        alive = [peer for peer in leader.peers.values() if peer.is_alive] if leader else []
        reports = [peer.report for peer in alive] if leader else [snapshot.report]
        return ClusterView(
            id=request.id,
            name=self._config.name,
            peer=self._me.name,
            incarnation=snapshot.incarnation,
            leader=snapshot.leader_name,
            epoch=snapshot.epoch,
            paused=self._jobs.table.is_paused,
            peers_alive=len(alive),
            peers=len(self._config.peers),
            workers=sum(peer.workers for peer in self._config.peers),
            workers_busy=sum(len(peer.report.running) for peer in alive if peer.report),
            jobs=len(self._jobs.table.jobs),
            version=__version__,
            role=sender.role,
            problem=snapshot.problem,
            is_draining=snapshot.is_draining,
            breakpoints=views.at_breakpoints(reports),
        )

    def _peers(self, request: GetPeers) -> PeersView:
        snapshot = self._snapshot()
        if snapshot.leader is not None:
            rows = views.peer_rows(self._config, snapshot.leader)
            return PeersView(id=request.id, rows=(*rows, *self._removed.rows()))
        rows = tuple(
            PeerRow(
                name=peer.name,
                address=views.address_of(peer.host, peer.control_port),
                data_address=views.address_of(peer.host, peer.data_port),
                pid=snapshot.report.pid if peer is self._me and snapshot.report else 0,
                workers=peer.workers,
                alive=peer is self._me,
                epoch=snapshot.epoch if peer is self._me else 0,
                state="alive" if peer is self._me else "unknown",
                heard=0.0 if peer is self._me else None,
                machine=snapshot.report.machine if peer is self._me and snapshot.report else MachineFigures(),
            )
            for peer in self._config.peers
        )
        return PeersView(id=request.id, rows=(*rows, *self._removed.rows()))

    def _answer_jobs(self, request: GetJobs | GetJob, respond: Respond) -> None:
        """From the table as Redis has it now; as it was last known where Redis does not answer."""

        def answer(_: object = None) -> None:
            leader = self._snapshot().leader
            if isinstance(request, GetJobs):
                respond(self._job_views.page(request.id, self._jobs.table, leader, request.start))
            else:
                self._answer_job(request, self._jobs.table.jobs.get(request.job_name), leader, respond)

        self._refresh(answer, answer)

    def _refresh(self, on_done: Callable[[], object], on_error: Callable[[Exception], object]) -> None:
        """Read what has changed of the jobs, then call. A Redis that was silent a moment ago is not waited
        for again: of several questions at once, none would be answered in time."""

        def fail(error: Exception) -> None:
            self._is_silent_until = time.monotonic() + SILENCE_SECONDS
            on_error(error)

        if self._is_cut_off:
            on_error(StoreUnavailable(self._snapshot().outage))
        else:
            self._jobs.refresh(on_done, fail, timeout_s=STORE_WAIT_SECONDS)

    @property
    def _is_cut_off(self) -> bool:
        return bool(self._snapshot().outage) and time.monotonic() < self._is_silent_until

    def _answer_job(
        self, request: GetJob, job: JobRecord | None, leader: Leader | None, respond: Respond
    ) -> None:
        run = leader.runs.get(job.run_id or "") if leader and job else None
        totals = run.totals() if run else None

        def answer(runs: tuple[RunRecord, ...]) -> None:
            row, phases = self._job_views.job(job, self._jobs.table, leader) if job else (None, ())
            respond(
                JobView(
                    id=request.id,
                    row=row,
                    phases=phases,
                    tasks=views.task_rows(leader, run) if leader and run else (),
                    partition_bytes=views.partition_bytes(run) if run else (),
                    counters=totals.counters if totals else {},
                    warnings=totals.warnings if totals else (),
                    failed_attempts=views.failed_attempts(run) if run else (),
                    runs=tuple(views.run_row(one) for one in runs),
                    left_fields=runs[0].fields if runs and job is None else {},
                    removed=self._removed.of_job(request.job_name),
                )
            )

        if self._is_cut_off:
            answer(())
            return
        self._store.ask(
            lambda store: store.history(request.job_name, 20),
            answer,
            lambda _: answer(()),
            timeout_s=STORE_WAIT_SECONDS,
        )

    def _answer_past(self, request: GetHistory | GetEvents, respond: Respond) -> None:
        def answer_events(events: list[tuple[str, float, Event]]) -> None:
            rows = tuple(views.event_row(id, when, event) for id, when, event in events)
            respond(EventsView(id=request.id, rows=rows))

        ask = partial(ask_store, self._store, request, is_patient=not self._snapshot().outage)
        if self._is_cut_off:
            respond(Refused(id=request.id, code="unavailable", reason=self._snapshot().outage))
        elif isinstance(request, GetHistory):
            name, start, limit = request.job_name, request.start, min(request.limit, RUNS_PER_PAGE)
            ask(
                lambda store: store.history(name, limit, start),
                lambda runs: respond(views.history_page(request.id, runs, start, limit)),
                respond,
            )
        else:
            after, limit = request.after, min(request.limit, EVENTS_MAX)
            ask(lambda store: store.events(after, limit), answer_events, respond)

    def _answer_state(self, request: GetState | ForgetState, respond: Respond) -> None:
        """What a job has consumed on this host, or less of it from now on; by what Redis says now."""
        name = request.job_name
        lists = HostLists(self._me, self._near)

        def refuse(error: Exception) -> None:
            respond(refused(request, error))

        def answer(seen: Seen) -> None:
            job, state = self._jobs.table.jobs.get(name), self._jobs.table.states.get(name)
            if state is not None and not state.run_id:
                state = None  # it tells of the output alone
            if isinstance(request, GetState):
                self._disk.do("ask", lambda: _state_view(request, lists, state), respond, refuse)
            elif state is None:
                reason = f"{name} has consumed nothing: no run of it with hold_state has succeeded yet"
                respond(Refused(id=request.id, code="unknown", reason=reason))
            elif job is not None and job.status == "running":
                reason = f"{name} is running: wait for the end of {job.run_id}, then forget once more"
                respond(Refused(id=request.id, code="invalid", reason=reason))
            else:
                pattern = request.pattern
                self._disk.do(
                    "ask",
                    lambda: forget(lists, name, state, pattern, seen),
                    lambda count: respond(Done(id=request.id, detail=str(count))),
                    refuse,
                )

        self._disk.do(
            "ask",
            lambda: look(lists, name),
            lambda seen: self._refresh(lambda: answer(seen), refuse),
            refuse,
        )

    def _answer_bad_records(self, request: GetBadRecords, respond: Respond) -> None:
        near = [PeerPaths(peer.data_dir) for peer in self._near]

        def answer(page: tuple[tuple[str, ...], int | None]) -> None:
            respond(BadRecordsView(id=request.id, lines=page[0], next=page[1]))

        self._disk.do(
            "ask",
            lambda: read_bad_records(near, request.run_id, request.start),
            answer,
            lambda error: respond(refused(request, error)),
        )

    @property
    def _near(self) -> list[PeerConfig]:
        """All peers of this host."""
        return [peer for peer in self._config.peers if peer.host == self._me.host]

    def _answer_output(self, request: GetOutput, respond: Respond) -> None:
        """The parts of all peers of this host, if they show the same run; of runs that count, by what Redis
        says now. Where it does not answer, all do but one that is known to have failed."""
        self._refresh(
            lambda: self._list_output(request, respond, self._jobs.table.states.get(request.job_name)),
            lambda _: self._list_output(request, respond, None),
        )

    def _list_output(self, request: GetOutput, respond: Respond, state: JobState | None) -> None:
        job = self._jobs.table.jobs.get(request.job_name)
        failed_run = job.run_id if job is not None and job.status == "failed" else None
        is_told = state is not None and (state.shown or state.uncounted)
        counting = counting_of(state) if is_told else None

        def counts(run_id: str) -> bool:
            return run_id != failed_run and is_counted(run_id, counting)

        def work() -> OutputView | Refused:
            parts: list[OutputPart] = []
            expected: list[OutputShare] = []
            shown: list[OutputShare] = []
            run_ids = set()
            for peer in self._near:
                manifest = output_manifest(PeerPaths(peer.data_dir), request.job_name)
                run_id, listed = listed_output(manifest, counts)
                run_ids.add(run_id)
                if manifest is not None:
                    expected += expected_shares(manifest, {run_id}, counts)
                    shown += shown_shares(manifest | {"parts": listed}, peer.name)
                parts += [OutputPart(peer.name, part.name, part.items, part.length) for part in listed]
                parts += _bad_records(peer, request.job_name)
            found = run_ids - {""}
            if len(found) > 1 or ("" in run_ids and any(_may_be_under_way(job, run) for run in found)):
                reason = "the output is being replaced at this moment; ask again"
                return Refused(id=request.id, code="changing", reason=reason)
            return OutputView(
                id=request.id,
                run_id=found.pop() if found else "",
                parts=tuple(parts),
                expected=tuple(dict.fromkeys(expected)),
                shown=tuple(shown),
            )

        self._disk.do("ask", work, respond, lambda error: respond(refused(request, error)))


def _may_be_under_way(job: JobRecord | None, run_id: str) -> bool:
    """Whether a run that some peers show may not be shown by all of them yet."""
    if job is None or (not job.run_id and job.status != "running"):  # none has begun of what is queued now
        return False
    known = run_number(job.run_id or "")
    return run_number(run_id) > known or (job.status == "running" and job.run_id == run_id)


def _state_view(request: GetState, lists: HostLists, state: JobState | None) -> StateView:
    if state is None:
        return StateView(id=request.id, run_id="", rows=(), total=0)
    rows, total = consumed_page(lists, request.job_name, state.run_id, request.start)
    return StateView(id=request.id, run_id=state.run_id, rows=rows, total=total)


def _bad_records(peer: PeerConfig, job_name: str) -> list[OutputPart]:
    """The list of bad records beside the parts of an output, where there is one."""
    try:
        length = os.path.getsize(os.path.join(PeerPaths(peer.data_dir).output(job_name), BAD_RECORDS_NAME))
    except FileNotFoundError:
        return []
    return [OutputPart(peer.name, BAD_RECORDS_NAME, 0, length)]

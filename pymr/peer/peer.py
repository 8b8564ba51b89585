"""A peer: the loop with everything around it. Hears peers and consoles, follows a leader, or leads."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from pymr import __version__
from pymr.base.faults import fault_point
from pymr.config.cluster import ClusterConfig, PeerConfig
from pymr.control.follower.events import (
    Drain,
    Fence,
    InputLocksHeld,
    Learned,
    Ordered,
    PeerCommand,
    PeerEvent,
    PeerTick,
    ReadJobs,
    SendReport,
)
from pymr.control.follower.follower import Follower
from pymr.control.messages import PeerInfo, Reported
from pymr.peer.disk.job_table import JobTableCopy
from pymr.peer.disk.local_state import LocalState
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.disk.unpacked_projects import UnpackedProjects
from pymr.peer.epoch_guard import EpochGuard
from pymr.peer.executor import Executor
from pymr.peer.leader_driver import TICK_SECONDS, LeaderDriver
from pymr.peer.links import Links
from pymr.peer.loop.disk_threads import Disk
from pymr.peer.loop.loop import Loop
from pymr.peer.loop.threads import Thread
from pymr.peer.machine import Measurements
from pymr.peer.panes.panes import PaneStore
from pymr.peer.panes.sweep import PaneSweep
from pymr.peer.panes.writers import PaneWriters
from pymr.peer.recovery_scan import clear_foreign_runs, found_runs, held_attempts
from pymr.peer.requests.commands import ClusterSnapshot
from pymr.peer.requests.input_lock import InputLocks
from pymr.peer.requests.leader_proxy import LeaderProxy
from pymr.peer.requests.previews import Previews
from pymr.peer.requests.queries import Queries
from pymr.peer.store.lease import TURN_SECONDS_MAX, Lease, LeaseView
from pymr.peer.store.outages import Outages
from pymr.peer.store.store import Store
from pymr.peer.store.thread import StoreThread
from pymr.peer.upload_sweep import UploadSweep
from pymr.peer.worker_news import worker_news
from pymr.peer.workers import events
from pymr.peer.workers.fork_server import ForkServer
from pymr.peer.workers.pool import Workers
from pymr.wire.keys import Security
from pymr.wire.protocol import SUSPECT_SECONDS, Fenced, Orders, PeerMessage, Relay, Relayed, Report, Wake
from pymr.wire.requests import Reply, Request
from pymr.wire.sockets import Authenticator, Endpoint, Sender, shared_context

MEASURE_SECONDS = 1.0
"""Between two measurements of the machine."""

LOOK_SECONDS = 1.0
"""Between two looks at how far the runs are, by which consoles are told of the time left."""

DRAIN_SECONDS_MAX = 60.0
"""How long a peer that is asked to stop lets its tasks go on, before they are left to others."""

THREAD_END_SECONDS_MAX = 2.0
DATA_RETRY_SECONDS = 2.0

_log = logging.getLogger("pymr")


class Peer:
    """One peer of a cluster, from its start to its end. Everything in it happens in the loop's thread.

    fork_server: forked before this process had any thread. failure: why it ends without being asked to; ""
    else. Raises StartError and ConfigError for what keeps it from starting.
    """

    def __init__(
        self,
        config: ClusterConfig,
        me: PeerConfig,
        *,
        security: Security,
        password: str | None,
        fork_server: ForkServer,
        loop: Loop,
    ) -> None:
        self._config = config
        self._me = me
        self._security = security
        self._loop = loop
        self._fork_server = fork_server
        self.failure = ""
        self._is_stopping = False
        self._report: Report | None = None
        self._leading: LeaderDriver | None = None
        self._lease_view = LeaseView("candidate")
        self._outages = Outages()
        paths = PeerPaths(me.data_dir)
        self._state = LocalState(paths)
        if self._state.incarnation is None:
            clear_foreign_runs(paths)
        held, runs = held_attempts(paths), found_runs(paths)

        def make_store() -> Store:
            return Store(config.redis.url, password, config.name, known=self._state.known)

        self._store = StoreThread("store", make_store, loop.call_soon)
        self._leader_store = StoreThread("leader-store", make_store, loop.call_soon)
        self._disk = Disk(loop.call_soon)
        self._measurements = Measurements(me.data_dir, self._disk)
        self._state_thread = Thread("state", loop.call_soon)
        projects = UnpackedProjects(paths, self._disk, self._store, loop.call_later)
        self._context = shared_context()
        self._links = Links(self._context, me, config.peers, security)
        self._authenticator = Authenticator(self._context, security)
        self._endpoint = Endpoint(self._context, me.host, me.control_port, security, self._on_message)
        loop.watch_socket(self._endpoint)
        panes = PaneStore(Path(paths.panes))
        self._pane_writers = PaneWriters(panes, loop.call_soon)
        self._workers = Workers(
            me.name, me.workers, fork_server, self._pane_writers, self._on_worker, loop.watch, loop.unwatch
        )
        self._executor = Executor(
            config,
            me,
            workers=self._workers,
            disk=self._disk,
            projects=projects,
            incarnation=lambda: self._state.incarnation or "",
            on_event=lambda event: loop.call_soon(lambda: self._step(event)),
            call_later=loop.call_later,
        )
        loop.watch(self._executor.data.fileno(), self._on_data)
        self._follower = Follower(
            PeerInfo(me.name, me.host, me.workers),
            {peer.name: peer.host for peer in config.peers},
            boot=self._state.boot,
            pid=os.getpid(),
            version=__version__,
            incarnation=self._state.incarnation or "",
            epoch=self._state.epoch,
            held=held,
            found_runs=runs,
            now=time.monotonic(),
        )
        self._epoch_guard = EpochGuard(
            me.name,
            paths.state,
            memory=self._state,
            do=self._state_thread.do,
            carry_out=self._carry_out,
            call_later=loop.call_later,
            end=loop.stop,
        )
        self._jobs = JobTableCopy(
            self._state,
            self._store,
            self._state_thread,
            lambda: self._lease_view.incarnation or "",
            loop.call_later,
        )
        PaneSweep(panes, config.panes, self._store, self._disk, self._executor.known_runs, loop.call_every)
        UploadSweep(me.data_dir, self._jobs, self._disk, self._executor.fields_of_runs, loop.call_every)
        self._input_locks = InputLocks(
            me.name,
            me.workers,
            type_into=self._workers.type_into,
            resize=self._workers.resize,
            is_driving=self._workers.is_driving,
            on_change=lambda holders: self._step(InputLocksHeld(holders)),
            clock=time.monotonic,
        )
        self._queries = Queries(
            config,
            me,
            state=self._state,
            store=self._store,
            disk=self._disk,
            jobs=self._jobs,
            input_locks=self._input_locks,
            previews=Previews(config, me, self._store, self._disk, projects, self._workers, loop.call_later),
            snapshot=self._snapshot,
            wake_leader=self._wake_leader,
            stop=self.stop,
        )
        self._leader_proxy = LeaderProxy(me.name, self._links.send, loop.call_later)
        self._lease = Lease(
            config.redis.url,
            password,
            config.name,
            peer=me.name,
            boot=self._state.boot,
            state=self._state,
            on_change=lambda view: loop.call_soon(lambda: self._on_lease(view)),
            turns=lambda: time.monotonic() - loop.turned_at < TURN_SECONDS_MAX,
        )
        loop.call_every(TICK_SECONDS, self._tick)
        loop.call_every(MEASURE_SECONDS, self._measurements.measure)
        loop.call_every(LOOK_SECONDS, self._queries.look)

    def begin(self) -> None:
        """Begin to take part; the loop does the rest."""
        self._lease.start()
        self._warn_of_settings()
        self._executor.begin()
        self._links.warm()
        _log.info(
            "%s is up: %d workers, control on %s:%d, data on %s:%d, %s",
            self._me.name, self._me.workers, self._me.host, self._endpoint.port, self._me.host,
            self._me.data_port, "with keys" if self._security.has_keys else "without keys, loopback only",
        )  # fmt: skip

    def stop(self, drain: bool) -> None:
        """End this peer: after what it is doing, or at once."""
        if drain and not self._is_stopping:
            self._is_stopping = True
            _log.info("draining: no new tasks; the present ones may go on for %.0f s", DRAIN_SECONDS_MAX)
            self._lease.compete = False
            self._step(Drain())
            self._loop.call_later(DRAIN_SECONDS_MAX, self._loop.stop)
        elif not drain:
            self._is_stopping = True
            self._loop.call_later(0.05, self._loop.stop)  # after the answer to whoever asked

    def close(self) -> None:
        """Free everything; what was not done is left to the next start, or to others."""
        if self._leading is not None:
            self._leading.end(0.0, "this peer ends")
        self._lease.stop()
        self._workers.close()
        self._executor.data.close()
        self._fork_server.close()
        self._jobs.keep()
        for thread in (self._store, self._leader_store, self._state_thread, self._pane_writers, self._disk):
            thread.stop(THREAD_END_SECONDS_MAX)
        self._links.close()
        self._state.close()  # before the port: where nobody listens, another process may begin
        self._endpoint.close()
        self._authenticator.close()
        self._context.destroy(linger=1_000)

    # -- the lease

    def _on_lease(self, view: LeaseView) -> None:
        before, self._lease_view = self._lease_view, view
        self._outages.see(view)
        if view.problem and view.problem != before.problem:
            _log.warning("%s", view.problem)
        if before.problem and not view.problem:
            _log.info("Redis is there again")
        if view.incarnation:
            self._step(Learned(view.incarnation, view.epoch, view.leader))
        if view.state != "leader":
            if self._leading is not None:
                self._leading.end(0.0, f"the lease is lost ({view.state})")
        elif self._leading is None or self._leading.core.epoch != view.epoch:
            self._lead(view)
        if view.incarnation and view.incarnation != before.incarnation:
            self._jobs.follow()

    def _lead(self, view: LeaseView) -> None:
        if self._leading is not None:
            self._leading.end(0.0, "a new epoch has begun")
        epoch = view.epoch
        _log.info("%s leads in epoch %d", self._me.name, epoch)
        self._leading = LeaderDriver(
            self._config,
            self._me.name,
            epoch=epoch,
            incarnation=view.incarnation or "",
            store=self._leader_store,
            is_leader=lambda: self._lease.is_leader() and self._lease_view.epoch == epoch,
            send=self._send_orders,
            call_soon=self._loop.call_soon,
            on_end=self._on_leading_end,
        )
        self._leading.begin(self._outages.take_events())

    def _on_leading_end(self, seconds: float, reason: str) -> None:
        _log.warning("%s no longer leads: %s", self._me.name, reason)
        self._leading = None
        if seconds:
            self._lease.cool_down(seconds)
        elif self._lease.is_leader():
            self._lease.release()

    # -- messages

    def _on_message(self, sender: Sender, message: PeerMessage | Request) -> None:
        match message:
            case Report():
                self._on_report(message)
            case Orders():
                self._step(Ordered(message))
            case Fenced():
                if self._leading is not None and message.epoch > self._leading.core.epoch:
                    self._leading.end(0.0, f"{message.peer} follows a leader of epoch {message.epoch}")
            case Wake():
                if self._leading is not None:
                    self._leading.read_jobs()
            case Relay():
                self._answer_relay(sender, message)
            case Relayed():
                self._leader_proxy.take(message)
            case _:
                self._answer(sender, message)

    def _on_report(self, report: Report) -> None:
        if self._leading is not None:
            self._leading.step(Reported(report))

    def _answer(self, sender: Sender, request: Request) -> None:
        def respond(reply: object) -> None:
            self._endpoint.reply(sender, reply)  # type: ignore[arg-type]

        def answer_here() -> None:
            self._queries.answer(request, sender, respond)

        def as_own(reply: Reply) -> None:
            respond(self._leader_proxy.as_own(reply, sender.role, is_draining=self._is_stopping))

        leader = self._follower.leader_at(time.monotonic())
        if self._leading is None and leader not in ("", self._me.name) and LeaderProxy.is_for_leader(request):
            self._leader_proxy.ask(leader, request, as_own, answer_here)
        else:
            answer_here()

    def _answer_relay(self, sender: Sender, relay: Relay) -> None:
        if self._leading is not None:
            self._leader_proxy.answer(
                relay, lambda request, respond: self._queries.answer(request, sender, respond)
            )

    def _send_orders(self, orders: Orders) -> None:
        if orders.peer == self._me.name:
            self._loop.call_soon(lambda: self._step(Ordered(orders)))
        else:
            self._links.send(orders.peer, orders)

    def _wake_leader(self) -> None:
        if self._leading is not None:
            self._leading.read_jobs()
        elif self._follower.leader:
            self._links.send(self._follower.leader, Wake(self._jobs.table.change))

    def _snapshot(self) -> ClusterSnapshot:
        leader = self._leading.core if self._leading else None
        own = self._epoch_guard.problem, self._state.epoch
        return ClusterSnapshot.of(self._lease_view, *own, leader, self._report, self._is_stopping)

    # -- following

    def _step(self, event: PeerEvent) -> None:
        for command in self._follower.step(event, time.monotonic()):
            self._epoch_guard.take(command)
        if self._is_stopping and self._follower.is_draining and self._follower.is_idle:
            self._loop.stop()

    def _carry_out(self, command: PeerCommand) -> None:
        try:
            self._do(command)
        except Exception:  # whatever is wrong with one command, those behind it were decided as well
            _log.exception("a %s was not carried out", type(command).__name__)

    def _do(self, command: PeerCommand) -> None:
        match command:
            case SendReport(leader, report):
                self._report = report
                if leader == self._me.name:
                    self._loop.call_soon(lambda: self._on_report(report))
                else:
                    self._links.send(leader, report)
            case Fence(leader, epoch):
                self._links.send(leader, Fenced(self._me.name, epoch))
            case ReadJobs():
                self._jobs.follow()
            case _:
                self._executor.carry_out(command)

    def _on_worker(self, event: events.WorkerEvent) -> None:
        self._loop.call_soon(lambda: self._on_worker_event(event))

    def _on_worker_event(self, event: events.WorkerEvent) -> None:
        if isinstance(event, events.ForkServerDied):
            self.failure = "the process that starts workers has ended; this peer ends, to be started again"
            _log.error("%s", self.failure)
            self._loop.stop()
            return
        for news in worker_news(event, self._workers):
            self._step(news)

    def _on_data(self) -> None:
        data = self._executor.data
        data.on_ready()
        if data.has_died:
            _log.error("the data service has ended; starting it again")
            self._loop.unwatch(data.fileno())
            self._restart_data_service()

    def _restart_data_service(self) -> None:
        try:
            self._executor.restart_data_service()
        except OSError as error:
            _log.error("the data service cannot be started, and is tried again: %s", error)
            self._loop.call_later(DATA_RETRY_SECONDS, self._restart_data_service)
            return
        self._loop.watch(self._executor.data.fileno(), self._on_data)

    # -- time

    def _tick(self) -> None:
        fault_point("peer.tick")
        now = time.monotonic()
        self._workers.tick(now)
        self._endpoint.look_for_failed_handshakes(now)
        self._input_locks.look()
        self._step(PeerTick(self._measurements.figures))
        if self._leading is not None:
            self._leading.tick()
        self._renew_links(now)

    def _renew_links(self, now: float) -> None:
        silent = set()
        if now - self._follower.orders_at > SUSPECT_SECONDS:
            silent.add(self._follower.leader)
        if self._leading is not None:
            silent |= {peer.name for peer in self._leading.core.peers.values() if peer.state != "alive"}
        self._links.renew(silent, now)

    def _warn_of_settings(self) -> None:
        self._store.ask(
            lambda store: store.check_settings(),
            lambda warnings: _log.warning("%s", "; ".join(warnings)) if warnings else None,
            lambda _: None,
        )

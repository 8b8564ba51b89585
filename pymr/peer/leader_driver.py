"""The leader: carries out what `control.leader.leader` decides, for as long as the lease lasts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from pymr.base.errors import StaleEpochError
from pymr.base.faults import fault_point
from pymr.config.cluster import ClusterConfig
from pymr.control.leader.leader import Leader
from pymr.control.long_work import LongWork
from pymr.control.messages import (
    Abdicate,
    Announce,
    Continued,
    ContinueSoon,
    DoWrite,
    Ended,
    JobsChanged,
    LeaderCommand,
    LeaderEvent,
    LeaderSettings,
    PeerInfo,
    PresenceSeen,
    RunsLoaded,
    SendOrders,
    Tick,
    Written,
)
from pymr.control.stored_state import EndRun, Event, JobChanges, Write
from pymr.peer.loop.threads import Unavailable
from pymr.peer.store.store import Store, StoreForgot
from pymr.peer.store.thread import StoreThread
from pymr.wire.protocol import Orders

TICK_SECONDS = 0.1

LOOK_SECONDS = 1.0
"""A leader looks this often, unasked, at the job table and at who is there: a message that something is new
may have been lost."""

FAILED_SECONDS = 2.0
"""A leader that met an error nobody foresaw stays away from the lease for this long."""

_log = logging.getLogger("pymr")


def peer_facts(config: ClusterConfig) -> list[PeerInfo]:
    """The peers of a configuration, in its order."""
    return [PeerInfo(peer.name, peer.host, peer.workers) for peer in config.peers]


class LeaderDriver:
    """One leadership of this peer.

    is_leader: whether the lease is held at this moment; asked before every effect. send: gives orders to a
    peer. call_soon: calls back in the loop when others have had their turn. on_end: called once, with the
    seconds to stay away from the lease, when this leadership is over.
    """

    def __init__(
        self,
        config: ClusterConfig,
        name: str,
        *,
        epoch: int,
        incarnation: str,
        store: StoreThread,
        is_leader: Callable[[], bool],
        send: Callable[[Orders], None],
        call_soon: Callable[[Callable[[], object]], object],
        on_end: Callable[[float, str], None],
    ) -> None:
        settings = LeaderSettings(
            config.scheduler.concurrent_runs,
            config.scheduler.machine_grace_seconds,
            config.storage.shared,
            config.scheduler.cycle_seconds,
        )
        self.core = Leader(
            epoch=epoch,
            incarnation=incarnation,
            name=name,
            peers=peer_facts(config),
            settings=settings,
            now=time.monotonic(),
        )
        self._store = store
        self._is_leader = is_leader
        self._send = send
        self._call_soon = call_soon
        self._on_end = on_end
        self._left = LongWork()
        self._is_over = False
        self._is_reading = False
        self._reads_again = False
        self._is_looking = False
        self._look_at = time.monotonic() + LOOK_SECONDS

    def begin(self, events: Sequence[Event] = ()) -> None:
        """Learn what an earlier leader left; nothing is decided before. events: what nobody could be told of
        before somebody led."""
        incarnation, name = self.core.incarnation, self.core.name
        text = f"{name} leads, in epoch {self.core.epoch}"
        for event in (*events, Event(kind="leader.elected", text=text, peer=name)):
            self._announce(Announce(event))
        self._ask(
            lambda store: (
                store.changes(0, incarnation),
                RunsLoaded(store.active_runs(incarnation), store.incarnation()[2]),
            ),
            self._take_over,
        )

    def _take_over(self, found: tuple[JobChanges, RunsLoaded]) -> None:
        changes, loaded = found
        self.step(JobsChanged(changes))
        self.step(loaded)

    def read_jobs(self) -> None:
        """Look at what has changed in the job table."""
        if self._is_reading:
            self._reads_again = True
            return
        self._is_reading = True
        after, incarnation = self.core.job_queue.change, self.core.incarnation
        self._ask(lambda store: store.changes(after, incarnation), self._on_jobs)

    def _on_jobs(self, changes: JobChanges) -> None:
        self._is_reading = False
        if changes.change != self.core.job_queue.change or changes.is_whole:
            self.step(JobsChanged(changes))
        if self._reads_again:
            self._reads_again = False
            self.read_jobs()

    def tick(self) -> None:
        """To be called some ten times a second."""
        self.step(Tick())
        if time.monotonic() >= self._look_at and not (self._is_over or self._is_looking):
            self._look_at = time.monotonic() + LOOK_SECONDS
            self._is_looking = True
            self.read_jobs()
            self._ask(lambda store: frozenset(store.present()), self._on_presence)

    def _on_presence(self, names: frozenset[str]) -> None:
        self._is_looking = False
        self.step(PresenceSeen(names))

    def step(self, event: LeaderEvent) -> None:
        """Let the core decide about an event, and do what it says."""
        if self._is_over:
            return
        if not self._is_leader():
            self.end(0.0, "the lease has run out")
            return
        try:
            self._do(self.core.step(event, time.monotonic()))
        except Exception as error:  # half of a step is done: only a new leadership knows what is true
            _log.exception("the leader failed at %s, so another one is to begin anew", type(event).__name__)
            self.end(FAILED_SECONDS, f"an error in the leader: {error!r}")

    def _do(self, commands: Sequence[LeaderCommand]) -> None:
        for command in commands:
            match command:
                case SendOrders(orders):
                    self._send(orders)
                case DoWrite(ticket, write):
                    self._write(ticket, write)
                case Announce(event_to_tell):
                    _log.info("%s: %s", event_to_tell.kind, event_to_tell.text)
                    self._announce(command)
                case Ended():
                    self.read_jobs()
                case ContinueSoon():
                    self._call_soon(lambda: self.step(Continued()))
                case Abdicate(seconds, reason):
                    self.end(seconds, reason)
                    return

    def end(self, seconds: float, reason: str) -> None:
        """Stop leading; nothing that was decided and not yet done has any effect from here on."""
        if not self._is_over:
            self._is_over = True
            self._on_end(seconds, reason)
            for run in self.core.runs.values():
                self._left.add(run.clear())
            self._let_go()

    def _let_go(self) -> None:
        """Free what was known of the runs, not all at once."""
        if self._left.go_on(self.core.settings.tasks_per_step):
            self._call_soon(self._let_go)

    # -- Redis

    def _write(self, ticket: int, write: Write) -> None:
        epoch, incarnation = self.core.epoch, self.core.incarnation
        self._ask(
            lambda store: _carry_out(store, epoch, incarnation, write),
            lambda outcome: self.step(Written(ticket, outcome)),
        )

    def _announce(self, command: Announce) -> None:
        epoch, incarnation = self.core.epoch, self.core.incarnation
        self._store.ask(
            lambda store: store.add_events(epoch, incarnation, [command.event]),
            lambda _: None,
            lambda error: _log.warning("an event could not be kept: %s", error),
            is_wanted=lambda: not self._is_over and self._is_leader(),
        )

    def _ask(self, work: Callable[[Store], object], on_done: Callable[..., None]) -> None:
        """Ask Redis for as long as this leadership lasts."""
        self._store.ask(
            work,
            lambda outcome: None if self._is_over else on_done(outcome),
            self._on_error,
            is_wanted=lambda: not self._is_over and self._is_leader(),
        )

    def _on_error(self, error: Exception) -> None:
        if self._is_over:
            return
        if isinstance(error, StaleEpochError | StoreForgot):
            self.end(0.0, str(error))
            return
        if isinstance(error, Unavailable):
            self.end(0.0, str(error))  # the lease has gone as well
            return
        _log.error("a write of the leader failed, so another peer is to lead: %s", error, exc_info=error)
        self.end(FAILED_SECONDS, f"a write failed: {error}")


def _carry_out(store: Store, epoch: int, incarnation: str, write: Write) -> object:
    """A write; tests let a leader die on both sides of the one that ends a run."""
    if not isinstance(write, EndRun):
        return store.write(epoch, incarnation, write)
    fault_point("leader.before_end")
    outcome = store.write(epoch, incarnation, write)
    fault_point("leader.after_end")
    return outcome

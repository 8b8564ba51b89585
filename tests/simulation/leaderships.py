"""Leaderships: a Leader on some peer, and the queue of what it asks of Redis."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from simulation.queue_rules import check_decision, check_end_of_cycle

from pymr.base.errors import StaleEpochError
from pymr.control.leader.leader import Leader
from pymr.control.messages import (
    Abdicate,
    Continued,
    ContinueSoon,
    DoWrite,
    Ended,
    JobsChanged,
    LeaderEvent,
    PresenceSeen,
    RunsLoaded,
    SendOrders,
    Tick,
    Written,
)
from pymr.control.stored_state import BeginAttempt, BeginCycle, BeginRun, JobChanges, Write
from pymr.peer.store.store import StoreForgot, StoreUnavailable

if TYPE_CHECKING:
    from simulation.peers import SimulatedPeer

TICK_SECONDS = 0.2
LOOK_SECONDS = 1.0
PRESENCE_SECONDS = 3.0

Question = Callable[[], Any]


class Leadership:
    """One leadership of a peer; what `pymr.peer.leader_driver` is to a real one."""

    def __init__(self, peer: SimulatedPeer, epoch: int) -> None:
        self.peer = peer
        self.epoch = epoch
        self.is_over = False
        cluster = peer.cluster
        self._world = cluster.world
        self._incarnation = cluster.redis.incarnation or ""
        self.core = Leader(
            epoch=epoch,
            incarnation=self._incarnation,
            name=peer.name,
            peers=[one.info for one in cluster.peers.values()],
            settings=cluster.settings,
            now=peer.clock(),
        )
        self._asked: deque[tuple[Question, Callable[[Any], None]]] = deque()
        self._is_asking = False
        self._is_reading = False

    def begin(self) -> None:
        store = self.peer.store
        self._ask(
            lambda: (
                store.changes(0, self._incarnation),
                RunsLoaded(store.active_runs(self._incarnation), store.incarnation()[2]),
            ),
            self._take_over,
        )
        self._tick()
        self._look()

    def _take_over(self, found: tuple[JobChanges, RunsLoaded]) -> None:
        self.step(JobsChanged(found[0]))
        self.step(found[1])

    def _tick(self) -> None:
        if not self.is_over:
            self.step(Tick())
            self.peer.later(TICK_SECONDS, self._tick)

    def _look(self) -> None:
        """A message that there is something new may be lost."""
        if not self.is_over:
            self.read_jobs()
            self._ask(self._present, lambda names: self.step(PresenceSeen(names)))
            self.peer.later(LOOK_SECONDS, self._look)

    def _present(self) -> frozenset[str]:
        heard = self.peer.cluster.present
        return frozenset(name for name, at in heard.items() if self._world.now - at < PRESENCE_SECONDS)

    def read_jobs(self) -> None:
        if self.is_over or self._is_reading:
            return
        self._is_reading = True

        def take(changes: JobChanges) -> None:
            self._is_reading = False
            self.step(JobsChanged(changes))

        self._ask(lambda: self.peer.store.changes(self.core.job_queue.change, self._incarnation), take)

    def step(self, event: LeaderEvent) -> None:
        if self.is_over:
            return
        if not self.peer.cluster.plan.has_bad_clocks and not self.peer.has_lease():
            self.end(0.0, "its lease has run out")
            return
        for command in self.core.step(event, self.peer.clock()):
            match command:
                case SendOrders(orders):
                    self.peer.send(orders.peer, orders)
                case DoWrite(ticket, write):
                    if isinstance(write, BeginRun):
                        self._check_begin(write)
                    elif isinstance(write, BeginCycle):
                        check_end_of_cycle(self.core.job_queue)
                    self._write(ticket, write)
                case Ended():
                    self.read_jobs()
                case ContinueSoon():
                    self.peer.later(self._world.between(0.0, 0.05), lambda: self.step(Continued()))
                case Abdicate(seconds, reason):
                    self.end(seconds, reason)
                    return

    def _check_begin(self, write: BeginRun) -> None:
        running = [run.job_name for run in self.core.runs.values()]
        beginning = self.core.scheduling.beginning.keys() - {write.job_name}
        check_decision(self.core.job_queue, write, beginning, running)

    def end(self, seconds: float, reason: str) -> None:
        if not self.is_over:
            self.is_over = True
            self._world.log(self.peer.name, "stops leading", self.epoch, reason)
            self.peer.leadership_ended(self, seconds)

    # -- Redis: one question after the other, each again and again until it is answered

    def _write(self, ticket: int, write: Write) -> None:
        cluster = self.peer.cluster
        is_sent = False

        def do() -> Any:
            nonlocal is_sent
            is_sent = True
            cluster.at_fault_point("write.before_effect", self.peer)
            outcome = cluster.checked_write(self.peer, self.epoch, self._incarnation, write)
            cluster.at_fault_point("write.after_effect", self.peer)
            return outcome

        self._ask(do, lambda outcome: self.step(Written(ticket, outcome)))
        if not isinstance(write, BeginRun | BeginAttempt) and self._world.chance(cluster.plan.late_writes):
            self._world.later(self._world.between(0.0, 2.0), lambda: _once_more(do) if is_sent else None)

    def _ask(self, question: Question, on_answer: Callable[[Any], None]) -> None:
        self._asked.append((question, on_answer))
        self._go_on()

    def _go_on(self) -> None:
        if self._is_asking or not self._asked:
            return
        self._is_asking = True
        slow = self._world.chance(self.peer.cluster.plan.slow_redis)
        self._world.later(self._world.between(0.0005, 1.5 if slow else 0.003), self._at_redis)

    def _at_redis(self) -> None:
        """The question arrives, whatever has become of who asked it; the answer may be lost."""
        question, on_answer = self._asked[0]
        answer: Any = None
        error: Exception | None = None
        try:
            if not self.peer.reaches_redis():
                raise StoreUnavailable("cut off")
            answer = question()
            if self._world.chance(self.peer.cluster.plan.lost_replies):
                raise StoreUnavailable("the reply is lost")
        except (StoreUnavailable, StaleEpochError, StoreForgot) as caught:
            error = caught
        self.peer.tell(lambda: self._take(on_answer, answer, error))

    def _take(self, on_answer: Callable[[Any], None], answer: Any, error: Exception | None) -> None:
        self._is_asking = False
        if self.is_over:
            return
        if isinstance(error, StaleEpochError | StoreForgot):
            self.end(0.0, str(error))
        elif error is not None:
            self.peer.later(self._world.between(0.1, 0.3), self._go_on)
        else:
            self._asked.popleft()
            on_answer(answer)
            self._go_on()


def _once_more(do: Question) -> None:
    """A write that was given up for lost, and asked for again, arrives after all; never before its turn."""
    try:
        do()
    except (StoreUnavailable, StaleEpochError, StoreForgot):
        return

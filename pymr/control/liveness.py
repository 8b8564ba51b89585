"""Liveness: what the leader knows of a peer, and whether it still counts on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pymr.control.messages import PeerFacts
from pymr.protocol import (
    DEAD_SECONDS,
    SUSPECT_SECONDS,
    Assignment,
    AttemptId,
    PublishOrder,
    Report,
    RunningAttempt,
    RunOrder,
    ShuffleReport,
)

PeerState = Literal["unknown", "alive", "suspect", "dead"]


@dataclass(slots=True)
class Given:
    """An attempt given to a peer. sequence: of the first orders that said so; 0 while none did.

    is_seen: the peer has reported it, as running or as ended.
    """

    assignment: Assignment
    sequence: int = 0
    is_seen: bool = False


@dataclass(slots=True)
class Peer:
    """A peer as the leader sees it. Times: seconds of the leader's clock.

    attempts: what it was given and has not ended, by attempt; slots: the same by worker slot.
    """

    facts: PeerFacts
    known_since: float
    state: PeerState = "unknown"
    heard_at: float | None = None
    report: Report | None = None
    has_inventory: bool = False
    attempts: dict[AttemptId, Given] = field(default_factory=dict)
    slots: dict[int, AttemptId] = field(default_factory=dict)
    cancelled: tuple[AttemptId, ...] = ()
    shuffles: dict[str, ShuffleReport] = field(default_factory=dict)
    reconcile: dict[str, PublishOrder] = field(default_factory=dict)
    runs: tuple[RunOrder, ...] | None = None  # None: to be put together again
    sequence: int = 0
    next_orders_at: float = 0.0

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def host(self) -> str:
        return self.facts.host

    @property
    def is_alive(self) -> bool:
        """Whether it counts as there: heard not long ago, or suspect for a moment only."""
        return self.state in ("alive", "suspect")

    @property
    def takes_work(self) -> bool:
        """Whether it may be given tasks, if it has a free slot."""
        return (
            self.state == "alive"
            and self.has_inventory
            and self.report is not None
            and not self.report.is_draining
        )

    def free_slot(self) -> int | None:
        """The first worker slot without an attempt."""
        if len(self.slots) >= self.facts.workers:
            return None
        return next(slot for slot in range(self.facts.workers) if slot not in self.slots)

    def accepts(self, report: Report) -> bool:
        """Whether a report is news: neither of an earlier boot nor older than the last one."""
        last = self.report
        return last is None or (report.boot, report.sequence) > (last.boot, last.sequence)

    def is_new_boot(self, report: Report) -> bool:
        return self.report is None or self.report.boot != report.boot

    def forget_boot(self) -> list[AttemptId]:
        """Start afresh with a peer that has been restarted; returns the attempts that ended with it."""
        lost = list(self.attempts)
        self.attempts.clear()
        self.slots.clear()
        self.shuffles.clear()
        self.cancelled = ()
        self.has_inventory = False
        return lost

    def give(self, assignment: Assignment) -> None:
        """Note an attempt as given; the next orders say so."""
        self.attempts[assignment.id] = Given(assignment)
        self.slots[assignment.slot] = assignment.id

    def adopt(self, running: RunningAttempt) -> None:
        """Note an attempt that an earlier leader gave."""
        self.attempts[running.id] = Given(Assignment(running.id, running.slot), is_seen=True)
        self.slots[running.slot] = running.id

    def take_back(self, attempt: AttemptId) -> bool:
        """Note that an attempt has ended; False where the peer did not have it."""
        given = self.attempts.pop(attempt, None)
        if given is None:
            return False
        if self.slots.get(given.assignment.slot) == attempt:
            del self.slots[given.assignment.slot]
        return True

    def state_at(self, now: float) -> PeerState:
        """What its silence so far makes of it."""
        silence = now - (self.heard_at if self.heard_at is not None else self.known_since)
        if silence >= DEAD_SECONDS:
            return "dead"
        if self.heard_at is None:
            return "unknown"
        return "suspect" if silence >= SUSPECT_SECONDS else "alive"

"""Liveness: what the leader knows of a peer, and whether it still counts on it."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Literal

from pymr.control.messages import PeerInfo
from pymr.wire.outcomes import AttemptId
from pymr.wire.protocol import (
    DEAD_SECONDS,
    SUSPECT_SECONDS,
    Assignment,
    PublishOrder,
    Report,
    RunningAttempt,
    RunOrder,
    ShuffleReport,
)

Liveness = Literal["unknown", "alive", "suspect", "dead"]

REST_SECONDS = (0.25, 10.0)
"""A peer whose machine fails gets no work for the first, doubled with each failure up to the second. A plan
for which its disk has no room is made again as late."""


def rest_seconds(failures: int) -> float:
    """How long to let a machine rest that has failed so many times before."""
    first, longest = REST_SECONDS
    return min(longest, first * float(1 << min(failures, 10)))


@dataclass(slots=True)
class Given:
    """An attempt given to a peer. sequence: of the first orders that said so; 0 while none did."""

    assignment: Assignment
    sequence: int = 0


@dataclass(slots=True)
class PeerState:
    """A peer as the leader sees it. Times: seconds of the leader's clock.

    heard_at: when it last showed that it hears the leader as well; its first word of a boot counts, too.
    attempts: what it was given and has not ended; slots: the same by worker slot; unseen: those of them that
    it has not yet reported.
    has_inventory: it has told what lies on its disk, and what of that was lost is known. inventory_known: how
    much it has told. unaccounted: while it tells, the committed attempts that it has not told of, by run.
    compared: running_version of the report with which they were last compared; None: that is to be done.
    taken: the last report whose news were taken over, of this boot; None before there is one, as while runs
    are being loaded. refused: results that it was told to remove, and has not yet ceased to report.
    """

    info: PeerInfo
    known_since: float
    state: Liveness = "unknown"
    heard_at: float | None = None
    report: Report | None = None
    confirmed: int = 0
    has_inventory: bool = False
    inventory_known: int = 0
    unaccounted: dict[str, dict[AttemptId, None]] | None = None
    attempts: dict[AttemptId, Given] = field(default_factory=dict)
    slots: dict[int, AttemptId] = field(default_factory=dict)
    unseen: dict[AttemptId, Given] = field(default_factory=dict)
    compared: int | None = None
    taken: Report | None = None
    refused: set[AttemptId] = field(default_factory=set)
    cancelled: tuple[AttemptId, ...] = ()
    shuffles: dict[str, ShuffleReport] = field(default_factory=dict)
    reconcile: dict[str, PublishOrder] | None = None  # by job; None: to be put together again
    missed: dict[str, PublishOrder] = field(default_factory=dict)  # by job: shown by all others
    runs: tuple[RunOrder, ...] | None = None  # None: to be put together again
    sequence: int = 0
    next_orders_at: float = 0.0
    backs_off_until: float = 0.0
    failures: int = 0  # of its machine, one after the other
    name: str = field(init=False)
    host: str = field(init=False)
    _free: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.name, self.host = self.info.name, self.info.host
        self._free = list(range(self.info.workers))

    @property
    def is_alive(self) -> bool:
        """Whether it counts as there: heard not long ago, or suspect for a moment only."""
        return self.state in ("alive", "suspect")

    @property
    def shown(self) -> str:
        """The peer and its machine, for operators."""
        return f"{self.name} ({self.host})"

    @property
    def has_disk_problem(self) -> bool:
        """Whether its disk was full or read-only lately, by its own word."""
        return self.report is not None and bool(self.report.machine.disk_problem)

    @property
    def is_draining(self) -> bool:
        return self.report is not None and self.report.is_draining

    @property
    def takes_work(self) -> bool:
        """Whether it may be given tasks, if it has a free slot."""
        return self.state == "alive" and self.has_inventory and not self.is_draining

    # -- reports

    def accepts(self, report: Report) -> bool:
        """Whether a report is news: not older than the last one. The boots of a dead peer may begin anew, as
        they do on a new disk."""
        last = self.report
        if last is None or (report.boot, report.sequence) > (last.boot, last.sequence):
            return True
        return self.state == "dead" and report.boot < last.boot

    def hear(self, report: Report, epoch: int, now: float) -> bool:
        """Take a report over; returns whether it is the first of a boot.

        A peer that is heard, and does not hear, is of no more use than one that is silent.
        """
        is_new = self.report is None or self.report.boot != report.boot
        if is_new:
            self.confirmed = 0
            self.refused.clear()
        confirmed = report.orders if report.epoch == epoch else 0
        if is_new or confirmed > self.confirmed:
            self.confirmed, self.heard_at = confirmed, now
        self.report = report
        return is_new

    def take(self, report: Report) -> Report | None:
        """Note that the news of a report are taken over; returns the one before."""
        last, self.taken = self.taken, report
        if self.refused and not report.has_more_results:
            self.refused.intersection_update([result.id for result in report.results])
        return last

    def state_at(self, now: float) -> Liveness:
        """What its silence so far makes of it."""
        silence = now - (self.heard_at if self.heard_at is not None else self.known_since)
        if silence >= DEAD_SECONDS:
            return "dead"
        if self.heard_at is None:
            return "unknown"
        return "suspect" if silence >= SUSPECT_SECONDS else "alive"

    def forget_boot(self) -> list[AttemptId]:
        """Start afresh with a peer that was away; returns the attempts that count as ended."""
        lost = list(self.attempts)
        self.attempts.clear()
        self.slots.clear()
        self.unseen.clear()
        self._free = list(range(self.info.workers))
        self.shuffles = {}
        self.cancelled = ()
        self.compared = self.taken = self.runs = self.reconcile = None
        self.has_inventory = False
        self.inventory_known, self.unaccounted = 0, None
        self.backs_off_until = self.failures = 0
        return lost

    def rest(self, now: float) -> None:
        """Give it no work for a while, as its machine has failed; longer each time."""
        self.backs_off_until = now + rest_seconds(self.failures)
        self.failures += 1

    # -- attempts

    def free_slot(self) -> int | None:
        """The first worker slot without an attempt."""
        return self._free[0] if self._free else None

    def give(self, assignment: Assignment) -> None:
        """Note an attempt as given; the next orders say so."""
        given = Given(assignment)
        self.attempts[assignment.id] = self.unseen[assignment.id] = given
        self._occupy(assignment.slot, assignment.id)

    def adopt(self, running: RunningAttempt) -> None:
        """Note an attempt that an earlier leader gave."""
        self.attempts[running.id] = Given(Assignment(running.id, running.slot))
        self._occupy(running.slot, running.id)

    def _occupy(self, slot: int, attempt: AttemptId) -> None:
        self.slots[slot] = attempt
        if self._free and self._free[0] == slot:
            heapq.heappop(self._free)
        elif slot in self._free:
            self._free.remove(slot)
            heapq.heapify(self._free)

    def take_back(self, attempt: AttemptId) -> bool:
        """Note that an attempt has ended; False where the peer did not have it."""
        given = self.attempts.pop(attempt, None)
        if given is None:
            return False
        self.unseen.pop(attempt, None)
        slot = given.assignment.slot
        if self.slots.get(slot) == attempt:
            del self.slots[slot]
            if slot < self.info.workers:
                heapq.heappush(self._free, slot)
        return True

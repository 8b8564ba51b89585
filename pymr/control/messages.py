"""What goes into the leader's decisions, and what comes out of them."""

from __future__ import annotations

from dataclasses import dataclass

from pymr.control.records import ActiveRun, Event, JobChanges, RunRecord, Write
from pymr.protocol import Orders, Report


@dataclass(frozen=True, slots=True)
class PeerFacts:
    """A peer as the configuration has it. host: peers with the same one share a machine and its disk."""

    name: str
    host: str
    workers: int


@dataclass(frozen=True, slots=True)
class Settings:
    """What the leader needs of the configuration. shared: folders that every host sees alike.

    tasks_per_step: most tasks that one step goes through, about; see ContinueSoon. Higher: the loop of the
    daemon is held for longer. Lower: a new leader of a large run begins later.
    """

    concurrent_runs: int = 1
    machine_grace_s: float = 1800.0
    shared: tuple[str, ...] = ()
    cycle_seconds: float = 60.0
    tasks_per_step: int = 2_000


@dataclass(frozen=True, slots=True)
class RunsLoaded:
    """The runs that an earlier leader left; the first thing a leader is told. replaces: the incarnations
    before this one that it goes on from."""

    runs: tuple[ActiveRun, ...]
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobsChanged:
    """The job table, or what has changed in it; the first one was read after the leadership began."""

    changes: JobChanges


@dataclass(frozen=True, slots=True)
class Reported:
    """A peer has sent a report."""

    report: Report


@dataclass(frozen=True, slots=True)
class Written:
    """A write has been carried out. outcome: as the class of the write says."""

    ticket: int
    outcome: object


@dataclass(frozen=True, slots=True)
class PresenceSeen:
    """The peers that Redis heard in the last seconds; now and then."""

    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; some ten times a second."""


@dataclass(frozen=True, slots=True)
class Continued:
    """The answer to ContinueSoon."""


LeaderEvent = RunsLoaded | JobsChanged | Reported | Written | PresenceSeen | Tick | Continued


@dataclass(frozen=True, slots=True)
class SendOrders:
    """Send orders to the peer they are for. Nothing depends on their arrival: they are repeated."""

    orders: Orders


@dataclass(frozen=True, slots=True)
class DoWrite:
    """Carry out a write in Redis, again and again until it is done; then tell `Written` with the ticket."""

    ticket: int
    write: Write


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell operators of something, in the event stream and the log."""

    event: Event


@dataclass(frozen=True, slots=True)
class Ended:
    """A run has ended, as Redis has it now."""

    record: RunRecord


@dataclass(frozen=True, slots=True)
class Abdicate:
    """Give the leadership away, and do not compete for it for some seconds."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class ContinueSoon:
    """There is more to do than one step may take: give `Continued` when others have had their turn."""


LeaderCommand = SendOrders | DoWrite | Announce | Ended | Abdicate | ContinueSoon

"""What goes into the leader's decisions, and what comes out of them."""

from __future__ import annotations

import msgspec

from pymr.control.stored_state import ActiveRun, Event, JobChanges, RunRecord, Write
from pymr.wire.protocol import Orders, Report


class PeerInfo(msgspec.Struct, frozen=True):
    """A peer as the configuration has it. host: peers with the same one share a machine and its disk."""

    name: str
    host: str
    workers: int


class LeaderSettings(msgspec.Struct, frozen=True):
    """What the leader needs of the configuration. shared: folders that every host sees alike.

    tasks_per_step: most tasks that one step goes through, about; see ContinueSoon. Higher: the loop of the
    daemon is held for longer. Lower: a new leader of a large run begins later.
    """

    concurrent_runs: int = 1
    machine_grace_s: float = 1800.0
    shared: tuple[str, ...] = ()
    cycle_seconds: float = 60.0
    tasks_per_step: int = 2_000


class RunsLoaded(msgspec.Struct, frozen=True):
    """The runs that an earlier leader left; the first thing a leader is told. replaces: the incarnations
    before this one that it goes on from."""

    runs: tuple[ActiveRun, ...]
    replaces: tuple[str, ...] = ()


class JobsChanged(msgspec.Struct, frozen=True):
    """The job table, or what has changed in it; the first one was read after the leadership began."""

    changes: JobChanges


class Reported(msgspec.Struct, frozen=True):
    """A peer has sent a report."""

    report: Report


class Written(msgspec.Struct, frozen=True):
    """A write has been carried out. outcome: as the class of the write says."""

    ticket: int
    outcome: object


class PresenceSeen(msgspec.Struct, frozen=True):
    """The peers that Redis heard in the last seconds; now and then."""

    names: frozenset[str]


class Tick(msgspec.Struct, frozen=True):
    """Time has passed; some ten times a second."""


class Continued(msgspec.Struct, frozen=True):
    """The answer to ContinueSoon."""


LeaderEvent = RunsLoaded | JobsChanged | Reported | Written | PresenceSeen | Tick | Continued


class SendOrders(msgspec.Struct, frozen=True):
    """Send orders to the peer they are for. Nothing depends on their arrival: they are repeated."""

    orders: Orders


class DoWrite(msgspec.Struct, frozen=True):
    """Carry out a write in Redis, again and again until it is done; then tell `Written` with the ticket."""

    ticket: int
    write: Write


class Announce(msgspec.Struct, frozen=True):
    """Tell operators of something, in the event stream and the log."""

    event: Event


class Ended(msgspec.Struct, frozen=True):
    """A run has ended, as Redis has it now."""

    record: RunRecord


class Abdicate(msgspec.Struct, frozen=True):
    """Give the leadership away, and do not compete for it for some seconds."""

    seconds: float
    reason: str


class ContinueSoon(msgspec.Struct, frozen=True):
    """There is more to do than one step may take: give `Continued` when others have had their turn."""


LeaderCommand = SendOrders | DoWrite | Announce | Ended | Abdicate | ContinueSoon

"""The state of a leader: what all that decides about runs and peers works on. `control.leader` steps it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from pymr.control.job_queue import JobQueue
from pymr.control.liveness import PeerState
from pymr.control.long_work import LongWork
from pymr.control.messages import (
    Announce,
    ContinueSoon,
    DoWrite,
    LeaderCommand,
    LeaderSettings,
    PeerInfo,
)
from pymr.control.runs.mapreduce_run import MapReduceRun
from pymr.control.runs.run import Run, Task
from pymr.control.stored_state import Event, Write
from pymr.wire.rows import PanePlace


class LeaderState:
    """What a leader knows, and what its parts ask of it: writes, announcements, who is to get orders.

    peers: all of the configuration, in its order. now: seconds of any clock that never goes back.
    """

    def __init__(
        self,
        *,
        epoch: int,
        incarnation: str,
        name: str,
        peers: Sequence[PeerInfo],
        settings: LeaderSettings,
        now: float,
    ) -> None:
        self.epoch = epoch
        self.incarnation = incarnation
        self.name = name
        self.settings = settings
        self.now = now
        self.began_at = now
        self.peers = {info.name: PeerState(info, now) for info in peers}
        self.hosts: dict[str, list[PeerState]] = {}
        for peer in self.peers.values():
            self.hosts.setdefault(peer.host, []).append(peer)
        self.job_queue = JobQueue()
        self.runs: dict[str, Run] = {}
        self.is_loaded = False
        self.knows_jobs = False
        self.peers_with_free_slots: dict[str, PeerState] = {}  # peers that may have a free worker
        self.dead: dict[str, PeerState] = {}
        self.draining: dict[str, PeerState] = {}
        self.replaces: tuple[str, ...] = ()  # incarnations that this one goes on from
        self.shown: dict[str, str] = {}  # runs that succeeded under this leader, by job
        self._needing_orders: dict[str, PeerState] = {}  # peers that are to get orders at once
        self._due: deque[tuple[float, PeerState]] = deque((now, peer) for peer in self.peers.values())
        self._backing_off: dict[str, PeerState] = {}
        self._next_watch_at = now
        self._present: frozenset[str] = frozenset()
        self._writes: dict[int, Write] = {}
        self._tickets = 0
        self._commands: list[LeaderCommand] = []
        self._long_work = LongWork()
        self._is_continuing = False
        self._is_over = False

    def work_on(self, work: Iterator[None] | None = None) -> None:
        """Go on with what takes long, as far as one step may; with the rest in a later one."""
        if work is not None:
            self._long_work.add(work)
        if self._long_work.go_on(self.settings.tasks_per_step) and not self._is_continuing:
            self._is_continuing = True
            self._commands.append(ContinueSoon())

    def write(self, write: Write) -> None:
        """Ask for a write; its outcome comes back as an event."""
        self._tickets += 1
        self._writes[self._tickets] = write
        self._commands.append(DoWrite(self._tickets, write))

    def announce(
        self,
        kind: str,
        text: str,
        run: Run | None = None,
        peer: str = "",
        place: PanePlace | None = None,
        job_name: str = "",
        worker: str = "",
    ) -> None:
        """Tell operators of something. place: where a worker printed it. job_name: where there is no run.
        worker: that it is about."""
        run_id = ""
        if run is not None:
            job_name, run_id = run.job_name, run.run_id
        event = Event(
            kind=kind, text=text, job_name=job_name, run_id=run_id, peer=peer, place=place, worker=worker
        )
        self._commands.append(Announce(event))

    def alive(self, host: str | None = None) -> list[PeerState]:
        """Peers that count as there, of one host or of all, in the order of the configuration."""
        peers: Iterable[PeerState] = self.peers.values() if host is None else self.hosts.get(host, ())
        return [peer for peer in peers if peer.is_alive]

    def is_gone(self, host: str) -> bool:
        """Whether every peer of a host is dead."""
        return all(peer.state == "dead" for peer in self.hosts.get(host, ()))

    def mapreduce_runs(self) -> Iterator[MapReduceRun]:
        """The runs that map, shuffle and reduce."""
        return (run for run in self.runs.values() if isinstance(run, MapReduceRun))

    def needs_orders(self, peer: PeerState) -> None:
        """Let a peer have orders at the end of this step."""
        self._needing_orders[peer.name] = peer

    def all_need_orders(self) -> None:
        """Something that all peers are told of runs has changed; perhaps there is work for them."""
        for peer in self.peers.values():
            peer.runs = None
            self._needing_orders[peer.name] = peer
        self.offer_work_to_all()

    def offer_work_to_all(self) -> None:
        """Look at every peer's free workers again: there may be work for them."""
        self.peers_with_free_slots = {name: peer for name, peer in self.peers.items() if peer.takes_work}

    def feed(self, run: Run, task: Task) -> None:
        """A task waits: let those look who may do it."""
        name, host = run.place_of(task)
        candidates: Iterable[PeerState] = self.hosts.get(host, ()) if host else self.peers.values()
        if name:
            candidates = [self.peers[name]] if name in self.peers else ()
        self.peers_with_free_slots.update((peer.name, peer) for peer in candidates if peer.takes_work)

    def back_off(self, peer: PeerState) -> None:
        """The machine of a peer has failed; it gets no work for a while."""
        peer.rest(self.now)
        self._backing_off[peer.name] = peer

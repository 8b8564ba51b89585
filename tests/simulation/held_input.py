"""Held input: the files of jobs with `hold_state`, and which of them each run has counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from simulation.world import ViolationError

from pymr.control.stored_state import RunRecord
from pymr.wire.protocol import PlanOrder

if TYPE_CHECKING:
    from simulation.peers import SimulatedPeer

SHARED = ""


class HeldInput:
    """Files appear on a host, or on the disk that all hosts share (SHARED), and stay. A file is a record.

    counted: by job, the records of all its runs that have succeeded.
    """

    def __init__(self) -> None:
        self.files: defaultdict[tuple[str, str], list[int]] = defaultdict(list)  # by (job, host)
        self.counted: defaultdict[str, set[int]] = defaultdict(set)
        self.lost_hosts: set[str] = set()  # that have lost the lists of what was consumed
        self._planned: dict[tuple[str, str, bool], tuple[int, ...]] = {}  # by (run, peer, whether shared)
        self._listed: dict[tuple[str, str, bool], tuple[int, ...]] = {}  # by (run, host, whether shared)
        self._turns: dict[tuple[str, str, bool], tuple[int, int]] = {}
        self._read: dict[str, list[int]] = {}  # by run
        self._next = 10_000_000

    def add(self, job_name: str, host: str) -> int:
        self._next += 1
        self.files[job_name, host].append(self._next)
        return self._next

    def plan(self, peer: SimulatedPeer, job_name: str, order: PlanOrder) -> tuple[int, ...] | None:
        """The files of a host that a run is to read; None where the list that counts is gone, or a later
        turn has had its planning.

        As `pymr.peer.input.consumed` has it: the list of a run is written into the folders of all peers of
        the host, by each planning anew.
        """
        host = SHARED if order.shared else peer.info.host
        siblings = [one for one in peer.cluster.peers.values() if one.info.host == peer.info.host]

        def find(run_id: str) -> frozenset[int] | None:
            key = (job_name, run_id, order.shared)
            return next((one.disk.consumed[key] for one in siblings if key in one.disk.consumed), None)

        before = find(order.consumed) if order.consumed else frozenset()
        if before is None:
            if order.consumed_peer:
                return None
            before = frozenset()
        listed = (order.run_id, peer.info.host, order.shared)
        if self._turns.get(listed, order.turn) > order.turn and find(order.run_id) is not None:
            return None
        after = before | frozenset(self.files[job_name, host])
        for one in siblings:
            one.disk.consumed[job_name, order.run_id, order.shared] = after
        found = tuple(sorted(after - before))
        self._turns[listed], self._listed[listed] = order.turn, found
        self._planned[order.run_id, peer.name, order.shared] = found
        return found

    def records_of(self, run_id: str) -> list[int]:
        """All that a run which has succeeded has read."""
        return self._read[run_id]

    def succeeded(self, record: RunRecord, hosts: Mapping[str, str]) -> None:
        """A run has succeeded: nothing of it may have been counted before. hosts: of the peers."""
        assert record.plan is not None
        job_name, run_id = record.job_name, record.run_id
        records = self._read[run_id] = []
        for one in record.plan.hosts:
            planned = self._planned[run_id, one.peer, one.shared]
            listed = self._listed[run_id, hosts[one.peer], one.shared]
            if planned != listed and not self.lost_hosts:
                raise ViolationError(
                    f"{run_id} was planned to read {planned} on {one.peer}; it lists {listed}"
                )
            records += planned
        records.sort()
        if not records and self.counted[job_name]:
            raise ViolationError(f"{run_id} had nothing to read, and was not skipped")
        twice = self.counted[job_name].intersection(records)
        if twice and not self.lost_hosts:
            raise ViolationError(f"{run_id} counts {sorted(twice)} once more")
        self.counted[job_name].update(records)

    def check_all_counted(self, job_name: str, hosts: Sequence[str]) -> None:
        """All that there is has been counted."""
        files = {one for host in (*hosts, SHARED) for one in self.files[job_name, host]}
        if lost := sorted(files - self.counted[job_name]):
            raise ViolationError(f"{job_name} has never counted {lost}")

    def lose(self, peer: SimulatedPeer) -> None:
        """A peer has a new disk. Where it was the last of its host, the lists are gone."""
        siblings = [one for one in peer.cluster.peers.values() if one.info.host == peer.info.host]
        if any(peer.disk.consumed) and not _has_all(siblings, peer):
            self.lost_hosts.update((peer.info.host, SHARED))


def _has_all(siblings: Iterable[SimulatedPeer], lost: SimulatedPeer) -> bool:
    kept = {key for one in siblings if one is not lost for key in one.disk.consumed}
    return kept >= lost.disk.consumed.keys()

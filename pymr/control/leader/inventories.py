"""Inventories: what a peer that a leader begins to hear has on its disk, and what is missing there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from pymr.control.liveness import PeerState
from pymr.control.runs import planning, recovery
from pymr.control.runs.leader_state import LeaderState
from pymr.wire.outcomes import AttemptId
from pymr.wire.protocol import HeldRun, Report


def on_inventory(leader: LeaderState, peer: PeerState, report: Report, inventory: Iterable[HeldRun]) -> None:
    """A peer tells what lies on its disk, page by page. Committed outputs that it should have, and has not,
    are to be made again.

    Not of a run whose output is being shown: whether a folder can show it, its peer finds out. What is
    committed while it tells was reported after the beginning of that, and is there.
    """
    if report.inventory_from != peer.inventory_known:
        return
    if peer.unaccounted is None or not peer.inventory_known:
        peer.unaccounted = {
            run.run_id: dict.fromkeys(run.committed_by.get(peer.name, ()))
            for run in leader.runs.values()
            if run.stage == "tasks"
        }
    for held in inventory:
        unaccounted = peer.unaccounted.get(held.run_id, {})
        for task, attempt, _ in held.attempts:
            unaccounted.pop(AttemptId(held.run_id, task, attempt), None)
        peer.inventory_known += len(held.attempts)
    if report.has_more_inventory:
        leader.needs_orders(peer)
    else:
        leader.work_on(_lose_unaccounted(leader, peer, peer.unaccounted))


def _lose_unaccounted(
    leader: LeaderState, peer: PeerState, unaccounted: dict[str, dict[AttemptId, None]]
) -> Iterator[None]:
    """What a peer has not told of is lost; when that is known, it gets work."""
    for run_id, attempts in unaccounted.items():
        while attempts and peer.unaccounted is unaccounted:
            lost = list(islice(attempts, leader.settings.tasks_per_step))
            run = leader.runs.get(run_id)
            if run is not None:
                recovery.lose_outputs(leader, run, lost)
            for one in lost:
                del attempts[one]
                yield
    if peer.unaccounted is not unaccounted:
        return  # it has begun anew
    peer.unaccounted = None
    peer.has_inventory = True
    leader.peers_with_free_slots[peer.name] = peer
    leader.needs_orders(peer)
    planning.replan(leader)
    for run in leader.runs.values():
        run.is_touched = True

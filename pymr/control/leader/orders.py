"""Ordering: what a leader tells a peer, put together from all it wants of it."""

from __future__ import annotations

from collections.abc import Collection

from pymr.control.liveness import PeerState
from pymr.control.runs import planning, publishing, recovery
from pymr.control.runs.leader_state import LeaderState
from pymr.control.runs.run import Stage
from pymr.wire.outcomes import AttemptId
from pymr.wire.protocol import Acknowledged, Orders, PublishOrder, Report


def orders_to(leader: LeaderState, peer: PeerState, stages: Collection[Stage]) -> Orders:
    """The next orders to a peer. stages: those in which there is any run."""
    peer.sequence += 1
    for given in peer.unseen.values():
        given.sequence = given.sequence or peer.sequence
    if peer.runs is None:
        peer.runs = tuple(run.order(peer.name) for run in leader.runs.values())
    publish: tuple[PublishOrder, ...] = ()
    if peer.reconcile or peer.reconcile is None or "publishing" in stages:
        publish = publishing.orders(leader, peer)
    report = peer.report
    return Orders(
        incarnation=leader.incarnation,
        epoch=leader.epoch,
        leader=leader.name,
        peer=peer.name,
        boot=report.boot if report else 0,
        sequence=peer.sequence,
        jobs_change=leader.job_queue.change,
        wants_inventory=not peer.has_inventory,
        inventory_from=peer.inventory_known,
        runs=peer.runs,
        plans=planning.orders(leader, peer) if "planning" in stages else (),
        assignments=tuple([given.assignment for given in peer.unseen.values()]) if peer.unseen else (),
        cancelled=peer.cancelled,
        sources=recovery.sources_orders(leader, peer) if "tasks" in stages else (),
        publish=publish,
        acknowledged=_acknowledgements(leader, peer, peer.taken) if peer.taken is not None else (),
    )


def _acknowledgements(leader: LeaderState, peer: PeerState, taken: Report) -> tuple[Acknowledged, ...]:
    """What has become of the results that a peer still repeats, of those that were taken over.

    One that was refused once is refused for good: its files may be gone when a report that was sent before
    arrives.
    """
    found = []
    for result in taken.results:
        keep = False if result.id in peer.refused else _fate(leader, result.id)
        if keep is False:
            peer.refused.add(result.id)
        if keep is not None:
            found.append(Acknowledged(result.id, keep))
    return tuple(found)


def _fate(leader: LeaderState, attempt: AttemptId) -> bool | None:
    """Whether the files of a finished attempt are kept; None while that is not decided."""
    run = leader.runs.get(attempt.run_id)
    if run is None:
        return False
    task = run.find(attempt.task)
    if task is None or task.committing == attempt or run.stage == "ending":
        return None
    return task.committed is not None and task.committed.id == attempt

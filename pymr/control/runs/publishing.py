"""Publishing: how the output of a run becomes visible on every peer, and how one that was away catches up."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from pymr.control.counted_runs import counting_of
from pymr.control.liveness import PeerState
from pymr.control.runs.ending import end
from pymr.control.runs.leader_state import LeaderState
from pymr.control.runs.mapreduce_run import MapReduceRun
from pymr.control.runs.recovery import wait_for_machines
from pymr.control.stored_state import JobRecord
from pymr.jobs.run_ids import job_of_run
from pymr.wire.protocol import PublishOrder, PublishReport

RECONCILED_MAX = 100
"""Outputs that a peer which was away is told of at once; the others follow."""


def begun(leader: LeaderState, run: MapReduceRun) -> None:
    """Redis has it that the output is complete: peers may show it."""
    if run.reduces_left:
        end(leader, run, "failed", f"Redis has lost {run.reduces_left} of the tasks that were committed")
        return
    run.stage = "publishing"
    run.trouble = ""  # of the phases before
    run.troubles.clear()
    run.is_touched = True
    run.enter_phase("publish", leader.now)
    run.unpublished = dict.fromkeys(leader.peers, "")
    run.replaces = leader.replaces
    for peer in leader.peers.values():
        peer.missed.pop(run.job_name, None)
        if peer.reconcile:
            peer.reconcile.pop(run.job_name, None)
    leader.all_need_orders()


def advance(leader: LeaderState, run: MapReduceRun) -> None:
    """End the run when everybody shows its output who can: of hosts that are gone, only those that have any
    of it are waited for."""
    left = [leader.peers[name] for name in run.unpublished]
    if not left:
        end(leader, run, "succeeded", None)
        return
    with_output = [peer for peer in left if _has_any(run.publish_order(peer.name))]
    gone = [peer.host for peer in with_output if leader.is_gone(peer.host)]
    wait_for_machines(
        leader, run, gone, "it has some of the output, and other machines may show theirs already"
    )
    _bound_trouble(leader, run)
    if not with_output and all(leader.is_gone(peer.host) for peer in left) and run.stage == "publishing":
        end(leader, run, "succeeded", None)


def _bound_trouble(leader: LeaderState, run: MapReduceRun) -> None:
    """What is in the way of a publication is waited for as long as for a machine; space, without limit."""
    grace_s = leader.settings.machine_grace_s
    if (
        run.trouble
        and not run.full_disks
        and run.stage == "publishing"
        and leader.now - run.trouble_since >= grace_s
    ):
        waited = f"waited {grace_s:,.0f} s (scheduler.machine_grace_seconds) to publish"
        end(leader, run, "failed", f"{waited}: {run.trouble}")


def _has_any(order: PublishOrder) -> bool:
    return bool(order.attempts or order.maps)


def orders(leader: LeaderState, peer: PeerState) -> tuple[PublishOrder, ...]:
    """The folders a peer has to publish: its own, and those of dead peers of its host, as their stand-in."""
    if peer.reconcile is None and peer.is_alive:
        peer.reconcile = _outputs_missed(leader, peer)
    found = list(islice(peer.reconcile.values(), RECONCILED_MAX)) if peer.reconcile else []
    for run in leader.mapreduce_runs():
        if run.stage == "publishing" and run.unpublished:
            found += [
                run.publish_order(other.name)
                for other in leader.hosts[peer.host]
                if other.name in run.unpublished
                and (other is peer or (other.state == "dead" and leader.alive(peer.host)[:1] == [peer]))
            ]
    return tuple(found)


def on_published(leader: LeaderState, peer: PeerState, report: PublishReport) -> None:
    """A folder shows the output of a run, or could not be made to."""
    if report.peer == peer.name and peer.reconcile and (not report.error or report.is_final):
        job = job_of_run(report.run_id)
        order = peer.reconcile.get(job)
        if order is not None and order.run_id == report.run_id:
            del peer.reconcile[job]
            peer.missed.pop(job, None)
    run = leader.runs.get(report.run_id)
    if not isinstance(run, MapReduceRun) or run.stage != "publishing" or report.peer not in run.unpublished:
        return
    if not report.error:
        del run.unpublished[report.peer]
        run.full_disks.discard(report.peer)
        run.is_touched = not run.unpublished
    elif report.is_of_disk:
        run.unpublished[report.peer] = f"{leader.peers[report.peer].shown}: {report.error}"
        run.full_disks.add(report.peer)
        run.trouble_since = leader.now
    else:
        run.unpublished[report.peer] = report.error
        run.full_disks.discard(report.peer)
    if report.error and report.is_final:
        end(leader, run, "failed", report.error)
        return
    before, run.trouble = run.trouble, next(filter(None, run.unpublished.values()), "")
    if not before:
        run.trouble_since = leader.now


def ended(leader: LeaderState, run: MapReduceRun) -> None:
    """The output of a run is shown by all that are there; the others are to show it when they come back."""
    for name in run.unpublished:
        peer = leader.peers[name]
        peer.missed[run.job_name] = run.publish_order(name)
        peer.reconcile = None


def _outputs_missed(leader: LeaderState, peer: PeerState) -> dict[str, PublishOrder] | None:
    """A peer that was away may show an output which has been replaced meanwhile: what is true now, by job.

    It has none of the run's parts then: had it had any, the run would have waited for it.
    """
    if not leader.knows_jobs:
        return None
    in_work = {run.job_name for run in leader.runs.values() if run.stage == "publishing"}
    missed = {
        name: order
        for name, order in _shown_outputs(leader, peer.name)
        if name not in in_work and leader.shown.get(name, order.run_id) == order.run_id
    }
    return missed | peer.missed


def _shown_outputs(leader: LeaderState, peer: str) -> Iterator[tuple[str, PublishOrder]]:
    """By job, the order to show an output of which a peer has no part.

    By the state of the job, whatever it is about to do, or whether it is still there; without one by its
    record, which tells of no earlier run while one is under way or has failed.
    """
    jobs, states = leader.job_queue.jobs, leader.job_queue.states
    for name, state in states.items():
        adds = state.adds if state.shown else _adds(jobs.get(name))
        counting = counting_of(state) if adds else None
        run_id = state.shown or state.run_id
        if state.shown or (run_id and name in jobs):
            yield name, PublishOrder(run_id, name, peer, adds, (), (), {}, counting, leader.replaces)
    for job in jobs.values():
        is_known = job.run_id and job.status in ("succeeded", "queued")  # forced to run again
        if is_known and job.name not in states and job.fields.get("job_type") == "mapreduce":
            run_id = job.run_id or ""
            yield (
                job.name,
                PublishOrder(run_id, job.name, peer, _adds(job), (), (), {}, None, leader.replaces),
            )


def _adds(job: JobRecord | None) -> bool:
    return job is not None and not job.fields.get("delete_job_data", True)

"""Publishing: how the output of a run becomes visible on every peer, and how one that was away catches up."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from pymr.control.ending import end
from pymr.control.liveness import Peer
from pymr.control.losses import wait_for_machines
from pymr.control.phases import MapReduceRun
from pymr.control.records import JobRecord
from pymr.protocol import PublishOrder, PublishReport

if TYPE_CHECKING:
    from pymr.control.leadership import Leader

RECONCILED_MAX = 100
"""Outputs that a peer which was away is told of at once; the others follow."""


def begun(leader: Leader, run: MapReduceRun) -> None:
    """Redis has it that the output is complete: peers may show it."""
    if run.reduces_left:
        end(leader, run, "failed", f"Redis has lost {run.reduces_left} of the tasks that were committed")
        return
    run.stage = "publishing"
    run.is_touched = True
    run.enter_phase("publish", leader.now)
    run.unpublished = dict.fromkeys(leader.peers)
    for peer in leader.peers.values():
        peer.missed.pop(run.job_name, None)
        if peer.reconcile:
            peer.reconcile.pop(run.job_name, None)
    leader.owe_everybody()


def advance(leader: Leader, run: MapReduceRun) -> None:
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
    if not with_output and all(leader.is_gone(peer.host) for peer in left) and run.stage == "publishing":
        end(leader, run, "succeeded", None)


def _has_any(order: PublishOrder) -> bool:
    return bool(order.attempts or order.maps)


def orders(leader: Leader, peer: Peer) -> tuple[PublishOrder, ...]:
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


def take(leader: Leader, peer: Peer, report: PublishReport) -> None:
    """A folder shows the output of a run, or could not be made to."""
    if report.peer == peer.name and peer.reconcile and (not report.error or report.is_final):
        job = report.run_id.rpartition("-")[0]
        order = peer.reconcile.get(job)
        if order is not None and order.run_id == report.run_id:
            del peer.reconcile[job]
            peer.missed.pop(job, None)
    run = leader.runs.get(report.run_id)
    if not isinstance(run, MapReduceRun) or run.stage != "publishing" or report.peer not in run.unpublished:
        return
    if not report.error:
        del run.unpublished[report.peer]
        run.is_touched = not run.unpublished
        run.trouble = ""
    elif report.is_final:
        end(leader, run, "failed", report.error)
    else:
        run.trouble = report.error


def ended(leader: Leader, run: MapReduceRun) -> None:
    """The output of a run is shown by all that are there; the others are to show it when they come back."""
    for name in run.unpublished:
        peer = leader.peers[name]
        peer.missed[run.job_name] = run.publish_order(name)
        peer.reconcile = None


def _outputs_missed(leader: Leader, peer: Peer) -> dict[str, PublishOrder] | None:
    """A peer that was away may show an output which has been replaced meanwhile: what is true now, by job.

    It has none of the run's parts then: had it had any, the run would have waited for it.
    """
    if not leader.queueing.knows_jobs:
        return None
    in_work = {run.job_name for run in leader.runs.values() if run.stage == "publishing"}
    missed = {
        job.name: PublishOrder(
            run_id, job.name, peer.name, not job.fields.get("delete_job_data", True), (), (), {}
        )
        for job in leader.backlog.jobs.values()
        if (run_id := _shown_run(leader, job)) and job.name not in in_work
        if leader.shown.get(job.name, run_id) == run_id
    }
    return missed | peer.missed


def _shown_run(leader: Leader, job: JobRecord) -> str:
    """The run whose output a job shows, as far as its record tells; "" where it does not."""
    if job.fields.get("job_type") != "mapreduce":
        return ""
    if job.status == "skipped":
        state = leader.backlog.states.get(job.name)
        return state.run_id if state is not None else ""
    return job.run_id or "" if job.status == "succeeded" else ""

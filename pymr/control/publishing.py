"""Publishing: how the output of a run becomes visible on every peer, and how one that was away catches up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymr.control.liveness import Peer
from pymr.control.phases import Run
from pymr.control.running import end, wait_for_machines
from pymr.protocol import PublishOrder, PublishReport

if TYPE_CHECKING:
    from pymr.control.leadership import Leader


def begun(leader: Leader, run: Run) -> None:
    """Redis has it that the output is complete: peers may show it."""
    run.stage = "publishing"
    leader.owe_everybody()


def advance(leader: Leader, run: Run) -> None:
    """End the run when everybody shows its output who can: dead peers of dead hosts only if they have none of it."""
    left = [peer for peer in leader.peers.values() if peer.name not in run.published]
    if not left:
        end(leader, run, "succeeded", None)
        return
    with_output = [peer for peer in left if run.publish_order(peer.name).attempts]
    gone = [peer.host for peer in with_output if leader.is_gone(peer.host)]
    wait_for_machines(leader, run, gone, "it has some of the output")
    if not with_output and all(leader.is_gone(peer.host) for peer in left) and run.stage == "publishing":
        end(leader, run, "succeeded", None)


def orders(leader: Leader, peer: Peer) -> tuple[PublishOrder, ...]:
    """The folders a peer has to publish: its own, and those of dead peers of its host that it stands in for."""
    found: list[PublishOrder] = list(peer.reconcile.values())
    for run in leader.runs.values():
        if run.stage == "publishing":
            found += [
                run.publish_order(other.name)
                for other in leader.peers.values()
                if other.host == peer.host
                and other.name not in run.published
                and (other is peer or (other.state == "dead" and leader.alive(peer.host)[:1] == [peer]))
            ]
    return tuple(found)


def take(leader: Leader, peer: Peer, report: PublishReport) -> None:
    """A folder shows the output of a run, or could not be made to."""
    if report.peer == peer.name and not report.error:
        peer.reconcile.pop(report.run_id, None)
    run = leader.runs.get(report.run_id)
    if run is None or run.stage != "publishing":
        return
    if not report.error:
        run.published.add(report.peer)
    elif report.is_final:
        end(leader, run, "failed", report.error)
    else:
        run.waiting_for = report.error


def reconcile(leader: Leader, peer: Peer) -> None:
    """A peer that was away may show an output which has been replaced meanwhile: tell it what is true now."""
    peer.reconcile = {
        job.run_id: PublishOrder(
            job.run_id, job.name, peer.name, not job.fields.get("delete_job_data", True), (), (), {}
        )
        for job in leader.backlog.jobs.values()
        if job.status == "succeeded" and job.run_id and job.fields.get("job_type") == "mapreduce"
    }

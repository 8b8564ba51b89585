"""Ending: how attempts that are under way, and runs, come to their end."""

from __future__ import annotations

import msgspec

from pymr.control.runs.leader_state import LeaderState
from pymr.control.runs.run import Run
from pymr.control.stored_state import EndRun
from pymr.wire.outcomes import AttemptId
from pymr.wire.protocol import cut_text
from pymr.wire.rows import PanePlace, RunStatus

GROWN_RUNS_MAX = 100
"""So many runs of a job one after another may be planned anew as files of its input grew. Each leaves out all
that has grown since the one before was planned: what comes near is input in which new files begin to grow
faster than runs begin."""


def cancel(leader: LeaderState, runner: str, attempt: AttemptId) -> None:
    """An attempt is under way with a peer, and no longer needed."""
    peer = leader.peers.get(runner)
    if peer is not None and peer.take_back(attempt):
        peer.cancelled += (attempt,)
        leader.needs_orders(peer)
        leader.peers_with_free_slots[peer.name] = peer


def outdate(
    leader: LeaderState, run: Run, reason: str, failed_at: PanePlace | None = None, *, has_grown: bool
) -> None:
    """The input of a run is not any more what was planned: its job is planned anew, in another run.

    has_grown: a file only grew. It is left out from then on, so that each such run gets further, and none of
    them counts against `max_attempts`. Of others the job fails with the one that makes it so many in a row.
    """
    changed, grown = outdated_before(leader, run)
    changed, grown = (changed, grown + 1) if has_grown else (changed + 1, grown)
    more = ""
    if not has_grown and changed >= run.attempts_max:
        more = f"\n(the input has changed in {changed} runs one after another, which is max_attempts)"
        more *= changed > 1
    elif has_grown and grown >= GROWN_RUNS_MAX:
        more = (
            f"\n({grown} runs one after another were planned anew as files grew while they were read; let "
            "files come into the input when they are complete)"
        )
    else:
        end(leader, run, "outdated", reason, failed_at, outdated=(changed, grown))
        return
    end(leader, run, "failed", reason + more, failed_at)


def outdated_before(leader: LeaderState, run: Run) -> tuple[int, int]:
    """How many runs of the same version of its job have ended as outdated right before a run, see JobRecord.

    Redis keeps it with the job, so that the next leader knows it too.
    """
    job = leader.job_queue.jobs.get(run.job_name)
    return job.outdated if job is not None and job.version == run.record.job_version else (0, 0)


def end(
    leader: LeaderState,
    run: Run,
    status: RunStatus,
    exception: str | None,
    failed_at: PanePlace | None = None,
    failure_kind: str = "",
    outdated: tuple[int, int] = (0, 0),
) -> None:
    """A run comes to its end: its attempts are cancelled now; what it has made stays until Redis knows.

    failed_at: where a worker has printed what ends it. failure_kind: of the attempt that does so,
    if one does. outdated: see EndRun.
    """
    if run.stage == "ending":
        return
    run.leave_phase(leader.now)
    record = msgspec.structs.replace(
        run.totals(ends_as=status),
        exception=cut_text(exception) if exception else None,
        failed_at=failed_at,
        failure_kind=failure_kind,
    )
    hosts = {peer.name: peer.host for peer in leader.peers.values()}
    state = None
    if status == "succeeded":
        state = run.state_after(hosts)
    elif status == "failed":
        state = run.state_after_failure(hosts)
    run.stage = "ending"
    for task in list(run.at_work.values()):
        assert task.running is not None
        cancel(leader, task.runner, task.running)
        run.stop(task)
    leader.write(EndRun(record, state, outdated))

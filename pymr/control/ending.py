"""Ending: how attempts that are under way, and runs, come to their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pymr.control.records import EndRun
from pymr.control.runs import Run
from pymr.outcomes import AttemptId
from pymr.protocol import cut_text
from pymr.rows import PanePlace, RunStatus

if TYPE_CHECKING:
    from pymr.control.leadership import Leader


def cancel(leader: Leader, runner: str, attempt: AttemptId) -> None:
    """An attempt is under way with a peer, and no longer needed."""
    peer = leader.peers.get(runner)
    if peer is not None and peer.take_back(attempt):
        peer.cancelled += (attempt,)
        leader.owe(peer)
        leader.hungry[peer.name] = peer


def outdate(leader: Leader, run: Run, reason: str, failed_at: PanePlace | None = None) -> None:
    """The input of a run is not any more what was planned: its job is planned anew, in another run.

    It fails where that comes to pass `max_attempts` times one after another, under this leader.
    """
    outdated = leader.queueing.outdated
    version, before = outdated.get(run.job_name, (0, 0))
    times = 1 + (before if version == run.record.job_version else 0)
    if times >= run.attempts_max:
        more = f"\n(the input has changed in {times} runs one after another, which is max_attempts)"
        end(leader, run, "failed", reason + more * (times > 1), failed_at)
        return
    if run.stage != "ending":
        outdated[run.job_name] = run.record.job_version, times
    end(leader, run, "outdated", reason, failed_at)


def end(
    leader: Leader,
    run: Run,
    status: RunStatus,
    exception: str | None,
    failed_at: PanePlace | None = None,
    failure_kind: str = "",
) -> None:
    """A run comes to its end: its attempts are cancelled now; what it has made stays until Redis knows.

    failed_at: where a worker has printed what ends it. failure_kind: of the attempt that does so,
    if one does.
    """
    if run.stage == "ending":
        return
    run.leave_phase(leader.now)
    record = msgspec.structs.replace(
        run.totals(),
        status=status,
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
    leader.write(EndRun(record, state))

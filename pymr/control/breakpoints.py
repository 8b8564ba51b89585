"""Breakpoints: operators are told of a worker that has come to one, as it waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymr.protocol import Report, WorkerReport

if TYPE_CHECKING:
    from pymr.control.leadership import Leader


def note(leader: Leader, last: Report | None, report: Report) -> None:
    """Tell of the workers that stand at a breakpoint, and did not at the report before."""
    stopped = _stopped(report)
    if not stopped:
        return
    before = _stopped(last) if last is not None else {}
    for key, worker in stopped.items():
        run = leader.runs.get(worker.run_id)
        if key in before or run is None:
            continue
        name = f"{report.peer}/{worker.slot}"
        text = f"{run.job_name} stands at a breakpoint in {worker.task}, on {name}"
        leader.announce("run.breakpoint", text, run, report.peer, worker=name)


def _stopped(report: Report) -> dict[tuple[int, str, str], WorkerReport]:
    return {(one.slot, one.run_id, one.task): one for one in report.workers if one.state == "breakpoint"}

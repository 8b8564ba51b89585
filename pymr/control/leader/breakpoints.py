"""Breakpoints: operators are told of a worker that has come to one, as it waits for them."""

from __future__ import annotations

from pymr.control.runs.leader_state import LeaderState
from pymr.wire.protocol import Report

TOLD_MAX = 10_000
"""Attempts that a run remembers to have told of, the latest ones."""


def note(leader: LeaderState, report: Report) -> None:
    """Tell of the workers that have come to a breakpoint, once for each attempt: a debugger goes on and stops
    again with every step. Under the next leader it is told once more."""
    stopped = [worker for worker in report.workers if worker.state == "breakpoint"]
    if not stopped:
        return
    attempts = {one.slot: one.id for one in report.running}
    for worker in stopped:
        run, attempt = leader.runs.get(worker.run_id), attempts.get(worker.slot)
        if run is None or attempt is None or (attempt.run_id, attempt.task) != (worker.run_id, worker.task):
            continue
        key = (report.peer, worker.slot, attempt)
        if key in run.breakpoints_told:
            continue
        run.breakpoints_told[key] = None
        if len(run.breakpoints_told) > TOLD_MAX:
            del run.breakpoints_told[next(iter(run.breakpoints_told))]
        name = f"{report.peer}/{worker.slot}"
        text = f"{run.job_name} is paused at a breakpoint in {worker.task}, on {name}"
        leader.announce("run.breakpoint", text, run, report.peer, worker=name)

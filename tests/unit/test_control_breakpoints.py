"""A worker that comes to a breakpoint waits for a person: who looks is told of it, once."""

from __future__ import annotations

from leader_desk import RUN, Desk

from pymr.peer.views import at_breakpoints, event_row
from pymr.protocol import WorkerReport, WorkerState


def report(desk: Desk, state: WorkerState, task: str = "map-00000") -> None:
    desk.report("a", running=desk.given("a"), workers=(WorkerReport(1, 77, state, RUN, task, (0, 0)),))


def test_a_worker_that_comes_to_a_breakpoint_is_told_of_once() -> None:
    desk = Desk(("a", "h", 2))
    desk.begin("a", tasks=2)
    for state in ("map", "breakpoint", "breakpoint"):
        report(desk, state)  # type: ignore[arg-type]
    told = [event for event in desk.events if event.kind == "run.breakpoint"]
    stopped = at_breakpoints([desk.leader.peers["a"].report])
    report(desk, "map")
    report(desk, "breakpoint", "map-00001")

    (event,) = told
    row = event_row("1-0", 5.0, event)
    assert (row.job_name, row.run_id, row.peer, row.worker, row.time) == ("job", RUN, "a", "a/1", 5.0)
    assert row.text == "job stands at a breakpoint in map-00000, on a/1"
    assert stopped == ("a/1",)
    assert [one.text for one in desk.events if one.kind == "run.breakpoint"][1:] == [
        "job stands at a breakpoint in map-00001, on a/1"
    ]

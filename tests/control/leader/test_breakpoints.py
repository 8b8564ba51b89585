"""A worker that comes to a breakpoint waits for a person: who looks is told of it, once."""

from __future__ import annotations

import pytest
from leader_desk import RUN, Desk

from pymr.control.leader import breakpoints
from pymr.peer.requests.views import at_breakpoints, event_row
from pymr.wire.outcomes import AttemptId
from pymr.wire.protocol import RunningAttempt, WorkerReport, WorkerState


def report(desk: Desk, state: WorkerState, task: str = "map-00000") -> None:
    slot = next(one.slot for one in desk.given("a") if one.id.task == task)
    desk.report("a", running=desk.given("a"), workers=(WorkerReport(slot, 77, state, RUN, task, (0, 0)),))


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
    assert (row.job_name, row.run_id, row.peer, row.worker, row.time) == ("job", RUN, "a", "a/0", 5.0)
    assert row.text == "job is paused at a breakpoint in map-00000, on a/0"
    assert stopped == ("a/0",)
    assert [one.text for one in desk.events if one.kind == "run.breakpoint"][1:] == [
        "job is paused at a breakpoint in map-00001, on a/1"
    ]


def stand(desk: Desk, state: WorkerState, attempt: str, slot: int = 0) -> None:
    """A worker reports what it does, which is all that its peer has."""
    running = [RunningAttempt(AttemptId(RUN, "map-00000", attempt), slot, state, (0, 0))]
    desk.report("a", running=running, workers=(WorkerReport(slot, 77, state, RUN, "map-00000", (0, 0)),))


def told(desk: Desk) -> list[str]:
    return [event.worker for event in desk.events if event.kind == "run.breakpoint"]


def test_a_debugger_that_goes_on_and_stops_again_is_told_of_once_for_each_attempt() -> None:
    desk = Desk(("a", "h", 2))
    desk.begin("a", tasks=2)
    for _ in range(5):
        stand(desk, "breakpoint", "5.1")
        stand(desk, "map", "5.1")
    stepped = told(desk)
    for _ in range(2):
        stand(desk, "breakpoint", "5.2")
        stand(desk, "map", "5.2")
        stand(desk, "breakpoint", "5.3", slot=1)

    assert stepped == ["a/0"]
    assert told(desk) == ["a/0", "a/0", "a/1"]


def test_as_many_breakpoints_are_remembered_as_are_allowed_the_latest_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(breakpoints, "TOLD_MAX", 2)
    desk = Desk(("a", "h", 2))
    desk.begin("a", tasks=2)
    for attempt in ("5.1", "5.2", "5.3", "5.3", "5.2"):
        stand(desk, "breakpoint", attempt)
        stand(desk, "map", attempt)

    assert len(told(desk)) == 3
    assert len(desk.leader.runs[RUN].breakpoints_told) == 2

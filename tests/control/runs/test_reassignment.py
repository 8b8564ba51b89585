"""Where reduce tasks are done when their homes change under them."""

from __future__ import annotations

from leader_desk import RUN, Desk, job, run_record, tasks_given

from pymr.control.stored_state import ActiveRun, HostPlan, RunPlan
from pymr.wire.outcomes import AttemptId
from pymr.wire.protocol import RunningAttempt

PLAN = RunPlan((HostPlan("h", "a", 0, 0, 0, 0),), 1, ("a",))
REDUCE = AttemptId(RUN, "reduce-00000", "4.1")


def test_a_task_that_has_got_another_home_is_not_given_to_the_former_one() -> None:
    desk = Desk(("a", "h", 1), ("b", "g", 1))
    desk.load([job(status="running", run_id=RUN)], [ActiveRun(run_record(plan=PLAN), (), {})])
    desk.report("b")
    desk.report("a")
    running = [RunningAttempt(REDUCE, 0, "shuffle", (0, 0))]
    desk.report("a", running=running, is_draining=True)  # adopted, from the queue of its home

    assert tasks_given(desk, "a") == ["reduce-00000"]

    desk.restart("a", is_draining=True)
    desk.pass_time(0.5)

    assert desk.leader.runs[RUN].place_of(desk.leader.runs[RUN].tasks["reduce-00000"]) == ("b", "")

    desk.restart("a")

    assert tasks_given(desk, "a") == []

    desk.report("b")

    assert tasks_given(desk, "b") == ["reduce-00000"]

"""What the leader does about runs whose tasks an external engine does: one driver, on its own machine."""

from __future__ import annotations

from typing import Any

import pytest
from leader_desk import DRIVEN, FIELDS, RUN, Desk, job, run_record, tasks_given

from pymr.control.stored_state import (
    ActiveRun,
    BeginPublication,
    BeginRun,
    CommitTasks,
    Committed,
    EndRun,
    HostPlan,
    ReleaseTasks,
    RunPlan,
    SavePlan,
)
from pymr.peer.requests.phase_views import phase_rows
from pymr.wire.outcomes import AttemptId, EnginePhase, Failure
from pymr.wire.protocol import DRIVER_TASK, AttemptResult, PlanReport, RunningAttempt

SHARED = "/shared"
ENGINE_FIELDS = FIELDS | {"engine": "dask", "partitions": 2, "input_dirs": [f"{SHARED}/input"]}


def on_engine(*peers: tuple[str, str, int], fields: dict[str, Any] = ENGINE_FIELDS, **settings: Any) -> Desk:
    """A desk at which the run of a job on an engine has begun. The first peer leads."""
    desk = Desk(*peers, shared=(SHARED,), **settings)
    desk.load([job(fields=fields)])
    for name, _, _ in peers:
        desk.report(name)
        desk.report(name)
    desk.answer(BeginRun, run_record(fields=fields))
    return desk


def planned(*peers: tuple[str, str, int], **settings: Any) -> Desk:
    desk = on_engine(*peers, **settings)
    for name, _, _ in peers:
        plans = [PlanReport(RUN, 3, 100, 2, shared=one.shared) for one in desk.orders[name].plans]
        desk.report(name, plans=tuple(plans))
    desk.answer(SavePlan)
    desk.pass_time(0.5, *(name for name, _, _ in peers))
    return desk


TWO = (("alpha", "one", 2), ("beta", "two", 2))


def test_the_only_task_is_a_driver_on_the_leader_which_is_told_of_the_plan() -> None:
    desk = planned(*TWO)
    given = list(desk.leader.peers["alpha"].attempts.values())

    assert tasks_given(desk, "alpha") == [DRIVER_TASK] and tasks_given(desk, "beta") == []
    assert given[0].assignment.plans == (("alpha", True),)
    assert desk.orders["alpha"].runs[0].partitions == 2 and desk.orders["alpha"].runs[0].homes == ()


def test_its_output_is_published_as_any_other() -> None:
    desk = planned(*TWO)
    id = desk.result("alpha", DRIVER_TASK, DRIVEN)
    desk.commit()
    desk.answer(BeginPublication)
    desk.pass_time(0.5, "alpha", "beta")
    orders = {name: desk.orders[name].publish[0] for name in ("alpha", "beta")}

    assert orders["alpha"].attempts == (id.folder,) and orders["beta"].attempts == ()
    assert orders["beta"].items == {"alpha": 4}
    assert orders["beta"].summary["counters"] == {"lines": 10} and orders["beta"].summary["partitions"] == 2


def test_sums_of_the_run_are_those_of_the_engine() -> None:
    desk = planned(*TWO)
    desk.result("alpha", DRIVER_TASK, DRIVEN)
    desk.commit()
    desk.publish("alpha", "beta")
    record = desk.end()

    assert record.status == "succeeded"
    assert (record.files, record.records, record.bytes, record.groups, record.items) == (2, 10, 100, 4, 4)
    assert list(record.phase_seconds) == ["plan", "map", "publish"]


def test_driver_that_fails_by_itself_is_tried_again_as_often_as_any_task() -> None:
    desk = planned(*TWO)
    for attempt in (1, 2):
        assert tasks_given(desk, "alpha") == [DRIVER_TASK], attempt

        desk.result("alpha", DRIVER_TASK, Failure("WorkerDiedError", "alpha/0 was ended by SIGKILL"))
        desk.pass_time(0.5, "alpha", "beta")
    record = desk.end()

    assert record.status == "failed" and record.attempts_failed == 2
    assert record.exception is not None and "2 attempts, the same each time" in record.exception


def test_full_disk_of_the_leader_is_waited_for_there() -> None:
    desk = planned(*TWO)
    full = Failure("DiskError", "disk full: /data", is_counted=False, is_of_disk=True)
    for _ in range(3):
        desk.result("alpha", DRIVER_TASK, full)
        desk.pass_time(15.0, "alpha", "beta")

    assert tasks_given(desk, "alpha") == [DRIVER_TASK] and tasks_given(desk, "beta") == []


PLAN = RunPlan((HostPlan("one", "alpha", 0, 3, 100, 2, True),), 2, ())
EARLIER = AttemptId(RUN, DRIVER_TASK, "4.1")


def taken_over(committed: tuple[Committed, ...] = ()) -> Desk:
    """A desk at which beta has followed alpha as the leader, while a run was under way."""
    desk = Desk(("beta", "two", 2), ("alpha", "one", 2), ("gamma", "three", 2), shared=(SHARED,))
    record = run_record(plan=PLAN, fields=ENGINE_FIELDS)
    desk.load([job(status="running", run_id=RUN, fields=ENGINE_FIELDS)], [ActiveRun(record, committed, {})])
    return desk


def test_driver_of_an_earlier_leader_goes_on_where_it_is() -> None:
    desk = taken_over()
    for _ in range(2):
        desk.report("beta")
        desk.report("gamma")
    desk.pass_time(0.5, "beta", "gamma")

    assert tasks_given(desk, "beta") == []  # alpha may have it

    running = [RunningAttempt(EARLIER, 0, "map", (5, 50), EnginePhase("map", 1, 3, (5, 50)))]
    desk.report("alpha", running=running)
    desk.report("alpha", running=running)
    desk.pass_time(0.5, "alpha", "beta", "gamma")

    assert tasks_given(desk, "alpha") == [DRIVER_TASK] and tasks_given(desk, "beta") == []
    assert desk.orders["alpha"].cancelled == ()


def test_driver_goes_with_the_leadership_when_its_machine_is_gone() -> None:
    desk = taken_over()
    desk.report("beta")
    desk.report("gamma")
    desk.pass_time(8.0, "beta", "gamma")

    assert tasks_given(desk, "beta") == [DRIVER_TASK]
    assert next(iter(desk.leader.peers["beta"].attempts)).attempt == "5.1"


def test_late_driver_of_a_machine_that_was_gone_is_ended_and_its_result_refused() -> None:
    desk = taken_over()
    desk.report("beta")
    desk.report("gamma")
    desk.pass_time(8.0, "beta", "gamma")
    running = [RunningAttempt(EARLIER, 0, "reduce", (1, 1))]
    desk.report("alpha", running=running)
    desk.report("alpha", running=running)

    assert desk.orders["alpha"].cancelled == (EARLIER,)

    desk.do("beta", DRIVER_TASK)
    desk.report("alpha", results=(AttemptResult(EARLIER, DRIVEN),))
    desk.pass_time(0.5, "beta")

    assert [(one.id, one.keep) for one in desk.orders["alpha"].acknowledged] == [(EARLIER, False)]
    assert desk.asked(CommitTasks) == []


def test_output_that_is_lost_before_it_is_published_is_made_again() -> None:
    desk = taken_over((Committed(EARLIER, "alpha", DRIVEN),))
    for name in ("beta", "gamma"):
        desk.report(name)
        desk.report(name)
    desk.report("alpha")
    desk.report("alpha")  # tells that there is nothing on its disk
    write = desk.answer(ReleaseTasks)
    desk.pass_time(0.5, "alpha", "beta", "gamma")

    assert write.ids == (EARLIER,)
    assert tasks_given(desk, "beta") == [DRIVER_TASK]


@pytest.mark.parametrize("folder", ["input", "/elsewhere", "/sharedbutnot"])
def test_input_that_hosts_do_not_share_ends_the_run_before_it_is_planned(folder: str) -> None:
    desk = on_engine(*TWO, fields=ENGINE_FIELDS | {"input_dirs": [f"{SHARED}/a", folder]})
    record = desk.end()

    assert record.status == "failed" and record.exception is not None
    assert record.exception.startswith(f"input_dirs: {folder} lies on each of the 2 hosts for itself")
    assert SHARED in record.exception


def test_input_of_one_host_may_lie_anywhere() -> None:
    peers = (("alpha", "one", 1), ("beta", "one", 1))
    desk = on_engine(*peers, fields=ENGINE_FIELDS | {"input_dirs": ["input"]})
    desk.pass_time(0.5, "alpha", "beta")

    assert desk.asked(EndRun) == []
    assert [one.shared for one in desk.orders["alpha"].plans] == [False]


def test_phases_are_as_far_as_the_driver_tells() -> None:
    desk = planned(*TWO)
    id = next(iter(desk.leader.peers["alpha"].attempts))

    def rows(state: str, done: tuple[int, int], phase: EnginePhase | None) -> dict[str, tuple[Any, ...]]:
        desk.report("alpha", running=[RunningAttempt(id, 0, state, done, phase)])  # type: ignore[arg-type]
        found = phase_rows(desk.leader, desk.leader.runs[RUN])
        return {one.name: (one.done, one.total, one.running, one.units, one.total_units) for one in found}

    assert rows("starting", (0, 0), None)["map"] == (0, 3, 0, (0, 0), 100)
    assert rows("map", (4, 40), EnginePhase("map", 1, 3, (4, 40)))["map"] == (1, 3, 1, (4, 40), 100)

    in_reduce = rows("reduce", (2, 5), EnginePhase("reduce", 1, 2, (10, 100)))

    assert in_reduce["map"] == (3, 3, 0, (10, 100), 100)
    assert in_reduce["reduce"] == (1, 2, 1, (2, 5), 0)
    assert desk.leader.runs[RUN].phase == "reduce"

    desk.result("alpha", DRIVER_TASK, DRIVEN)
    desk.commit()
    found = {one.name: one for one in phase_rows(desk.leader, desk.leader.runs[RUN])}

    assert found["map"].units == (10, 100) and found["reduce"].units == (4, 8)
    assert found["reduce"].done == found["reduce"].total == 2

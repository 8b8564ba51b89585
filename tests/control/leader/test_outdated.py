"""A run whose input changed while it was read is planned anew, in another run, and not for ever."""

from __future__ import annotations

import pytest
from leader_desk import FIELDS, MAPPED, Desk, job, run_record

from pymr.control.runs import ending
from pymr.control.stored_state import ActiveRun, BeginRun, CommitTasks, EndRun, SavePlan
from pymr.wire.outcomes import Failure
from pymr.wire.protocol import PlanReport

GROWN = Failure("InputGrownError", "input/a.log grew while it was being read", is_final=True)
CHANGED = Failure("InputOutdatedError", "input/a.log changed while it was being read", is_final=True)


def run_id(number: int) -> str:
    return f"job-{number:06d}"


def mapping(desk: Desk, number: int) -> None:
    """Bring the run of that number to its map task."""
    desk.answer(BeginRun, run_record(run_id=run_id(number)))
    desk.report("a", plans=(PlanReport(run_id(number), 1, 1, 1),))
    desk.answer(SavePlan)


def begun() -> Desk:
    """FIELDS allow two attempts."""
    desk = Desk(("a", "one", 1))
    desk.load([job()])
    desk.report("a")
    desk.report("a")
    return desk


def fail(desk: Desk, number: int, failure: Failure = CHANGED) -> EndRun:
    desk.result("a", "map-00000", failure)
    write: EndRun = desk.asked(EndRun)[0]
    desk.end()
    desk.change([job(change=number + 1, outdated=write.outdated)])
    desk.report("a")
    return write


def test_changed_input_costs_a_run_and_the_job_is_begun_again_at_once() -> None:
    desk = begun()
    mapping(desk, 1)
    write = fail(desk, 1)

    assert write.record.status == "outdated"
    assert write.record.exception == CHANGED.error
    assert write.state is None
    assert desk.asked(BeginRun)
    assert "run.outdated" in desk.told


def test_input_that_changes_in_each_of_max_attempts_runs_fails_the_job() -> None:
    desk = begun()
    mapping(desk, 1)
    fail(desk, 1)
    mapping(desk, 2)
    write = fail(desk, 2)

    assert write.record.status == "failed"
    assert write.record.exception is not None
    assert write.record.exception.startswith(CHANGED.error)
    assert "2 runs one after another, which is max_attempts" in write.record.exception


def test_files_that_grow_cost_no_attempts_and_their_bound_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "GROWN_RUNS_MAX", 7)
    desk = begun()
    writes = []
    for number in range(1, 8):
        mapping(desk, number)
        writes.append(fail(desk, number, CHANGED if number == 4 else GROWN))
    mapping(desk, 8)
    last = fail(desk, 8, GROWN)

    assert [write.record.status for write in writes] == ["outdated"] * 7
    assert [write.outdated for write in writes[2:5]] == [(0, 3), (1, 3), (1, 4)]
    assert last.record.status == "failed" and last.record.exception is not None
    assert "7 runs one after another were planned anew as files grew" in last.record.exception


def test_changes_count_across_runs_that_ended_as_files_grew() -> None:
    desk = begun()
    for number, failure in enumerate((CHANGED, GROWN), 1):
        mapping(desk, number)
        fail(desk, number, failure)
    mapping(desk, 3)

    assert fail(desk, 3).record.status == "failed"


@pytest.mark.parametrize("outdated", [(0, 0), (1, 0), (0, 1)])
def test_the_next_leader_goes_on_with_the_row_of_outdated_runs(outdated: tuple[int, int]) -> None:
    desk = Desk(("a", "one", 1), epoch=6)
    desk.load([job(outdated=outdated)], [ActiveRun(run_record(run_id=run_id(1)), (), {})])
    desk.report("a")
    desk.report("a")
    (order,) = desk.orders["a"].plans
    assert order.is_anew == any(outdated)
    desk.report("a", plans=(PlanReport(run_id(1), 1, 1, 1, turn=order.turn),))
    desk.answer(SavePlan)

    assert fail(desk, 1).record.status == ("failed" if outdated[0] else "outdated")


def test_a_run_that_ends_otherwise_ends_the_counting() -> None:
    desk = begun()
    mapping(desk, 1)
    fail(desk, 1)
    mapping(desk, 2)
    desk.change([job(version=2, change=9)])
    assert desk.end().status == "replaced"
    desk.report("a")
    desk.answer(BeginRun, run_record(run_id=run_id(3), job_version=2))
    desk.report("a", plans=(PlanReport(run_id(3), 1, 1, 1),))
    desk.answer(SavePlan)

    assert fail(desk, 3).record.status == "outdated"


def test_what_others_have_mapped_of_an_outdated_run_does_not_count() -> None:
    desk = Desk(("a", "one", 2))
    desk.load([job(fields=FIELDS | {"max_attempts": 4})])
    desk.report("a")
    desk.report("a")
    desk.answer(BeginRun, run_record(fields=FIELDS | {"max_attempts": 4}))
    desk.report("a", plans=(PlanReport(run_id(1), 2, 1, 1),))
    desk.answer(SavePlan)
    desk.result("a", "map-00000", MAPPED)
    desk.result("a", "map-00001", CHANGED)
    desk.answer(CommitTasks, ("5.1",))

    assert [write.record.status for write in desk.asked(EndRun)] == ["outdated"]

"""What the leader makes of reports that come before it may take them over, or after it has decided."""

from __future__ import annotations

from leader_desk import MAPPED, RUN, Desk, job, run_record, tasks_given

from pymr.control.stored_state import ActiveRun, CommitTasks, Committed, HostPlan, ReleaseTasks, RunPlan
from pymr.wire.outcomes import AttemptId
from pymr.wire.protocol import Acknowledged, AttemptResult, HeldRun, ShuffleReport

MAP, OTHER_MAP = AttemptId(RUN, "map-00000", "4.1"), AttemptId(RUN, "map-00001", "4.1")
HELD = (HeldRun(RUN, tuple((id.task, id.attempt, "digest") for id in (MAP, OTHER_MAP))),)
RESULTS = (AttemptResult(MAP, MAPPED),)
JOBS = [job(status="running", run_id=RUN)]
PLAN = RunPlan((HostPlan("h", "a", 0, 2, 2, 1),), 1, ("a",))


def loading_desk(*committed: AttemptId) -> tuple[Desk, ActiveRun]:
    """A leader that does not know its runs yet, and what it is going to load."""
    desk = Desk(("a", "h", 1))
    done = tuple(Committed(id, "a", MAPPED) for id in committed)
    return desk, ActiveRun(run_record(plan=PLAN), done, {})


def test_a_result_that_comes_before_the_runs_are_known_is_not_refused() -> None:
    desk, active = loading_desk()
    desk.report("a", results=RESULTS)
    desk.load(JOBS, [active])

    assert desk.orders["a"].acknowledged == ()

    desk.report("a", results=RESULTS)
    desk.commit()

    assert desk.orders["a"].acknowledged == (Acknowledged(MAP, True),)


def test_a_loss_that_is_told_before_the_runs_are_known_is_taken_over_after() -> None:
    desk, active = loading_desk(MAP, OTHER_MAP)
    shuffles = (ShuffleReport(RUN, 2, 0, 1, 0, (MAP,)),)
    desk.report("a", shuffles=shuffles, inventory=HELD)
    desk.load(JOBS, [active])
    desk.report("a", shuffles=shuffles, inventory=HELD)

    assert desk.released() == [MAP.folder]


def deaf_desk(*committed: AttemptId) -> Desk:
    """A leader with a peer that counts as dead, as it is heard and does not hear."""
    desk, active = loading_desk(*committed)
    desk.load(JOBS, [active])
    desk.report("a", orders=0)
    desk.pass_time(7)
    return desk


def test_a_result_of_a_peer_that_does_not_hear_is_neither_taken_nor_refused() -> None:
    desk = deaf_desk()
    desk.report("a", orders=0, results=RESULTS)
    desk.pass_time(2)

    assert (desk.leader.peers["a"].state, desk.asked(CommitTasks)) == ("dead", [])
    assert desk.orders["a"].acknowledged == ()

    desk.report("a", results=RESULTS)
    desk.commit()

    assert desk.orders["a"].acknowledged == (Acknowledged(MAP, True),)


def test_a_loss_that_a_peer_tells_while_it_does_not_hear_is_taken_over_when_it_does() -> None:
    desk = deaf_desk(MAP, OTHER_MAP)
    shuffles = (ShuffleReport(RUN, 2, 0, 1, 0, (MAP,)),)
    desk.report("a", orders=0, shuffles=shuffles, inventory=HELD)

    assert (desk.leader.peers["a"].state, desk.released()) == ("dead", [])

    desk.report("a", shuffles=shuffles, inventory=HELD)

    assert (desk.leader.peers["a"].state, desk.released()) == ("alive", [MAP.folder])


def test_a_result_that_was_refused_is_not_taken_from_a_report_that_was_under_way() -> None:
    """Its files may be gone by then, and the attempt that was preferred may have been lost meanwhile."""
    desk = Desk(("a", "h", 1), ("b", "g", 1))
    desk.begin("a", "b")
    desk.do("b", "map-00001")
    done = desk.do("a", "map-00000")
    late = (AttemptResult(AttemptId(RUN, "map-00000", "4.1"), MAPPED),)
    desk.report("b", results=late)

    assert desk.orders["b"].acknowledged == (Acknowledged(late[0].id, False),)

    lost = ShuffleReport(RUN, 2, 0, 1, 0, (done,))
    desk.report("a", running=desk.given("a"), shuffles=(lost,))
    desk.answer(ReleaseTasks)
    desk.report("b", results=late)

    assert desk.asked(CommitTasks) == []
    assert desk.orders["b"].acknowledged == (Acknowledged(late[0].id, False),)
    assert "map-00000" in tasks_given(desk, "a")

    desk.report("b")

    assert desk.leader.peers["b"].refused == set()

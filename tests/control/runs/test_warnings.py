"""What a run warns of, and where its job wants a failure instead."""

from __future__ import annotations

import pytest
from leader_desk import FIELDS, MAPPED, RUN, Desk, job, run_record
from msgspec.structs import replace

from pymr.control.stored_state import ActiveRun, BeginRun, Committed, HostPlan, RunPlan, SavePlan
from pymr.wire.outcomes import AttemptId, Failure, MapOutcome
from pymr.wire.protocol import AbsentInput, PlanReport
from pymr.wire.run_warnings import RunWarnings

EMPTY = MapOutcome("digest", 0, 1, 0, 1)


def planned(desk: Desk, *reports: tuple[str, PlanReport], **fields: object) -> None:
    """A run of a job with these fields, for which these peers report their plans."""
    desk.load([job(fields=FIELDS | fields)])
    for peer in desk.leader.peers:
        desk.report(peer)
        desk.report(peer)
    desk.answer(BeginRun, run_record(fields=FIELDS | fields))
    for peer, report in reports:
        desk.report(peer, plans=(report,))


def absent(peer: str, tasks: int = 0) -> PlanReport:
    place = f"/data/{peer}/input on peer {peer}"
    return PlanReport(RUN, tasks, tasks, tasks, absent=(AbsentInput("input", peer, place),))


def test_a_folder_that_some_peers_do_not_have_is_a_warning() -> None:
    desk = Desk(("a", "one", 1), ("b", "two", 1))
    planned(desk, ("a", PlanReport(RUN, 1, 1, 1)), ("b", absent("b")))
    desk.answer(SavePlan)

    assert desk.leader.runs[RUN].totals().warnings == ("input is not there, and so taken as empty, on b",)


@pytest.mark.parametrize("holds_state", [False, True])
def test_a_folder_that_no_peer_has_fails_the_run(holds_state: bool) -> None:
    desk = Desk(("a", "one", 1), ("b", "two", 1))
    planned(desk, ("a", absent("a")), ("b", absent("b")), hold_state=holds_state)
    record = desk.end()

    assert record.status == "failed"
    assert record.exception is not None
    for text in ("/data/a/input on peer a, /data/b/input on peer b", "an empty folder will do"):
        assert text in record.exception


def test_warnings_of_planning_outlive_the_leader_and_are_told_at_the_end() -> None:
    desk = Desk(("a", "one", 1))
    report = PlanReport(RUN, 1, 1, 1, warnings=RunWarnings(("link 1", "link 2"), 3))
    planned(desk, ("a", report))
    plan = desk.asked(SavePlan)[0].plan
    later = Desk(("a", "one", 1), epoch=6)
    later.load([job(status="running", run_id=RUN)], [ActiveRun(run_record(plan=plan), (), {})])
    later.report("a")
    later.report("a")
    later.do("a", "map-00000")
    later.do("a", "reduce-00000")
    later.publish("a")
    record = later.end()

    assert record.warnings == ("link 1", "link 2", "3 more warnings are not listed")
    assert [event.text for event in later.events if event.kind == "run.warned"] == [
        f"{RUN}: link 1 (and other warnings, which `pymr show` lists)"
    ]


def test_input_without_records_is_a_success_that_warns() -> None:
    desk = Desk(("a", "one", 1))
    planned(desk, ("a", PlanReport(RUN, 1, 1, 1)))
    desk.answer(SavePlan)
    desk.result("a", "map-00000", EMPTY)
    desk.commit()
    desk.report("a")
    desk.do("a", "reduce-00000")
    desk.publish("a")
    record = desk.end()

    assert (record.status, record.warnings) == (
        "succeeded",
        ("the input has no records: the output is empty",),
    )


@pytest.mark.parametrize(
    ("read", "what"), [(70, "downsample = 0.25 left no records"), (0, "the input has no records")]
)
@pytest.mark.parametrize("allow_empty", [True, False])
def test_sampling_that_leaves_nothing_is_told_as_such(read: int, what: str, allow_empty: bool) -> None:
    desk = Desk(("a", "one", 1))
    planned(desk, ("a", PlanReport(RUN, 1, 1, 1)), downsample=0.25, allow_empty=allow_empty)
    desk.answer(SavePlan)
    desk.result("a", "map-00000", replace(EMPTY, bytes=read))
    desk.commit()
    if allow_empty:
        told = desk.leader.runs[RUN].totals().warnings[0]
    else:
        told = str(desk.end().exception)

    assert told.startswith(what)


def test_a_run_of_input_without_records_that_fails_says_nothing_of_an_empty_output() -> None:
    desk = Desk(("a", "one", 1))
    planned(desk, ("a", PlanReport(RUN, 1, 1, 1, warnings=RunWarnings(("link 1",)))))
    desk.answer(SavePlan)
    desk.result("a", "map-00000", EMPTY)
    desk.commit()
    run = desk.leader.runs[RUN]
    while_it_goes_on = run.totals().warnings
    desk.report("a")
    desk.result("a", "reduce-00000", Failure("KeyError", "1", is_final=True))
    record = desk.end()

    assert while_it_goes_on == ("link 1", "the input has no records: the output is empty")
    assert (record.status, record.warnings) == ("failed", ("link 1",))


@pytest.mark.parametrize("tasks", [0, 1])
def test_input_without_records_fails_where_the_job_says_so(tasks: int) -> None:
    desk = Desk(("a", "one", 1))
    planned(desk, ("a", PlanReport(RUN, tasks, tasks, tasks)), allow_empty=False)
    desk.answer(SavePlan)
    if tasks:
        desk.result("a", "map-00000", EMPTY)
        desk.commit()
    record = desk.end()

    assert record.status == "failed"
    assert record.exception is not None
    assert "allow_empty = false" in record.exception and "input_dirs: input" in record.exception


def test_a_later_leader_refuses_empty_input_too() -> None:
    plan = RunPlan((HostPlan("one", "a", 0, 1, 1, 1),), 1, ("a",))
    fields = FIELDS | {"allow_empty": False}
    done = Committed(AttemptId(RUN, "map-00000", "5.1"), "a", EMPTY)
    desk = Desk(("a", "one", 1), epoch=6)
    desk.load(
        [job(status="running", run_id=RUN, fields=fields)],
        [ActiveRun(run_record(plan=plan, fields=fields), (done,), {})],
    )

    assert desk.end().status == "failed"


def test_a_record_is_enough() -> None:
    desk = Desk(("a", "one", 1))
    planned(desk, ("a", PlanReport(RUN, 2, 1, 1)), allow_empty=False)
    desk.answer(SavePlan)
    desk.result("a", "map-00000", EMPTY)
    desk.commit()
    desk.report("a")
    desk.result("a", "map-00001", replace(MAPPED, records=1))
    desk.commit()

    assert desk.leader.runs[RUN].stage == "tasks"
    assert desk.leader.runs[RUN].totals().warnings == ()

"""Jobs with `hold_state`: which lists the leader lets a run go by, and which ones count after it."""

from __future__ import annotations

from leader_desk import FIELDS, RUN, Desk, job, run_record

from pymr.control.records import BeginRun, EndRun, JobState, RunRecord, SavePlan
from pymr.protocol import PlanOrder, PlanReport, PublishReport

HELD = FIELDS | {"hold_state": True, "input_dirs": ["input", "/shared/input"]}
APART = (("a", "h", 1), ("b", "g", 1))
STATE = JobState("job-000000", "g", ("a", "b"), "b")


def begin(state: JobState | None = STATE, fields: dict[str, object] = HELD) -> Desk:
    """A run of a job that is to be planned, after a run which has left that state."""
    desk = Desk(*APART, shared=("/shared",), machine_grace_s=20.0)
    states = {"job": state} if state else {}
    desk.change([job(fields=fields)], states=states)
    desk.load([job(fields=fields)])
    for peer in "abab":
        desk.report(peer)
    desk.answer(BeginRun, run_record(fields=fields))
    desk.pass_time(0.5, "a", "b")
    return desk


def plan(desk: Desk, *, files: int = 1) -> None:
    """All peers do the planning that they are asked for, each finding so many files for one task."""
    for peer in "ab":
        found = [(1 if files else 0, order.shared) for order in desk.orders[peer].plans]
        reports = tuple(PlanReport(RUN, tasks, tasks, files, shared=shared) for tasks, shared in found)
        desk.report(peer, plans=reports)


def finish(desk: Desk) -> EndRun:
    """The run goes on to its end, which is written."""
    plan(desk)
    desk.answer(SavePlan)
    while any(desk.leader.peers[peer].attempts for peer in "ab"):
        for peer in "ab":
            for id in list(desk.leader.peers[peer].attempts):
                desk.do(peer, id.task)
    desk.publish("a", "b")
    write: EndRun = desk.asked(EndRun)[0]
    return write


def test_each_host_plans_by_the_lists_of_the_run_that_counts() -> None:
    desk = begin()

    assert desk.orders["a"].plans == (PlanOrder(RUN, 1, False, "job-000000", "a"),)
    assert desk.orders["b"].plans == (
        PlanOrder(RUN, 1, False, "job-000000", "b"),
        PlanOrder(RUN, 2, True, "job-000000", "b"),
    )


def test_a_job_that_holds_no_state_goes_by_no_list() -> None:
    desk = begin(fields=HELD | {"hold_state": False})

    assert {order.consumed for peer in "ab" for order in desk.orders[peer].plans} == {""}
    assert finish(desk).state is None


def test_the_host_that_has_the_list_of_shared_folders_is_waited_for() -> None:
    desk = begin()
    desk.pass_time(6.0, "a")

    assert "b (g)" in desk.leader.runs[RUN].waiting_for
    assert [order.shared for order in desk.orders["a"].plans] == [False]

    desk.pass_time(21.0, "a")

    assert "b (g)" in (desk.end().exception or "")


def test_a_host_of_an_earlier_configuration_that_has_the_list_ends_the_run_by_name() -> None:
    desk = begin(JobState("job-000000", "elsewhere", (), "z"))

    assert "elsewhere has the list of what this job has consumed" in (desk.end().exception or "")


def test_a_run_without_any_new_input_is_skipped() -> None:
    desk = begin()
    plan(desk, files=0)
    ended = desk.asked(EndRun)[0]

    assert (ended.record.status, ended.state) == ("skipped", None)
    assert desk.asked(SavePlan) == []


def test_empty_files_are_new_input_as_well() -> None:
    desk = begin()
    for peer in "ab":
        reports = tuple(PlanReport(RUN, 0, 0, 1, shared=one.shared) for one in desk.orders[peer].plans)
        desk.report(peer, plans=reports)

    assert desk.asked(EndRun) == []
    assert len(desk.asked(SavePlan)) == 1


def test_the_end_of_a_run_says_whose_lists_count_from_then_on() -> None:
    desk = begin(None)
    ended = finish(desk)

    assert ended.record.status == "succeeded"
    assert ended.state == JobState(RUN, "h", ("a", "b"), "a")


def test_a_run_that_begins_before_the_table_is_read_again_knows_the_state() -> None:
    desk = begin()
    ended = finish(desk)
    desk.change([job(2, 9, fields=HELD)])  # replaced, while the output was being shown
    desk.answer(EndRun, ended.record)
    desk.answer(BeginRun, run_record(run_id="job-000002", job_version=2, fields=HELD))
    desk.pass_time(0.5, "a", "b")

    assert {order.consumed for order in desk.orders["a"].plans} == {RUN}


def test_a_new_leader_shows_the_output_of_the_run_that_counts_though_the_last_one_was_skipped() -> None:
    desk = Desk(*APART)
    skipped = job(fields=HELD, status="skipped", run_id="job-000007")
    desk.change([skipped], states={"job": STATE})
    desk.load([skipped])
    desk.report("a")

    assert [(one.run_id, one.attempts) for one in desk.orders["a"].publish] == [("job-000000", ())]

    desk.report("a", published=(PublishReport("job-000000", "a"),))
    desk.pass_time(0.5, "a")

    assert desk.orders["a"].publish == ()


def test_a_run_that_failed_leaves_the_state_as_it_is() -> None:
    desk = begin()
    desk.report("a", plans=(PlanReport(RUN, 0, 0, 0, "it cannot be read"),))
    write: EndRun = desk.asked(EndRun)[0]
    record: RunRecord = write.record

    assert (record.status, write.state) == ("failed", None)

"""Jobs with `hold_state`: which lists the leader lets a run go by, and which ones count after it."""

from __future__ import annotations

import pytest
from leader_desk import FIELDS, RUN, Desk, job, run_record
from msgspec.structs import replace

from pymr.control.counted_runs import UNCOUNTED_MAX
from pymr.control.messages import RunsLoaded
from pymr.control.stored_state import (
    BeginPublication,
    BeginRun,
    EndRun,
    JobState,
    RunRecord,
    SavePlan,
    UncountedRuns,
)
from pymr.wire.protocol import Counting, PlanOrder, PlanReport, PublishOrder, PublishReport

HELD = FIELDS | {"hold_state": True, "input_dirs": ["input", "/shared/input"]}
APART = (("a", "h", 1), ("b", "g", 1))
STATE = JobState("job-000000", "g", ("a", "b"), "b")
DOUBTFUL = (UncountedRuns(1, 1, ("a",)),)  # the only one with a part


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
    reach_publication(desk)
    for peer in "ab":
        desk.report(peer, published=(PublishReport(RUN, peer),))
    write: EndRun = desk.asked(EndRun)[0]
    return write


def test_each_host_plans_by_the_lists_of_the_run_that_counts() -> None:
    desk = begin()

    assert desk.orders["a"].plans == (PlanOrder(RUN, 1, False, "job-000000", "a", (5, 1)),)
    assert desk.orders["b"].plans == (
        PlanOrder(RUN, 1, False, "job-000000", "b", (5, 1)),
        PlanOrder(RUN, 2, True, "job-000000", "b", (5, 1)),
    )


def test_a_job_that_holds_no_state_goes_by_no_list() -> None:
    desk = begin(fields=HELD | {"hold_state": False})

    assert {order.consumed for peer in "ab" for order in desk.orders[peer].plans} == {""}
    assert finish(desk).state == replace(STATE, shown=RUN, since=1)  # of its output alone


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


def test_the_first_run_leaves_an_output_though_it_finds_nothing() -> None:
    desk = begin(None)
    plan(desk, files=0)

    assert desk.asked(EndRun) == []
    assert len(desk.asked(SavePlan)) == 1


def test_of_several_plans_of_a_host_only_the_one_asked_for_last_is_taken() -> None:
    desk = Desk(("a", "h", 1), ("b", "h", 1), shared=("/shared",))
    desk.load([job(fields=FIELDS | {"hold_state": True})])
    for peer in "abab":
        desk.report(peer)
    desk.answer(BeginRun, run_record(fields=FIELDS | {"hold_state": True}))
    (first,) = desk.orders["a"].plans
    made = PlanReport(RUN, 1, 1, 1, turn=first.turn)
    desk.pass_time(6.0, "b")  # a is taken for dead
    (second,) = desk.orders["b"].plans
    desk.report("a", plans=(made,))
    desk.report("b", plans=(made,))

    assert (first.turn, second.turn) == ((5, 1), (5, 2))
    assert desk.asked(SavePlan) == []

    desk.restart("b")
    (third,) = desk.orders["b"].plans or desk.orders["a"].plans
    desk.report("b", plans=(replace(made, turn=second.turn),))

    assert third.turn > second.turn
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
    assert ended.state == JobState(RUN, "h", ("a", "b"), "a", RUN, False, since=1)


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


ADDING = HELD | {"delete_job_data": False}


def reach_publication(desk: Desk) -> None:
    plan(desk)
    desk.answer(SavePlan)
    while any(desk.leader.peers[peer].attempts for peer in "ab"):
        for peer in "ab":
            for id in list(desk.leader.peers[peer].attempts):
                desk.do(peer, id.task)
    desk.answer(BeginPublication)


def test_a_run_is_added_to_the_parts_of_those_that_count() -> None:
    desk = begin(fields=ADDING)
    reach_publication(desk)

    assert [desk.orders[peer].publish[0].counting for peer in "ab"] == [Counting(0, 0)] * 2

    for peer in "ab":
        desk.report(peer, published=(PublishReport(RUN, peer),))
    ended = desk.asked(EndRun)[0]

    assert (ended.state.run_id, ended.state.shown, ended.state.adds) == (RUN, RUN, True)
    assert ended.state.uncounted == ()


def test_what_is_in_the_way_of_an_output_is_waited_for_and_named() -> None:
    desk = begin(fields=ADDING)
    reach_publication(desk)
    in_the_way = PublishReport(RUN, "b", "thesis.txt: move it away on peer b")
    desk.report("b", published=(in_the_way,))
    desk.report("a", published=(PublishReport(RUN, "a"),))
    desk.pass_time(10.0, "a", "b")

    assert desk.leader.runs[RUN].waiting_for == in_the_way.error
    assert desk.asked(EndRun) == []

    desk.pass_time(11.0, "a", "b")
    write: EndRun = desk.asked(EndRun)[0]

    assert (write.record.status, write.state) == ("failed", replace(STATE, uncounted=DOUBTFUL))
    assert "machine_grace_seconds" in (write.record.exception or "") and "thesis" in write.record.exception


def test_it_is_shown_once_nothing_is_in_its_way() -> None:
    desk = begin(fields=ADDING)
    reach_publication(desk)
    desk.report("b", published=(PublishReport(RUN, "b", "thesis.txt"),))
    desk.pass_time(1.0, "a", "b")
    for peer in "ab":
        desk.report(peer, published=(PublishReport(RUN, peer),))

    assert desk.asked(EndRun)[0].record.status == "succeeded"


@pytest.mark.parametrize("status", ["queued", "running", "failed", "deleted"])
def test_a_peer_that_was_away_is_told_of_the_output_whatever_its_job_does(status: str) -> None:
    """Redis begins its numbers anew with no run: those of an incarnation before mean the same."""
    desk = Desk(*APART)
    state = JobState("", shown="job-000004", adds=True, since=1, uncounted=(UncountedRuns(2, 3, ("b",)),))
    jobs = [job(fields=ADDING, status=status, run_id="job-000009")] if status != "deleted" else []
    desk.change(jobs, states={"job": state})
    desk.step(RunsLoaded((), ("before",)))
    desk.report("a")
    counting = Counting(1, 4, ((2, 3),))
    order = PublishOrder("job-000004", "job", "a", True, (), (), {}, counting, ("before",))

    assert desk.orders["a"].publish == (order,)


REPLACING = FIELDS | {"input_dirs": ["input", "/shared/input"]}
NOT_WHOLE = "the output of reduce-00001-5.1 is not whole any more"


def fail_publication(desk: Desk, *shown: str) -> EndRun:
    """Peer `b` cannot show the output, after these have."""
    reach_publication(desk)
    for peer in shown:
        desk.report(peer, published=(PublishReport(RUN, peer),))
    desk.report("b", published=(PublishReport(RUN, "b", NOT_WHOLE, is_final=True),))
    write: EndRun = desk.asked(EndRun)[0]
    return write


@pytest.mark.parametrize("state", [None, STATE])
@pytest.mark.parametrize("shown", [("a",), ()])
def test_a_run_that_fails_while_it_takes_the_place_of_others_has_torn_the_output(
    state: JobState | None, shown: tuple[str, ...]
) -> None:
    """Where a peer has not said anything yet, it may show the output."""
    write = fail_publication(begin(state, REPLACING), *shown)

    assert write.record.status == "failed"
    assert write.state == replace(state or JobState(""), torn=RUN)


def test_a_run_that_nobody_could_show_has_torn_nothing() -> None:
    desk = begin(None, REPLACING)
    reach_publication(desk)
    desk.report("a", published=(PublishReport(RUN, "a", "thesis.txt"),))
    desk.report("b", published=(PublishReport(RUN, "b", NOT_WHOLE, is_final=True),))

    assert desk.asked(EndRun)[0].state is None


def test_a_run_that_fails_while_it_is_added_has_torn_nothing_and_does_not_count() -> None:
    assert fail_publication(begin(fields=ADDING), "a").state == replace(STATE, uncounted=DOUBTFUL)


def test_of_what_does_not_count_nothing_is_forgotten_to_be_added_to_again() -> None:
    many = tuple(UncountedRuns(number, number, ("z",)) for number in range(UNCOUNTED_MAX))
    write: EndRun = begin(replace(STATE, uncounted=many), ADDING).asked(EndRun)[0]

    assert (write.record.status, write.state) == ("failed", None)
    assert "Start these again" in (write.record.exception or "") and ": z." in write.record.exception
    assert finish(begin(replace(STATE, uncounted=many), HELD)).state.uncounted == ()


def test_a_run_that_replaces_and_that_some_peer_missed_is_noted() -> None:
    """Or a peer that comes back when others were added would put what was replaced beside them."""
    desk = begin(None, REPLACING)
    reach_publication(desk)
    with_parts = [peer for peer in "ab" if desk.orders[peer].publish[0].attempts]
    (missing,) = set("ab") - set(with_parts[:1])
    desk.leader.runs[RUN].committed_by.pop(missing, None)
    desk.leader.runs[RUN]._publish_orders.pop(missing, None)
    desk.report(with_parts[0], published=(PublishReport(RUN, with_parts[0]),))
    desk.pass_time(40.0, with_parts[0])
    write: EndRun = desk.asked(EndRun)[0]

    assert write.record.status == "succeeded"
    assert write.state == JobState("", shown=RUN, since=1)


def test_nothing_is_added_to_an_output_that_is_torn() -> None:
    desk = begin(fields=REPLACING)
    torn = fail_publication(desk, "a")
    desk.change([job(2, 9, fields=ADDING)])  # before the table is read again
    desk.answer(EndRun, torn.record)
    desk.answer(BeginRun, run_record(run_id="job-000002", job_version=2, fields=ADDING))
    write: EndRun = desk.asked(EndRun)[0]

    assert (write.record.status, write.state) == ("failed", None)
    assert (write.record.exception or "").startswith(f"{RUN} failed while its output took the place of")


def test_a_run_that_takes_the_place_of_all_mends_an_output_that_is_torn() -> None:
    ended = finish(begin(replace(STATE, torn="job-000000"), HELD))

    assert (ended.record.status, ended.state and ended.state.torn) == ("succeeded", "")


def test_no_peer_is_told_to_show_an_output_of_which_nothing_counts() -> None:
    desk = Desk(*APART)
    failed = job(fields=REPLACING, status="failed", run_id=RUN)
    desk.change([failed], states={"job": JobState("", torn=RUN)})
    desk.load([failed])
    desk.report("a")

    assert desk.orders["a"].publish == ()

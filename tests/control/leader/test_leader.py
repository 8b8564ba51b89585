"""What the leader does about single events; what comes of them together, tests/simulation finds out."""

from __future__ import annotations

from typing import Any

import pytest
from leader_desk import MAPPED, REDUCED, RUN, Desk, job, run_record, tasks_given
from msgspec.structs import replace

from pymr.control.messages import PresenceSeen
from pymr.control.runs.tasks import FAILURES_TOLD_MAX
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
from pymr.engine.shuffler import CUT_BY_MEMORY
from pymr.peer.requests.views import failed_attempts, run_row
from pymr.wire.outcomes import (
    INCOMPARABLE,
    AttemptId,
    EarlierFailure,
    Failure,
    MapOutcome,
    error_digest,
)
from pymr.wire.protocol import (
    Acknowledged,
    AttemptResult,
    HeldRun,
    PlanReport,
    PublishReport,
    RunningAttempt,
    ShuffleReport,
    SourcesOrder,
)
from pymr.wire.rows import PanePlace, RunStatus

ONE = ("a", "h", 1)
PAIR = (("a", "h", 1), ("b", "h", 1))
APART = (("a", "h", 1), ("b", "g", 1))


def held(*ids: AttemptId) -> tuple[HeldRun, ...]:
    return (HeldRun(RUN, tuple((id.task, id.attempt, "digest") for id in ids)),)


def two_hosts(**settings: Any) -> tuple[Desk, AttemptId, AttemptId]:
    """A run on two hosts whose maps are committed; its one partition is reduced by `a`."""
    desk = Desk(*APART, **settings)
    desk.begin("a", "b")
    return desk, desk.do("a", "map-00000"), desk.do("b", "map-00001")


# -- the whole way


def test_a_run_goes_from_the_queue_to_its_end() -> None:
    desk = Desk(ONE)
    desk.begin("a", tasks=2)
    for task in ("map-00000", "map-00001", "reduce-00000"):
        desk.do("a", task)
    desk.publish("a")

    assert desk.end().status == "succeeded"
    assert desk.orders["a"].runs == ()
    assert not desk.leader.runs


def test_a_run_without_any_input_is_reduced_as_well() -> None:
    desk = Desk(ONE)
    desk.begin("a", tasks=0)

    assert desk.orders["a"].sources == (SourcesOrder(RUN, 0, (), 0),)
    assert tasks_given(desk, "a") == ["reduce-00000"]


def test_a_job_is_begun_once_however_late_the_table_is() -> None:
    desk = Desk(ONE)
    desk.begin("a", tasks=0)
    desk.do("a", "reduce-00000")
    desk.publish("a")
    desk.end()

    assert desk.asked(BeginRun) == []

    desk.change([job(version=2, change=9)])

    assert desk.asked(BeginRun) == [BeginRun("job", 2, True)]


def test_nothing_is_decided_before_the_runs_are_known() -> None:
    desk = Desk(ONE)
    desk.change([job()])
    desk.report("a")

    assert (desk.orders, desk.writes) == ({}, [])


# -- results


def test_a_result_is_acknowledged_only_once_redis_has_it() -> None:
    desk = Desk(ONE)
    desk.begin("a")
    id = desk.result("a", "map-00000")

    assert not desk.orders["a"].acknowledged

    desk.commit()

    assert list(desk.orders["a"].acknowledged) == [Acknowledged(id, True)]


def test_a_second_result_of_a_task_is_not_kept_and_the_first_is_cancelled_elsewhere() -> None:
    desk = Desk(*PAIR)
    desk.begin("a", "b")
    (running,) = desk.given("a")
    other = AttemptId(RUN, "map-00000", "3.1")
    desk.report("a", running=[running])
    desk.report("b", results=(AttemptResult(other, MAPPED),))

    assert desk.orders["a"].cancelled == (running.id,)

    desk.commit()
    desk.report("a", results=(AttemptResult(running.id, MAPPED),))

    assert [one.keep for one in desk.orders["a"].acknowledged] == [False]


def test_a_report_of_an_earlier_epoch_proves_nothing() -> None:
    desk = Desk(ONE)
    desk.begin("a")
    (given,) = desk.given("a")
    desk.report("a", epoch=4, results=(AttemptResult(given.id, MAPPED),))

    assert desk.asked(CommitTasks) == []
    assert desk.orders["a"].acknowledged == ()


def test_a_report_of_a_later_epoch_ends_the_leadership() -> None:
    desk = Desk(ONE)
    desk.begin("a")
    desk.writes.clear()
    desk.report("a", epoch=6)
    desk.pass_time(10, "a")

    assert len(desk.abdicated) == 1
    assert desk.writes == []


def test_an_attempt_of_which_an_earlier_write_counts_is_committed_after_that_is_released() -> None:
    desk = Desk(ONE)
    desk.begin("a")
    id = desk.result("a", "map-00000")
    desk.answer(CommitTasks, ("5.0",))

    assert desk.released() == ["map-00000-5.0"]

    desk.answer(ReleaseTasks)

    assert [one.id for one in desk.asked(CommitTasks)[0].tasks] == [id]


def test_failures_end_the_run_when_they_are_as_many_as_allowed() -> None:
    desk = Desk(ONE)
    desk.begin("a")
    desk.result("a", "map-00000", Failure("UserFunctionError", "it raised"))

    assert desk.asked(EndRun) == []

    desk.result("a", "map-00000", Failure("UserFunctionError", "it raised"))

    assert desk.end().exception == "it raised\n(task map-00000: 2 attempts, the same each time)"


@pytest.mark.parametrize(
    ("errors", "remark"),
    [
        (("<P at 0x7f01>", "<P at 0x7f02>"), "2 attempts, the same each time"),
        (("it raised", "it raised another"), "failed 2 times, which is max_attempts"),
    ],
)
def test_a_run_that_fails_says_whether_its_attempts_failed_alike(
    errors: tuple[str, ...], remark: str
) -> None:
    desk = Desk(ONE)
    desk.begin("a")
    for error in errors:
        desk.result("a", "map-00000", Failure("UserFunctionError", error))

    assert (desk.end().exception or "").endswith(f"{remark})")


def test_attempts_fail_alike_whichever_worker_ends_by_them() -> None:
    desk = Desk(ONE)
    desk.begin("a")
    for slot in (0, 1):
        died = Failure("WorkerCrashError", f"a/{slot} was ended by SIGSEGV: a crash in C code")
        desk.result("a", "map-00000", died, slot=slot)

    assert (desk.end().exception or "").endswith("2 attempts, the same each time)")


def test_a_failure_leads_to_the_place_where_its_worker_printed_it() -> None:
    desk = Desk(ONE)
    desk.begin("a")
    desk.result("a", "map-00000", Failure("UserFunctionError", "it raised\nlong"), 1_234)
    (tried,) = failed_attempts(desk.leader.runs[RUN])
    desk.result("a", "map-00000", Failure("UserFunctionError", "it raised\nlong"), 5_678)
    record = desk.end()
    place = PanePlace("a/0", RUN, 1_234)  # the second one is told of in a line

    assert (tried.worker, tried.pane_offset) == (place.worker, place.offset)
    assert record.failed_at == place
    assert run_row(record).failed_at == place
    assert [(one.kind, one.place) for one in desk.events if one.place] == [
        ("task.failed", place),
        ("run.failed", place),
    ]


def earlier(desk: Desk) -> EarlierFailure | None:
    """What the worker that makes the next attempt is told of the one before."""
    return desk.orders["a"].assignments[-1].earlier


@pytest.mark.parametrize("last", ["<P at 0x7f03>", "another"])
def test_the_worker_of_each_attempt_is_told_how_the_one_before_failed_and_where_that_is(last: str) -> None:
    """The addresses of objects make no difference."""
    desk = Desk(ONE)
    desk.begin("a")
    run = desk.leader.runs[RUN]
    run.record = replace(run.record, fields=run.record.fields | {"max_attempts": 9})
    told = [earlier(desk)]
    for offset, error in ((100, "<P at 0x7f01>"), (200, "<P at 0x7f02>"), (300, last)):
        desk.result("a", "map-00000", Failure("UserFunctionError", error), offset)
        told.append(earlier(desk))
    same, shown = EarlierFailure("5.1", "a/0", error_digest("<P at 0x0>")), run.failed_tries

    assert told == [
        None,
        same,
        same,
        same if last != "another" else EarlierFailure("5.3", "a/0", error_digest(last)),
    ]
    assert [one.place.offset for one in shown if one.place] == [100, 100, 100 if last != "another" else 300]


@pytest.mark.parametrize("kind", ["WorkerDiedError", "TaskTimeoutError"])
def test_a_worker_that_is_ended_leaves_its_last_words_each_time(kind: str) -> None:
    desk = Desk(ONE)
    desk.begin("a")
    for offset in (100, 200):
        desk.result("a", "map-00000", Failure(kind, "a/0 has ended"), offset)

    assert desk.end().failed_at == PanePlace("a/0", RUN, 200)


def test_a_run_whose_tasks_fail_a_thousand_times_tells_of_the_first_only() -> None:
    desk = Desk(ONE)
    desk.begin("a", tasks=FAILURES_TOLD_MAX + 3)
    for number in range(FAILURES_TOLD_MAX + 3):
        desk.pass_time(0.1, "a")
        desk.result("a", f"map-{number:05d}", Failure("UserFunctionError", "it raised"), number)
        desk.do("a", f"map-{number:05d}")
    told = [one for one in desk.events if one.kind == "task.failed"]

    assert [one.place.offset for one in told if one.place] == list(range(FAILURES_TOLD_MAX))
    assert told[-1].text.endswith("it raised (more of this run are not told of here)")
    assert desk.leader.runs[RUN].attempts_failed == FAILURES_TOLD_MAX + 3


def test_a_machine_that_fails_costs_no_attempt_and_gets_a_rest() -> None:
    desk = Desk(ONE)
    desk.begin("a")
    for _ in range(5):
        desk.result("a", "map-00000", Failure("DiskError", "full", is_counted=False))

        assert tasks_given(desk, "a") == []

        desk.pass_time(11, "a")

    assert tasks_given(desk, "a") == ["map-00000"]
    assert desk.asked(EndRun) == []


def test_a_run_says_which_machine_keeps_it_from_going_on() -> None:
    desk = Desk(*APART)
    desk.begin("a", "b")
    for text in ("full\nin detail", "full"):
        desk.result("b", "map-00001", Failure("DiskError", text, is_counted=False))
        desk.pass_time(11, "a", "b")

        assert desk.leader.runs[RUN].waiting_for == "b (g): full"

    desk.do("b", "map-00001")
    desk.pass_time(0.5, "a", "b")

    assert desk.leader.runs[RUN].waiting_for == ""


def test_a_task_that_fails_by_itself_is_not_waited_for() -> None:
    desk = Desk(ONE)
    desk.begin("a")
    desk.result("a", "map-00000", Failure("DiskError", "full", is_counted=False))
    desk.pass_time(11, "a")
    desk.result("a", "map-00000", Failure("UserFunctionError", "it raised"))
    desk.pass_time(0.5, "a")

    assert desk.leader.runs[RUN].waiting_for == ""


def test_an_input_that_cannot_be_listed_now_is_listed_again() -> None:
    desk = Desk(ONE)
    desk.load([job()])
    desk.report("a")
    desk.report("a")
    desk.answer(BeginRun, run_record())
    desk.report("a", plans=(PlanReport(RUN, 0, 0, 0, "it fails now", is_final=False),))

    assert desk.asked(EndRun) == []
    assert desk.orders["a"].plans

    desk.report("a", plans=(PlanReport(RUN, 0, 0, 0, "it fails"),))

    assert desk.end().exception == "it fails"


# -- what peers have


def test_an_assignment_is_repeated_until_it_was_seen() -> None:
    desk = Desk(ONE)
    desk.begin("a")
    (given,) = desk.given("a")
    first = desk.orders["a"].sequence
    desk.report("a", orders=first - 1)
    desk.pass_time(0.5)

    assert [one.id for one in desk.orders["a"].assignments] == [given.id]

    desk.report("a", running=[given])
    desk.pass_time(0.5)

    assert desk.orders["a"].assignments == ()


def test_an_assignment_that_was_heard_and_not_taken_is_given_anew() -> None:
    desk = Desk(ONE)
    desk.begin("a")
    (refused,) = desk.given("a")
    desk.report("a")
    (given,) = desk.given("a")

    assert (refused.id.attempt, given.id.attempt) == ("5.1", "5.2")


def test_what_runs_already_is_adopted_by_a_new_leader() -> None:
    desk = Desk(ONE)
    plan = RunPlan((HostPlan("h", "a", 0, 1, 1, 1),), 1, ("a",))
    desk.load([job(status="running", run_id=RUN)], [ActiveRun(run_record(plan=plan), (), {})])
    running = RunningAttempt(AttemptId(RUN, "map-00000", "4.7"), 0, "map", (1, 1))
    desk.report("a")
    desk.report("a", running=[running])

    assert [one.id for one in desk.given("a")] == [running.id]
    assert desk.orders["a"].cancelled == ()


def test_a_peer_that_was_cut_off_goes_on_with_what_it_has() -> None:
    desk = Desk(*PAIR)
    desk.begin("a", "b")
    (given,) = desk.given("a")
    desk.report("a", running=[given])
    desk.leader.peers["b"].backs_off_until = 1e9  # nobody else can take it
    desk.pass_time(6, "b")

    assert desk.given("a") == []

    desk.report("a", running=[given])
    desk.report("a", running=[given])

    assert [one.id for one in desk.given("a")] == [given.id]


def test_work_of_a_dead_peer_goes_to_another_of_its_host() -> None:
    desk = Desk(*PAIR)
    desk.begin("a", "b")
    desk.pass_time(6, "b")

    assert tasks_given(desk, "a") == []
    assert tasks_given(desk, "b") == ["map-00000"]


def test_a_peer_that_does_not_hear_is_as_good_as_dead() -> None:
    desk = Desk(*PAIR)
    desk.begin("a", "b")
    deaf_since = desk.orders["a"].sequence
    for _ in range(14):
        desk.report("a", orders=deaf_since - 1)
        desk.pass_time(0.5, "b")

    assert desk.leader.peers["a"].state == "dead"
    assert tasks_given(desk, "b") == ["map-00000"]


def test_a_machine_with_a_new_disk_is_heard_once_the_old_one_counts_as_dead() -> None:
    desk = Desk(*APART)
    desk.load()
    desk.report("b", boot=9)
    desk.pass_time(1)
    desk.report("b", boot=1)

    assert desk.leader.peers["b"].report.boot == 9  # type: ignore[union-attr]

    desk.pass_time(6)
    desk.report("b", boot=1)

    assert desk.leader.peers["b"].state == "alive"


def test_a_leader_whom_most_do_not_hear_gives_way() -> None:
    desk = Desk(("a", "h", 1), ("b", "g", 1), ("c", "f", 1))
    desk.load()
    desk.step(PresenceSeen(frozenset("abc")))
    desk.pass_time(7, "a", "b")

    assert desk.abdicated == []

    desk.pass_time(7, "a")

    assert desk.abdicated[0].seconds > 0


# -- losses


def test_a_lost_map_output_is_made_again() -> None:
    desk, first, _ = two_hosts()

    assert tasks_given(desk, "a") == ["reduce-00000"]

    desk.restart("a", inventory=())

    assert desk.released() == [first.folder]

    desk.answer(ReleaseTasks)

    assert tasks_given(desk, "a") == ["map-00000"]


def test_a_reduce_task_that_waits_for_a_lost_output_gives_its_worker_back() -> None:
    desk, _, second = two_hosts()
    desk.report("a", running=desk.given("a"))
    lost = ShuffleReport(RUN, 2, 0, 1, 0, (AttemptId(RUN, "map-00000", "5.1"), second))
    desk.report("a", running=desk.given("a"), shuffles=(lost,))
    desk.answer(ReleaseTasks)

    assert tasks_given(desk, "a") == ["map-00000"]
    assert len(desk.orders["a"].cancelled) == 1


def test_no_reduce_task_is_given_while_redis_is_told_of_a_loss() -> None:
    desk, first, _ = two_hosts()
    desk.result("a", "reduce-00000", Failure("MissingSegmentError", "gone", is_counted=False, missing=first))

    assert desk.released() == [first.folder]
    assert tasks_given(desk, "a") == []


def test_a_loss_is_written_once_however_often_it_is_told() -> None:
    desk, _, second = two_hosts()
    for number in range(3):
        shuffle = ShuffleReport(RUN, 2, number, 1, 0, (second,))
        desk.report("a", running=desk.given("a"), shuffles=(shuffle,))

    assert desk.released() == [second.folder]


def test_what_is_made_again_must_be_the_same() -> None:
    desk, first, _ = two_hosts()
    desk.restart("a", inventory=())
    desk.answer(ReleaseTasks)
    desk.report("a", running=desk.given("a"))
    desk.result("a", "map-00000", MapOutcome("another", 1, 1, 1, 1))
    desk.commit()

    assert "gave other items" in (desk.end().exception or "")
    assert first.attempt == "5.1"


def test_digests_that_hang_on_memory_are_not_compared() -> None:
    desk, _, _ = two_hosts()
    desk.restart("a", inventory=())
    desk.answer(ReleaseTasks)
    desk.report("a", running=desk.given("a"))
    desk.result("a", "map-00000", MapOutcome(INCOMPARABLE + "another", 1, 1, 1, 1))
    desk.commit()

    assert desk.asked(EndRun) == []
    assert INCOMPARABLE == CUT_BY_MEMORY


@pytest.mark.parametrize("status", ["running", "publishing"])
def test_a_run_that_has_output_on_a_peer_of_an_earlier_configuration_ends_by_name(
    status: RunStatus,
) -> None:
    plan = RunPlan((HostPlan("h", "a", 0, 1, 1, 1),), 1, ("gone",))
    done = (
        Committed(AttemptId(RUN, "map-00000", "4.1"), "a", MAPPED),
        Committed(AttemptId(RUN, "reduce-00000", "4.1"), "gone", REDUCED),
    )
    desk = Desk(ONE)
    desk.load(
        [job(status="running", run_id=RUN)], [ActiveRun(run_record(plan=plan, status=status), done, {})]
    )
    ended = desk.end()

    assert ended.status == "failed"
    assert "gone has some of job-000001" in (ended.exception or "")


def test_a_new_leader_compares_what_the_last_one_may_not_have_come_to() -> None:
    plan = RunPlan((HostPlan("h", "a", 0, 1, 1, 1),), 1, ("a",))
    committed = Committed(AttemptId(RUN, "map-00000", "4.2"), "a", MAPPED)
    desk = Desk(ONE)
    active = ActiveRun(run_record(plan=plan), (committed,), {"map-00000": "another"})
    desk.load([job(status="running", run_id=RUN)], [active])

    assert "gave other items" in (desk.end().exception or "")


def test_an_output_that_redis_has_in_parts_is_not_shown() -> None:
    plan = RunPlan((HostPlan("h", "a", 0, 0, 0, 0),), 1, ("a",))
    desk = Desk(ONE)
    active = ActiveRun(run_record(plan=plan, status="publishing"), (), {})
    desk.load([job(status="running", run_id=RUN)], [active])
    desk.report("a")
    desk.report("a")

    assert desk.orders["a"].publish == ()
    assert desk.end().status == "failed"


def test_partitions_of_a_dead_peer_are_reduced_by_another() -> None:
    desk, _, _ = two_hosts()
    desk.pass_time(6, "b")
    desk.restart("a", inventory=held(AttemptId(RUN, "map-00000", "5.1")))

    assert tasks_given(desk, "a") == []
    assert tasks_given(desk, "b") == ["reduce-00000"]


def test_a_machine_that_stays_away_ends_the_run_by_name() -> None:
    desk, _, _ = two_hosts(machine_grace_s=20.0)
    desk.pass_time(15, "a")

    assert "b (g)" in desk.leader.runs[RUN].waiting_for

    desk.pass_time(15, "a")

    assert "b (g)" in (desk.end().exception or "")


# -- publication


def test_nothing_is_shown_while_a_machine_with_output_is_away() -> None:
    desk, first, _ = two_hosts(machine_grace_s=1000.0)
    reduced = desk.result("a", "reduce-00000")
    desk.pass_time(6, "b")
    desk.commit()
    desk.pass_time(1, "b")

    assert desk.asked(BeginPublication) == []

    desk.restart("a", inventory=held(first, reduced))
    desk.pass_time(0.5, "a", "b")

    assert len(desk.asked(BeginPublication)) == 1


def test_output_on_a_machine_that_is_gone_is_made_again_where_all_it_takes_is_there() -> None:
    desk = Desk(*APART)
    desk.load([job()])
    for peer in "abab":
        desk.report(peer)
    desk.answer(BeginRun, run_record())
    desk.report("a", plans=(PlanReport(RUN, 0, 0, 0),))
    desk.report("b", plans=(PlanReport(RUN, 1, 1, 1),))
    desk.answer(SavePlan)
    desk.do("b", "map-00000")
    desk.result("a", "reduce-00000")
    desk.pass_time(6, "b")
    desk.commit()
    desk.pass_time(0.5, "b")
    desk.answer(ReleaseTasks)
    desk.pass_time(0.5, "b")

    assert tasks_given(desk, "b") == ["reduce-00000"]


def test_a_sibling_publishes_for_a_dead_peer() -> None:
    desk = Desk(*PAIR)
    desk.begin("a", "b", tasks=0)
    desk.do("a", "reduce-00000")
    desk.answer(BeginPublication)

    assert [order.peer for order in desk.orders["b"].publish] == ["b"]

    desk.pass_time(6, "b")

    assert [order.peer for order in desk.orders["b"].publish] == ["a", "b"]


def test_a_peer_that_was_away_is_told_what_is_shown_now() -> None:
    desk = Desk(*APART)
    desk.begin("a", "b", tasks=0)
    desk.do("a", "reduce-00000")
    desk.answer(BeginPublication)
    desk.report("a", published=(PublishReport(RUN, "a"),))
    desk.pass_time(6, "a")

    assert desk.end().status == "succeeded"

    desk.restart("b")

    assert [(one.run_id, one.peer, one.attempts) for one in desk.orders["b"].publish] == [(RUN, "b", ())]

    desk.report("b", published=(PublishReport(RUN, "b"),))
    desk.pass_time(0.5, "b")

    assert desk.orders["b"].publish == ()


def test_a_new_leader_tells_everybody_what_is_shown_now() -> None:
    desk = Desk(ONE)
    desk.load([job(status="succeeded", run_id=RUN)])
    desk.report("a")

    assert [(one.run_id, one.attempts) for one in desk.orders["a"].publish] == [(RUN, ())]


def test_an_output_that_cannot_be_shown_now_is_shown_later() -> None:
    desk = Desk(ONE)
    desk.begin("a", tasks=0)
    desk.do("a", "reduce-00000")
    desk.answer(BeginPublication)
    desk.report("a", published=(PublishReport(RUN, "a", "the disk is full"),))
    desk.pass_time(0.5, "a")

    assert desk.asked(EndRun) == []
    assert desk.leader.runs[RUN].waiting_for == "the disk is full"
    assert len(desk.orders["a"].publish) == 1


# -- the end of a run


def test_a_run_whose_job_is_deleted_ends_but_peers_keep_it_until_redis_knows() -> None:
    desk = Desk(ONE)
    desk.begin("a")
    (given,) = desk.given("a")
    desk.report("a", running=[given])
    desk.change([])
    desk.leader.all_need_orders()
    desk.pass_time(0.5)

    assert [run.run_id for run in desk.orders["a"].runs] == [RUN]
    assert desk.orders["a"].cancelled == (given.id,)

    assert desk.end().status == "deleted"
    assert desk.orders["a"].runs == ()


def test_a_run_whose_job_is_replaced_makes_room_for_the_new_one() -> None:
    desk = Desk(ONE)
    desk.begin("a")
    desk.change([job(version=2, change=5)])

    assert desk.end().status == "replaced"
    assert desk.asked(BeginRun) == [BeginRun("job", 2, True)]


def test_a_run_that_is_being_shown_is_not_ended_by_the_end_of_its_job() -> None:
    desk = Desk(ONE)
    desk.begin("a", tasks=0)
    desk.do("a", "reduce-00000")
    desk.answer(BeginPublication)
    desk.change([])
    desk.report("a", published=(PublishReport(RUN, "a"),))

    assert desk.end().status == "succeeded"


def test_an_older_table_does_not_end_a_newer_run() -> None:
    desk = Desk(ONE)
    plan = RunPlan((HostPlan("h", "a", 0, 1, 1, 1),), 1, ("a",))
    active = ActiveRun(run_record(plan=plan, job_version=3), (), {})
    desk.load([job(version=2)], [active])

    assert desk.asked(EndRun) == []

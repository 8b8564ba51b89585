"""What leader and peers do about disks that are full: nothing is counted, it is told, and done elsewhere."""

from __future__ import annotations

from typing import Any

from leader_desk import RUN, Desk, job, run_record, tasks_given

from pymr.control.follower.disk_health import TOLD_SECONDS, DiskHealth
from pymr.control.follower.events import Published, SegmentRefused, TaskEnded
from pymr.control.follower.shuffle_progress import ShuffleProgress
from pymr.control.runs.reassignment import MOVE_SECONDS
from pymr.control.stored_state import ActiveRun, BeginPublication, BeginRun, EndRun, HostPlan, RunPlan
from pymr.wire.outcomes import AttemptId, Failure, MapOutcome
from pymr.wire.protocol import (
    MachineFigures,
    PlanReport,
    PublishReport,
    RunningAttempt,
    ShuffleReport,
    Source,
)

APART = (("a", "h", 1), ("b", "g", 1))
TEXT = "disk full: writing /data/x failed"
FULL = Failure("DiskError", f"{TEXT}\nin detail", is_counted=False, is_of_disk=True)
PLAN = RunPlan((HostPlan("h", "a", 0, 0, 0, 0),), 1, ("a",))
REDUCE = AttemptId(RUN, "reduce-00000", "5.1")
LONG = 100_000.0


def reducing(**settings: Any) -> Desk:
    """A run whose only partition has its home with a, which has got the task; b is idle."""
    desk = Desk(*APART, **settings)
    desk.load([job(status="running", run_id=RUN)], [ActiveRun(run_record(plan=PLAN), (), {})])
    for _ in range(2):
        desk.report("a")
        desk.report("b")

    assert tasks_given(desk, "a") == ["reduce-00000"]

    return desk


def test_a_partition_goes_to_another_peer_when_the_disk_of_its_home_stays_full() -> None:
    desk = reducing()
    run = desk.leader.runs[RUN]
    began = desk.now
    while tasks_given(desk, "b") == [] and desk.now < began + 10 * MOVE_SECONDS:
        if tasks_given(desk, "a"):
            desk.result("a", "reduce-00000", FULL)
        desk.pass_time(0.5, "a", "b")
        if desk.now - began < MOVE_SECONDS:
            assert run.waiting_for == f"a (h): {TEXT}"

    assert MOVE_SECONDS <= desk.now - began < 2 * MOVE_SECONDS
    assert tasks_given(desk, "b") == ["reduce-00000"]
    assert (run.waiting_for, desk.asked(EndRun)) == ("", [])


def test_a_partition_stays_where_it_is_while_no_peer_is_well() -> None:
    desk = reducing()
    began = desk.now
    while desk.now < began + 5 * MOVE_SECONDS:
        if tasks_given(desk, "a"):
            desk.result("a", "reduce-00000", FULL)
        desk.now += 0.5
        desk.report("a", running=desk.given("a"))
        desk.report("b", machine=MachineFigures(disk_problem=TEXT))
        desk.pass_time(0.1, "a")

    assert tasks_given(desk, "b") == []
    assert desk.leader.runs[RUN].waiting_for == f"a (h): {TEXT}"


def test_a_partition_whose_segments_find_no_room_is_told_of_and_goes_to_another_peer() -> None:
    desk = reducing()
    run = desk.leader.runs[RUN]
    began = desk.now
    told = set()
    while tasks_given(desk, "b") == [] and desk.now < began + 10 * MOVE_SECONDS:
        waiting = [RunningAttempt(id, 0, "shuffle", (0, 0)) for id in desk.leader.peers["a"].attempts]
        desk.now += 0.5
        desk.report("a", running=waiting, shuffles=(ShuffleReport(RUN, 0, 0, 1, 0, trouble=TEXT),))
        desk.pass_time(0.1, "b")
        told.add(run.waiting_for)

    assert f"a (h): {TEXT}" in told
    assert MOVE_SECONDS <= desk.now - began < 2 * MOVE_SECONDS
    assert tasks_given(desk, "b") == ["reduce-00000"]
    assert tasks_given(desk, "a") == []


def test_a_full_disk_where_the_output_is_published_is_waited_for_without_limit() -> None:
    desk = reducing(machine_grace_s=30.0)
    desk.do("a", "reduce-00000")
    desk.answer(BeginPublication)
    for _ in range(5):
        desk.report("a", published=(PublishReport(RUN, "a", TEXT, is_of_disk=True),))
        desk.pass_time(100.0, "a", "b")

    assert desk.leader.runs[RUN].waiting_for == f"a (h): {TEXT}"
    assert desk.asked(EndRun) == []

    for peer in "ab":
        desk.report(peer, published=(PublishReport(RUN, peer),))

    assert [write.record.status for write in desk.asked(EndRun)] == ["succeeded"]


def test_a_full_disk_where_the_input_is_planned_is_waited_for_without_limit() -> None:
    desk = Desk(("a", "h", 1))
    desk.load([job()])
    desk.report("a")
    desk.report("a")
    desk.answer(BeginRun, run_record())
    for _ in range(5):
        desk.report("a", plans=(PlanReport(RUN, 0, 0, 0, TEXT, is_final=False, is_of_disk=True),))
        desk.pass_time(100.0, "a")

    assert desk.leader.runs[RUN].waiting_for == f"a (h): {TEXT}"
    assert desk.asked(EndRun) == []


def test_another_peer_of_the_host_plans_when_the_disk_of_the_first_is_full() -> None:
    desk = Desk(("a", "h", 1), ("b", "h", 1))
    desk.load([job()])
    for _ in range(2):
        desk.report("a")
        desk.report("b")
    desk.answer(BeginRun, run_record())
    desk.report("a")

    assert desk.orders["a"].plans

    plan = PlanReport(RUN, 0, 0, 0, TEXT, is_final=False, is_of_disk=True)
    desk.report("a", plans=(plan,), machine=MachineFigures(disk_problem=TEXT))
    desk.pass_time(1.0, "b")

    assert desk.orders["b"].plans


def test_a_run_that_begins_reduces_where_the_disks_are_well() -> None:
    desk = Desk(*APART)
    desk.load([job(fields={**run_record().fields, "partitions": 4})])
    for _ in range(2):
        desk.report("a", machine=MachineFigures(disk_problem=TEXT))
        desk.report("b")
    desk.answer(BeginRun, run_record())
    for peer in "ab":
        machine = MachineFigures(disk_problem=TEXT if peer == "a" else "")
        desk.report(peer, machine=machine)
        desk.report(peer, machine=machine, plans=(PlanReport(RUN, 1, 1, 1),))

    assert set(desk.leader.runs[RUN].home_of) == {"b"}  # type: ignore[attr-defined]


# -- what a peer tells


def test_a_peer_tells_of_a_full_disk_until_something_is_written() -> None:
    health = DiskHealth()
    id = AttemptId(RUN, "map-00000", "5.1")
    told = []
    for seconds, event in (
        (0.0, TaskEnded(0, id, FULL)),
        (1.0, TaskEnded(0, id, FULL)),
        (2.0, TaskEnded(0, id, MapOutcome("digest", 1, 1, 1, 1))),
        (3.0, Published(PublishReport(RUN, "a", "foreign files are in the way"))),
        (4.0, SegmentRefused(RUN, Source(0, "5.1", "b"), 0, TEXT, is_of_disk=True)),
        (5.0, SegmentRefused(RUN, Source(0, "5.1", "b"), 0, "the key is not admitted")),
    ):
        is_news = health.take(event, seconds)
        told.append((is_news, health.in_figures(MachineFigures(), seconds).disk_problem))

    assert told == [(True, TEXT), (False, TEXT), (False, ""), (False, ""), (True, TEXT), (False, TEXT)]
    assert health.in_figures(MachineFigures(), 4.0 + TOLD_SECONDS + 0.1).disk_problem == ""
    assert health.in_figures(MachineFigures(disk_problem="as measured"), LONG).disk_problem == "as measured"


def test_segments_that_do_not_come_are_told_of_until_they_do_or_are_not_wanted() -> None:
    far, other = Source(0, "5.1", "far"), Source(1, "5.1", "far")
    gathering = ShuffleProgress(RUN, lambda peer: False, lambda partitions, sources: None)
    gathering.settle([0, 1], 2)
    gathering.announce(0, [far, other], 2)

    assert gathering.refuse(far, 0, "full") and not gathering.refuse(other, 1, "full, too")
    assert not gathering.refuse(far, 7, "of no home here")
    assert gathering.report().trouble == "full"

    gathering.fetched(far, 0, 1)

    assert gathering.report().trouble == "full, too"

    gathering.settle([0], 2)

    assert gathering.report().trouble == ""

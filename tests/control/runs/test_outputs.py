"""A run that reads the output of another job: all of it, or it waits, or fails and names the machine."""

from __future__ import annotations

from leader_desk import RUN, Desk, job, run_record

from pymr.control.runs.planning import TROUBLE_SECONDS_MAX
from pymr.control.stored_state import BeginRun, EndRun, SavePlan
from pymr.wire.output_shares import OutputRead, OutputShare
from pymr.wire.protocol import PlanReport

BOTH = {"a": 2, "b": 3}


def read(peer: str, run_id: str = "x-1", items: int | None = None, **expected: int) -> OutputRead:
    """What a peer has of the output of `x`. items: those it is to have, unless there are others."""
    shares = tuple(OutputShare(run_id, name, count) for name, count in (expected or BOTH).items())
    count = BOTH[peer] if items is None else items
    return OutputRead("x", peer, run_id, shares, (OutputShare(run_id, peer, count),))


def begin() -> Desk:
    desk = Desk(("a", "h", 1), ("b", "g", 1))
    desk.load([job()])
    for peer in "abab":
        desk.report(peer)
    desk.answer(BeginRun, run_record())
    desk.pass_time(0.5, "a", "b")
    return desk


def plan(desk: Desk, *outputs: OutputRead) -> None:
    """The peers plan, as far as they are asked, and find these outputs."""
    for peer in "ab":
        for order in desk.orders[peer].plans:
            mine = tuple(one for one in outputs if one.peer == peer)
            desk.report(peer, plans=(PlanReport(RUN, 1, 1, 1, turn=order.turn, outputs=mine),))


def test_a_whole_output_is_read() -> None:
    desk = begin()
    plan(desk, read("a"), read("b"))

    assert len(desk.asked(SavePlan)) == 1


def test_a_machine_that_is_no_more_and_has_some_of_it_ends_the_run_by_name() -> None:
    desk = begin()
    plan(desk, read("a", gamma=4, **BOTH), read("b"))
    write: EndRun = desk.asked(EndRun)[0]

    assert write.record.status == "failed"
    assert "4 of its 9 items" in (write.record.exception or "")
    assert "gamma, which has them, is no longer in cluster.toml" in (write.record.exception or "")
    assert desk.asked(SavePlan) == []


def test_a_machine_that_has_lost_its_share_ends_the_run_by_name() -> None:
    desk = begin()
    plan(desk, read("a"), read("b", items=0))

    assert "the data folder of b has lost" in (desk.end().exception or "")


def test_an_output_that_is_being_replaced_is_waited_for() -> None:
    desk = begin()
    plan(desk, read("a", "x-2"), read("b", "x-1"))

    assert desk.asked(SavePlan) == []
    assert "a that of x-2, b that of x-1" in desk.leader.runs[RUN].waiting_for

    turns = {order.turn for peer in "ab" for order in desk.orders[peer].plans}
    desk.pass_time(1.5, "a", "b")
    again = {order.turn for peer in "ab" for order in desk.orders[peer].plans}

    assert again and not again & turns

    plan(desk, read("a", "x-2"), read("b", "x-2"))

    assert len(desk.asked(SavePlan)) == 1


def test_a_peer_that_shows_nothing_yet_is_waited_for_too() -> None:
    desk = begin()
    plan(desk, read("a"))

    assert desk.asked(SavePlan) == [] and desk.asked(EndRun) == []

    desk.pass_time(1.5, "a", "b")
    plan(desk, read("a"), read("b"))

    assert len(desk.asked(SavePlan)) == 1


def test_an_output_that_stays_so_ends_the_run() -> None:
    desk = begin()
    for _ in range(int(TROUBLE_SECONDS_MAX) + 5):
        if not desk.asked(EndRun):
            plan(desk, read("a", "x-2"), read("b", "x-1"))
            desk.pass_time(1.5, "a", "b")
    write: EndRun = desk.asked(EndRun)[0]

    assert (write.record.exception or "").startswith("input_dirs: machines do not show the same output of x")

"""What a step has made is lost while others read it, or are about to: which attempts at later steps count."""

from __future__ import annotations

from typing import Any

from leader_desk import RUN, Desk, job, run_record, tasks_given

from pymr.control.runs.stepped_run import plan_steps
from pymr.control.stored_state import (
    ActiveRun,
    BeginAttempt,
    CommitTasks,
    Committed,
    EndRun,
    ReleaseTasks,
    RunPlan,
)
from pymr.wire.outcomes import AttemptId, StepOutcome
from pymr.wire.protocol import Acknowledged, AttemptResult, HeldRun, RunningAttempt

PAIR = (("a", "h", 1), ("b", "g", 1))
PEERS = ("a", "b")


def done(task: str, peer: str, attempt: str = "4.1") -> Committed:
    return Committed(AttemptId(RUN, task, attempt), peer, StepOutcome())


LISTED = (done("list-00000", "a"), done("list-00001", "b"))
SPREAD = done("spread-00000", "a")
COPY = AttemptId(RUN, "copy-00001", "4.1")
"""What `b` has copied by the spread that was lost."""


def lead(kind: str, *committed: Committed, **found: Any) -> Desk:
    """A leader finds a transfer of which so much is committed, and every peer has what it did."""
    fields = {
        "job_name": "job",
        "job_type": "file_transfer",
        "transfer_type": kind,
        "local_peer": "a",
        "delete_files": False,
    }
    plan = RunPlan((), 0, (), plan_steps(fields, PEERS, "a"))
    desk = Desk(*PAIR)
    desk.load(
        [job(status="running", run_id=RUN, fields=fields)],
        [
            ActiveRun(
                run_record(plan=plan, fields=fields),
                committed,
                found.get("released", {}),
                found.get("attempts", {}),
            )
        ],
    )
    for peer in PEERS:
        desk.report(peer)
        desk.report(peer, inventory=held(peer, *committed))
    desk.pass_time(0.5, *PEERS)
    return desk


def held(peer: str, *committed: Committed) -> tuple[HeldRun, ...]:
    """All of that which is on the disk of a peer."""
    return (HeldRun(RUN, tuple((one.id.task, one.id.attempt, "") for one in committed if one.peer == peer)),)


def number(desk: Desk, first: int) -> None:
    while desk.asked(BeginAttempt):
        desk.answer(BeginAttempt, first)


def test_a_step_that_was_numbered_while_another_was_lost_is_given_when_redis_knows_of_the_loss() -> None:
    desk = lead("download", LISTED[0])
    desk.restart("a", inventory=())
    number(desk, 1)

    assert desk.released() == ["list-00000-4.1"]
    assert tasks_given(desk, "b") == []

    desk.answer(ReleaseTasks)

    assert tasks_given(desk, "b") == ["list-00001"]


def lose_spread() -> Desk:
    """Both peers copy by a spread, of which `a` has lost all but its lists."""
    desk = lead("upload", *LISTED, SPREAD)
    number(desk, 1)
    desk.pass_time(0.5, *PEERS)
    desk.restart("a", inventory=held("a", *LISTED))
    return desk


def test_what_was_read_of_a_lost_output_is_told_to_redis_with_its_loss() -> None:
    desk = lose_spread()

    assert desk.asked(ReleaseTasks) == [ReleaseTasks(RUN, (SPREAD.id,), {"copy-00000": 1, "copy-00001": 1})]


def test_a_copy_by_a_spread_that_was_lost_is_not_committed_beside_those_by_the_next_one() -> None:
    desk = lose_spread()
    desk.result("b", "copy-00001")

    assert desk.asked(CommitTasks) == []

    desk.answer(ReleaseTasks)
    number(desk, 2)
    desk.pass_time(0.5, *PEERS)
    desk.do("a", "spread-00000")
    number(desk, 2)

    assert [id.attempt for id in desk.leader.peers["b"].attempts] == ["5.2"]
    assert [one.attempt for one in desk.orders["b"].assignments[0].inputs] == ["4.1", "4.1", "5.2"]


def test_a_spread_that_is_lost_while_redis_is_asked_to_take_a_copy_by_it_ends_the_run() -> None:
    desk = lead("upload", *LISTED, SPREAD)
    number(desk, 1)
    desk.pass_time(0.5, *PEERS)
    desk.result("b", "copy-00001")
    desk.restart("a", inventory=held("a", *LISTED))

    assert desk.released() == []
    assert "what spread-00000 has found is lost" in (desk.asked(EndRun)[0].record.exception or "")


def test_a_list_that_is_lost_while_redis_is_asked_to_take_the_spread_of_it_is_not_missed() -> None:
    desk = lead("upload", *LISTED)
    number(desk, 1)
    desk.pass_time(0.5, *PEERS)
    desk.result("a", "spread-00000")
    desk.restart("b", inventory=())

    assert (desk.released(), desk.asked(EndRun)) == ([], [])


def next_leader() -> Desk:
    """The spread has been made again since `b` copied by the one that was lost."""
    again = done("spread-00000", "a", "4.2")
    tried = {"list-00000": 1, "list-00001": 1, "spread-00000": 2, "copy-00001": 1}
    return lead("upload", *LISTED, again, released={"copy-00001": "1"}, attempts=tried)


def test_the_next_leader_takes_no_result_by_a_spread_that_was_lost() -> None:
    desk = next_leader()
    desk.report("b", results=(AttemptResult(COPY, StepOutcome()),))

    assert desk.asked(CommitTasks) == []
    assert desk.orders["b"].acknowledged == (Acknowledged(COPY, False),)


def test_the_next_leader_does_not_let_a_copy_by_a_spread_that_was_lost_go_on() -> None:
    desk = next_leader()
    desk.report("b", running=[RunningAttempt(COPY, 0, "copy", (0, 0))])

    assert desk.orders["b"].cancelled == (COPY,)


def test_the_next_leader_lets_a_copy_by_the_present_spread_go_on() -> None:
    desk = next_leader()
    later = AttemptId(RUN, "copy-00001", "4.2")
    desk.report("b", running=[RunningAttempt(later, 0, "copy", (0, 0))])

    assert desk.orders["b"].cancelled == ()
    assert tasks_given(desk, "b") == ["copy-00001"]

"""Runs of scripts and file transfers: what the leader does about their steps, and what a peer does."""

from __future__ import annotations

from typing import Any

import pytest
from leader_desk import RUN, Desk, job, run_record, tasks_given

from pymr.base.errors import JobError
from pymr.control.runs.stepped_run import plan_steps
from pymr.control.stored_state import (
    ActiveRun,
    BeginAttempt,
    BeginRun,
    CommitTasks,
    Committed,
    EndRun,
    ReleaseTasks,
    RunPlan,
    SavePlan,
    StepPlan,
)
from pymr.peer.requests.phase_views import phase_rows
from pymr.wire.outcomes import AttemptId, Failure, StepOutcome
from pymr.wire.protocol import HeldRun, RunningAttempt, StepInput

ONE = (("a", "h", 1),)
PAIR = (("a", "h", 1), ("b", "g", 1))
PEERS = ("a", "b")


def script(run_on: str = "leader", **other: Any) -> dict[str, Any]:
    return {"job_name": "job", "job_type": "script", "run_on": run_on, **other}


def transfer(kind: str, *, delete_files: bool = False) -> dict[str, Any]:
    return {
        "job_name": "job",
        "job_type": "file_transfer",
        "transfer_type": kind,
        "local_peer": "a",
        "delete_files": delete_files,
    }


def begin(fields: dict[str, Any], *peers: tuple[str, str, int], **settings: Any) -> Desk:
    """A run of such a job that has its plan, and whose peers are all there."""
    desk = Desk(*peers, **settings)
    desk.load([job(fields=fields)])
    for name, _, _ in peers:
        desk.report(name)
        desk.report(name)
    desk.answer(BeginRun, run_record(fields=fields))
    desk.answer(SavePlan)
    desk.pass_time(0.5, *(peer[0] for peer in peers))
    return desk


def number(desk: Desk, first: int = 1) -> None:
    """Redis counts the attempts that it was asked for."""
    while desk.asked(BeginAttempt):
        desk.answer(BeginAttempt, first)


def finish(desk: Desk, *done: tuple[str, str]) -> None:
    """Peers do their tasks, all at the same time, and Redis knows."""
    for peer, task in done:
        desk.result(peer, task)
    desk.commit()
    for peer, _ in done:
        desk.report(peer, running=desk.given(peer))


def given(desk: Desk) -> dict[str, list[str]]:
    return {name: tasks_given(desk, name) for name in desk.leader.peers}


def resume(fields: dict[str, Any], steps: tuple[StepPlan, ...], *committed: Committed, **other: Any) -> Desk:
    """A leader finds a run that an earlier one has left."""
    desk = Desk(*PAIR, **other)
    plan = RunPlan((), 0, (), steps)
    desk.load(
        [job(status="running", run_id=RUN, fields=fields)],
        [ActiveRun(run_record(plan=plan, fields=fields), committed, {}, {})],
    )
    return desk


# -- plans


@pytest.mark.parametrize(
    ("fields", "steps"),
    [
        (script("b"), {"script": ["b"]}),
        (script("leader"), {"script": ["a"]}),
        (script("all"), {"script": ["a", "b"]}),
        (transfer("upload"), {"list": ["a", "b"], "spread": ["a"], "copy": ["a", "b"]}),
        (transfer("upload_bulk"), {"list": ["a", "b"], "spread": ["a"], "copy": ["a", "b"]}),
        (transfer("upload_auxiliary"), {"list": ["a"], "copy": ["a", "b"]}),
        (transfer("download"), {"list": ["a", "b"], "copy": ["a"]}),
        (
            transfer("download_bulk", delete_files=True),
            {"list": ["a", "b"], "copy": ["a"], "delete": ["a", "b"]},
        ),
        (transfer("delete"), {"delete": ["a", "b"]}),
    ],
)
def test_each_type_of_job_has_its_steps(fields: dict[str, Any], steps: dict[str, list[str]]) -> None:
    planned = plan_steps(fields, PEERS, "a")

    assert {step.name: list(step.peers) for step in planned} == steps


@pytest.mark.parametrize(
    ("fields", "field"),
    [(script("nobody"), "run_on"), (transfer("upload") | {"local_peer": "nobody"}, "local_peer")],
)
def test_a_peer_that_there_is_not_is_named_with_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(JobError, match=rf"{field} = 'nobody': is no peer of this cluster, which has a, b"):
        plan_steps(fields, PEERS, "a")

    desk = Desk(*ONE)
    desk.load([job(fields=fields)])
    desk.answer(BeginRun, run_record(fields=fields))

    assert (desk.end().exception or "").startswith(f"{field} = 'nobody'")


# -- the whole way


def test_a_step_begins_when_all_peers_have_done_the_one_before() -> None:
    desk = begin(transfer("upload"), *PAIR)
    number(desk)

    assert given(desk) == {"a": ["list-00000"], "b": ["list-00001"]}

    finish(desk, ("a", "list-00000"))

    assert desk.asked(BeginAttempt) == []

    finish(desk, ("b", "list-00001"))
    number(desk)

    assert given(desk) == {"a": ["spread-00000"], "b": []}

    finish(desk, ("a", "spread-00000"))
    number(desk)
    (assignment,) = desk.orders["b"].assignments

    assert assignment.inputs == (
        StepInput("list-00000", "5.1", "a"),
        StepInput("list-00001", "5.1", "b"),
        StepInput("spread-00000", "5.1", "a"),
    )

    rows = phase_rows(desk.leader, desk.leader.runs[RUN])

    assert [(row.name, row.done, row.total, row.total_units) for row in rows] == [
        ("list", 2, 2, 0),
        ("spread", 1, 1, 0),
        ("copy", 0, 2, 10),
    ]

    finish(desk, ("a", "copy-00000"), ("b", "copy-00001"))
    ended = desk.end()

    assert (ended.status, ended.files, ended.bytes) == ("succeeded", 2, 20)
    assert list(ended.phase_seconds) == ["list", "spread", "copy"]
    assert desk.orders["a"].publish == ()


def test_every_attempt_is_numbered_before_it_is_given() -> None:
    desk = begin(script(), *ONE)

    assert given(desk) == {"a": []}
    assert desk.asked(BeginAttempt) == [BeginAttempt(RUN, "script-00000")]

    number(desk, 7)

    assert [id.attempt for id in desk.leader.peers["a"].attempts] == ["5.7"]

    desk.result("a", "script-00000", Failure("DiskError", "full", is_counted=False))
    number(desk, 8)
    desk.pass_time(1.0, "a")

    assert [id.attempt for id in desk.leader.peers["a"].attempts] == ["5.8"]


def test_a_script_that_fails_ends_its_run_at_once_with_its_status_and_output() -> None:
    desk = begin(script("all"), *PAIR)
    number(desk)
    desk.result("b", "script-00001", Failure("ScriptError", "it ended", True, exit_status=3, output="oh"))
    ended = desk.end()

    assert (ended.status, ended.exit_status, ended.output) == ("failed", 3, "oh")
    assert given(desk) == {"a": [], "b": []}


def test_what_a_script_has_put_out_last_goes_into_its_record() -> None:
    desk = begin(script(), *ONE)
    number(desk)
    desk.result("a", "script-00000", StepOutcome(output="well\n", counters={"lines": 2}))
    desk.commit()
    ended = desk.end()

    assert (ended.status, ended.exit_status, ended.output) == ("succeeded", 0, "well\n")
    assert ended.counters == {"lines": 2}


def test_the_record_of_a_script_on_all_peers_has_what_each_put_out_under_its_name() -> None:
    desk = begin(script("all"), *PAIR)
    number(desk)
    desk.result("a", "script-00000", StepOutcome(output="well"))
    desk.result("b", "script-00001", StepOutcome(output="too"))
    desk.commit()
    ended = desk.end()

    assert (ended.exit_status, ended.output) == (0, "a:\nwell\nb:\ntoo")


def test_a_step_that_raises_is_tried_four_times() -> None:
    desk = begin(transfer("delete"), *ONE)
    for attempt in range(1, 5):
        number(desk, attempt)
        desk.result("a", "delete-00000", Failure("SomeError", "it raised"))
        desk.pass_time(0.5, "a")

    assert "it raised\n(task delete-00000: 4 attempts, the same each time)" in (desk.end().exception or "")


# -- other leaders, lost machines


def test_a_new_leader_lets_a_script_go_on_wherever_it_is() -> None:
    desk = resume(script(), (StepPlan("script", ("a",)),))
    desk.report("a")
    desk.report("a")
    desk.pass_time(0.5, "a")

    assert desk.asked(BeginAttempt) == []  # `b` may have it

    running = RunningAttempt(AttemptId(RUN, "script-00000", "4.2"), 0, "script", (0, 0))
    desk.report("b")
    desk.report("b", running=[running])
    desk.pass_time(0.5, "a")

    assert given(desk) == {"a": [], "b": ["script-00000"]}
    assert desk.asked(BeginAttempt) == []


def test_a_script_for_the_leader_goes_on_with_the_next_one_when_its_peer_is_dead() -> None:
    desk = resume(script(), (StepPlan("script", ("b",)),))
    desk.pass_time(4.5, "a")

    assert desk.asked(BeginAttempt) == []

    desk.pass_time(1.0, "a")
    number(desk, 2)

    assert given(desk) == {"a": ["script-00000"], "b": []}


def test_a_peer_that_stays_away_is_waited_for_by_name_and_then_fails_the_run() -> None:
    desk = begin(script("b"), *PAIR, machine_grace_s=20.0)
    desk.pass_time(6.0, "a")

    assert desk.leader.runs[RUN].waiting_for == "b (g): it has a part in the step script"

    desk.pass_time(21.0, "a")

    assert "b (g)" in (desk.end().exception or "")


def test_a_peer_that_is_stopping_is_named_by_the_run_that_waits_for_it() -> None:
    desk = begin(transfer("download"), *PAIR, machine_grace_s=5.0)
    desk.report("b", is_draining=True)
    number(desk)
    for _ in range(20):
        desk.report("b", is_draining=True)
        desk.pass_time(0.5, "a")

    assert "b (g) is stopping" in desk.leader.runs[RUN].waiting_for
    assert desk.asked(EndRun) == []


def test_a_peer_that_left_the_configuration_ends_the_run_by_name() -> None:
    desk = resume(script("gone"), (StepPlan("script", ("gone",)),))

    assert "gone has a part in job-000001" in (desk.end().exception or "")


# -- lost outputs


LISTED = tuple(
    Committed(AttemptId(RUN, f"list-{index:05d}", "4.1"), peer, StepOutcome())
    for index, peer in enumerate(PEERS)
)
SPREAD = Committed(AttemptId(RUN, "spread-00000", "4.1"), "a", StepOutcome())
COPIED = Committed(AttemptId(RUN, "copy-00000", "4.1"), "a", StepOutcome())


def lose(fields: dict[str, Any], *committed: Committed) -> Desk:
    """Peer `b` is found to have none of what it did; `a` all of it."""
    desk = resume(fields, plan_steps(fields, PEERS, "a"), *committed)
    desk.report("b")
    desk.report("b", inventory=())
    return desk


def test_a_lost_list_is_made_again_before_it_is_read() -> None:
    desk = lose(transfer("upload"), *LISTED)

    assert desk.released() == ["list-00001-4.1"]

    desk.answer(ReleaseTasks)
    desk.pass_time(0.5, "b")

    assert desk.asked(BeginAttempt) == [BeginAttempt(RUN, "list-00001")]


def test_a_lost_list_that_was_read_by_all_is_not_missed() -> None:
    desk = lose(transfer("upload"), *LISTED, SPREAD)

    assert desk.released() == []


@pytest.mark.parametrize("fields", [script("all"), transfer("delete")])
def test_what_has_been_done_is_not_done_again(fields: dict[str, Any]) -> None:
    (step,) = plan_steps(fields, PEERS, "a")
    done = Committed(AttemptId(RUN, f"{step.name}-00001", "4.1"), "b", StepOutcome())
    desk = lose(fields, done)

    assert (desk.released(), desk.asked(EndRun)) == ([], [])


def test_a_lost_list_from_which_some_was_copied_already_ends_the_run() -> None:
    desk = lose(transfer("download", delete_files=True), *LISTED, COPIED)

    assert desk.released() == []
    assert "what list-00001 has found is lost" in (desk.end().exception or "")


def test_who_reads_a_lost_list_begins_again_with_the_new_one() -> None:
    fields = transfer("download")
    desk = resume(fields, plan_steps(fields, PEERS, "a"), *LISTED)
    held = LISTED[0].id
    for peer in PEERS:
        desk.report(peer)
    inventory = {peer: _held(done.id) for peer, done in zip(PEERS, LISTED, strict=True)}
    for peer in PEERS:
        desk.report(peer, inventory=inventory[peer])
    desk.pass_time(0.5, *PEERS)
    number(desk, 1)

    assert given(desk) == {"a": ["copy-00000"], "b": []}

    desk.restart("b", inventory=())
    desk.answer(ReleaseTasks)

    assert given(desk) == {"a": [], "b": []}

    desk.pass_time(0.5, *PEERS)
    number(desk, 2)
    finish(desk, ("b", "list-00001"))
    desk.pass_time(0.5, *PEERS)
    number(desk, 3)
    (assignment,) = desk.orders["a"].assignments

    assert assignment.id.attempt == "5.3"
    assert [one.attempt for one in assignment.inputs] == [held.attempt, "5.2"]


def test_a_new_leader_does_not_take_over_a_step_whose_turn_has_not_come() -> None:
    fields = transfer("download")
    desk = resume(fields, plan_steps(fields, PEERS, "a"), LISTED[0])
    ahead = RunningAttempt(AttemptId(RUN, "copy-00000", "4.1"), 0, "copy", (0, 0))
    desk.report("a")
    desk.report("a", running=[ahead], inventory=_held(LISTED[0].id))

    assert desk.orders["a"].cancelled == (ahead.id,)


def test_an_attempt_whose_commit_counts_is_kept_and_no_other_begun() -> None:
    desk = begin(script(), *ONE)
    number(desk)
    desk.result("a", "script-00000")
    desk.answer(CommitTasks, ("5.1",))

    assert desk.asked(BeginAttempt) == []
    assert len(desk.asked(EndRun)) == 1


def _held(id: AttemptId) -> tuple[Any, ...]:
    return (HeldRun(RUN, ((id.task, id.attempt, ""),)),)

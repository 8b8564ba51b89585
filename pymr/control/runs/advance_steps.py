"""Stepping: how the leader moves a script or file_transfer run on, from step to step."""

from __future__ import annotations

from pymr.base.errors import JobError
from pymr.control.liveness import PeerState
from pymr.control.runs.ending import cancel, end
from pymr.control.runs.leader_state import LeaderState
from pymr.control.runs.recovery import wait_for
from pymr.control.runs.stepped_run import SteppedRun, StepTask, plan_steps
from pymr.control.runs.tasks import write_commits
from pymr.control.stored_state import BeginAttempt, RunPlan, SavePlan


def advance(leader: LeaderState, run: SteppedRun, *, is_tick: bool) -> None:
    """Plan the run, have its next attempts numbered, or end it."""
    if run.stage == "planning":
        _plan(leader, run)
    elif run.stage == "tasks":
        write_commits(leader, run)
        if run.is_done and not run.to_commit and not run.is_committing:
            end(leader, run, "succeeded", None)
            return
        if is_tick:
            _check_machines(leader, run)
        if run.stage == "tasks" and not run.is_done:
            run.enter_phase(run.phases[run.current], leader.now)
            _ask_for_numbers(leader, run)
            _feed_numbered(leader, run)


def _plan(leader: LeaderState, run: SteppedRun) -> None:
    try:
        steps = plan_steps(run.record.fields, list(leader.peers), leader.name)
    except JobError as error:
        end(leader, run, "failed", str(error.problems[0]))
        return
    run.begin_tasks(RunPlan((), 0, (), steps))
    run.stage = "saving"
    assert run.plan is not None
    leader.write(SavePlan(run.run_id, run.plan))


def saved(leader: LeaderState, run: SteppedRun) -> None:
    """The plan is in Redis: its steps may begin."""
    run.stage = "tasks"
    leader.all_need_orders()


# -- numbers


def _ask_for_numbers(leader: LeaderState, run: SteppedRun) -> None:
    """Every attempt is numbered in Redis before it is given: what a script does cannot be fenced."""
    for task in run.unnumbered():
        if _may_begin(leader, run, task):
            task.is_asked = True
            leader.write(BeginAttempt(run.run_id, task.name))


def _may_begin(leader: LeaderState, run: SteppedRun, task: StepTask) -> bool:
    """Whether a task's peer is there, and has told what it has: an attempt of an earlier leader goes on.

    A script that may be anywhere begins only when no peer is left that might have it.
    """
    peer = leader.peers.get(task.home)
    if peer is None or not peer.takes_work:
        return False
    return not run.is_leader_script or all(map(_is_known, leader.peers.values()))


def _is_known(peer: PeerState) -> bool:
    return peer.state == "dead" or peer.has_inventory


def numbered(leader: LeaderState, run: SteppedRun, task_name: str, number: int) -> None:
    """Redis has counted an attempt."""
    task = run.find(task_name)
    assert isinstance(task, StepTask)
    run.numbered(task, number)


def _feed_numbered(leader: LeaderState, run: SteppedRun) -> None:
    """Let the peers look whose tasks may be given: they have been passed over while what an earlier step has
    made was lost, and when that is done again nothing else calls them."""
    for task in run.numbered_tasks():
        leader.feed(run, task)


# -- losses


def released(leader: LeaderState, run: SteppedRun) -> None:
    """Redis knows that an output is lost: who was reading it begins again, when it is there again."""
    for task in run.running_ahead():
        assert task.running is not None
        cancel(leader, task.runner, task.running)
        run.stop(task)
        run.wait(task)


def check_peers(leader: LeaderState, run: SteppedRun) -> None:
    """A run that needs a peer which cluster.toml has lost since it began can never end well: it ends now."""
    needed = [task.home for tasks in run.steps for task in tasks if task.committed is None]
    needed += [one.peer for one in run.committed_tasks() if run.needs(one.id)]
    unknown = sorted(set(needed) - leader.peers.keys())
    if unknown and not run.is_leader_script:
        names = ", ".join(unknown)
        end(
            leader,
            run,
            "failed",
            f"{names} has a part in {run.run_id}, and is no longer in cluster.toml. Put it back there, or "
            "submit the job again without it",
        )


def _check_machines(leader: LeaderState, run: SteppedRun) -> None:
    """Whether the peers are there that have to do the present step, and those that have what it reads."""
    if run.is_leader_script:
        _follow_leader(leader, run)
    if not (leader.dead or leader.draining or run.waiting_since is not None) or run.current == len(run.steps):
        run.waiting_for = run.present_trouble
        return
    doing = {task.home for task in run.steps[run.current] if task.is_waiting}
    owners = {one.peer for one in run.committed_tasks() if run.needs(one.id)}
    gone = [
        f"{name} ({peer.host})"
        for name, peer in leader.peers.items()
        if peer.state == "dead" and (name in doing or (name in owners and leader.is_gone(peer.host)))
    ]
    step = run.phases[run.current]
    wait_for(leader, run, gone, f"it has a part in the step {step}")
    stopping = [f"{name} ({peer.host})" for name, peer in leader.draining.items() if name in doing]
    if stopping and not gone:  # without a time limit: it goes away in the end, and is waited for then
        run.waiting_for = (
            f"{', '.join(stopping)} is stopping: its part in the step {step} waits for its return"
        )


def _follow_leader(leader: LeaderState, run: SteppedRun) -> None:
    """A script for the leader whose peer is gone goes to the one that leads now."""
    for task in run.steps[0]:
        home = leader.peers.get(task.home)
        if task.is_waiting and task.home != leader.name and (home is None or home.state == "dead"):
            run.move_home(task, leader.name)

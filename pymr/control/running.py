"""Running: assignments, results, commits and losses of a run's tasks, and its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from pymr.control.liveness import Peer
from pymr.control.phases import FailedTry, Run, Task
from pymr.control.placement import replace_home
from pymr.control.records import BeginPublication, CommitTasks, Committed, EndRun, ReleaseTasks
from pymr.protocol import (
    AttemptId,
    AttemptResult,
    Failure,
    HeldRun,
    MapOutcome,
    Report,
    ShuffleReport,
    SourcesOrder,
    cut_text,
)
from pymr.requests import RunStatus

if TYPE_CHECKING:
    from pymr.control.leadership import Leader

_SHOWN_CHARACTERS = 2_000
_ATTEMPTS_MAX = 4


def advance(leader: Leader, run: Run) -> None:
    """Write what is to be committed, one write at a time: what comes meanwhile goes with the next one."""
    if run.to_commit and not run.is_committing:
        run.is_committing = True
        leader.write(CommitTasks(run.run_id, tuple(run.to_commit)))
        run.to_commit = []
    elif run.is_done:
        run.stage = "committed"
        run.enter_phase("publish", leader.now)
        leader.write(BeginPublication(run.run_id))


def assign(leader: Leader) -> None:
    """Give waiting tasks to free workers, a worker of each peer in turn."""
    runs = [run for run in leader.runs.values() if run.stage == "tasks"]
    while leader.hungry:
        for peer in list(leader.hungry.values()):
            if not any(_assign_one(leader, run, peer) for run in runs):
                del leader.hungry[peer.name]


def _assign_one(leader: Leader, run: Run, peer: Peer) -> bool:
    slot = peer.free_slot() if peer.takes_work else None
    if slot is None:
        return False
    task = run.next_task(peer.name, peer.host)
    if task is None:
        return False
    peer.give(run.assignment(task, f"{leader.epoch}.{task.tries + 1}", slot))
    leader.owe(peer)
    return True


# -- what peers have


def compare(leader: Leader, peer: Peer, report: Report) -> None:
    """Compare the attempts a peer says it has with those it should have: adopt what suits, cancel the rest."""
    cancelled = []
    for running in report.running:
        given = peer.attempts.get(running.id)
        if given is not None:
            given.is_seen = True
        elif _may_adopt(leader, running.id, peer, running.slot):
            peer.adopt(running)
            leader.runs[running.id.run_id].tasks[running.id.task].running = running.id
        else:
            cancelled.append(running.id)
    if cancelled:
        leader.owe(peer)
    peer.cancelled = tuple(cancelled)


def _may_adopt(leader: Leader, attempt: AttemptId, peer: Peer, slot: int) -> bool:
    run = leader.runs.get(attempt.run_id)
    task = run.tasks.get(attempt.task) if run and run.stage == "tasks" else None
    if run is None or task is None or not task.is_waiting or slot in peer.slots:
        return False
    return task.is_map or run.home_of[task.index] == peer.name


def check_given(leader: Leader, peer: Peer, report: Report) -> None:
    """Attempts that a peer was told of, and knows nothing of, have ended without a word."""
    if len(peer.attempts) <= len(report.running) and all(one.is_seen for one in peer.attempts.values()):
        return
    known = {one.id for one in report.running} | {one.id for one in report.results}
    lost = [
        attempt
        for attempt, given in peer.attempts.items()
        if attempt not in known and 0 < given.sequence <= report.orders
    ]
    if lost:
        for attempt in lost:
            peer.take_back(attempt)
        lose(leader, peer, lost)


def lose(leader: Leader, peer: Peer, attempts: Sequence[AttemptId]) -> None:
    """Attempts that a peer had have ended by no fault of theirs: their tasks wait again, at no cost."""
    for attempt in attempts:
        run = leader.runs.get(attempt.run_id)
        task = run.tasks.get(attempt.task) if run else None
        if run is not None and task is not None and task.running == attempt:
            task.running = None
            run.wait(task, first=True)
    if attempts:
        leader.feed_everybody()


def take_results(leader: Leader, peer: Peer, results: Iterable[AttemptResult]) -> None:
    """Commit what succeeded first, try again what failed."""
    for result in results:
        leader.owe(peer)
        if peer.take_back(result.id):
            leader.hungry[peer.name] = peer
        run = leader.runs.get(result.id.run_id)
        task = run.tasks.get(result.id.task) if run and run.stage == "tasks" else None
        if run is None or task is None:
            continue
        if isinstance(result.outcome, Failure):
            if task.running == result.id:
                _take_failure(leader, run, task, peer, result, result.outcome)
        elif task.committed is None and task.committing is None:
            if task.running is not None and task.running != result.id:
                _cancel(leader, task.running)
            task.running = None
            task.committing = result.id
            run.to_commit.append(Committed(result.id, peer.name, result.outcome))


def _cancel(leader: Leader, attempt: AttemptId) -> None:
    """An attempt is under way that is no longer needed."""
    for peer in leader.peers.values():
        if peer.take_back(attempt):
            peer.cancelled += (attempt,)
            leader.owe(peer)


def _take_failure(
    leader: Leader, run: Run, task: Task, peer: Peer, result: AttemptResult, failure: Failure
) -> None:
    task.running = None
    run.attempts_failed += 1
    task.failures += failure.is_counted
    worker = f"{peer.name}/{result.slot}"
    shown = cut_text(failure.error, _SHOWN_CHARACTERS)
    run.failed_tries.append(FailedTry(task.name, result.id.attempt, peer.name, result.slot, shown))
    attempts_max = run.record.fields.get("max_attempts")
    attempts_max = attempts_max if isinstance(attempts_max, int) else _ATTEMPTS_MAX
    if failure.missing is not None:
        _lose_outputs(leader, run, [failure.missing])
    if failure.is_final or task.failures >= attempts_max:
        times = f"\n(task {task.name} failed {task.failures} times, which is max_attempts)"
        end(leader, run, "failed", failure.error + times * (task.failures > 1))
        return
    first_line = failure.error.partition("\n")[0]
    text = f"attempt {task.failures} of {attempts_max} of {task.name} failed on {worker}, trying again"
    leader.announce("task.failed", f"{text}: {first_line}", run, peer.name)
    run.wait(task, first=True)
    leader.feed_everybody()


# -- commits and losses


def committed(leader: Leader, run: Run, write: CommitTasks, attempts: Sequence[str]) -> None:
    """Redis says which attempt counts for each task of a commit."""
    run.is_committing = False
    for one, attempt in zip(write.tasks, attempts, strict=True):
        task = run.tasks[one.id.task]
        if attempt == one.id.attempt:
            run.commit(one)
            _check_digest(leader, run, task, one)
        else:
            task.committing = None
            if task.committed is None and run.stage == "tasks":
                end(leader, run, "failed", f"attempt {attempt} of {task.name} is committed, but not known")
        if one.peer in leader.peers:
            leader.owe(leader.peers[one.peer])
    if not run.maps_left and run.stage == "tasks" and run.enter_phase("shuffle", leader.now):
        leader.feed_everybody()
        for peer in leader.alive():
            leader.owe(peer)


def _check_digest(leader: Leader, run: Run, task: Task, done: Committed) -> None:
    if isinstance(done.outcome, MapOutcome) and task.lost_digest not in ("", done.outcome.digest):
        end(
            leader,
            run,
            "failed",
            f"{task.name} was done again, as its output was lost, and gave other items for the same input. "
            "A map function must not depend on time, chance or anything but its line and auxiliary data",
        )


def check_inventory(leader: Leader, peer: Peer, inventory: Iterable[HeldRun]) -> None:
    """Committed outputs that a peer should have, and has not, are to be made again."""
    held = {AttemptId(one.run_id, task, attempt) for one in inventory for task, attempt, _ in one.attempts}
    for run in leader.runs.values():
        lost = [attempt for attempt in run.committed_by.get(peer.name, ()) if attempt not in held]
        if lost and peer.name not in run.published:
            _lose_outputs(leader, run, lost)


def take_shuffles(leader: Leader, peer: Peer, shuffles: Sequence[ShuffleReport]) -> None:
    """How far a peer's fetching is, and which outputs it finds lost."""
    peer.shuffles = {one.run_id: one for one in shuffles}
    for shuffle in shuffles:
        run = leader.runs.get(shuffle.run_id)
        if run is None or run.stage != "tasks":
            continue
        if shuffle.lost:
            _lose_outputs(leader, run, shuffle.lost)
        if not run.maps_left and shuffle.sources < len(run.sources):
            leader.owe(peer)  # at the end of the map phase nobody should wait for the next regular orders


def _lose_outputs(leader: Leader, run: Run, attempts: Sequence[AttemptId]) -> None:
    lost = tuple(one for one in attempts if _is_committed(run, one))
    if not lost:
        return
    if run.stage == "tasks":
        leader.announce("task.lost", f"the output of {lost[0].task} is lost: doing it again", run)
        leader.write(ReleaseTasks(run.run_id, lost))
    elif run.stage in ("committed", "publishing"):
        reduces = [one for one in lost if not run.tasks[one.task].is_map]
        if reduces:
            end(leader, run, "failed", f"the output of {reduces[0].task} is gone from the disk that had it")


def _is_committed(run: Run, attempt: AttemptId) -> bool:
    task = run.tasks.get(attempt.task)
    return task is not None and task.committed is not None and task.committed.id == attempt


# -- machines


def check_machines(leader: Leader, run: Run) -> None:
    """Whether somebody has what the run still needs: its input, what was mapped, a home for each partition."""
    needed = [host for host in run.plan.hosts if not host.shared] if run.plan else []
    gone = [
        one.host
        for one in needed
        if (run.waiting_maps.get(one.host) or (run.reduces_left and one.tasks)) and leader.is_gone(one.host)
    ]
    wait_for_machines(leader, run, gone, "it alone has some of the input, or of what was mapped from it")
    if run.stage == "tasks" and run.reduces_left:
        _move_homes(leader, run)
        _redo_shared(leader, run)


def _move_homes(leader: Leader, run: Run) -> None:
    gone = [peer for peer in leader.peers.values() if peer.state == "dead" and run.homes.get(peer.name)]
    alive = [peer.facts for peer in leader.alive()]
    if not gone or not alive:
        return
    is_moved = False
    for peer in gone:
        for partition in list(run.homes[peer.name]):
            if run.tasks[f"reduce-{partition:05d}"].committed is None:
                run.move_home(partition, replace_home(partition, run.home_of, alive, peer.host))
                is_moved = True
    if is_moved:
        leader.owe_everybody()


def _redo_shared(leader: Leader, run: Run) -> None:
    """What a machine that is gone had mapped of folders which all machines share is mapped again elsewhere."""
    for name, commits in run.committed_by.items():
        peer = leader.peers.get(name)
        if peer is None or not leader.is_gone(peer.host):
            continue
        shared = [
            one for one in commits if run.tasks[one.task].is_map and run.host_plan(run.tasks[one.task]).shared
        ]
        if shared and not run.is_releasing:
            run.is_releasing = True
            _lose_outputs(leader, run, shared)


def wait_for_machines(leader: Leader, run: Run, gone: Sequence[str], why: str) -> None:
    """A run that needs hosts which are gone waits for them, visibly, and fails when that takes too long."""
    if not gone:
        run.waiting_for, run.waiting_since = "", None
        return
    named = ", ".join(
        f"{peer.name} ({peer.host})" for peer in leader.peers.values() if peer.host in set(gone)
    )
    run.waiting_for = f"{named}: {why}"
    grace_s = leader.settings.machine_grace_s
    if run.waiting_since is None:
        run.waiting_since = leader.now
        leader.announce("run.waiting", f"{run.run_id} waits for {run.waiting_for}", run)
    elif leader.now - run.waiting_since >= grace_s:
        end(
            leader,
            run,
            "failed",
            f"waited {grace_s:,.0f} s (scheduler.machine_grace_seconds) for {run.waiting_for}. "
            "Start pymr-peer there, then submit the job again",
        )


# -- progress and end


def note_phase(leader: Leader, report: Report) -> None:
    """The first worker that sorts, or reduces, brings its run into that phase."""
    for running in report.running:
        if running.state in ("sort", "reduce"):
            run = leader.runs.get(running.id.run_id)
            if run is not None and run.stage == "tasks" and not run.maps_left:
                run.enter_phase(running.state, leader.now)


def sources_orders(leader: Leader, peer: Peer) -> tuple[SourcesOrder, ...]:
    """The map outputs that a peer has to learn of next."""
    orders = []
    for run in leader.runs.values():
        if run.stage == "tasks" and run.sources and run.homes.get(peer.name):
            shuffle = peer.shuffles.get(run.run_id)
            order = run.sources_order(shuffle.sources if shuffle else 0)
            if order is not None:
                orders.append(order)
    return tuple(orders)


def end(leader: Leader, run: Run, status: RunStatus, exception: str | None) -> None:
    """A run comes to its end: peers stop working for it, and the history is told."""
    if run.stage == "ending":
        return
    run.leave_phase(leader.now)
    record = msgspec.structs.replace(
        run.totals(), status=status, exception=cut_text(exception) if exception else None
    )
    run.stage = "ending"
    leader.write(EndRun(record))
    leader.owe_everybody()

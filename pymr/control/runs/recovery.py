"""Losses: attempts, outputs and machines that a run has lost, and what is done again for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from pymr.control.liveness import PeerState
from pymr.control.runs import reassignment
from pymr.control.runs.ending import end
from pymr.control.runs.engine_runs import EngineRun, follow_leader
from pymr.control.runs.leader_state import LeaderState
from pymr.control.runs.mapreduce_run import MapReduceRun
from pymr.control.runs.run import Run, Task, Trouble
from pymr.control.stored_state import Committed, ReleaseTasks
from pymr.wire.outcomes import INCOMPARABLE, AttemptId, MapOutcome
from pymr.wire.protocol import SOURCES_MAX, ShuffleReport, SourcesOrder, first_line


def lose(leader: LeaderState, peer: PeerState, attempts: Sequence[AttemptId]) -> None:
    """Attempts that a peer had have ended by no fault of theirs: their tasks wait again, at no cost."""
    for attempt in attempts:
        run = leader.runs.get(attempt.run_id)
        task = run.find(attempt.task) if run else None
        if run is not None and task is not None and task.running == attempt:
            run.stop(task)
            run.wait(task, first=True)
            leader.feed(run, task)
    if attempts and peer.takes_work:
        leader.peers_with_free_slots[peer.name] = peer


# -- outputs


def on_shuffles(leader: LeaderState, peer: PeerState, shuffles: Sequence[ShuffleReport]) -> None:
    """How far a peer's fetching is, and which outputs it finds lost."""
    peer.shuffles = {one.run_id: one for one in shuffles}
    for shuffle in shuffles:
        run = leader.runs.get(shuffle.run_id)
        if not isinstance(run, MapReduceRun) or run.stage != "tasks":
            continue
        for partition, size_bytes in shuffle.partitions:
            if partition < len(run.home_of) and run.home_of[partition] == peer.name:
                run.partition_bytes[partition] = size_bytes
        _note_shuffle_trouble(leader, run, peer, shuffle.trouble)
        if shuffle.lost:
            lose_outputs(leader, run, shuffle.lost)
        unknown = len(run.sources) - shuffle.sources
        if unknown >= SOURCES_MAX or (unknown > 0 and not run.maps_left):
            leader.needs_orders(peer)  # nobody should wait for the next regular orders


def _note_shuffle_trouble(leader: LeaderState, run: MapReduceRun, peer: PeerState, trouble: str) -> None:
    before = run.shuffle_troubles.pop(peer.name, None)
    if trouble:
        since = before.since if before is not None else leader.now
        run.shuffle_troubles[peer.name] = Trouble(peer.name, f"{peer.shown}: {first_line(trouble)}", since)


def sources_orders(leader: LeaderState, peer: PeerState) -> tuple[SourcesOrder, ...]:
    """The map outputs that a peer has to learn of next."""
    orders: tuple[SourcesOrder, ...] = ()
    for run in leader.mapreduce_runs():
        if run.stage == "tasks" and run.homes.get(peer.name):
            shuffle = peer.shuffles.get(run.run_id)
            order = run.sources_order(shuffle.sources if shuffle else 0)
            if order is not None:
                orders += (order,)
    return orders


def lose_outputs(leader: LeaderState, run: Run, attempts: Iterable[AttemptId]) -> None:
    """Committed outputs are lost: once Redis knows, those that are still needed are made again. Of the first
    `tasks_per_step` of them; for the others it is to be called once more."""
    if run.stage != "tasks":
        return
    needed = (
        one for one in attempts if one not in run.releasing and _is_committed(run, one) and run.needs(one)
    )
    lost = tuple(islice(needed, leader.settings.tasks_per_step))
    if not lost:
        return
    used = next((one for one in lost if run.has_used(one)), None)
    if used is not None:
        text = f"what {used.task} has found is lost, and only some of what hangs on it is done"
        end(leader, run, "failed", f"{text}: submit the job again")
        return
    if not run.releasing:
        others = " and others" if len(lost) > 1 else ""
        leader.announce("task.lost", f"the output of {lost[0].task}{others} is lost: doing it again", run)
    run.releasing.update(dict.fromkeys(lost))
    leader.write(ReleaseTasks(run.run_id, lost, run.make_void(lost)))


def _is_committed(run: Run, attempt: AttemptId) -> bool:
    task = run.find(attempt.task)
    return task is not None and task.committed is not None and task.committed.id == attempt


def released(leader: LeaderState, run: Run, attempts: Sequence[AttemptId]) -> None:
    """Redis knows that outputs are lost: their tasks wait again."""
    for attempt in attempts:
        run.release(attempt)
        leader.feed(run, run.task(attempt))


def check_digests(leader: LeaderState, run: MapReduceRun) -> None:
    """Compare again what an earlier leader may not have come to."""
    for task in run.redone:
        if task.committed is not None:
            check_digest(leader, run, task, task.committed)


def check_digest(leader: LeaderState, run: Run, task: Task, done: Committed) -> None:
    """A map task that was done twice must have given the same: some may have been reduced before."""
    if isinstance(done.outcome, MapOutcome) and _contradict(task.lost_digest, done.outcome.digest):
        end(
            leader,
            run,
            "failed",
            f"{task.name} was done again, as its output was lost, and gave other items for the same input. "
            "A map function must not depend on time, chance or anything but its line and auxiliary data",
        )


def _contradict(lost: str, again: str) -> bool:
    return lost not in ("", again) and not (lost.startswith(INCOMPARABLE) or again.startswith(INCOMPARABLE))


# -- machines


def check_peers(leader: LeaderState, run: MapReduceRun) -> None:
    """A run that needs a peer which cluster.toml has lost since it began can never end well: it ends now."""
    if run.plan is None:
        return
    needed = {host.peer for host in run.plan.hosts if host.tasks}
    needed |= {name for name, commits in run.committed_by.items() if commits}
    needed |= run.homes_left()
    unknown = sorted(needed - leader.peers.keys())
    if unknown:
        end(
            leader,
            run,
            "failed",
            f"{', '.join(unknown)} has some of {run.run_id}, and is no longer in cluster.toml. Put it back "
            "there, or submit the job again without it",
        )


def check_machines(leader: LeaderState, run: MapReduceRun) -> None:
    """Whether somebody has what the run still needs: its input, what was made from it, and a home for each
    partition."""
    if isinstance(run, EngineRun) and run.stage == "tasks":
        follow_leader(leader, run)
    if run.stage == "tasks" and run.homes and (run.troubles or run.shuffle_troubles):
        reassignment.leave_troubled(leader, run)
    if run.plan is None or not (leader.dead or leader.draining or run.waiting_since is not None):
        run.waiting_for = run.present_trouble
        return
    is_done = not run.maps_left and not run.reduces_left
    gone = [one.host for one in run.plan.hosts if one.tasks and not one.shared and leader.is_gone(one.host)]
    if not gone:
        _redo_elsewhere(leader, run)
    if is_done:
        gone = [
            leader.peers[name].host
            for name in run.reducers()
            if name in leader.dead and leader.is_gone(leader.peers[name].host)
        ]
    wait_for_machines(leader, run, gone, "it alone has some of the input, or of what was made from it")
    if run.stage == "tasks" and run.reduces_left:
        reassignment.leave_dead(leader, run)


def has_all_output(leader: LeaderState, run: MapReduceRun) -> bool:
    """Whether all that is to be published is known to be there: once it is seen, nothing goes back."""
    for name in run.reducers():
        peer = leader.peers.get(name)
        if peer is None:
            continue
        is_published_by_proxy = peer.state == "dead" and not leader.is_gone(peer.host)
        if not is_published_by_proxy and not (peer.is_alive and peer.has_inventory):
            return False
    return True


def _redo_elsewhere(leader: LeaderState, run: MapReduceRun) -> None:
    """What a machine that is gone had made is made again elsewhere, as all that it takes is still there."""
    for name in leader.dead:
        commits = run.committed_by.get(name)
        if commits and leader.is_gone(leader.peers[name].host):
            lose_outputs(leader, run, (one for one in commits if run.reduces_left or not one.is_map))


def wait_for_machines(leader: LeaderState, run: Run, gone: Sequence[str], why: str) -> None:
    """A run that needs hosts which are gone waits for them, visibly, and fails when that takes too long."""
    names = [f"{peer.name} ({host})" for host in dict.fromkeys(gone) for peer in leader.hosts.get(host, ())]
    wait_for(leader, run, names or gone, why)


def wait_for(leader: LeaderState, run: Run, gone: Sequence[str], why: str) -> None:
    """As `wait_for_machines`, for whatever is named; nothing is missing where there are no names."""
    if not gone:
        run.waiting_for, run.waiting_since = run.present_trouble, None
        return
    run.waiting_for = f"{', '.join(gone)}: {why}"
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

"""Running: assignments, results and commits of a run's tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from pymr.base.errors import (
    InputGrownError,
    InputOutdatedError,
    TaskTimeoutError,
    WorkerDiedError,
)
from pymr.control.liveness import PeerState
from pymr.control.runs import recovery
from pymr.control.runs.ending import cancel, end, outdate
from pymr.control.runs.leader_state import LeaderState
from pymr.control.runs.mapreduce_run import MapReduceRun
from pymr.control.runs.run import FailedTry, Run, Task, Trouble
from pymr.control.runs.stepped_run import SteppedRun
from pymr.control.stored_state import BeginPublication, CommitTasks, Committed, ReleaseTasks
from pymr.wire.outcomes import AttemptId, Failure, error_digest
from pymr.wire.protocol import (
    FIRST_LINE_CHARACTERS_MAX,
    AttemptResult,
    Report,
    cut_text,
    first_line,
)
from pymr.wire.rows import PanePlace
from pymr.wire.run_warnings import empty_input_refused

COMMITS_MAX = 1_000
COUNTERS_MAX = 20_000
"""Most tasks committed with one write; and their counters, but for those of the first one."""

_TOLD_EACH_TIME = (WorkerDiedError.__name__, TaskTimeoutError.__name__)  # by the daemon, which knows no other
_GROWN = InputGrownError.__name__
_OF_CHANGED_INPUT = (InputOutdatedError.__name__, _GROWN)

FAILURES_TOLD_MAX = 5
"""Events that tell of failed attempts, for each run: a thousand failing tasks push no others out."""


def advance(leader: LeaderState, run: MapReduceRun) -> None:
    """Commit what is done; when that is all, have Redis note that the output is complete."""
    write_commits(leader, run)
    if (
        run.is_done
        and not (run.is_committing or run.to_commit or run.releasing)
        and recovery.has_all_output(leader, run)
    ):
        run.stage = "committed"
        leader.write(BeginPublication(run.run_id))


def write_commits(leader: LeaderState, run: Run) -> None:
    """Write what is to be committed, one write at a time: what comes meanwhile goes with the next one."""
    if run.to_commit and not run.is_committing:
        run.is_committing = True
        count = _commits_at_once(run.to_commit)
        leader.write(CommitTasks(run.run_id, tuple(run.to_commit[:count])))
        del run.to_commit[:count]


def _commits_at_once(commits: Sequence[Committed]) -> int:
    """How many of these go into one write, at least one."""
    counters = 0
    for count, one in enumerate(commits[:COMMITS_MAX]):
        counters += len(one.outcome.counters)
        if counters > COUNTERS_MAX and count:
            return count
    return min(len(commits), COMMITS_MAX)


def assign(leader: LeaderState) -> None:
    """Give waiting tasks to free workers, a worker of each peer in turn; runs share them evenly."""
    runs = [run for run in leader.runs.values() if run.stage == "tasks"]
    while leader.peers_with_free_slots:
        for peer in list(leader.peers_with_free_slots.values()):
            if len(runs) > 1:
                runs.sort(key=lambda run: len(run.at_work))
            if not any(_assign_one(leader, run, peer) for run in runs):
                del leader.peers_with_free_slots[peer.name]


def _assign_one(leader: LeaderState, run: Run, peer: PeerState) -> bool:
    slot = peer.free_slot()
    if slot is None or not peer.takes_work or peer.backs_off_until > leader.now:
        return False
    task = run.next_task(peer.name, peer.host)
    if task is None:
        return False
    assignment = run.assignment(task, leader.epoch, slot, peer.name, leader.now)
    if earlier := run.earlier_failure(task):
        assignment = msgspec.structs.replace(assignment, earlier=earlier)
    peer.give(assignment)
    leader.needs_orders(peer)
    return True


# -- what peers have


def compare(leader: LeaderState, peer: PeerState, report: Report) -> None:
    """Compare the attempts a peer says it has with those it should have: adopt what suits, cancel the rest.

    What it had, or was told of, and knows nothing of has ended without a word.
    """
    reported = {running.id for running in report.running}
    for attempt in [one for one in peer.unseen if one in reported]:
        del peer.unseen[attempt]
    unknown = reported - peer.attempts.keys()
    cancelled = []
    for running in report.running if unknown else ():
        if running.id not in unknown:
            continue
        if _may_adopt(leader, running.id, peer, running.slot):
            peer.adopt(running)
            run = leader.runs[running.id.run_id]
            run.adopt(run.task(running.id), running.id, peer.name, leader.now)
        else:
            cancelled.append(running.id)
    if cancelled:
        leader.needs_orders(peer)
    peer.cancelled = tuple(cancelled)
    if not report.has_more_results:  # else it has ended more than it can tell at once
        _take_back_lost(leader, peer, report, reported)


def _take_back_lost(leader: LeaderState, peer: PeerState, report: Report, reported: set[AttemptId]) -> None:
    missing = peer.attempts.keys() - reported
    if not missing:
        return
    missing -= {result.id for result in report.results}
    lost = []
    for attempt in peer.attempts:
        if attempt in missing:
            given = peer.unseen.get(attempt)
            if given is None or 0 < given.sequence <= report.orders:
                lost.append(attempt)
    for attempt in lost:
        peer.take_back(attempt)
    recovery.lose(leader, peer, lost)


def _may_adopt(leader: LeaderState, attempt: AttemptId, peer: PeerState, slot: int) -> bool:
    run = leader.runs.get(attempt.run_id)
    task = run.find(attempt.task) if run and run.stage == "tasks" else None
    if run is None or task is None or not task.is_waiting or slot in peer.slots:
        return False
    return run.may_adopt(task, peer.name) and not run.is_void(attempt)


def on_results(leader: LeaderState, peer: PeerState, results: Iterable[AttemptResult]) -> None:
    """Commit what succeeded first, try again what failed."""
    leader.needs_orders(peer)
    for result in results:
        if peer.take_back(result.id):
            leader.peers_with_free_slots[peer.name] = peer
        if result.id in peer.refused:
            continue
        run = leader.runs.get(result.id.run_id)
        task = run.find(result.id.task) if run and run.stage == "tasks" else None
        if run is None or task is None:
            continue
        if isinstance(result.outcome, Failure):
            if task.running == result.id:
                _on_failure(leader, run, task, peer, result, result.outcome)
        elif run.is_void(result.id):
            if task.running == result.id:
                run.stop(task)
                run.wait(task)
        elif task.committed is None and task.committing is None:
            if task.running == result.id:
                run.note_duration(task, leader.now)
            elif task.running is not None:
                cancel(leader, task.runner, task.running)
            run.stop(task)
            task.committing = result.id
            run.to_commit.append(Committed(result.id, peer.name, result.outcome))
            run.note_trouble(task)
            run.is_touched = True
            peer.failures = 0


def _on_failure(
    leader: LeaderState, run: Run, task: Task, peer: PeerState, result: AttemptResult, failure: Failure
) -> None:
    run.stop(task)
    run.attempts_failed += 1
    task.failures += failure.is_counted
    tried = _failed_try(run, task, peer, result, failure)
    place = tried.place
    run.failed_tries.append(tried)
    if isinstance(run, SteppedRun) and failure.is_final and run.failed is None:
        run.failed = failure
    attempts_max = run.attempts_max
    if failure.kind in _OF_CHANGED_INPUT and isinstance(run, MapReduceRun):
        outdate(leader, run, failure.error, place, has_grown=failure.kind == _GROWN)
        return
    if failure.is_final or task.failures >= attempts_max:
        text = failure.error + _times(run, task) * (task.failures > 1 and not failure.is_final)
        end(leader, run, "failed", text, place, failure.kind)
        return
    is_of_machine = failure.missing is None and not failure.is_counted
    trouble = Trouble(peer.name, f"{peer.shown}: {first_line(failure.error)}", leader.now)
    run.note_trouble(task, trouble if is_of_machine else None)
    if failure.missing is not None:
        recovery.lose_outputs(leader, run, [failure.missing])
    elif is_of_machine:
        leader.back_off(peer)
    _tell_of_failure(leader, run, task, failure, tried)
    run.wait(task, first=True)
    leader.feed(run, task)


def _failed_try(run: Run, task: Task, peer: PeerState, result: AttemptResult, failure: Failure) -> FailedTry:
    """What is kept of an attempt that failed. Where an earlier one has printed the same error, this one has
    told of it in a line, and the place of the other is the one to look at."""
    shown = cut_text(failure.error, FIRST_LINE_CHARACTERS_MAX)
    worker = f"{peer.name}/{result.slot}"
    digest = error_digest(failure.error, worker)
    place = None
    if result.pane_offset is not None:
        place = PanePlace(worker, run.run_id, result.pane_offset)
        if failure.kind not in _TOLD_EACH_TIME:
            alike = (one.place for one in run.failed_tries if (one.task, one.digest) == (task.name, digest))
            place = next(filter(None, alike), place)
    return FailedTry(task.name, result.id.attempt, peer.name, result.slot, shown, place, digest)


def _times(run: Run, task: Task) -> str:
    """How often a task has failed that is not tried again; and whether it makes sense to hope."""
    errors = {one.digest for one in run.failed_tries if one.task == task.name}
    if len(errors) == 1:
        return f"\n(task {task.name}: {task.failures} attempts, the same each time)"
    return f"\n(task {task.name} failed {task.failures} times, which is max_attempts)"


def _tell_of_failure(leader: LeaderState, run: Run, task: Task, failure: Failure, tried: FailedTry) -> None:
    """Tell operators of an attempt that is made again, if this is one of the run's first that failed."""
    if run.failures_told >= FAILURES_TOLD_MAX:
        return
    run.failures_told += 1
    count = f"attempt {task.failures} of {run.attempts_max}" if failure.is_counted else "an attempt"
    where = f"{tried.peer}/{tried.slot}"
    text = f"{count} of {task.name} failed on {where}, trying again: {first_line(failure.error)}"
    if run.failures_told == FAILURES_TOLD_MAX:
        text += " (more of this run are not told of here)"
    leader.announce("task.failed", text, run, tried.peer, tried.place)


# -- commits


def committed(leader: LeaderState, run: Run, write: CommitTasks, attempts: Sequence[str]) -> None:
    """Redis says which attempt counts for each task of a commit."""
    run.is_committing = False
    for one, attempt in zip(write.tasks, attempts, strict=True):
        task = run.task(one.id)
        if one.peer in leader.peers:
            leader.needs_orders(leader.peers[one.peer])
        if attempt == one.id.attempt:
            run.commit(one)
            recovery.check_digest(leader, run, task, one)
        elif attempt:
            # An earlier write of ours has arrived after its release: it is released once more.
            leader.write(ReleaseTasks(run.run_id, (AttemptId(run.run_id, task.name, attempt),)))
            run.to_commit.append(one)
        else:
            end(leader, run, "failed", f"Redis takes no more tasks of {run.run_id}")
            return


def mapped(leader: LeaderState, run: MapReduceRun, write: CommitTasks) -> None:
    """After a commit that may have been that of the last map task."""
    if run.maps_left or run.stage != "tasks" or not any(one.id.is_map for one in write.tasks):
        return
    if is_refused(leader, run):
        return
    run.enter_phase("shuffle", leader.now)
    leader.offer_work_to_all()
    for peer in leader.alive():
        leader.needs_orders(peer)


def is_refused(leader: LeaderState, run: MapReduceRun) -> bool:
    """End a run whose map tasks, all done, show that its job does not allow it."""
    return _has_too_many_bad_records(leader, run) or _is_refused_as_empty(leader, run)


def _is_refused_as_empty(leader: LeaderState, run: MapReduceRun) -> bool:
    if run.record.fields.get("allow_empty", True) or not run.has_no_records:
        return False
    folders = run.record.fields.get("input_dirs")
    names = [str(name) for name in folders] if isinstance(folders, list | tuple) else []
    downsample = run.record.fields.get("downsample")
    end(leader, run, "failed", empty_input_refused(run.bytes_read, downsample, names))
    return True


def _has_too_many_bad_records(leader: LeaderState, run: MapReduceRun) -> bool:
    """End a run whose map tasks have passed over more records than the job allows, all taken together."""
    limit = run.record.fields.get("max_bad_records")
    limit = limit if isinstance(limit, int) else 0
    bad_records = run.sums.of("map", "bad_records")
    if bad_records <= limit:
        return False
    first = run.bad_maps[min(run.bad_maps)].bad_record
    function = run.record.fields.get("map_function_name")
    text = f"the map function {function!r} raised on {bad_records:,} records, max_bad_records = {limit:,}"
    end(leader, run, "failed", f"{text}; the first one: {first}")
    return True


# -- progress


def note_phase(leader: LeaderState, report: Report) -> None:
    """The first worker that sorts, or reduces, brings its run into that phase."""
    if not any(run.stage == "tasks" and not run.maps_left for run in leader.mapreduce_runs()):
        return
    for running in report.running:
        if running.state in ("sort", "reduce"):
            run = leader.runs.get(running.id.run_id)
            if isinstance(run, MapReduceRun) and run.stage == "tasks" and not run.maps_left:
                run.enter_phase(running.state, leader.now)

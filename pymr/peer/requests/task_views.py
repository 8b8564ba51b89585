"""Task views: what of a running run is at work, and how its items spread over the partitions."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nsmallest

from pymr.control.leader.leader import Leader
from pymr.control.liveness import PeerState
from pymr.control.runs.mapreduce_run import MapReduceRun
from pymr.control.runs.run import Run, Task
from pymr.wire.requests import PARTITIONS_SHOWN_MAX, TASKS_SHOWN_MAX
from pymr.wire.rows import TaskRow


def task_rows(leader: Leader, run: Run) -> tuple[TaskRow, ...]:
    """The attempts of a run that are running, those first that have been for longest: TASKS_SHOWN_MAX at
    most. Cost: O(attempts of all peers)."""
    oldest = nsmallest(TASKS_SHOWN_MAX, _running(leader, run), key=lambda one: one[1].began_at)
    return tuple(_task_row(leader, run, *one) for one in oldest)


def _running(leader: Leader, run: Run) -> Iterator[tuple[PeerState, Task, int]]:
    """(peer, task, slot) of what has been given and has not ended."""
    for peer in leader.peers.values():
        for id, given in peer.attempts.items():
            task = run.at_work.get(id.task) if id.run_id == run.run_id else None
            if task is not None and task.running == id:
                yield peer, task, given.assignment.slot


def _task_row(leader: Leader, run: Run, peer: PeerState, task: Task, slot: int) -> TaskRow:
    id = task.running
    assert id is not None
    reported = peer.report.running if peer.report else ()
    told = next((one for one in reported if one.id == id), None)
    return TaskRow(
        task=task.name,
        attempt=id.attempt,
        worker=f"{peer.name}/{slot}",
        state=told.state if told else "starting",
        seconds=max(0.0, leader.now - task.began_at),
        done=told.done if told else (0, 0),
        usual_seconds=run.durations.usual(id.kind),
    )


def partition_bytes(run: Run) -> tuple[int, ...]:
    """How much has been gathered of each partition; () before any has been, or where there are too many."""
    if not isinstance(run, MapReduceRun) or not run.partition_bytes or run.plan is None:
        return ()
    partitions = run.plan.partitions
    if partitions > PARTITIONS_SHOWN_MAX:
        return ()
    return tuple(run.partition_bytes.get(partition, 0) for partition in range(partitions))

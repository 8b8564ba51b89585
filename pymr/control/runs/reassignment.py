"""Homes: how reduce tasks get away from peers that are gone, stop, or whose machine fails them."""

from __future__ import annotations

from collections.abc import Iterable

from pymr.control.liveness import PeerState
from pymr.control.placement import replace_homes
from pymr.control.runs.ending import cancel
from pymr.control.runs.leader_state import LeaderState
from pymr.control.runs.mapreduce_run import MapReduceRun
from pymr.control.runs.run import Task

MOVE_SECONDS = 10.0
"""A partition whose home cannot write for this long goes to another peer; twice as long after each move, up
to MOVE_DOUBLINGS_MAX times. Lower: sooner elsewhere, where all of it has to be fetched again."""

MOVE_DOUBLINGS_MAX = 6


def leave_dead(leader: LeaderState, run: MapReduceRun) -> None:
    """Partitions of peers that are gone, or on their way, are reduced elsewhere."""
    staying = [peer for peer in leader.alive() if not peer.is_draining]
    for name in [*leader.dead, *leader.draining] if staying else ():
        _move(leader, run, run.waiting_partitions(name), staying, leader.peers[name].host)


def leave_troubled(leader: LeaderState, run: MapReduceRun) -> None:
    """Partitions whose home has failed them for MOVE_SECONDS, as a full disk does, go to a peer that is well.

    Also those for which a worker waits there until all segments have come; one that sorts already goes on.
    """
    for name in [name for name in run.shuffle_troubles if not leader.peers[name].is_alive]:
        del run.shuffle_troubles[name]
    stuck = [task for task in _stuck_tasks(leader, run) if _is_due(leader, run, task)]
    well = [peer for peer in leader.alive() if _is_well(leader, run, peer)] if stuck else []
    if not well:
        return
    for task in stuck:
        if task.running is not None:
            cancel(leader, task.runner, task.running)
            run.stop(task)
            run.wait(task, first=True)
        run.note_trouble(task)
        run.moves[task.index] = run.moves.get(task.index, 0) + 1
    _move(leader, run, [task.index for task in stuck], well, "")


def _stuck_tasks(leader: LeaderState, run: MapReduceRun) -> list[Task]:
    found = {}
    for name in run.troubles:
        task = run.find(name)
        if task is not None and not task.is_map and task.is_waiting:
            found[name] = task
    for peer in run.shuffle_troubles:
        for partition in run.homes.get(peer, ()):
            task = run.reduce_of(partition)
            if task.is_waiting or (task.running is not None and not _is_sorting(leader, task)):
                found[task.name] = task
    return list(found.values())


def _is_due(leader: LeaderState, run: MapReduceRun, task: Task) -> bool:
    """Whether its present home has failed it for long enough."""
    home = run.home_of[task.index]
    troubles = (run.troubles.get(task.name), run.shuffle_troubles.get(home))
    since = min((one.since for one in troubles if one is not None and one.peer == home), default=leader.now)
    patience_s = MOVE_SECONDS * (1 << min(run.moves.get(task.index, 0), MOVE_DOUBLINGS_MAX))
    return leader.now - since >= patience_s


def _is_well(leader: LeaderState, run: MapReduceRun, peer: PeerState) -> bool:
    if peer.has_disk_problem or peer.name in run.shuffle_troubles or peer.backs_off_until > leader.now:
        return False
    return peer.takes_work


def preempt(leader: LeaderState, run: MapReduceRun) -> None:
    """Reduce tasks that wait for a map output which is made again give their workers back: these may be the
    only ones that can do the maps."""
    if not run.maps_left:
        leader.offer_work_to_all()
        return
    for task in list(run.at_work.values()):
        if not task.is_map and task.running is not None and not _is_sorting(leader, task):
            cancel(leader, task.runner, task.running)
            run.stop(task)
            run.wait(task, first=True)


def _is_sorting(leader: LeaderState, task: Task) -> bool:
    peer = leader.peers.get(task.runner)
    running = peer.report.running if peer and peer.report else ()
    return any(one.id == task.running and one.state in ("sort", "reduce") for one in running)


def _move(
    leader: LeaderState, run: MapReduceRun, partitions: list[int], peers: Iterable[PeerState], near_host: str
) -> None:
    """Give partitions that wait other homes. near_host: where preferably; "" for anywhere."""
    if not partitions:
        return
    load = {name: len(those) for name, those in run.homes.items()}
    homes = replace_homes(len(partitions), [peer.info for peer in peers], near_host, load)
    run.move_homes(dict(zip(partitions, homes, strict=True)))
    leader.all_need_orders()

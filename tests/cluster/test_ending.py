"""Peers that are told to end, all of them or all but a few, while something is under way."""

from __future__ import annotations

import time
from collections.abc import Callable

from cluster.clusters import Cluster, ordered
from cluster.held_runs import HeldRun

from pymr.api.manage_cluster import ManageCluster

DRAIN_S = 60.0
"""How long a peer may go on with its tasks: one that waits for nothing any more ends long before."""


def test_a_busy_peer_ends_when_it_is_done_though_its_leader_has_ended(
    lend_cluster: Callable[..., Cluster],
) -> None:
    cluster = lend_cluster(HeldRun.HOSTS)
    held = HeldRun(cluster, files=0)
    busy, leader = held.followers[0], cluster.leader()
    for name in cluster.names:
        if name != busy:
            (cluster.input_of(name) / "held.txt").unlink()
    held._close("map")
    cluster.submit()
    cluster.wait_for(lambda: held.attempts("held-map"), what="a map task to be held")
    for name in cluster.names:
        cluster.client.stop_peer(name, drain=True)
    cluster.wait_for(lambda: cluster.processes[leader].poll() is not None, what="the leader to end")
    is_busy = cluster.processes[busy].poll() is None
    held.let_go()
    let_go_at = time.monotonic()
    cluster.wait_for(lambda: cluster.processes[busy].poll() is not None, what="the busy peer to end")
    took_s = time.monotonic() - let_go_at
    cluster.start()
    cluster.succeed()

    assert is_busy
    assert took_s < DRAIN_S / 2
    assert all(len(attempts) == 1 for attempts in held.attempts("held-map").values())
    assert ordered(cluster.output()) == ordered(cluster.reference())


def test_a_stop_in_the_midst_of_a_run_ends_all_peers_and_the_next_start_has_them_again(
    lend_cluster: Callable[..., Cluster],
) -> None:
    cluster = lend_cluster(HeldRun.HOSTS)
    held = HeldRun(cluster)
    held.reach("map")
    said: list[str] = []
    manager = ManageCluster(str(cluster.path), said.append)
    stopped = manager.stop_cluster(timeout_s=0.5)
    ended = [process.wait(0) for process in cluster.processes.values()]
    held.let_go()
    cluster.start()
    cluster.succeed()

    assert not any(peer.alive for peer in stopped.peers)
    assert len(ended) == len(cluster.names)
    assert any("is still busy" in line for line in said)
    assert ordered(cluster.output()) == ordered(cluster.reference())

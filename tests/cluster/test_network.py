"""Machines with addresses of their own, keys, and a Redis on another one: what a cut link does, and what not.

The short one; those that take longer are in tests/chaos/test_network.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.clusters import ordered
from cluster.held_runs import HeldRun
from cluster.namespaces import NetworkCluster, network_cluster, why_no_namespaces

STEP_DOWN_S = 1.5
LOADED_S = 10.0
"""How much later it may be on a machine that runs other tests beside this one."""

pytestmark = pytest.mark.skipif(bool(why_no_namespaces()), reason=why_no_namespaces())


@pytest.fixture
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[NetworkCluster]:
    with network_cluster(tmp_path, request.node, settings=HeldRun.SETTINGS) as cluster:
        yield cluster


def test_a_leader_that_is_cut_off_from_redis_steps_down_and_tasks_go_on(cluster: NetworkCluster) -> None:
    held = HeldRun(cluster)
    held.reach("map")
    leader, epoch = cluster.leader(), cluster.epoch()
    [other] = {"alpha", "beta"} - {leader}
    with cluster.network.cut(leader, "redis") as cut_at:
        cluster.wait_for(lambda: f"{leader} no longer leads" in cluster.log_of(leader), what="its step down")
        step_down_s = time.monotonic() - cut_at
        cluster.wait_for(lambda: cluster.view_leader(other) == other, what=f"{other} to lead")
        held.let_go()
        cluster.wait_for(lambda: _has_succeeded(cluster, other), what="the run to end while the link is cut")

    assert step_down_s < STEP_DOWN_S + LOADED_S
    assert ordered(cluster.output()) == ordered(cluster.reference())
    assert cluster.epoch() > epoch
    assert held.repeated_tasks() == {}
    cluster.wait_for(lambda: cluster.view_leader(leader) == other, what=f"{leader} to follow again")
    cluster.submit()
    cluster.succeed()


def _has_succeeded(cluster: NetworkCluster, peer: str) -> bool:
    view = cluster.job_view(peer=peer)
    return view is not None and any(run.status == "succeeded" for run in view.runs)

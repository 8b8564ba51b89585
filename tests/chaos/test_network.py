"""Links between machines are cut and healed while a run is at work: the output is the right one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.clusters import ordered
from cluster.held_runs import HeldRun
from cluster.namespaces import NetworkCluster, network_cluster, why_no_namespaces
from cluster.running import MAP_WORDS, REDUCE_TOTAL

from pymr.client import ClientError

pytestmark = pytest.mark.skipif(bool(why_no_namespaces()), reason=why_no_namespaces())

RECORDS = 12_000
RECORD_BYTES = 500
MAP_RECORDS = """
    def records(line, auxiliary_data):
        name, _, payload = line.partition(" ")
        return [(name, payload)]
"""
REDUCE_FIRST = """
    def first(group, auxiliary_data):
        return [(group.key, [len(group.values), group.values[0]])]
"""


@pytest.fixture
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[NetworkCluster]:
    with network_cluster(tmp_path, request.node, settings=HeldRun.SETTINGS) as cluster:
        yield cluster


@pytest.fixture
def wide_cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[NetworkCluster]:
    """One with usual splits."""
    with network_cluster(tmp_path, request.node) as cluster:
        yield cluster


def test_a_word_count_over_two_machines(cluster: NetworkCluster) -> None:
    cluster.project(MAP_WORDS, REDUCE_TOTAL)
    for number, name in enumerate(cluster.names):
        cluster.feed(name, "text.txt", *[f"all {name} word-{word % (7 + number)}" for word in range(3_000)])
    cluster.start()
    cluster.submit()
    cluster.succeed()

    assert ordered(cluster.output()) == ordered(cluster.reference())


@pytest.mark.parametrize("phase", ["map", "sort", "reduce"])
def test_redis_is_cut_off_from_the_leader_and_comes_back(cluster: NetworkCluster, phase: str) -> None:
    held = HeldRun(cluster)
    held.reach(phase)
    leader = cluster.leader()
    with cluster.network.cut(leader, "redis"):
        other = cluster.wait_for_other_leader(leader)
    held.let_go(after_s=1.0)
    cluster.succeed()

    assert ordered(cluster.output()) == ordered(cluster.reference())
    assert held.repeated_tasks() == {}
    assert cluster.leader() == other


def test_redis_is_cut_off_from_everybody_for_a_while(cluster: NetworkCluster) -> None:
    held = HeldRun(cluster)
    held.reach("map")
    with cluster.network.cut("redis"):
        held.let_go(after_s=6.0)
    cluster.succeed()

    assert ordered(cluster.output()) == ordered(cluster.reference())
    assert held.repeated_tasks() == {}


@pytest.mark.parametrize("seconds", [3.0, 8.0])
def test_two_machines_are_cut_off_from_each_other_during_the_shuffle(
    wide_cluster: NetworkCluster, seconds: float
) -> None:
    cluster = wide_cluster
    cluster.project(MAP_RECORDS, REDUCE_FIRST)
    for name in cluster.names:
        payload = "x" * RECORD_BYTES
        cluster.feed(name, "records.txt", *[f"{name}-{number} {payload}" for number in range(RECORDS)])
        cluster.network.slow(name, "10mbit")
    cluster.start()
    functions = {"map_function_name": "records", "reduce_function_name": "first", "partitions": 4}
    cluster.submit(**functions)
    cluster.wait_for(lambda: _fetched_bytes(cluster) > 500_000, what="the shuffle to be under way")
    with cluster.network.cut("alpha", "beta"):
        time.sleep(seconds)
        before = _fetched_bytes(cluster)
    cluster.succeed()

    assert before < RECORDS * RECORD_BYTES * 0.9, "the shuffle was over before the link was cut"
    assert ordered(cluster.output()) == ordered(cluster.reference(**functions))


@pytest.mark.parametrize("who", ["leader", "follower"])
@pytest.mark.parametrize("phase", ["map", "reduce"])
def test_a_machine_is_cut_off_from_everything_for_8_s(cluster: NetworkCluster, who: str, phase: str) -> None:
    held = HeldRun(cluster)
    held.reach(phase)
    leader = cluster.leader()
    lonely = leader if who == "leader" else next(name for name in cluster.names if name != leader)
    with cluster.network.cut(lonely):
        time.sleep(4.0)
        held.let_go()
        time.sleep(4.0)
    cluster.succeed()

    assert ordered(cluster.output()) == ordered(cluster.reference())
    cluster.wait_for(lambda: cluster.view(lonely), what=f"{lonely} to answer again")


@pytest.mark.parametrize("sender", ["leader", "follower"])
def test_what_one_machine_sends_to_the_other_is_lost_for_a_while(
    cluster: NetworkCluster, sender: str
) -> None:
    held = HeldRun(cluster)
    held.reach("map")
    leader = cluster.leader()
    follower = next(name for name in cluster.names if name != leader)
    ends = (leader, follower) if sender == "leader" else (follower, leader)
    with cluster.network.cut_one_way(*ends):
        time.sleep(4.0)
        held.let_go()
        time.sleep(4.0)
    cluster.succeed()

    assert ordered(cluster.output()) == ordered(cluster.reference())


def _fetched_bytes(cluster: NetworkCluster) -> int:
    try:
        phases = cluster.client.job("job").phases
    except ClientError:
        return 0
    return sum(row.units[1] for row in phases if row.name == "shuffle")

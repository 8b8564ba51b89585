"""Leaders, followers and the Redis are killed many times in every phase. PYMR_CHAOS_KILLS: how often (20)."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable

import pytest
from cluster.clusters import Cluster, ordered
from cluster.gated import Gates
from cluster.held_runs import PHASES, HeldRun

KILLS = int(os.environ.get("PYMR_CHAOS_KILLS", "20"))
TAKEOVER_S, TAKEOVER_SHARE = 2.0, 0.95

MakeCluster = Callable[..., Cluster]


def shown(figures: list[float]) -> str:
    figures = sorted(figures)
    at = {share: figures[round(share * (len(figures) - 1))] for share in (0.5, 0.95, 1.0)}
    return ", ".join(f"{share:.0%}: {figure:.2f} s" for share, figure in at.items())


@pytest.mark.parametrize("phase", PHASES)
def test_leaders_are_killed_in_a_phase(make_cluster: MakeCluster, phase: str) -> None:
    cluster = make_cluster(hosts=HeldRun.HOSTS, settings=HeldRun.SETTINGS)
    held = HeldRun(cluster)
    expected = ordered(cluster.reference())
    took = []
    for _ in range(KILLS):
        held.gates.forget()
        held.reach(phase)
        killed = cluster.leader()
        took.append(held.time_of_takeover(cluster.kill(killed), killed))
        cluster.restart(killed)
        held.let_go()
        cluster.succeed()
        assert ordered(cluster.output()) == expected
        assert held.repeated_tasks() == {}
        cluster.wait_for(lambda: cluster.is_up(cluster.names), what="all peers to be there again")
    print(f"\ntakeovers in {phase}: {shown(took)}")

    assert sum(one <= TAKEOVER_S for one in took) >= TAKEOVER_SHARE * len(took)
    assert statistics.median(took) <= TAKEOVER_S


@pytest.mark.parametrize("phase", PHASES)
def test_followers_are_killed_in_a_phase(make_cluster: MakeCluster, phase: str) -> None:
    cluster = make_cluster(hosts=HeldRun.HOSTS, settings=HeldRun.SETTINGS)
    held = HeldRun(cluster)
    expected = ordered(cluster.reference())
    for number in range(KILLS):
        held.gates.forget()
        followers = held.followers
        victim = followers[number % 2]
        held.reach(phase, spare=victim)
        cluster.kill(victim)
        cluster.restart(victim)
        held.let_go()
        cluster.succeed()
        assert ordered(cluster.output()) == expected
        assert held.repeated_tasks() == {}
        cluster.wait_for(lambda: cluster.is_up(cluster.names), what="all peers to be there again")


@pytest.mark.parametrize("phase", PHASES)
def test_the_redis_is_killed_in_a_phase(make_cluster: MakeCluster, phase: str) -> None:
    cluster = make_cluster(hosts=HeldRun.HOSTS, settings=HeldRun.SETTINGS)
    held = HeldRun(cluster)
    expected = ordered(cluster.reference())
    for number in range(KILLS):
        held.gates.forget()
        held.reach(phase)
        cluster.submit(job_name=f"later-{number}")
        cluster.kill_redis()
        if number % 2:
            held.let_go(after_s=1.5)
        cluster.restart_redis()
        held.let_go()
        cluster.succeed()
        cluster.succeed(f"later-{number}")
        assert ordered(cluster.output()) == expected
        assert held.repeated_tasks() == {}
    runs = cluster.client.history(limit=1_000)

    assert {run.status for run in runs} == {"succeeded"}
    assert len(runs) == 2 * KILLS


def test_the_first_task_under_another_leader(make_cluster: MakeCluster) -> None:
    from tests.bench.cluster import takeover

    cluster = make_cluster(settings={"engine": {"split_bytes": 200}})
    gates = Gates(cluster.folder / "gates")
    slow = gates.map_source.replace('note("map")', 'note("map"); time.sleep(0.01)')
    cluster.project(slow, gates.reduce_source)
    for name in cluster.names:
        for number in range(60):
            cluster.feed(name, f"{number}.txt", *[f"{name} {number} {line}" for line in range(12)])
    cluster.start()
    took = [takeover(cluster, gates, f"job-{number}") for number in range(KILLS * 5)]
    print(f"\nkill -9 to the first task under another leader: {shown(took)}")

    assert sum(one <= TAKEOVER_S for one in took) >= TAKEOVER_SHARE * len(took)

"""The leader is killed, or stopped for a while, in every phase: another one goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from cluster.clusters import Cluster, ordered
from cluster.held_runs import PHASES, HeldRun

TAKEOVER_S = 2.0
LOADED = 5.0
"""How much longer than the bar a takeover may take on a machine that runs other tests beside this one; the
bar itself is measured by tests.bench and tests.chaos."""

Lend = Callable[..., Cluster]


@pytest.mark.parametrize("phase", PHASES)
def test_another_leads_when_the_leader_is_killed(lend_cluster: Lend, phase: str) -> None:
    has_hosts = phase in ("plan", "shuffle")  # these can only be held where each peer is a host of its own
    cluster = lend_cluster(HeldRun.HOSTS if has_hosts else None)
    held = HeldRun(cluster)
    held.reach(phase)
    killed = cluster.leader()
    killed_at = cluster.kill(killed)
    took = held.time_of_takeover(killed_at, killed)
    if phase not in ("map", "publish"):  # in these two it stays away, until the others have done without it
        cluster.restart(killed)
    held.let_go()
    cluster.succeed()

    print(f"takeover in {phase}: {took:.2f} s")
    assert took < TAKEOVER_S * LOADED
    assert ordered(cluster.output()) == ordered(cluster.reference())
    assert held.repeated_tasks() == {}
    cluster.restart_dead()


@pytest.mark.parametrize("phase", ["map", "reduce"])
def test_a_leader_that_was_killed_and_comes_back_follows(lend_cluster: Lend, phase: str) -> None:
    cluster = lend_cluster(HeldRun.HOSTS)
    held = HeldRun(cluster)
    held.reach(phase)
    epoch = cluster.epoch()
    killed = cluster.leader()
    cluster.kill(killed)
    cluster.restart(killed)
    held.let_go()
    cluster.succeed()

    assert cluster.epoch() > epoch
    assert ordered(cluster.output()) == ordered(cluster.reference())
    assert held.repeated_tasks() == {}


@pytest.mark.parametrize("phase", ["map", "reduce"])
def test_a_leader_that_was_stopped_steps_down(lend_cluster: Lend, phase: str) -> None:
    cluster = lend_cluster()
    held = HeldRun(cluster)
    held.reach(phase)
    stopped, epoch = cluster.leader(), cluster.epoch()
    logged = len(cluster.log_of(stopped))
    cluster.pause(stopped)
    cluster.wait_for_other_leader(stopped)
    held.let_go(after_s=0.0)
    time.sleep(10.0 if phase == "map" else 3.0)  # the bar's ten seconds, which is what is tested
    cluster.resume(stopped)
    told = f"{stopped} no longer leads"
    cluster.wait_for(lambda: told in cluster.log_of(stopped)[logged:], what="the stopped leader to step down")
    cluster.succeed()

    assert cluster.epoch() > epoch
    assert ordered(cluster.output()) == ordered(cluster.reference())
    assert held.repeated_tasks() == {}


def test_a_leader_whose_loop_hangs_is_followed_and_comes_back(lend_cluster: Lend) -> None:
    cluster = lend_cluster()
    held = HeldRun(cluster)
    held.reach("map")
    hung, epoch = cluster.leader(), cluster.epoch()
    logged = len(cluster.log_of(hung))
    with held.gates.hanging(cluster.pid(hung)):
        began = time.monotonic()
        cluster.wait_for_other_leader(hung)
        took = time.monotonic() - began
        held.let_go(after_s=0.0)
        time.sleep(6.0)  # longer than a peer that is silent counts as alive
    told = f"{hung} no longer leads"
    cluster.wait_for(lambda: told in cluster.log_of(hung)[logged:], what="the hung leader to step down")
    cluster.succeed()

    assert took < 10.0, "about 1.5 s on a machine that is not busy"
    assert "gives the lease up" in cluster.log_of(hung)[logged:]
    assert cluster.epoch() > epoch
    assert ordered(cluster.output()) == ordered(cluster.reference())

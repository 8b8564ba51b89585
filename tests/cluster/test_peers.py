"""Peers that do not lead are killed and started again in every phase; those of three hosts, so that nobody
can stand in for them and what they had done has to be used again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster.clusters import Cluster, ordered
from cluster.held_runs import PHASES, HeldRun
from cluster.running import MAP_WORDS, REDUCE_TOTAL, lives

from pymr.client import ClientError

Lend = Callable[..., Cluster]


@pytest.mark.parametrize("phase", PHASES)
def test_a_peer_that_is_killed_and_started_again_loses_nothing(lend_cluster: Lend, phase: str) -> None:
    cluster = lend_cluster(HeldRun.HOSTS)
    held = HeldRun(cluster)
    followers = held.followers
    held.reach(phase, spare=followers[0])
    for victim in followers:
        cluster.kill(victim)
        cluster.restart(victim)
    held.let_go()
    cluster.succeed()

    assert ordered(cluster.output()) == ordered(cluster.reference())
    assert held.repeated_tasks() == {}
    assert [run.status for run in cluster.client.history(cluster.job)] == ["succeeded"]


def test_a_peer_that_is_gone_is_stood_in_for_by_others_of_its_host(lend_cluster: Lend) -> None:
    cluster = lend_cluster()
    held = HeldRun(cluster)
    held.reach("reduce")
    cluster.kill(held.followers[0])
    held.let_go()
    cluster.succeed()
    items = cluster.output()
    cluster.restart_dead()

    assert ordered(items) == ordered(cluster.output()) == ordered(cluster.reference())
    assert held.repeated_tasks() == {}


def test_a_run_waits_for_a_machine_that_is_gone_and_fails_naming_it(
    make_cluster: Callable[..., Cluster],
) -> None:
    settings = HeldRun.SETTINGS | {"scheduler": {"machine_grace_seconds": 2.0}}
    cluster = make_cluster(hosts=HeldRun.HOSTS, settings=settings)
    held = HeldRun(cluster)
    held.reach("map")
    gone = held.followers[0]
    cluster.kill(gone)
    held.let_go()
    cluster.wait_for(lambda: gone in cluster.waiting_for(), what="the run to wait for a machine")
    outcome = cluster.finish()
    cluster.restart(gone)

    assert outcome.status == "failed"
    assert gone in outcome.exception and "machine_grace_seconds" in outcome.exception
    with pytest.raises(ClientError, match="has no output"):
        cluster.client.output("job")


def test_the_workers_of_a_peer_that_is_killed_end_with_it(lend_cluster: Lend) -> None:
    cluster = lend_cluster()
    held = HeldRun(cluster)
    held.reach("map")
    victim = held.followers[0]
    started = cluster.descendants(victim)
    cluster.kill(victim)
    left = cluster.wait_for(lambda: not [p for p in started if lives(p)], what=f"{started} to end")
    held.let_go()
    cluster.succeed()
    cluster.restart(victim)

    assert len(started) >= 3  # the fork server, the data service and a worker
    assert left


def test_a_peer_that_cannot_start_workers_any_more_ends_as_a_failure(lend_cluster: Lend) -> None:
    """So that a supervisor that looks at the exit status starts it again."""
    cluster = lend_cluster()
    victim = cluster.names[-1]
    (fork_server,) = (one for one in cluster.descendants(victim) if one.name() == "pymr-forkserver")
    fork_server.kill()
    cluster.wait_for(lambda: cluster.processes[victim].poll() is not None, what=f"{victim} to end")
    status = cluster.processes[victim].returncode
    cluster.restart(victim)

    assert status == 1


@pytest.mark.parametrize("is_one_host", [True, False])
def test_a_part_of_an_output_is_not_given_for_all_of_it(
    lend_cluster: Lend, monkeypatch: pytest.MonkeyPatch, is_one_host: bool
) -> None:
    """While the first output is being shown, which one peer does not come to."""
    cluster = lend_cluster(None if is_one_host else HeldRun.HOSTS)
    held = HeldRun(cluster)
    held.reach("publish")
    shown = [cluster.data(name) / "jobs" / cluster.job / "reduce" for name in cluster.names]
    cluster.wait_for(lambda: sum(map(Path.is_dir, shown)) == 2, what="the other two to show theirs")
    with monkeypatch.context() as patch, pytest.raises(ClientError):
        patch.setattr("pymr.client.output.AGREEMENT_SECONDS", 0.6)
        cluster.output()
    held.let_go()
    cluster.succeed()

    assert ordered(cluster.output()) == ordered(cluster.reference())


def test_an_output_is_given_while_its_job_waits_beside_a_peer_that_shows_none(lend_cluster: Lend) -> None:
    """As one that was added to the host later, of a job that was submitted again meanwhile."""
    cluster = lend_cluster()
    cluster.project(MAP_WORDS, REDUCE_TOTAL)
    cluster.feed(cluster.names[0], "0.txt", "a b", "c")
    cluster.submit(partitions=1, run_once=False)
    cluster.succeed()
    whole = ordered(cluster.output())
    folders = [cluster.data(name) / "jobs" / cluster.job for name in cluster.names]
    empty = [folder for folder in folders if not any((folder / "reduce").glob("part-*"))]
    cluster.client.pause()
    cluster.submit(partitions=1, run_once=False)
    shutil.rmtree(empty[0])
    shown = ordered(cluster.output())
    cluster.client.resume()
    cluster.succeed()

    assert shown == whole

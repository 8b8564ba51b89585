"""The Redis is killed, or comes back with nothing in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster.clusters import Cluster, ordered
from cluster.gated import Gates
from cluster.held_runs import PHASES, HeldRun

from pymr.client import RefusedError
from pymr.peer.disk.job_journal import JobJournal

AROUND_AN_OUTAGE = ("redis.lost", "redis.back", "leader.elected")
MakeCluster = Callable[..., Cluster]


def is_cut_off(cluster: Cluster, name: str) -> bool:
    view = cluster.view(name)
    return view is not None and "Redis at" in view.problem


@pytest.mark.parametrize("phase", PHASES)
def test_a_redis_that_is_killed_and_started_again_costs_no_run(
    lend_cluster: Callable[..., Cluster], phase: str
) -> None:
    has_hosts = phase in ("plan", "shuffle")
    cluster = lend_cluster(HeldRun.HOSTS if has_hosts else None)
    held = HeldRun(cluster)
    held.reach(phase)
    later = [f"{cluster.job}-later-{number}" for number in range(3)]
    for name in later:
        cluster.submit(job_name=name)
    (seen,) = cluster.client.events("", 1)
    cluster.kill_redis()
    asked = cluster.names[:1] if has_hosts else cluster.names  # with hosts, one of the others is stopped
    for name in asked:
        cluster.wait_for(lambda name=name: is_cut_off(cluster, name), what=f"{name} to miss Redis")
        assert cluster.client.cluster(peer=name).peers_alive == 0
    if phase == "map":
        before = len(held.gates.notes(cluster.job))
        held.let_go()
        cluster.wait_for(lambda: held.finished_attempts() >= 9, what="the tasks under way to be done")
        assert len(held.gates.notes(cluster.job)) >= before
    cluster.restart_redis()
    held.let_go()
    cluster.succeed()
    for name in later:
        cluster.succeed(name)

    assert ordered(cluster.output()) == ordered(cluster.reference())
    assert held.repeated_tasks() == {}
    for name in (cluster.job, *later):
        assert [run.status for run in cluster.client.history(name)] == ["succeeded"]
    if has_hosts:  # the one that was stopped may lead, and has seen nothing
        return
    told = [event for event in cluster.client.events(seen.id, 500) if event.kind in AROUND_AN_OUTAGE]
    assert [event.kind for event in told][:3] == list(AROUND_AN_OUTAGE)
    lost, back, elected = told[:3]
    assert seen.time - 2.0 < lost.time < back.time <= elected.time + 1.0
    assert "Redis at" in lost.text and elected.peer in cluster.names


def test_a_redis_that_has_forgotten_is_given_its_jobs_back(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(settings=HeldRun.SETTINGS)
    HeldRun(cluster)
    cluster.submit(job_name="done")
    cluster.succeed("done")
    cluster.client.pause()
    names = [f"queued-{number}" for number in range(3)]
    for name in names:
        cluster.submit(job_name=name)
    cluster.wait_for(lambda: cluster.remembered_jobs() == {3}, what="all peers to remember the jobs")
    epoch = cluster.epoch()
    cluster.kill_redis()
    silent = cluster.pymr("resume")
    cluster.restart_redis(empty=True)
    problem = cluster.wait_for(cluster.problem, what="a peer to say that Redis has forgotten")
    with pytest.raises(RefusedError) as refused:
        cluster.submit(job_name="new")
    status = cluster.pymr("cluster", "status", "--json")
    recovered = cluster.pymr("cluster", "recover", "--yes")
    cluster.client.resume()
    for name in names:
        cluster.succeed(name)

    assert silent.status == 1 and "does not answer" in silent.err and "Redis" in silent.err
    assert "pymr cluster recover" in problem
    assert refused.value.code == "forgotten"
    assert status.status == 1 and "pymr cluster recover" in json.loads(status.out)["problem"]
    assert recovered.status == 0, recovered.err
    assert cluster.epoch() > epoch
    assert ordered(cluster.output(names[0])) == ordered(cluster.reference())


def test_a_run_that_a_redis_has_forgotten_is_not_published(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(settings=HeldRun.SETTINGS)
    held = HeldRun(cluster)
    held.reach("reduce")
    cluster.wait_for(lambda: cluster.remembered_jobs() == {1}, what="all peers to remember the job")
    cluster.kill_redis()
    cluster.restart_redis(empty=True)
    cluster.wait_for(cluster.problem, what="a peer to say that Redis has forgotten")
    held.let_go()
    cluster.wait_for(lambda: held.finished_attempts("reduce") >= 3, what="the reduce tasks to end")
    published = [path for name in cluster.names for path in cluster.data(name).glob("jobs/*/reduce/*")]
    recovered = cluster.pymr("cluster", "recover", "--yes")
    cluster.succeed()

    assert published == []
    assert recovered.status == 0, recovered.err
    assert ordered(cluster.output()) == ordered(cluster.reference())


@pytest.mark.parametrize("has_new_epoch", [True, False])
def test_a_redis_of_an_old_backup_takes_no_jobs_and_spoils_no_memory(
    make_cluster: MakeCluster, tmp_path: Path, has_new_epoch: bool
) -> None:
    cluster = make_cluster(settings=HeldRun.SETTINGS)
    HeldRun(cluster)
    cluster.client.pause()
    cluster.submit(job_name="early")
    cluster.kill_redis()
    shutil.copytree(cluster.redis.directory, tmp_path / "backup")
    if has_new_epoch:
        cluster.wait_for(lambda: not cluster.view_leader(cluster.names[0]), what="the leader to step down")
    cluster.restart_redis()
    cluster.leader()
    cluster.submit(job_name="late")
    cluster.wait_for(lambda: cluster.remembered_jobs() == {2}, what="all peers to remember the jobs")
    cluster.kill_redis()
    shutil.rmtree(cluster.redis.directory)
    shutil.copytree(tmp_path / "backup", cluster.redis.directory)
    cluster.restart_redis()
    cluster.wait_for(cluster.problem, what="a peer to say that Redis has forgotten")
    with pytest.raises(RefusedError) as refused:
        cluster.submit(job_name="new")
    shown = [row.fields["job_name"] for row in cluster.client.jobs().rows]
    remembered = cluster.remembered_jobs()
    recovered = cluster.pymr("cluster", "recover", "--yes")
    cluster.client.resume()
    cluster.succeed("late")

    assert refused.value.code == "forgotten"
    assert sorted(shown) == ["early", "late"] and remembered == {2}
    assert recovered.status == 0, recovered.err


def kept_priorities(table: Path, scratch: Path) -> dict[str, Any]:
    """The priority of each job in the table that a peer keeps, and its journal; of a copy."""
    for path in (table, table.with_name("jobs.journal")):
        shutil.copy(path, scratch)
    kept = JobJournal(str(scratch / table.name))
    found = kept.load()
    kept.close()
    return {job.name: job.fields["job_priority"] for job in found.jobs} if found else {}


def test_peers_that_are_started_again_remember_what_has_changed_last(
    make_cluster: MakeCluster, tmp_path: Path
) -> None:
    cluster = make_cluster(peers=2)
    gates = Gates(cluster.folder / "gates")
    cluster.env |= gates.faults
    cluster.project(gates.map_source, gates.reduce_source)
    for name in cluster.names:
        cluster.feed(name, "a.txt", "to be or not", f"to be {name}")
    cluster.start()
    cluster.client.pause()
    tables = [cluster.data(name) / "state" / "jobs" for name in cluster.names]
    cluster.wait_for(lambda: all(path.exists() for path in tables), what="a table on each disk")
    cluster.submit(job_name="gone")
    cluster.submit(job_name="late", job_priority=1)
    cluster.submit(job_name="late", job_priority=7)
    cluster.client.delete("gone")
    cluster.wait_for(
        lambda: [kept_priorities(path, tmp_path) for path in tables] == [{"late": 7}] * 2,
        what="the latest change to be on each disk",
    )
    are_in_tables = [b"late" in path.read_bytes() for path in tables]
    for name in cluster.names:
        cluster.kill(name)
    cluster.kill_redis()
    cluster.restart_redis(empty=True)
    for name in cluster.names:
        cluster.restart(name)
    cluster.wait_for(cluster.problem, what="a peer to say that Redis has forgotten")
    remembered = cluster.remembered_jobs()
    recovered = cluster.pymr("cluster", "recover", "--yes")
    view = cluster.client.jobs()
    cluster.submit(job_name="late")
    cluster.client.resume()
    cluster.succeed("late")

    assert are_in_tables == [False, False], "it was in the journals that this was about"
    assert remembered == {1}
    assert recovered.status == 0 and "1 job is back" in recovered.out, recovered.err
    assert "submit again, as their projects are lost: late" in recovered.out, "it never ran"
    assert [(row.fields["job_name"], row.fields["job_priority"]) for row in view.rows] == [("late", 7)]
    assert view.paused
    assert ordered(cluster.output("late")) == ordered(cluster.reference())

"""What is told while Redis is out of reach or slow: what is wrong, in the words of what was measured."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster.clusters import Cluster, ordered
from cluster.gated import Gates
from cluster.running import finish
from tcp_proxy import Proxy

MakeCluster = Callable[..., Cluster]


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """A way to the Redis of the first cluster of a test."""
    with Proxy(str(tmp_path / "c0" / "redis" / "redis.sock")) as proxy:
        yield proxy


def check_listings(cluster: Cluster, problem: str) -> None:
    """Each prints what is known, says what is wrong, and fails."""
    commands = ("jobs", "jobs --json", "peers", f"show {cluster.job}", "wait job --timeout 1")
    told = {command: cluster.pymr(*command.split()) for command in commands}

    assert {command: one.status for command, one in told.items() if one.status != 1} == {
        "wait job --timeout 1": 3
    }
    assert [command for command, one in told.items() if problem not in one.err] == []
    assert "running" in told["jobs"].out and "running" in told[f"show {cluster.job}"].out
    assert [row["job_name"] for row in json.loads(told["jobs --json"].out)] == [cluster.job]
    for name in cluster.names:
        (row,) = [line for line in told["peers"].out.splitlines() if line.startswith(name)]

        assert " alive " in row, told["peers"].out


def test_a_redis_that_is_cut_off_or_slow_is_told_by_every_listing_and_waited_for(
    make_cluster: MakeCluster, proxy: Proxy
) -> None:
    cluster = make_cluster(peers=2, settings={"redis": {"url": f"redis://127.0.0.1:{proxy.port}"}})
    gates = Gates(cluster.folder / "gates")
    cluster.project(gates.map_source, gates.reduce_source)
    cluster.feed("alpha", "0.txt", "HOLD a b")
    cluster.start()
    with gates.closed("map"):
        cluster.submit()
        cluster.wait_for_phase("map")
        waiting: subprocess.Popen[str] = cluster.start_pymr("wait", cluster.job)
        proxy.is_cut = True
        cluster.wait_for(lambda: "within 2 s" in problem_of(cluster), what="a Redis that is cut off")
        check_listings(cluster, "has not answered within 2 s")
        proxy.is_cut, proxy.delay_seconds = False, 0.4
        cluster.wait_for(lambda: "answers after " in problem_of(cluster), what="a Redis that is slow")
        slow = cluster.pymr("jobs")
        proxy.delay_seconds = 0.0
    waited = finish(waiting)

    assert slow.status == 1 and "no peer can lead while that takes more than 0.3 s" in slow.err
    assert waited.status == 0, waited.err
    assert "has not answered within" in waited.err and "waiting on" in waited.err
    assert len(set(waited.err.splitlines())) == len(waited.err.splitlines()), "each problem once"
    assert ordered(cluster.output()) == ordered(cluster.reference())
    assert cluster.client.problem == ""


def problem_of(cluster: Cluster) -> str:
    view = cluster.view("alpha")
    return view.problem if view else ""


def test_jobs_that_are_not_known_for_want_of_redis_are_not_told_as_none(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(peers=1)
    cluster.launch("alpha")
    cluster.wait_for(lambda: "does not answer" in problem_of(cluster), what="a peer without Redis")
    told = {
        command: cluster.pymr(*command.split()) for command in ("jobs", "jobs --json", "show x", "history")
    }

    assert {one.status for one in told.values()} == {1}
    assert [command for command, one in told.items() if "Redis at" not in one.err] == []
    assert "submit one" not in told["jobs"].out and "there is no job" not in told["show x"].err
    assert json.loads(told["jobs --json"].out) == []

    cluster.redis.start()
    cluster.leader()

    assert "no jobs" in cluster.pymr("jobs").out

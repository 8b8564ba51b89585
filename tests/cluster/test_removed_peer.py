"""A peer that is taken out of cluster.toml by hand while it holds parts: nobody takes the rest for all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from cluster.clusters import Cluster, ordered
from cluster.running import MAP_WORDS, REDUCE_TOTAL

import pymr
from pymr.client import ClientError
from pymr.config.cluster import load_config
from pymr.ops.processes import find_daemons, find_processes

NAMES = ("alpha", "beta", "gamma")
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
READER = {"job_name": "reader", "input_dirs": ["jobs/job/reduce"], "map_function_name": None}


def restart_with(cluster: Cluster, text: str, *names: str) -> None:
    """Let the cluster go on by another cluster.toml, in which these peers are."""
    assert cluster.stop() == []
    cluster.path.write_text(text)
    cluster.config = load_config(str(cluster.path))
    cluster.names = list(names)
    cluster._client = None
    cluster.start(*names)


def test_nobody_takes_what_is_left_of_an_output_for_all_of_it(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster(hosts=HOSTS)
    cluster.project(MAP_WORDS, REDUCE_TOTAL)
    for name in cluster.names:
        cluster.feed(name, f"{name}.txt", *(f"word-{number}" for number in range(200)))
    cluster.start()
    cluster.submit(partitions=6)
    cluster.succeed()
    for _ in range(2):
        cluster.submit(job_name="adds", partitions=3, delete_job_data=False)
        cluster.succeed("adds")
    whole, added = cluster.output(), cluster.output("adds")
    with_gamma = cluster.path.read_text()
    without = re.sub(r'\[\[peers\]\]\nname = "gamma"\n.*?(?=\n\[|\Z)', "", with_gamma, flags=re.DOTALL)
    restart_with(cluster, without, "alpha", "beta")

    cluster.wait_for(
        lambda: "gamma is no longer in cluster.toml" in cluster.pymr("peers").out, what="gamma to be told of"
    )
    listed = {row["name"]: row for row in json.loads(cluster.pymr("peers", "--json").out)}
    assert (listed["gamma"]["state"], listed["gamma"]["alive"]) == ("removed", False)
    assert listed["gamma"]["outputs"] == ["adds", "job"]
    assert "parts are with gamma, no longer in cluster.toml" in cluster.pymr("show", "job").out
    printed = cluster.pymr("output", "job")
    folder = cluster.folder / "collected"
    collected = cluster.pymr("output", "job", "--to", folder)
    downloaded = cluster.pymr("download", "jobs/job/reduce", cluster.folder / "downloaded")
    for finished in (printed, collected, downloaded, cluster.pymr("output", "adds")):
        assert finished.status == 1, finished
        assert "gamma, which has them, is no longer in cluster.toml" in finished.err
    assert printed.out == "" and not folder.exists()
    with pymr.Scheduler(str(cluster.path)) as scheduler:
        with pytest.raises(ClientError, match="gamma"):
            scheduler.output("job")
        part = scheduler.output("job", partial=True)
        assert "gamma" in part.missing and 0 < len(list(part)) < len(whole)
    partial = cluster.pymr("output", "job", "--partial")
    assert partial.status == 0 and "warning: the output of job is not whole" in partial.err
    lines = partial.out.splitlines()
    assert 0 < len(lines) < len(whole)
    assert all(json.loads(line) in whole for line in lines)
    cluster.submit(**READER)
    outcome = cluster.finish("reader")
    assert outcome.status == "failed" and "gamma" in outcome.exception

    assert cluster.stop() == []
    started = cluster.pymr("cluster", "start")
    running, of_gamma = find_daemons(str(cluster.path), NAMES), find_processes(str(cluster.path), ["gamma"])
    stopped = cluster.pymr("cluster", "stop")
    assert (started.status, stopped.status) == (0, 0), (started, stopped)
    assert set(running) == {"alpha", "beta"} and of_gamma == []
    assert not any("gamma" in text for text in (started.out, started.err, stopped.out, stopped.err))

    restart_with(cluster, with_gamma, "alpha", "beta", "gamma")
    cluster.submit(**READER)
    cluster.succeed("reader")

    assert ordered(cluster.output("job")) == ordered(whole)
    assert ordered(cluster.output("adds")) == ordered(added)
    assert len(cluster.output("reader")) == len(whole)

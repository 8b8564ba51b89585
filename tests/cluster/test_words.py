"""Jobs on a whole cluster, nothing in their way: the same items as `pymr run --inline` gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cluster.clusters import Cluster, ordered
from cluster.running import MAP_WORDS, REDUCE_TOTAL

MakeCluster = Callable[..., Cluster]


def feed(cluster: Cluster) -> None:
    cluster.project(MAP_WORDS, REDUCE_TOTAL)
    for number, name in enumerate(cluster.names):
        lines = [f"all {name} word-{word % (7 + number)}" for word in range(300)]
        cluster.feed(name, f"{name}.txt", *lines)


@pytest.mark.parametrize(
    ("hosts", "keys"),
    [
        (["127.0.0.1"] * 3, False),
        (["127.0.0.1"] * 3, True),
        (["127.0.0.1", "127.0.0.1", "127.0.0.2"], False),
        (["127.0.0.1", "127.0.0.2", "127.0.0.3"], True),
    ],
    ids=["one host", "one host with keys", "two hosts", "three hosts with keys"],
)
def test_a_word_count_equals_the_one_in_one_process(
    make_cluster: MakeCluster, hosts: list[str], keys: bool
) -> None:
    cluster = make_cluster(hosts=hosts, keys=keys)
    feed(cluster)
    cluster.start()
    cluster.submit()
    cluster.succeed()

    assert ordered(cluster.output()) == ordered(cluster.reference())

"""A worker that prints a gigabyte: its pane is bounded, and so is its daemon."""

from __future__ import annotations

from collections.abc import Callable

import psutil
from cluster.clusters import Cluster
from cluster.running import REDUCE_TOTAL

MIB = 1 << 20
LOUD = """
    def words(line, auxiliary_data):
        print("the first line")
        for _ in range(1_000_000): print("x" * 999)
        print("the last line")
        return [(line, 1)]
"""


def test_a_gigabyte_of_output(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(peers=1, workers=2)
    cluster.project(LOUD, REDUCE_TOTAL)
    cluster.feed("alpha", "text.txt", "loud")
    cluster.start()
    daemon = psutil.Process(cluster.pid("alpha"))
    before = daemon.memory_info().rss
    cluster.submit(max_attempts=1)
    slowest, largest = 0.0, before
    while cluster.client.wait("job", 0.5) is None:
        largest = max(largest, daemon.memory_info().rss)
        slowest = max(slowest, *(row.heard or 0.0 for row in cluster.client.peers()))
    cluster.succeed()
    pane = cluster.data("alpha") / "panes"
    end = cluster.client.read_pane("alpha/0", "", -50)

    assert cluster.output() == [["loud", 1]]
    assert sum(path.stat().st_size for path in pane.rglob("*.out")) < 12 * MIB
    assert b"the last line" in end.data
    assert largest - before < 32 * MIB
    assert slowest < 2.0, "its reports went on"

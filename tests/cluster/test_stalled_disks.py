"""A disk that hangs: the leader goes on leading, its daemon lives, and nothing is done under a new epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from cluster.clusters import Cluster, ordered
from cluster.gated import Gates
from loop_disks import LoopDisk, loop_disk, needs_loop_disks

MakeCluster = Callable[..., Cluster]
STALL_S = 7.0
"""Longer than a peer may be silent before it counts as dead."""


class Stalled:
    """A cluster whose leader, alpha, has a disk of its own, with its log on it."""

    def __init__(self, cluster: Cluster, disk: LoopDisk) -> None:
        self.cluster = cluster
        self.disk = disk
        self.gates = Gates(cluster.folder / "gates")
        cluster.env |= self.gates.faults
        cluster.input_of("alpha").mkdir(exist_ok=True)
        (cluster.folder / "alpha.log").symlink_to(disk.path / "daemon.log")
        cluster.project(self.gates.map_source, self.gates.reduce_source)
        cluster.start("alpha")
        cluster.start("beta", "gamma")
        assert cluster.leader() == "alpha"

    def alive(self) -> set[str]:
        return {row.name for row in self.cluster.client.peers() if row.alive}

    def run_script(self, name: str) -> None:
        """Something that beta alone does."""
        self.cluster.client.submit(
            {
                "job_type": "script", "job_name": name, "job_priority": 1, "run_once": True,
                "script_location": "/bin/true", "run_on": "beta",
            },
            self.cluster.folder / "projects",
        )  # fmt: skip
        self.cluster.succeed(name)


@pytest.fixture
def stalled(make_cluster: MakeCluster) -> Iterator[Stalled]:
    settings = {"scheduler": {"concurrent_runs": 2}}
    cluster = make_cluster(hosts=("127.0.0.1", "127.0.0.2", "127.0.0.2"), settings=settings)
    with loop_disk(cluster.folder, path=cluster.data("alpha")) as disk:
        try:
            yield Stalled(cluster, disk)
        finally:
            disk.thaw()
            cluster.stop()


@needs_loop_disks
def test_a_leader_whose_disk_hangs_goes_on_and_so_does_one_that_has_to_follow(stalled: Stalled) -> None:
    cluster = stalled.cluster
    for name in cluster.names:
        cluster.feed(name, "a.txt", "to be or not", f"to be {name}")
    epoch = cluster.epoch()
    stalled.disk.freeze()
    frozen_at = time.monotonic()
    stalled.run_script("while-frozen")
    led_by = cluster.leader()
    cluster.submit()  # its tasks on alpha wait for the disk
    while time.monotonic() < frozen_at + STALL_S:
        time.sleep(0.2)
    alive = stalled.alive()
    with stalled.gates.hanging(cluster.pid("alpha")):
        other = cluster.wait_for_other_leader("alpha")
    cluster.wait_for(lambda: (view := cluster.view("alpha")) and view.leader == other, what="alpha to follow")
    stalled.run_script("under-the-next")
    followed = cluster.wait_for(lambda: len(stalled.alive()) == 3, what="alpha to be heard")
    state = cluster.data("alpha") / "state" / "epoch"
    kept = state.read_text()
    stalled.disk.thaw()
    cluster.succeed()

    assert led_by == "alpha"
    assert alive == {"alpha", "beta", "gamma"} and followed
    assert f'"epoch":{epoch}' in kept, "it could not be written down"
    cluster.wait_for(
        lambda: f'"epoch":{epoch}' not in (cluster.data("alpha") / "state" / "epoch").read_text()
    )
    assert ordered(cluster.output()) == ordered(cluster.reference())

"""The disk of one machine is full or read-only in some phase of a run: that costs no attempt, and is told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from cluster.clusters import Cluster, ordered
from cluster.held_runs import HeldRun
from cluster.small_disks import SmallDisk, small_disk

LendCluster = Callable[..., Cluster]


class RunOnSmallDisk:
    """A run that may fail no attempt, of a cluster in which one machine has its disk to itself."""

    def __init__(self, cluster: Cluster, stack: ExitStack, folder: str = "runs") -> None:
        self.cluster = cluster
        self.held = HeldRun(cluster)
        self.held._submit = lambda: cluster.submit(max_attempts=1)  # type: ignore[method-assign]
        stack.callback(self.held.let_go)
        self.victim = self.held.followers[0]
        self.path: Path = cluster.data(self.victim) / folder
        self.disk: SmallDisk = stack.enter_context(small_disk(self.path))

    def wait_until_told(self, condition: str) -> None:
        """The run and the peer say what is wrong, on which machine and where."""
        host = next(peer.host for peer in self.cluster.config.peers if peer.name == self.victim)
        note = self.cluster.wait_for(
            lambda: (text := self.cluster.waiting_for()) and condition in text and text,
            what=f"a note that says {condition}",
        )
        row = self.cluster.wait_for(self._problem_of_victim, what="the peer to tell of its disk")

        assert f"{self.victim} ({host}): {condition}: " in note and str(self.path) in note, note
        assert row.startswith(condition) and str(self.path) in row

    def _problem_of_victim(self) -> str:
        rows = self.cluster.client.peers()
        return next(row.machine.disk_problem for row in rows if row.name == self.victim)

    def check_listings(self, condition: str) -> None:
        for command in ("jobs", f"show {self.cluster.job}", "peers"):
            listing = self.cluster.pymr(*command.split()).out

            assert condition in listing and str(self.path) in listing and self.victim in listing, listing

    def succeed(self) -> None:
        self.cluster.succeed()

        assert ordered(self.cluster.output()) == ordered(self.cluster.reference())


@pytest.mark.parametrize(
    ("phase", "condition"),
    [("plan", "disk full"), ("map", "disk full"), ("map", "read-only disk"), ("reduce", "disk full")],
)
def test_a_disk_that_takes_nothing_is_told_and_the_run_goes_on_when_it_does(
    lend_cluster: LendCluster, phase: str, condition: str
) -> None:
    with ExitStack() as stack:
        run = RunOnSmallDisk(lend_cluster(HeldRun.HOSTS), stack)
        if phase == "plan":
            run.disk.fill()
            run.held._submit()
        else:
            run.held.reach("sort" if phase == "reduce" else phase)
            run.disk.fill() if condition == "disk full" else run.disk.lock()
            run.held.let_go()
        run.wait_until_told(condition)
        if phase == "map":
            run.check_listings(condition)
        run.disk.free()
        run.succeed()


def test_an_output_that_finds_no_room_where_it_is_published_is_waited_for(lend_cluster: LendCluster) -> None:
    with ExitStack() as stack:
        run = RunOnSmallDisk(lend_cluster(HeldRun.HOSTS), stack, "jobs")
        run.disk.fill()
        run.held._submit()
        run.wait_until_told("disk full")

        assert run.cluster.phase() == "publish"

        run.disk.free()
        run.succeed()


@pytest.mark.parametrize("phase", ["shuffle", "sort"])
def test_a_partition_whose_machine_has_a_full_disk_is_reduced_elsewhere(
    lend_cluster: LendCluster, phase: str
) -> None:
    with ExitStack() as stack:
        run = RunOnSmallDisk(lend_cluster(HeldRun.HOSTS), stack)
        run.held.reach(phase, spare=run.victim)
        run.disk.fill()
        run.held.let_go()
        run.wait_until_told("disk full")
        run.succeed()

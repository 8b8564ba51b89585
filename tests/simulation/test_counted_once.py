"""Runs that add to an output, of which one failed half-way through its publication: nothing is counted twice.

A peer that shows a part of that run stays away while others are added, and comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from simulation.cluster import Cluster, FaultPlan
from simulation.models import Habits, JobModel
from simulation.peers import SimulatedPeer
from simulation.world import World

from pymr.control.messages import LeaderSettings, PeerInfo

DEADLINE_S = 60.0
GRACE_S = 7.0
JOB = "adds"
MODEL = JobModel(
    number=0,
    name=JOB,
    kind="good",
    records={},
    shared=(1, 2, 3, 4, 5, 6),
    split=4,
    partitions=6,
    adds=True,
    habits=Habits(is_once=False, is_forced=False, group="", priority=0),
)


class Story:
    """Three peers on hosts of their own, that all read the same input."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        info = [PeerInfo(f"peer{number}", f"host{number}", 1) for number in range(3)]
        settings = LeaderSettings(
            concurrent_runs=1, machine_grace_s=GRACE_S, shared=("/shared",), cycle_seconds=1e6
        )
        self.cluster = Cluster(self.world, info, settings, FaultPlan(task_seconds=0.1))
        self.peers = list(self.cluster.peers.values())
        self.requests = 0
        for peer in self.peers:
            peer.start()

    def wait(self, is_so: Callable[[], object]) -> None:
        self.world.run(self.world.now + DEADLINE_S, lambda: bool(is_so()))
        assert is_so(), "\n".join(self.world.trace()[-40:])

    def submit(self, *, adds: bool = True) -> None:
        """Submit the job, or another version of it; a run of it is due then."""
        cluster = self.cluster
        self.wait(lambda: cluster.redis.incarnation)
        model = replace(MODEL, number=len(cluster.models), adds=adds)
        cluster.models.append(model)
        self.requests += 1
        cluster.store.submit(f"request-{self.requests}", str(cluster.redis.incarnation), model.fields, "")
        cluster.look_at_queue()
        cluster.wake_leaders()

    def is_publishing(self) -> bool:
        return any(run.record.status == "publishing" for run in self.cluster.redis.active.values())

    @property
    def status(self) -> str:
        return self.cluster.redis.jobs[JOB].status

    def succeed(self, *, adds: bool = True) -> None:
        self.submit(adds=adds)
        self.wait(lambda: self.status in ("succeeded", "failed"))
        assert self.status == "succeeded", self.cluster.redis.jobs[JOB].exception

    def fail_publication(self, *without: SimulatedPeer) -> str:
        """A run fails while it is shown, as these peers are not there; the others show it."""
        self.submit()
        self.wait(self.is_publishing)
        run_id = str(self.cluster.redis.jobs[JOB].run_id)
        for peer in without:
            peer.crash("as it has to show its part")
        self.wait(lambda: self.status == "failed")
        shows = {peer.name: run_id in self.runs_of(peer) for peer in self.peers}
        assert shows == {peer.name: peer.life is not None for peer in self.peers}
        return run_id

    def runs_of(self, peer: SimulatedPeer) -> set[str]:
        """The runs of which a peer shows parts."""
        output = peer.disk.outputs.get(JOB)
        return {run_id for run_id, _, _ in output.parts} if output else set()

    def check(self) -> None:
        """When all is quiet, what all show is what the runs that count have made."""
        self.world.run(self.world.now + 5.0)
        self.cluster.check_published(JOB)


@pytest.mark.parametrize("failures", [1, 3])
@pytest.mark.parametrize(("seed", "count"), [(1, 1), (2, 5), (3, 70)])
def test_a_part_of_a_run_that_failed_never_counts_however_long_its_peer_was_away(
    seed: int, count: int, failures: int
) -> None:
    story = Story(seed)
    away, silent, _ = story.peers
    story.succeed()
    failed = set()
    for _ in range(failures):
        failed.add(story.fail_publication(silent))
        silent.start()
    assert failed & story.runs_of(away)
    away.crash("and stays away")
    for _ in range(count):
        story.succeed()
    away.start()
    story.check()

    assert not failed & story.runs_of(away)

    story.succeed()
    story.check()

    assert story.cluster.redis.states[JOB].uncounted == ()


@pytest.mark.parametrize("seed", range(4))
def test_several_peers_that_stay_away_by_turns_are_each_remembered(seed: int) -> None:
    story = Story(seed)
    first, second, third = story.peers
    story.succeed()
    story.fail_publication(second)
    first.crash("and stays away")
    second.start()
    story.succeed()
    story.fail_publication(third)
    second.crash("and stays away as well")
    third.start()
    story.succeed()
    entries = story.cluster.redis.states[JOB].uncounted

    assert [("peer0" in one.peers, "peer1" in one.peers) for one in entries] == [(True, False), (False, True)]

    first.start()
    story.succeed()

    assert [one.peers for one in story.cluster.redis.states[JOB].uncounted] == [("peer1",)]

    second.start()
    story.succeed()
    story.check()

    assert story.cluster.redis.states[JOB].uncounted == ()


@pytest.mark.parametrize("was_added", [True, False])
def test_what_was_replaced_while_a_peer_was_away_does_not_come_back_with_it(was_added: bool) -> None:
    """Though runs were added since, so that it is told to add, and not to replace."""
    story = Story(5)
    away = story.peers[0]
    story.succeed(adds=False)
    if was_added:
        story.succeed()
    before = story.runs_of(away)
    away.crash("and stays away")
    story.succeed(adds=False)
    story.succeed()
    away.start()
    story.check()

    assert before and story.runs_of(away) == set()


def test_a_new_leader_remembers_what_does_not_count() -> None:
    story = Story(6)
    away, silent, third = story.peers
    story.succeed()
    failed = story.fail_publication(silent)
    away.crash("and stays away")
    silent.start()
    story.succeed()
    for peer in (silent, third):
        peer.crash("with whoever leads")
        story.world.run(story.world.now + 8.0)
        peer.start()
    story.succeed()
    away.start()
    story.check()

    assert failed not in story.runs_of(away)

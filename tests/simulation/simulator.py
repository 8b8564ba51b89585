"""The simulator: much goes wrong, then nothing more; safety is checked all along, and liveness at the end."""

from __future__ import annotations

from simulation.cluster import Cluster
from simulation.faults import FAULT_SECONDS, Clients, Faults, random_cluster
from simulation.world import ViolationError, World

SETTLE_SECONDS = 120.0
"""After healing every run has to have ended within this time, waiting for a lost machine included."""

QUIET_SECONDS = 8.0
"""After that nothing may be left of a run but its output."""


class Simulation:
    """One simulation, by its seed; `run` raises ViolationError, or any error of the simulated parts."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.world = World(seed)
        self.cluster: Cluster = random_cluster(self.world)

    def run(self) -> None:
        cluster, world = self.cluster, self.world
        for peer in cluster.peers.values():
            world.later(world.between(0.0, 0.5), peer.start)
        clients = Clients(cluster)
        faults = Faults(cluster)
        world.run(FAULT_SECONDS)
        faults.heal()
        world.run(world.now + SETTLE_SECONDS, lambda: not clients.unanswered and self._is_settled())
        if not self._is_settled():
            raise ViolationError(f"not settled {SETTLE_SECONDS:g} s after healing: {self._unsettled()}")
        world.run(world.now + QUIET_SECONDS)
        self._check_end()

    def _is_settled(self) -> bool:
        redis = self.cluster.redis
        return not redis.active and all(
            job.status not in ("queued", "running") for job in redis.jobs.values()
        )

    def _unsettled(self) -> str:
        redis = self.cluster.redis
        leaders = [peer for peer in self.cluster.peers.values() if peer.leadership is not None]
        waiting = [
            f"{run.run_id}: {run.stage}, {run.maps_left} maps and {run.reduces_left} reduces left, "
            f"waiting for {run.waiting_for!r}"
            for peer in leaders
            if peer.leadership
            for run in peer.leadership.core.runs.values()
        ]
        return f"active {list(redis.active)}, led by {[peer.name for peer in leaders]}: {waiting}"

    def _check_end(self) -> None:
        cluster = self.cluster
        for name, submission in cluster.submissions.items():
            self._check_not_lost(name, submission.version)
        for name in sorted({cluster.redis.history[run].job_name for run in cluster.statuses}):
            if any(
                status == "succeeded" and cluster.redis.history[run].job_name == name
                for run, status in cluster.statuses.items()
            ):
                cluster.check_published(name)
        for job in cluster.redis.jobs.values():
            if job.status == "succeeded":
                cluster.check_folders(job)
        for peer in cluster.peers.values():
            if not peer.follower.is_idle:
                raise ViolationError(f"{peer.name} is not idle at the end")
            if peer.disk.runs():
                raise ViolationError(f"{peer.name} still has something of {peer.disk.runs()}")
            self._check_epoch(peer.name)

    def _check_epoch(self, name: str) -> None:
        epoch = self.cluster.peers[name].disk.epoch
        if epoch != self.cluster.redis.epoch:
            raise ViolationError(f"{name} knows epoch {epoch}, Redis {self.cluster.redis.epoch}")

    def _check_not_lost(self, name: str, version: int) -> None:
        cluster = self.cluster
        ended = [
            run.status
            for run in cluster.redis.history.values()
            if run.job_name == name and run.job_version == version
        ]
        if not any(status in ("succeeded", "failed") for status in ended):
            raise ViolationError(f"{name}, version {version}, was lost: its runs are {ended}")
        if ended.count("succeeded") > 1:
            raise ViolationError(f"{name}, version {version}, ran more than once: {ended}")

"""The simulator: much goes wrong, then nothing more; safety is checked all along, and liveness at the end."""

from __future__ import annotations

from collections.abc import Callable

from simulation.cluster import Cluster
from simulation.faults import FAULT_SECONDS, Clients, Faults, random_cluster
from simulation.models import HELD_NAMES
from simulation.world import ViolationError, World

from pymr.control.stored_state import JobRecord

SETTLE_SECONDS = 120.0
"""After healing every run has to have ended within this time, waiting for a lost machine included."""

QUIET_SECONDS = 8.0
"""After that nothing may be left of a run but its output."""


class Simulation:
    """One simulation, by its seed; `run` raises ViolationError, or any error of the simulated parts.

    variant: the same cluster with the same small faults, in which people do other things. has_engines: its
    mapreduce jobs are on an external engine, where that can read their input.
    """

    def __init__(self, seed: int, variant: int = 0, *, has_engines: bool = False) -> None:
        self.seed = seed
        self.variant = variant
        self.world = World(seed)
        self.cluster: Cluster = random_cluster(self.world)
        self.cluster.has_engines = has_engines

    @property
    def command(self) -> str:
        """What replays it."""
        variant = f" --world {self.variant}" if self.variant else ""
        engines = " --engines" if self.cluster.has_engines else ""
        return f"python -m tests.simulation {self.seed}{variant}{engines}"

    def run(self) -> None:
        cluster, world = self.cluster, self.world
        for peer in cluster.peers.values():
            world.later(world.between(0.0, 0.5), peer.start)
        clients = Clients(cluster, self.variant)
        faults = Faults(cluster)
        world.run(FAULT_SECONDS)
        faults.heal()
        self._wait("settled", lambda: not clients.unanswered and self._have_all_run())
        if cluster.settings.cycle_seconds < SETTLE_SECONDS and self._recurs():
            self._wait_for_cycles()
        cluster.set_paused(True)
        world.run(world.now + 2.0)  # the leader may not have read that yet
        self._wait("ended", lambda: not cluster.redis.active)
        world.run(world.now + QUIET_SECONDS)
        self._check_end()

    def _wait(self, what: str, is_so: Callable[[], bool]) -> None:
        self.world.run(self.world.now + SETTLE_SECONDS, is_so)
        if not is_so():
            raise ViolationError(f"not {what} {SETTLE_SECONDS:g} s after healing: {self._unsettled()}")

    def _have_all_run(self) -> bool:
        """Whether every job has had a run since it was submitted, or failed with its group."""
        return all(
            job.status == "failed" or job.first_run_status is not None
            for job in self.cluster.redis.jobs.values()
        )

    def _recurs(self) -> bool:
        return any(job.status != "failed" and not _is_once(job) for job in self.cluster.redis.jobs.values())

    def _wait_for_cycles(self) -> None:
        """Two more cycles begin: one whole cycle has gone by then."""
        redis = self.cluster.redis
        cycle = redis.cycle + 2
        self._wait("in a later cycle", lambda: redis.cycle >= cycle or not self._recurs())
        for name in HELD_NAMES:
            job = redis.jobs.get(name)
            if redis.cycle >= cycle and job is not None and job.status in ("succeeded", "skipped"):
                self.cluster.held_input.check_all_counted(name, self.cluster.hosts)

    def _unsettled(self) -> str:
        redis = self.cluster.redis
        leaders = [peer for peer in self.cluster.peers.values() if peer.leadership is not None]
        waiting = [
            f"{run.run_id}: {run.stage}, in {run.phase}, waiting for {run.waiting_for!r}"
            for peer in leaders
            if peer.leadership
            for run in peer.leadership.core.runs.values()
        ]
        queue = [f"{job.name} {job.status} in cycle {job.cycle}" for job in redis.jobs.values()]
        return (
            f"cycle {redis.cycle}: {queue}, active {list(redis.active)}, led by "
            f"{[peer.name for peer in leaders]}: {waiting}"
        )

    def _check_end(self) -> None:
        cluster = self.cluster
        for name, submission in cluster.submissions.items():
            self._check_not_lost(name, submission.version)
        for name in sorted({run.rpartition("-")[0] for run in cluster.statuses}):
            cluster.check_published(name)
        for job in cluster.redis.jobs.values():
            if job.status in ("succeeded", "skipped"):
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
        job = cluster.redis.jobs.get(name)
        has_failed = job is not None and (job.version, job.status) == (version, "failed")
        if not has_failed and not any(status in ("succeeded", "failed", "skipped") for status in ended):
            raise ViolationError(f"{name}, version {version}, was lost: its runs are {ended}")
        is_once = cluster.submissions[name].model.habits.is_once
        if is_once and ended.count("succeeded") > 1 and not cluster.queue_rules.ran_often(name, version):
            raise ViolationError(f"{name}, version {version}, ran more than once: {ended}")


def _is_once(job: JobRecord) -> bool:
    return bool(job.fields.get("run_once"))

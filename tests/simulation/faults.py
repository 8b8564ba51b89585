"""Faults: what goes wrong in a simulation, and when; chosen by its seed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from simulation.cluster import Cluster, FaultPlan
from simulation.held_input import SHARED
from simulation.models import HELD_NAMES, on_engine, random_model
from simulation.peers import SimulatedPeer
from simulation.world import World

from pymr.control.messages import LeaderSettings, PeerInfo

FAULT_SECONDS = 30.0

NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", *HELD_NAMES)

CRASH_POINTS = (
    "attempt.after_rename",
    "publish.before_swap",
    "publish.after_swap",
    "epoch.after_remember",
    "plan.before_state",
    "plan.after_state",
    "write.before_effect",
    "write.after_effect",
)


def random_cluster(world: World) -> Cluster:
    """One to six peers on one to four hosts, and the small faults that may always happen."""
    random = world.random
    count = random.choice([1, 2, 3, 3, 4, 4, 5, 7])
    hosts = random.randint(1, min(count, 5))
    info = [
        PeerInfo(f"peer{number}", f"host{number % hosts}", random.randint(1, 3)) for number in range(count)
    ]
    settings = LeaderSettings(
        concurrent_runs=random.choice([1, 2, 3]),
        machine_grace_s=random.choice([7.0, 1000.0, 1000.0]),
        shared=("/shared",),
        cycle_seconds=random.choice([4.0, 12.0, 1000.0, 1000.0]),
        tasks_per_step=random.choice([1, 3, 2_000]),
    )
    plan = FaultPlan(task_seconds=random.choice([0.2, 0.6, 1.5]))
    cluster = Cluster(world, info, settings, plan)
    _choose_small_faults(world, plan, cluster)
    return cluster


def _choose_small_faults(world: World, plan: FaultPlan, cluster: Cluster) -> None:
    if world.chance(0.3):
        plan.worker_death = 0.05
    if world.chance(0.3):
        plan.disk_errors = 0.1
    if world.chance(0.4):
        plan.lost_replies = world.between(0.01, 0.3)
    if world.chance(0.3):
        plan.slow_redis = 0.1
    if world.chance(0.15):
        plan.late_writes = 0.1
    if world.chance(0.3):
        plan.has_bad_clocks = True
    for name in CRASH_POINTS:
        if world.chance(0.2):
            plan.crash_points[name] = world.random.choice([0.01, 0.05, 0.2])
    network = cluster.network
    if world.chance(0.5):
        network.loss = world.between(0.0, 0.4)
    if world.chance(0.4):
        network.doubling = world.between(0.0, 0.4)
    if world.chance(0.4):
        network.lateness = world.between(0.0, 0.3)
        network.late_seconds = world.random.choice([0.5, 3.0, 12.0])


class Faults:
    """Great faults, at times of chance, until `heal`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self.is_healed = False
        random = self._world.random
        kinds: list[Callable[[], None]] = [
            self._crash,
            self._crash_leader,
            self._crash_all,
            self._pause,
            self._pause_leader,
            self._cut,
            self._cut_one_way,
            self._cut_off_redis,
            self._stop_redis,
            self._fill_disk,
            self._damage,
            self._damage,
            self._end_lease,
            self._drain,
            self._new_disk,
        ]
        chosen = random.sample(kinds, random.choice([0, 1, 2, 3, 5, 8]))
        for _ in range(random.choice([5, 10, 20, 40, 60]) if chosen else 0):
            fault = random.choice(chosen)
            self._world.later(self._world.between(0.5, FAULT_SECONDS), partial(self._happen, fault))

    def _happen(self, fault: Callable[[], None]) -> None:
        if not self.is_healed:
            fault()

    def heal(self) -> None:
        """Nothing goes wrong any more; all that is down comes up."""
        cluster = self._cluster
        self.is_healed = True
        self._world.log("all is healed")
        cluster.plan.heal()
        cluster.network.heal()
        cluster.redis.is_available = True
        cluster.set_paused(False)
        for peer in cluster.peers.values():
            peer.is_without_redis = peer.is_disk_full = False
            peer.resume()
            peer.start()

    # -- kinds

    def _any_peer(self) -> SimulatedPeer:
        return self._world.random.choice(list(self._cluster.peers.values()))

    def _leader(self) -> SimulatedPeer:
        leaders = [peer for peer in self._cluster.peers.values() if peer.leadership is not None]
        return leaders[0] if leaders else self._any_peer()

    def _short_or_long(self) -> float:
        return self._world.between(0.2, 2.0) if self._world.chance(0.5) else self._world.between(3.0, 15.0)

    def _crash_one(self, peer: SimulatedPeer, seconds: float) -> None:
        peer.crash("by chance")
        self._world.later(seconds, peer.start)

    def _crash(self) -> None:
        self._crash_one(self._any_peer(), self._short_or_long())

    def _crash_leader(self) -> None:
        self._crash_one(self._leader(), self._short_or_long())

    def _crash_all(self) -> None:
        for peer in self._cluster.peers.values():
            self._crash_one(peer, self._world.between(0.1, 2.0))

    def _pause(self) -> None:
        self._any_peer().pause(self._short_or_long())

    def _pause_leader(self) -> None:
        self._leader().pause(self._world.between(0.5, 6.0))

    def _cut(self) -> None:
        """Split the peers into two groups."""
        names = list(self._cluster.peers)
        self._world.random.shuffle(names)
        place = self._world.random.randint(1, len(names))
        pairs = [(one, other) for one in names[:place] for other in names[place:]]
        self._world.log("cut:", names[:place], "|", names[place:])
        self._cluster.network.cut_for(self._short_or_long(), pairs + [(other, one) for one, other in pairs])

    def _cut_one_way(self) -> None:
        one, other = self._leader().name, self._any_peer().name
        pair = (one, other) if self._world.chance(0.5) else (other, one)
        self._world.log("cut:", *pair)
        self._cluster.network.cut_for(self._short_or_long(), [pair])

    def _cut_off_redis(self) -> None:
        peer = self._leader() if self._world.chance(0.5) else self._any_peer()
        self._world.log(peer.name, "does not reach Redis")
        peer.is_without_redis = True

        def mend() -> None:
            peer.is_without_redis = False

        self._world.later(self._short_or_long(), mend)

    def _stop_redis(self) -> None:
        self._world.log("Redis is down")
        self._cluster.redis.is_available = False

        def start() -> None:
            self._cluster.redis.is_available = True

        self._world.later(self._short_or_long(), start)

    def _fill_disk(self) -> None:
        peer = self._any_peer()
        self._world.log("the disk of", peer.name, "is full")
        peer.is_disk_full = True

        def free() -> None:
            peer.is_disk_full = False

        # Sometimes for so long that partitions move away from it, or until all is healed.
        self._world.later(self._short_or_long() * (3 if self._world.chance(0.3) else 1), free)

    def _damage(self) -> None:
        held = [(peer, id) for peer in self._cluster.peers.values() for id in peer.disk.attempts]
        for peer, id in self._world.random.sample(held, min(len(held), self._world.random.randint(1, 4))):
            self._cluster.damage(peer, id)

    def _drain(self) -> None:
        """A peer ends when it has nothing to do any more, and is started again."""
        peer = self._any_peer()
        if peer.life is not None:
            self._world.log(peer.name, "drains")
            peer.drain(self._world.between(0.5, 6.0))

    def _new_disk(self) -> None:
        """A machine gets a new disk: nothing is left, not even what epoch it is."""
        peer = self._any_peer()
        if self._world.chance(0.3):
            peer.crash("as its disk is broken")
            self._cluster.lose_disk(peer)
            self._world.later(self._short_or_long(), peer.start)

    def _end_lease(self) -> None:
        """As if the clock of Redis had leapt."""
        lease = self._cluster.lease
        if lease is not None:
            self._world.log("the lease ends early")
            lease.ends_at = self._world.now


class Clients:
    """People who submit and delete jobs, and believe what they are told. variant: see Simulation."""

    def __init__(self, cluster: Cluster, variant: int = 0) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._requests = 0
        self.unanswered = 0
        random = self._world.random
        for _ in range(variant):
            random.random()
        self._schedule(self._submit, random.choice([6, 12, 20]), 0.0)
        self._schedule(self._delete, random.choice([0, 0, 1, 2, 4]), 2.0)
        self._schedule(self._retry, random.choice([0, 0, 1, 3]), 2.0)
        self._schedule(self._force, random.choice([0, 0, 1, 3]), 2.0)
        self._schedule(self._pause, random.choice([0, 0, 0, 2]), 2.0)
        self._schedule(self._add_file, random.choice([5, 20, 40]), 0.0)
        self._schedule_undeletions()

    def _schedule(self, action: Callable[[], None], count: int, earliest: float) -> None:
        self.unanswered += count
        for _ in range(count):
            self._world.later(self._world.between(earliest, FAULT_SECONDS - 1), action)

    def _schedule_undeletions(self) -> None:
        """Drawn from a copy of the chance, so that without them a seed is the world that it was."""
        random = Random()
        random.setstate(self._world.random.getstate())
        count = random.choice([0, 1, 2, 4])
        self.unanswered += count
        for _ in range(count):
            self._world.later(random.uniform(2.0, FAULT_SECONDS - 1), self._undelete)

    def _submit(self) -> None:
        name = self._world.random.choice(NAMES)
        number = len(self._cluster.models)
        cluster = self._cluster
        model = random_model(self._world.random, number, name, cluster.hosts, list(cluster.peers))
        if cluster.has_engines:
            model = on_engine(model, cluster.hosts)
        self._cluster.models.append(model)
        self._requests += 1
        self._ask(f"request-{self._requests}", name, model.fields)

    def _delete(self) -> None:
        name = self._world.random.choice(NAMES)
        self._requests += 1
        self._ask(f"request-{self._requests}", name, None)

    def _undelete(self) -> None:
        """Put the job back that was deleted last, if there is one; nobody insists on it."""
        cluster = self._cluster
        self._requests += 1
        self.unanswered -= 1
        incarnation = cluster.redis.incarnation
        deleted = [name for name in cluster.redis.deleted if name not in cluster.redis.jobs]
        if not deleted or not cluster.redis.is_available or incarnation is None:
            return
        name = deleted[-1]
        version = cluster.store.undelete(f"request-{self._requests}", incarnation, name)
        self._world.log("put back:", name, "version", version)
        cluster.look_at_queue()
        cluster.wake_leaders()

    def _retry(self) -> None:
        """Queue a failed job once more, if there is one; nobody insists on it."""
        cluster = self._cluster
        incarnation = cluster.redis.incarnation
        self._requests += 1
        self.unanswered -= 1
        failed = [job.name for job in cluster.redis.jobs.values() if job.status == "failed"]
        if not failed or not cluster.redis.is_available or incarnation is None:
            return
        name = self._world.random.choice(failed)
        outcome = cluster.store.retry(f"request-{self._requests}", incarnation, name)
        self._world.log("queued again:", name, outcome)
        cluster.look_at_queue()
        cluster.wake_leaders()

    def _force(self) -> None:
        """Let a job run once more in this cycle, if there is one; nobody insists on it."""
        cluster = self._cluster
        self._requests += 1
        self.unanswered -= 1
        incarnation, names = cluster.redis.incarnation, list(cluster.redis.jobs)
        if not names or not cluster.redis.is_available or incarnation is None:
            return
        name = self._world.random.choice(names)
        cluster.queue_rules.forced(cluster.redis.jobs[name])
        outcome = cluster.store.force(f"request-{self._requests}", incarnation, name)
        self._world.log("forced:", name, outcome)
        cluster.wake_leaders()

    def _pause(self) -> None:
        """The queue is paused, or goes on."""
        cluster = self._cluster
        self._requests += 1
        self.unanswered -= 1
        if cluster.redis.is_available and cluster.redis.incarnation is not None:
            paused = not cluster.redis.paused
            cluster.store.pause(f"request-{self._requests}", cluster.redis.incarnation, paused)
            self._world.log("the queue is", "paused" if paused else "not paused any more")
            cluster.wake_leaders()

    def _add_file(self) -> None:
        """There is new input for a job that holds state."""
        self.unanswered -= 1
        name = self._world.random.choice(HELD_NAMES)
        host = self._world.random.choice([SHARED, *self._cluster.hosts])
        self._world.log("new input of", name, self._cluster.held_input.add(name, host), "on", host)

    def _ask(self, request: str, name: str, fields: dict[str, object] | None) -> None:
        """Ask until there is an answer."""
        cluster = self._cluster
        if not cluster.redis.is_available or cluster.redis.incarnation is None:
            self._world.later(0.3, lambda: self._ask(request, name, fields))
            return
        incarnation = cluster.redis.incarnation
        if fields is None:
            cluster.store.delete(request, incarnation, name)
            self._world.log("deleted", name)
            cluster.submissions.pop(name, None)
        else:
            job, _ = cluster.store.submit(request, incarnation, fields, "")
            self._world.log(
                "submitted", name, "version", job.version, cluster.models[int(str(fields["model"]))]
            )
            cluster.look_at_queue()
        if self._world.chance(self._cluster.plan.lost_replies):
            self._world.later(0.3, lambda: self._ask(request, name, fields))
            return
        self.unanswered -= 1
        cluster.wake_leaders()

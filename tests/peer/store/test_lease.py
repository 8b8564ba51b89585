"""The lease, with a real Redis: one leader at a time, that knows by itself when it is none any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pymr.ops.private_redis import PrivateRedis
from pymr.peer.store import lease as lease_module
from pymr.peer.store.lease import Lease, LeaseView
from pymr.peer.store.store import RedisConnection, Store

HOLDER = Path(__file__).with_name("lease_holder.py")
LIMIT_SECONDS = 30.0

TRIES = 5
"""What needs a machine that does not stall for half a second has to succeed in one of so many."""


class Memory:
    """What a peer remembers, without a disk."""

    def __init__(self, incarnation: str | None = None, epoch: int = 0) -> None:
        self.incarnation = incarnation
        self.epoch = epoch
        self.change = 0
        self.error: OSError | None = None

    def remember(self, incarnation: str, epoch: int) -> None:
        if self.error:
            raise self.error
        self.incarnation, self.epoch = incarnation, max(self.epoch, epoch)


class Place:
    """The peers of a cluster that use one Redis."""

    def __init__(self, server: PrivateRedis, cluster: str) -> None:
        self.server = server
        self.cluster = cluster
        self.redis = RedisConnection(server.url, None, 5.0)
        self.leases: list[Lease] = []
        self.processes: list[subprocess.Popen[str]] = []

    def peer(self, name: str, memory: Memory | None = None, **options: Any) -> Lease:
        views: list[LeaseView] = []
        lease = Lease(
            self.server.url,
            None,
            self.cluster,
            peer=name,
            boot=1,
            state=memory or Memory(),
            on_change=options.pop("on_change", views.append),
            **options,
        )
        self.leases.append(lease)
        return lease

    def process(self, name: str) -> subprocess.Popen[str]:
        """A process that competes, and prints (time, whether it leads) again and again."""
        process = subprocess.Popen(
            [sys.executable, HOLDER, self.server.url, self.cluster, name], stdout=subprocess.PIPE, text=True
        )
        self.processes.append(process)
        return process

    def ask(self, command: str, name: str, *arguments: str | int) -> Any:
        return self.redis.ask(command, f"pymr:{self.cluster}:{name}", *arguments)

    def holder(self) -> str | None:
        value = self.ask("GET", "lease")
        return value.decode().split(" ", 2)[2] if value else None

    def close(self) -> None:
        for lease in self.leases:
            lease.stop()
        for process in self.processes:
            process.kill()
            process.wait()
            assert process.stdout
            process.stdout.close()
        self.redis.close()


@pytest.fixture
def place(redis_server: PrivateRedis, cluster_name: str) -> Iterator[Place]:
    place = Place(redis_server, cluster_name)
    yield place
    place.close()


@pytest.fixture
def own_place(own_redis: PrivateRedis) -> Iterator[Place]:
    place = Place(own_redis, "pymr")
    yield place
    place.close()


def wait_for(condition: Callable[[], bool], seconds: float = LIMIT_SECONDS) -> float:
    """Wait until it is so, and return how long that took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, "it does not come to be so"
        time.sleep(0.005)
    return time.monotonic() - begun


def step(lease: Lease) -> LeaseView:
    """Do what the thread does in each of its rounds."""
    lease._step(lease._clock())
    return lease.view


# ---- acquiring ----


def test_the_first_peer_creates_the_incarnation_and_leads(place: Place) -> None:
    memory = Memory()
    lease = place.peer("a", memory)
    view = step(lease)

    assert view == LeaseView("leader", memory.incarnation, 1, "a")
    assert lease.is_leader()
    assert memory.epoch == 1
    assert place.ask("GET", "incarnation").decode() == memory.incarnation
    assert place.ask("GET", "lease") == b"1 1 a"
    assert 1000 < place.ask("PTTL", "lease") <= 1500


def test_others_follow_and_know_who_leads(place: Place) -> None:
    first, memory = place.peer("a"), Memory()
    step(first)
    second = place.peer("b", memory)
    view = step(second)

    assert (view.state, view.leader, view.epoch) == ("follower", "a", 1)
    assert not second.is_leader()
    assert (memory.incarnation, memory.epoch) == (first.view.incarnation, 1)


def test_the_epoch_is_on_disk_before_anybody_leads(place: Place) -> None:
    seen: list[bool] = []

    class Slow(Memory):
        def remember(self, incarnation: str, epoch: int) -> None:
            seen.append(lease.is_leader())
            super().remember(incarnation, epoch)

    lease = place.peer("a", Slow())
    step(lease)

    assert seen == [False]
    assert lease.is_leader()


def test_a_peer_that_cannot_write_its_epoch_does_not_lead(place: Place) -> None:
    memory = Memory()
    memory.error = OSError(28, "No space left on device")
    lease = place.peer("a", memory)
    view = step(lease)

    assert not lease.is_leader()
    assert view.state == "unreachable"
    assert "No space left" in view.problem
    step(lease)
    assert place.holder() is None


def test_a_peer_that_drains_does_not_compete(place: Place) -> None:
    lease = place.peer("a")
    lease.compete = False

    assert step(lease).state == "candidate"
    assert place.holder() is None


def test_a_peer_that_drains_leads_where_no_other_does(place: Place) -> None:
    now = [100.0]
    lease = place.peer("a", clock=lambda: now[0])
    lease.compete = False
    first = step(lease).state
    now[0] += lease_module.LEADERLESS_SECONDS / 2
    early = step(lease).state
    now[0] += lease_module.LEADERLESS_SECONDS
    late = step(lease).state

    assert (first, early, late) == ("candidate", "candidate", "leader")
    assert lease.is_leader()


def test_the_present_are_known(place: Place) -> None:
    store = Store(place.server.url, None, place.cluster)
    leases = [place.peer(name) for name in "ab"]
    for lease in leases:
        lease.start()
    wait_for(lambda: store.present() == ("a", "b"))
    leases[0].stop()

    assert store.present() == ("b",)
    assert 0 < place.ask("PTTL", "presence:b") <= 3000
    store.close()


# ---- what Redis forgot ----


def test_an_empty_redis_is_not_taken_for_a_new_cluster(place: Place) -> None:
    view = step(place.peer("a", Memory("life-1", 7)))

    assert (view.state, view.incarnation, view.epoch) == ("forgotten", "life-1", 7)
    assert "pymr cluster recover" in view.problem
    assert place.ask("EXISTS", "incarnation") == place.ask("EXISTS", "epoch") == 0


def test_an_old_backup_is_noticed_by_its_epoch(place: Place) -> None:
    place.ask("SET", "incarnation", "life-1")
    place.ask("SET", "epoch", 5)
    lease = place.peer("a", Memory("life-1", 6))

    assert step(lease).state == "forgotten"
    assert "old backup" in lease.view.problem
    assert place.holder() is None
    place.ask("SET", "epoch", 6)
    assert step(lease).state == "leader"
    assert lease.view.epoch == 7


def test_an_old_backup_of_the_same_epoch_is_noticed_by_what_it_lacks(place: Place) -> None:
    place.ask("SET", "incarnation", "life-1")
    place.ask("SET", "epoch", 6)
    place.ask("HSET", "counters", "change", 40)
    memory = Memory("life-1", 6)
    memory.change = 41
    lease = place.peer("a", memory)

    assert step(lease).state == "forgotten"
    assert "old backup" in lease.view.problem
    place.ask("HSET", "counters", "change", 41)
    assert step(lease).state == "leader"


def test_a_life_that_replaces_the_known_one_is_adopted(place: Place) -> None:
    place.ask("SET", "incarnation", "life-2")
    place.ask("SET", "epoch", 8)
    memory = Memory("life-1", 7)
    lease = place.peer("a", memory)
    assert step(lease).state == "forgotten"
    place.ask("RPUSH", "replaces", "life-0", "life-1")
    view = step(lease)

    assert (view.state, view.incarnation, view.epoch) == ("leader", "life-2", 9)
    assert (memory.incarnation, memory.epoch) == ("life-2", 9)


def test_a_recovered_cluster_is_led_again(own_place: Place) -> None:
    memory = Memory()
    lease = own_place.peer("a", memory)
    lease.start()
    wait_for(lambda: lease.view.state == "leader")
    life = memory.incarnation
    own_place.redis.ask("FLUSHALL")
    wait_for(lambda: lease.view.state == "forgotten")
    store = Store(own_place.server.url, None, "pymr")
    assert not lease.is_leader()
    assert life and store.recover(life, "life-2", memory.epoch, [], 3)

    wait_for(lambda: lease.view == LeaseView("leader", "life-2", 3, "a"))
    store.close()


# ---- keeping and losing it ----


def test_a_leader_stays_the_leader(place: Place) -> None:
    lease = place.peer("a")
    lease.start()

    assert any(stays_leader(lease, 2.5) for _ in range(TRIES))


def stays_leader(lease: Lease, seconds: float, meanwhile: Callable[[], object] = lambda: None) -> bool:
    """Whether it leads all that time, which begins when it does; `meanwhile` is called first."""
    wait_for(lambda: lease.view.state == "leader" and lease.is_leader())
    epoch = lease.view.epoch
    meanwhile()
    until = time.monotonic() + seconds
    while time.monotonic() < until and lease.is_leader():
        time.sleep(0.005)
    return lease.is_leader() and lease.view.epoch == epoch


def test_leadership_ends_by_the_clock_alone(place: Place) -> None:
    now = 1000.0
    lease = place.peer("a", clock=lambda: now)
    step(lease)

    assert lease.is_leader(1000.999)
    assert not lease.is_leader(1001.0)
    now = 1001.5
    assert not lease.is_leader()


def test_a_renewal_that_comes_after_the_deadline_does_not_bring_the_leader_back(place: Place) -> None:
    now = 1000.0
    lease = place.peer("a", clock=lambda: now)
    step(lease)
    now = 1001.2  # the lease is still there for 0.3 s
    view = step(lease)

    assert view == LeaseView("leader", view.incarnation, 2, "a"), "a leadership with an epoch of its own"


def test_a_renewal_whose_answer_comes_after_the_deadline_does_not_count(place: Place) -> None:
    now = 1000.0
    lease = place.peer("a", clock=lambda: now)
    step(lease)
    call = lease._call

    def slow(*arguments: Any) -> list[Any]:
        nonlocal now
        reply = call(*arguments)
        now += 0.2
        return reply

    lease._call = slow  # type: ignore[method-assign,assignment]
    now += 0.9
    step(lease)

    assert not lease.is_leader()
    assert lease.view.state != "leader"


def test_a_lease_that_ended_is_not_renewed(place: Place) -> None:
    lease = place.peer("a")
    step(lease)
    place.ask("DEL", "lease")
    view = step(lease)

    assert not lease.is_leader()
    assert view.state == "candidate"
    assert place.ask("EXISTS", "lease") == 0


def test_a_lease_taken_by_another_is_left_alone(place: Place) -> None:
    lease = place.peer("a")
    step(lease)
    place.ask("SET", "lease", "2 1 b")
    step(lease)
    step(lease)

    assert not lease.is_leader()
    assert place.ask("GET", "lease") == b"2 1 b"
    assert lease.view.state == "follower"


def test_a_renewal_sets_the_time_and_does_not_add_to_it(place: Place) -> None:
    lease = place.peer("a")
    for _ in range(5):
        step(lease)

    assert place.ask("PTTL", "lease") <= 1500


def test_a_leader_whose_loop_hangs_gives_the_lease_up_and_takes_none_until_it_turns(place: Place) -> None:
    turning = {"a": True, "b": True}
    first = place.peer("a", turns=lambda: turning["a"])
    second = place.peer("b", turns=lambda: turning["b"])
    step(first)
    turning["a"] = False
    step(first)
    given_up = first.is_leader(), first.view.state, place.holder()
    turning["b"] = False
    step(second)
    nobody = place.holder()
    turning["b"] = True
    step(second)
    step(first)
    followed = first.view
    turning["a"] = True
    second.release()
    step(second)  # takes its lease out, and leads again: it is the one that looks
    second.cool_down(60.0)
    step(second)
    step(first)

    assert given_up == (False, "candidate", None)
    assert nobody is None
    assert (followed.state, followed.leader) == ("follower", "b")
    assert first.is_leader() and place.holder() == "a"


def test_a_leader_whose_loop_hangs_is_followed(place: Place) -> None:
    turns = [True]
    first, second = place.peer("a", turns=lambda: turns[0]), place.peer("b")
    first.start()
    wait_for(first.is_leader)
    second.start()
    turns[0] = False
    wait_for(second.is_leader)

    assert not first.is_leader()
    wait_for(lambda: first.view.leader == "b")


def test_a_peer_whose_disk_hangs_takes_the_lease_from_nobody(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "REMEMBER_SECONDS_MAX", 0.05)
    let_go = threading.Event()

    class HangingMemory(Memory):
        def remember(self, incarnation: str, epoch: int) -> None:
            assert let_go.wait(LIMIT_SECONDS)
            super().remember(incarnation, epoch)

    first, second = place.peer("a", HangingMemory()), place.peer("b")
    step(first)
    hanging = first.is_leader(), first.view.state, first.view.problem
    for _ in range(3):
        step(first)
    holder = place.holder()
    step(second)
    led_by = place.holder()
    second.stop()
    let_go.set()
    wait_for(lambda: not first._writer.is_busy)
    wait_for(lambda: step(first).state == "leader")

    assert hanging[:2] == (False, "unreachable")
    assert "cannot write down its state" in hanging[2]
    assert (holder, led_by) == (None, "b")
    assert first.is_leader() and place.holder() == "a"


def test_release_takes_effect_at_once(place: Place) -> None:
    lease = place.peer("a")
    lease.start()
    wait_for(lambda: lease.view.state == "leader")
    lease.compete = False
    lease.release()

    assert not lease.is_leader()
    wait_for(lambda: place.holder() is None)
    wait_for(lambda: lease.view.state == "candidate")


def test_a_leader_that_cools_down_lets_another_lead(place: Place) -> None:
    first, second = place.peer("a"), place.peer("b")
    first.start()
    wait_for(first.is_leader)
    second.start()
    first.cool_down(60)
    wait_for(second.is_leader)

    assert not first.is_leader()
    wait_for(lambda: first.view.leader == "b")
    second.stop()
    assert not first.is_leader()


def test_a_peer_that_stops_leaves_no_lease(place: Place) -> None:
    lease = place.peer("a")
    lease.start()
    wait_for(lambda: lease.view.state == "leader")
    lease.stop()

    assert not lease.is_leader()
    assert place.holder() is None
    assert lease._thread not in threading.enumerate()


# ---- competitors ----


def test_of_many_that_begin_together_one_leads(place: Place) -> None:
    leases = [place.peer(f"peer-{number}") for number in range(8)]
    for lease in leases:
        lease.start()
    wait_for(lambda: all(lease.view.leader for lease in leases))

    assert place.ask("GET", "epoch") in (b"1", b"2")  # 2 on a machine that has stalled for a lease

    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        now = lease_module.boot_time()
        assert sum(lease.is_leader(now) for lease in leases) <= 1
        time.sleep(0.005)


def test_another_leads_soon_after_a_leader_was_killed(place: Place) -> None:
    process = place.process("killed")
    wait_for(lambda: place.holder() == "killed")
    lease = place.peer("b")
    lease.start()
    wait_for(lambda: lease.view.leader == "killed")
    process.kill()

    wait_for(lambda: lease.view.state == "leader")

    assert lease.view.epoch == 2


def test_a_leader_that_was_stopped_knows_it_leads_no_more(place: Place) -> None:
    process = place.process("stopped")
    assert process.stdout
    told = [(0.0, False)]

    def hear() -> None:
        moment, leads = process.stdout.readline().split()  # type: ignore[union-attr]
        told.append((float(moment), leads == "True"))

    while not told[-1][1]:
        hear()
    lease = place.peer("b")
    lease.start()
    wait_for(lambda: lease.view.leader == "stopped")
    os.kill(process.pid, signal.SIGSTOP)
    wait_for(lease.is_leader)
    continued_at = lease_module.boot_time()
    os.kill(process.pid, signal.SIGCONT)
    while told[-1][0] < continued_at + 0.2:
        hear()
    before = [one for one in told if one[0] < continued_at]
    after = told[len(before) :]

    assert after[0][0] - before[-1][0] > 1.0
    assert not any(leads for _, leads in after)


@contextmanager
def stalled(server: PrivateRedis) -> Iterator[None]:
    """Redis does nothing for as long as this block lasts; what it is sent waits."""
    assert server.pid
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def test_a_leader_steps_down_while_redis_stalls(own_place: Place) -> None:
    views: list[LeaseView] = []
    lease = own_place.peer("a", on_change=views.append)
    lease.start()
    wait_for(lambda: lease.view.state == "leader")
    with stalled(own_place.server):  # so it cannot be its answer that makes the leader step down
        wait_for(lambda: not lease.is_leader())
        wait_for(lambda: lease.view.state == "unreachable")
    wait_for(lambda: lease.view.state == "leader")

    states = [view.state for view in views if view.state != "candidate"]
    assert (states[0], states[-1]) == ("leader", "leader")
    assert "unreachable" in states
    assert views[-1].epoch > views[0].epoch
    problem = next(view.problem for view in views if view.state == "unreachable")
    assert "has not answered within 0.3 s" in problem


def test_a_short_stall_changes_nothing(own_place: Place) -> None:
    lease = own_place.peer("a")
    lease.start()

    def stall() -> None:
        with stalled(own_place.server):
            time.sleep(0.35)

    assert any(stays_leader(lease, 1.0, stall) for _ in range(TRIES))


def test_a_redis_that_was_killed_is_found_again(own_place: Place) -> None:
    lease = own_place.peer("a")
    lease.start()
    wait_for(lambda: lease.view.state == "leader")
    own_place.server.kill()
    wait_for(lambda: lease.view.state == "unreachable")
    own_place.server.start()
    wait_for(lambda: lease.view.state == "leader")

    assert lease.view.epoch == 2

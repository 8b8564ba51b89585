"""What a data service asks for: all of it, once, from whoever can be reached, never too much at a time."""

from __future__ import annotations

import random
from collections import deque

import pytest

from pymr.data.fetch import Fetch
from pymr.data.fetching import BAD_CHUNKS_MAX, SILENT_SECONDS, FailedFetch, Fetching, FetchLimits, OwnerLink
from pymr.data.orders import FetchOrder, Owner
from pymr.data.protocol import Chunk, Read, Refusal, Segment

NEAR: Owner = ("alpha", "10.0.0.1", 1)
ALSO: Owner = ("gamma", "10.0.0.1", 2)
FAR: Owner = ("beta", "10.0.0.2", 1)
LIMITS = FetchLimits(chunk_bytes=100, bytes_per_link=400, reads_per_link=3, bytes_altogether=500)


class World:
    """Owners that have segments of known sizes, and answer when a test lets them."""

    def __init__(self, limits: FetchLimits = LIMITS) -> None:
        self.now = 0.0
        self.fetching = Fetching(limits)
        self.sizes: dict[Segment, int] = {}
        self.asked: dict[Owner, deque[Read]] = {}
        self.written: dict[str, set[int]] = {}
        self.done: list[str] = []
        self.failures: list[FailedFetch] = []

    def order(
        self, key: str, size: int, *owners: Owner, run_id: str = "run", in_flight: int = 10
    ) -> FetchOrder:
        segment = Segment("alpha", run_id, "map-00000", key, 0)
        self.sizes[segment] = size
        order = FetchOrder(run_id, key, segment, owners or (NEAR,), f"/{key}", in_flight)
        self.fetching.add(order, self.now)
        return order

    def connect(self, *owners: Owner) -> None:
        for owner in owners or list(self.fetching.links):
            self.fetching.link_up(self.link(owner), self.now)

    def disconnect(self, owner: Owner) -> None:
        self.asked.pop(owner, None)
        self.fetching.link_down(self.link(owner), self.now)

    def link(self, owner: Owner) -> OwnerLink:
        return self.fetching.links[owner]

    def ask(self) -> list[Read]:
        reads = []
        for link, read in self.fetching.reads(self.now):
            self.asked.setdefault(link.owner, deque()).append(read)
            reads.append(read)
        return reads

    def answer(self, owner: Owner = NEAR, *, is_intact: bool = True) -> None:
        """Answer the oldest question."""
        read = self.asked[owner].popleft()
        size = self.sizes[read.resource]  # type: ignore[index]
        length = max(0, min(read.length, size - read.offset))
        chunk = Chunk(read.id, read.offset, size, 0)
        verdict = self.fetching.on_chunk(self.link(owner), chunk, length, is_intact, self.now)
        if isinstance(verdict, FailedFetch):
            self.failures.append(verdict)
        elif verdict is not None:
            self._write(verdict, read.offset, length)

    def _write(self, transfer: Fetch, offset: int, length: int) -> None:
        written = self.written.setdefault(transfer.order.key, set())
        covered = set(range(offset, offset + length))
        assert not covered & written, "written twice"
        written |= covered
        if self.fetching.on_written(transfer, offset, length):
            assert written == set(range(transfer.size or 0))
            self.done.append(transfer.order.key)

    def run(self) -> None:
        """Answer until nothing is asked any more."""
        while self.ask() or any(self.asked.values()):
            for owner in [owner for owner, reads in self.asked.items() if reads]:
                self.answer(owner)


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 250, 2_000])
def test_a_resource_of_any_size_comes_whole(size: int) -> None:
    world = World()
    world.order("a", size)
    world.connect()
    world.run()

    assert world.done == ["a"]
    assert world.fetching.asked_bytes == 0
    assert world.link(NEAR).is_idle


def test_nothing_is_asked_before_there_is_a_connection() -> None:
    world = World()
    world.order("a", 10)

    assert world.ask() == []
    assert list(world.fetching.links) == [NEAR]


def test_only_the_first_chunk_is_asked_for_until_the_size_is_known() -> None:
    world = World()
    world.order("a", 1_000)
    world.connect()

    assert [read.offset for read in world.ask()] == [0]
    world.answer()
    assert [read.offset for read in world.ask()] == [100, 200, 300]


def test_windows_are_never_exceeded() -> None:
    world = World()
    for number in range(30):
        world.order(f"near-{number}", 350, NEAR)
        world.order(f"far-{number}", 350, FAR)
    world.connect()
    source = random.Random(1)
    while world.ask() or any(world.asked.values()):
        for owner in (NEAR, FAR):
            link = world.link(owner)
            assert link.asked_bytes == sum(read.length for read in world.asked.get(owner, ()))
            assert link.asked_bytes <= LIMITS.bytes_per_link
            assert len(link.asked) <= LIMITS.reads_per_link
        assert world.fetching.asked_bytes <= LIMITS.bytes_altogether
        world.answer(source.choice([owner for owner, reads in world.asked.items() if reads]))

    assert len(world.done) == 60


def test_no_more_segments_are_in_flight_than_the_run_allows() -> None:
    world = World(FetchLimits())
    for number in range(10):
        world.order(f"a-{number}", 10, in_flight=2)
        world.order(f"b-{number}", 10, run_id="other", in_flight=3)
    world.connect()

    assert len(world.ask()) == 5
    world.run()
    assert len(world.done) == 20


def test_an_order_given_twice_is_done_once() -> None:
    world = World()
    for _ in range(2):
        world.order("a", 10)
    world.connect()
    world.run()

    assert world.done == ["a"]


def test_after_a_lost_connection_it_goes_on_at_the_durable_offset() -> None:
    world = World()
    world.order("a", 1_000)
    world.connect()
    world.ask()
    world.answer()
    world.ask()
    world.answer()
    world.disconnect(NEAR)

    assert world.ask() == []
    assert world.fetching.asked_bytes == 0
    world.connect(NEAR)
    assert [read.offset for read in world.ask()] == [200, 300, 400]
    world.run()
    assert world.done == ["a"]


def test_an_answer_tells_that_what_was_asked_before_it_is_lost() -> None:
    world = World()
    world.order("a", 400)
    world.connect()
    world.ask()
    world.answer()
    world.ask()
    lost = world.asked[NEAR].popleft()
    world.answer()

    assert lost.offset in [read.offset for read in world.ask()]
    world.run()
    assert world.done == ["a"]


def test_the_next_owner_is_asked_when_the_first_cannot_be_reached() -> None:
    world = World()
    world.order("a", 1_000, NEAR, ALSO)
    world.connect(NEAR)
    world.ask()
    world.answer()
    world.disconnect(NEAR)
    world.connect(ALSO)

    assert [read.offset for read in world.ask()] == [100, 200, 300]
    world.run()
    assert world.done == ["a"]


def test_what_no_owner_can_give_waits_for_the_first_to_come_back() -> None:
    world = World()
    world.order("a", 10, NEAR, ALSO)
    world.disconnect(NEAR)
    world.disconnect(ALSO)
    world.order("b", 10, NEAR, ALSO)
    world.disconnect(NEAR)

    world.connect(ALSO)
    world.run()
    assert sorted(world.done) == ["a", "b"]


def test_an_owner_that_is_gone_takes_no_slots_from_others() -> None:
    world = World()
    for number in range(5):
        world.order(f"gone-{number}", 10, NEAR, in_flight=2)
    world.order("there", 10, FAR, in_flight=2)
    world.connect()
    world.ask()
    world.disconnect(NEAR)
    world.run()

    assert world.done == ["there"]


@pytest.mark.parametrize("failures", range(1, BAD_CHUNKS_MAX + 1))
def test_a_damaged_chunk_is_asked_for_again_a_few_times(failures: int) -> None:
    world = World()
    world.order("a", 250)
    world.connect()
    for _ in range(failures):
        world.ask()
        world.answer(is_intact=False)
    world.run()

    assert [failure.code for failure in world.failures] == ["corrupt"] * (failures == BAD_CHUNKS_MAX)
    assert world.done == ["a"] * (failures < BAD_CHUNKS_MAX)


def test_a_resource_whose_size_changes_is_not_patched_together() -> None:
    world = World()
    order = world.order("a", 250)
    world.connect()
    world.ask()
    world.answer()
    world.sizes[order.resource] = 240  # type: ignore[index]
    world.run()

    assert [failure.code for failure in world.failures] == ["corrupt"]


def test_missing_is_final_and_unreadable_is_not() -> None:
    world = World()
    world.order("a", 10)
    world.order("b", 10)
    world.connect()
    first, second = world.ask()
    failure = world.fetching.on_refusal(world.link(NEAR), Refusal(first.id, "missing", "gone"), 0.0)

    assert failure is not None
    assert (failure.code, failure.transfer.order.key) == ("missing", "a")
    assert world.fetching.on_refusal(world.link(NEAR), Refusal(second.id, "unreadable", "EIO"), 0.0) is None
    world.asked.clear()
    assert world.ask() == []  # not at once
    world.now += 1.0
    world.run()
    assert world.done == ["b"]


def test_cancelling_forgets_what_waits_and_what_is_under_way() -> None:
    world = World()
    for number in range(5):
        world.order(f"a-{number}", 500, in_flight=2)
    world.order("kept", 10, run_id="other")
    world.connect()
    world.ask()

    assert len(world.fetching.cancel("run", "a-4")) == 1
    assert len(world.fetching.cancel("run")) == 4
    assert world.fetching.cancel("run") == []
    world.run()
    assert world.done == ["kept"]
    assert world.fetching.asked_bytes == 0


def test_a_link_is_silent_when_a_question_stays_open() -> None:
    world = World()
    world.order("a", 150)
    world.connect()
    world.now += 10.0
    world.ask()

    assert world.fetching.silent_links(world.now + SILENT_SECONDS) == []
    assert world.fetching.silent_links(world.now + SILENT_SECONDS + 0.1) == [world.link(NEAR)]
    world.run()
    assert world.fetching.silent_links(world.now + 100.0) == []
    assert world.fetching.drop_idle_links(world.now + 100.0) != []
    assert world.fetching.links == {}


@pytest.mark.parametrize("seed", range(200))
def test_everything_comes_whole_whatever_happens_to_connections(seed: int) -> None:
    source = random.Random(seed)
    world = World()
    owners = (NEAR, ALSO, FAR)
    for number in range(15):
        order = source.sample(owners, source.randint(1, 3))
        world.order(str(number), source.randint(0, 700), *order, in_flight=3)
    for _ in range(300):
        link = source.choice(list(world.fetching.links.values()))
        action = source.random()
        if action < 0.1:
            world.disconnect(link.owner)
        elif action < 0.25:
            world.connect(link.owner)
        elif action < 0.3 and world.asked.get(link.owner):
            world.asked[link.owner].popleft()  # dropped on its way
        elif action < 0.6:
            world.ask()
        elif world.asked.get(link.owner):
            world.answer(link.owner)
    world.connect(*list(world.fetching.links))
    while len(world.done) < 15:
        world.run()
        for link in world.fetching.silent_links(world.now + 100.0):
            world.disconnect(link.owner)
            world.connect(link.owner)

    assert sorted(world.done) == sorted(map(str, range(15)))
    assert world.fetching.asked_bytes == 0
    assert all(link.is_idle for link in world.fetching.links.values())

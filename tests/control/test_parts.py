"""The small parts of control: the queue, placement, liveness and gathering."""

from __future__ import annotations

from collections import Counter

import pytest

from pymr.control.follower.shuffle_progress import ShuffleProgress
from pymr.control.job_queue import JobQueue
from pymr.control.liveness import PeerState
from pymr.control.messages import PeerInfo
from pymr.control.placement import place_partitions, replace_homes
from pymr.control.stored_state import JobChanges, JobRecord
from pymr.wire.outcomes import AttemptId
from pymr.wire.protocol import Assignment, Report, RunningAttempt, Source

BIG, SMALL = PeerInfo("big", "h", 3), PeerInfo("small", "g", 1)


def job(name: str, version: int, change: int = 1, priority: int = 0, status: str = "queued") -> JobRecord:
    return JobRecord(
        name=name,
        version=version,
        change=change,
        fields={"job_priority": priority},
        project_hash="",
        submitted_at=0.0,
        status=status,  # type: ignore[arg-type]
    )


# -- job queue


def changes(number: int, *jobs: JobRecord, is_whole: bool = True, paused: bool = False) -> JobChanges:
    return JobChanges(number, jobs, (), is_whole, paused)


def next_name(job_queue: JobQueue, *busy: str) -> str | None:
    found = job_queue.next_job(busy)
    return found.name if found else None


def test_the_next_job_has_the_highest_priority_then_the_earliest_submission() -> None:
    job_queue = JobQueue()
    job_queue.apply(changes(1, job("late", 3), job("early", 2), job("urgent", 4, priority=1)))

    assert next_name(job_queue) == "urgent"
    assert next_name(job_queue, "urgent") == "early"


def test_a_paused_queue_has_no_next_job() -> None:
    job_queue = JobQueue()
    job_queue.apply(changes(1, job("one", 1), paused=True))

    assert next_name(job_queue) is None


def test_a_job_that_was_begun_is_queued_again_only_by_a_change() -> None:
    job_queue = JobQueue()
    job_queue.apply(changes(1, job("one", 1)))
    job_queue.begin(job_queue.jobs["one"])

    assert next_name(job_queue) is None

    job_queue.apply(changes(2, job("one", 2, change=2), is_whole=False))

    assert next_name(job_queue) == "one"


def test_changes_that_come_late_change_nothing() -> None:
    job_queue = JobQueue()
    job_queue.apply(changes(5, job("new", 5, change=5)))
    job_queue.apply(changes(4, job("old", 4, change=4)))

    assert list(job_queue.jobs) == ["new"]


# -- placement


def test_partitions_go_to_peers_by_their_workers_and_neighbours_apart() -> None:
    homes = place_partitions(8, [BIG, SMALL])

    assert Counter(homes) == {"big": 6, "small": 2}
    assert homes[:2] == ("big", "small")


def test_partitions_of_a_lost_peer_stay_on_its_host_where_they_can() -> None:
    sibling = PeerInfo("sibling", "g", 1)

    assert replace_homes(2, [BIG, sibling], "g", {}) == ("sibling", "sibling")
    assert replace_homes(2, [BIG, SMALL], "f", {"big": 9}) == ("small", "small")
    assert replace_homes(2, [], "f", {}) == ()


# -- liveness


def report(boot: int = 1, sequence: int = 1, orders: int = 0, epoch: int = 5) -> Report:
    return Report(
        incarnation="i",
        epoch=epoch,
        peer="big",
        boot=boot,
        sequence=sequence,
        version="",
        pid=1,
        slots=3,
        orders=orders,
    )


@pytest.mark.parametrize(
    ("silence", "state"), [(0.0, "alive"), (1.9, "alive"), (2.0, "suspect"), (5.0, "dead")]
)
def test_silence_makes_a_peer_suspect_then_dead(silence: float, state: str) -> None:
    peer = PeerState(BIG, 0.0)
    peer.hear(report(), 5, 10.0)

    assert peer.state_at(10.0 + silence) == state


def test_a_peer_never_heard_is_unknown_until_it_counts_as_dead() -> None:
    peer = PeerState(BIG, 0.0)

    assert [peer.state_at(now) for now in (4.9, 5.0)] == ["unknown", "dead"]


def test_only_what_follows_orders_proves_that_a_peer_hears() -> None:
    peer = PeerState(BIG, 0.0)
    peer.hear(report(orders=3), 5, 1.0)
    peer.hear(report(sequence=2, orders=3), 5, 4.0)
    peer.hear(report(sequence=3, orders=9, epoch=4), 5, 4.0)

    assert peer.heard_at == 1.0

    peer.hear(report(sequence=4, orders=4), 5, 5.0)

    assert peer.heard_at == 5.0


def test_slots_are_given_from_the_first_on_and_come_back() -> None:
    peer = PeerState(BIG, 0.0)
    ids = [AttemptId("run", f"map-{number:05d}", "1.1") for number in range(3)]
    peer.adopt(RunningAttempt(ids[0], 1, "map", (0, 0)))
    peer.give(Assignment(ids[1], peer.free_slot() or 0))
    peer.give(Assignment(ids[2], peer.free_slot() or 0))

    assert peer.slots == {1: ids[0], 0: ids[1], 2: ids[2]}
    assert peer.free_slot() is None

    assert peer.take_back(ids[0])
    assert not peer.take_back(ids[0])
    assert peer.free_slot() == 1


def test_a_failing_machine_rests_longer_each_time_up_to_a_bound() -> None:
    peer = PeerState(BIG, 0.0)
    rests = []
    for _ in range(20):
        peer.rest(100.0)
        rests.append(peer.backs_off_until - 100.0)

    assert rests[:3] == [0.25, 0.5, 1.0]
    assert rests[-1] == 10.0


# -- gathering


FAR, AGAIN, NEAR = Source(0, "1.1", "far"), Source(0, "2.1", "far"), Source(1, "1.1", "near")


def gathering(*homes: int) -> ShuffleProgress:
    made = ShuffleProgress("run", lambda peer: peer == "near", lambda partitions, sources: None)
    made.settle(homes, 4)
    return made


def test_only_segments_of_other_hosts_are_fetched() -> None:
    one = gathering(0, 2)

    assert one.announce(0, [FAR, NEAR], 2) == [(0, [FAR]), (2, [FAR])]

    one.fetched(FAR, 0, 5)

    assert one.is_complete(0)
    assert not one.is_complete(2)
    assert not one.is_complete(1)


def test_of_two_announcements_of_a_task_in_one_message_the_later_counts() -> None:
    one = gathering(0)

    assert one.announce(0, [FAR, NEAR, AGAIN], 2) == [(0, [AGAIN])]

    one.fetched(AGAIN, 0, 5)

    assert one.is_complete(0)
    assert one.in_order() == (AGAIN, NEAR)

    two = gathering(0)

    assert two.announce(0, [FAR, Source(0, "3.1", "near")], 1) == []
    assert two.is_complete(0)


def test_what_lies_behind_a_gap_waits_for_it() -> None:
    one = gathering(0)

    assert one.announce(1, [NEAR], 2) == []
    assert one.report().sources == 0
    assert one.announce(0, [FAR, NEAR], 2) == [(0, [FAR])]
    assert one.announce(0, [FAR, NEAR], 2) == []
    assert one.report().sources == 2


def test_another_leader_announces_anew_and_nothing_is_fetched_twice() -> None:
    one = gathering(0)
    one.announce(0, [FAR, NEAR], 2)
    one.begin_epoch()

    assert one.report().sources == 0
    assert one.announce(0, [NEAR, FAR], 2) == []
    assert one.report().sources == 2


def test_a_lost_output_holds_the_partition_up_until_it_is_replaced() -> None:
    one = gathering(0)
    one.announce(0, [FAR], 1)
    one.fetched(FAR, 0, 5)
    one.lose(FAR)

    assert not one.is_complete(0)
    assert one.report().lost == (AttemptId("run", "map-00000", "1.1"),)
    assert one.announce(1, [AGAIN], 1) == [(0, [AGAIN])]

    one.lose(FAR)  # late

    assert one.report().lost == ()


def test_a_new_home_gets_all_that_was_announced() -> None:
    one = gathering(0)
    one.announce(0, [FAR, NEAR], 2)

    assert one.settle([0, 3], 4) == [(3, [FAR])]
    assert one.settle([0, 3], 4) == []


def test_with_no_map_tasks_a_partition_is_complete_once_that_is_known() -> None:
    one = gathering(0)

    assert not one.is_complete(0)

    one.announce(0, [], 0)

    assert one.is_complete(0)

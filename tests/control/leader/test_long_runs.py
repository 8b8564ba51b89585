"""Runs of very many tasks: what one step of a leader or follower goes through does not grow with them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leader_desk import MAPPED, REDUCED, RUN, Desk, job, run_record, tasks_given

from pymr.config.cluster import ClusterConfig
from pymr.control.follower.events import Held, Ordered
from pymr.control.follower.follower import Follower
from pymr.control.follower.shuffle_progress import ShuffleProgress
from pymr.control.job_queue import JobQueue
from pymr.control.messages import Continued, ContinueSoon, PeerInfo, RunsLoaded, Tick
from pymr.control.runs.run import Task
from pymr.control.runs.task_sums import TaskSums
from pymr.control.runs.tasks import COUNTERS_MAX
from pymr.control.stored_state import (
    ActiveRun,
    BeginPublication,
    CommitTasks,
    Committed,
    EndRun,
    HostPlan,
    JobChanges,
    ReleaseTasks,
    RunPlan,
)
from pymr.peer.requests import phase_views
from pymr.peer.requests.views import JobViews
from pymr.wire.frames import FRAME_BYTES_MAX, encode
from pymr.wire.outcomes import AttemptId, MapOutcome
from pymr.wire.protocol import LOST_MAX, AttemptResult, HeldRun, Orders, RunOrder, Source, map_task

MANY = 100_000
SOME = 300
STEP = 50
ONE = ("a", "h", 1)


class NotGoneThrough(dict[Any, Any]):
    """A dict in which things are looked up, and that is never gone through from end to end."""

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("all tasks were gone through")

    keys = values = items = __iter__  # type: ignore[assignment]


def committed(count: int, peer: str = "a") -> tuple[Committed, ...]:
    outcomes = (MapOutcome("digest", number, 10, 2, 1, {"lines": 1, "share": 0.1}) for number in range(count))
    ids = (AttemptId(RUN, map_task(number), "4.1") for number in range(count))
    return tuple(Committed(id, peer, outcome) for id, outcome in zip(ids, outcomes, strict=True))


def plan_of(maps: int, partitions: int = 1) -> RunPlan:
    return RunPlan((HostPlan("h", "a", 0, maps, 10 * maps, 1),), partitions, ("a",) * partitions)


def active(maps: int, done: int) -> ActiveRun:
    return ActiveRun(run_record(plan=plan_of(maps)), committed(done), {})


def lead(maps: int, done: int, *peers: tuple[str, str, int], **settings: Any) -> Desk:
    """A leader that has taken over a run, of which `a` has done so many map tasks."""
    desk = Desk(*(peers or (ONE,)), **settings)
    desk.load([job(status="running", run_id=RUN)], [active(maps, done)])
    return desk


def held_run(*tasks: int) -> tuple[HeldRun, ...]:
    return (HeldRun(RUN, tuple((map_task(number), "4.1", "digest") for number in tasks)),)


# -- the leader


def test_a_run_begins_without_a_look_at_its_tasks() -> None:
    desk = Desk(ONE)
    desk.begin("a", tasks=MANY)
    run = desk.leader.runs[RUN]

    assert tasks_given(desk, "a") == ["map-00000"]
    assert len(run.tasks) == 1

    desk.do("a", "map-00000")

    assert tasks_given(desk, "a") == ["map-00001"]
    assert len(run.tasks) == 2


def test_a_leader_decides_nothing_before_it_has_taken_over_all_of_a_run() -> None:
    desk = Desk(ONE, tasks_per_step=STEP)
    desk.change([job(status="running", run_id=RUN)])
    commands = desk.leader.step(RunsLoaded((active(SOME + 1, SOME),)), 0.0)
    rounds = 0
    while not desk.leader.is_loaded:
        assert commands == [ContinueSoon()]
        assert desk.leader.step(Tick(), 0.0) == [] and not desk.leader.runs
        commands = desk.leader.step(Continued(), 0.0)
        rounds += 1

    assert rounds == SOME // STEP
    assert desk.leader.runs[RUN].maps_left == 1  # type: ignore[attr-defined]


def test_every_step_of_a_takeover_is_bounded() -> None:
    desk = lead(SOME + 1, SOME, tasks_per_step=STEP)
    steps = desk.steps
    desk.report("a", inventory=None)
    desk.report("a", inventory=held_run(*range(SOME)))

    assert steps >= SOME // STEP
    assert len(desk.leader.runs[RUN].tasks) == SOME + 1
    assert tasks_given(desk, "a") == [map_task(SOME)]  # and none of those that are done


def test_a_run_is_forgotten_in_steps() -> None:
    desk = lead(SOME, SOME, tasks_per_step=STEP)
    desk.report("a", inventory=None)
    desk.report("a", inventory=held_run(*range(SOME)))
    desk.do("a", "reduce-00000")
    desk.publish("a")
    run, steps = desk.leader.runs[RUN], desk.steps
    record = desk.end()

    assert record.status == "succeeded" and desk.leader.runs == {}
    assert desk.steps - steps >= SOME // STEP
    assert not run.tasks and not any(run.committed_by.values())


def test_neither_commits_nor_the_end_nor_a_console_go_through_all_tasks() -> None:
    desk = lead(SOME, SOME - 1)
    desk.report("a", inventory=None)
    desk.report("a", inventory=held_run(*range(SOME - 1)))
    run = desk.leader.runs[RUN]
    run.tasks, run.committed_by["a"] = NotGoneThrough(run.tasks), NotGoneThrough(run.committed_by["a"])
    views, table = JobViews(ClusterConfig()), JobQueue()
    table.apply(JobChanges(1, (job(status="running", run_id=RUN),), (), True, False), 0.0)
    desk.do("a", map_task(SOME - 1))
    row, phases = views.job(table.jobs["job"], table, desk.leader)
    desk.do("a", "reduce-00000")
    desk.answer(BeginPublication)
    desk.pass_time(1.0, "a")
    desk.leader.runs[RUN].stage = "tasks"
    desk.change([])  # the job was deleted

    assert row.current_phase == "shuffle" and 0.5 < row.progress < 1.0
    assert [(one.done, one.total) for one in phases if one.name == "map"] == [(SOME, SOME)]
    assert desk.asked(EndRun)[0].record.counters == {"lines": SOME - 1, "share": 0.1 * (SOME - 1)}


def test_the_phases_of_a_run_are_put_together_once_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = lead(SOME, 1)
    asked: list[str] = []
    real = phase_views._phases
    monkeypatch.setattr(
        phase_views,
        "_phases",
        lambda leader, run, running: asked.append(run.run_id) or real(leader, run, running),
    )
    table = JobQueue()
    table.apply(JobChanges(1, (job(status="running", run_id=RUN),), (), True, False), 0.0)
    JobViews(ClusterConfig()).job(table.jobs["job"], table, desk.leader)
    JobViews(ClusterConfig()).page("id", table, desk.leader, 0)

    assert asked == [RUN, RUN]


def test_what_a_peer_has_lost_is_released_in_groups_and_all_of_it_made_again() -> None:
    desk = lead(SOME, SOME, ("a", "h", SOME), tasks_per_step=STEP)
    desk.report("a", inventory=None)
    desk.report("a", inventory=held_run(7))
    writes = desk.asked(ReleaseTasks)

    assert max(len(write.ids) for write in writes) == STEP
    assert sum(len(write.ids) for write in writes) == SOME - 1
    assert desk.told.count("task.lost") == 1

    while desk.asked(ReleaseTasks):
        desk.answer(ReleaseTasks)

    assert len(tasks_given(desk, "a")) == SOME - 1
    assert map_task(7) not in tasks_given(desk, "a")


def test_what_a_machine_had_that_is_gone_is_released_in_groups() -> None:
    shared = RunPlan((HostPlan("", "b", 0, SOME, SOME, 1, True),), 1, ("b",))
    desk = Desk(("a", "h", SOME), ("b", "g", 1), tasks_per_step=STEP)
    desk.load([job(status="running", run_id=RUN)], [ActiveRun(run_record(plan=shared), committed(SOME), {})])
    desk.pass_time(6.0, "b")
    groups = 0
    for _ in range(SOME):
        writes = desk.asked(ReleaseTasks)
        groups += len(writes)
        assert all(len(write.ids) <= STEP for write in writes)
        for _ in writes:
            desk.answer(ReleaseTasks)
        desk.pass_time(0.5, "b")
        if not desk.leader.runs[RUN].committed_by["a"]:
            break

    assert groups == SOME // STEP
    assert desk.leader.runs[RUN].maps_left == SOME  # type: ignore[attr-defined]


def test_an_inventory_is_told_and_taken_page_by_page() -> None:
    desk = lead(SOME, 6)
    desk.report("a", inventory=None)

    assert desk.orders["a"].inventory_from == 0

    desk.report("a", inventory=held_run(0, 1), has_more_inventory=True)
    desk.report("a", inventory=held_run(0, 1), has_more_inventory=True)  # once more, as it may come

    assert desk.orders["a"].wants_inventory and desk.orders["a"].inventory_from == 2
    assert tasks_given(desk, "a") == []

    desk.report("a", inventory=held_run(2, 4), inventory_from=2, has_more_inventory=True)
    desk.report("a", inventory=held_run(5), inventory_from=4)

    assert [id.task for write in desk.asked(ReleaseTasks) for id in write.ids] == [map_task(3)]
    assert not desk.orders["a"].wants_inventory
    assert len(tasks_given(desk, "a")) == 1


def test_a_peer_that_begins_anew_tells_its_inventory_anew() -> None:
    desk = lead(SOME, 6)
    desk.report("a", inventory=None)
    desk.report("a", inventory=held_run(0, 1), has_more_inventory=True)
    desk.restart("a", inventory=held_run(0, 1, 2, 3, 4, 5))

    assert desk.asked(ReleaseTasks) == []
    assert len(tasks_given(desk, "a")) == 1


def test_a_commit_has_no_more_counters_than_one_step_may_add_up() -> None:
    desk = Desk(("a", "h", 3))
    desk.begin("a", tasks=3)
    counters = {f"counter{number}": 1 for number in range(COUNTERS_MAX // 2 + 1)}
    results = tuple(
        AttemptResult(id, MapOutcome("digest", 1, 1, 1, 1, counters), slot)
        for slot, id in enumerate(desk.leader.peers["a"].attempts)
    )
    desk.report("a", results=results)
    counts = []
    while desk.asked(CommitTasks):
        counts.append(len(desk.asked(CommitTasks)[0].tasks))
        desk.answer(CommitTasks, tuple(one.id.attempt for one in desk.asked(CommitTasks)[0].tasks))

    assert counts == [1, 1, 1]


def test_the_garbage_collector_does_not_look_at_tasks() -> None:
    id = AttemptId(RUN, "map-00000", "4.1")
    task = Task("map-00000", 0, True, committed=Committed(id, "a", MAPPED))

    assert not any(map(gc.is_tracked, (task, task.committed, MAPPED, REDUCED, id)))


# -- sums


numbers = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False, width=64)
outcomes = st.builds(
    MapOutcome,
    st.just("digest"),
    st.integers(0, 1_000),
    st.integers(0, 1_000),
    st.integers(0, 1_000),
    st.just(1),
    st.dictionaries(st.sampled_from("abc"), numbers),
)


@given(st.lists(outcomes, max_size=8), st.lists(outcomes, max_size=4), st.randoms())
def test_sums_are_those_of_what_is_committed_whatever_came_and_went(
    kept: list[MapOutcome], lost: list[MapOutcome], random: Any
) -> None:
    sums = TaskSums()
    for one in random.sample(kept + lost, len(kept) + len(lost)):
        sums.add("map", one)
    for one in lost:
        sums.remove("map", one)
    expected: dict[str, Any] = {}
    for one in kept:
        for name, number in one.counters.items():
            expected.setdefault(name, []).append(number)

    assert sums.of("map", "records") == sum(one.records for one in kept)
    assert sums.counters() == {name: exact_sum(expected[name]) for name in sorted(expected)}
    assert list(sums.counters()) == sorted(expected)
    for name, number in sums.counters().items():
        assert isinstance(number, int) == all(isinstance(one, int) for one in expected[name])


def exact_sum(several: list[float]) -> float:
    if all(isinstance(one, int) for one in several):
        return sum(several)
    total = sum(map(Fraction, several), Fraction(0))
    try:
        return float(total)
    except OverflowError:
        return sys.float_info.max if total > 0 else -sys.float_info.max  # as JSON has no infinity


# -- the follower


def follower(attempts: int, page: int) -> Follower:
    found = [
        Held(AttemptResult(AttemptId(RUN, map_task(number), "4.1"), MAPPED), f"{number:032x}")
        for number in range(attempts)
    ]
    return Follower(
        PeerInfo("a", "h", 1), {"a": "h"}, boot=1, pid=1, version="1", incarnation="i", epoch=5, held=found,
        now=0.0, inventory_max=page,
    )  # fmt: skip


def orders(sequence: int, **other: Any) -> Ordered:
    run = RunOrder(run_id=RUN, job_name="job", fields={}, project_hash="", partitions=1)
    fields: dict[str, Any] = {"epoch": 5, "leader": "l", "peer": "a", "boot": 1, "runs": (run,)}
    return Ordered(Orders(incarnation="i", sequence=sequence, **(fields | other)))


def reported(commands: list[Any]) -> Any:
    return next(one.report for one in commands if hasattr(one, "report"))


def test_an_inventory_of_any_length_goes_into_frames() -> None:
    one = follower(MANY, 4_000)
    told: list[str] = []
    for sequence in range(1, MANY):
        report = reported(one.step(orders(sequence, wants_inventory=True, inventory_from=len(told)), 0.0))
        assert len(encode(report)) < FRAME_BYTES_MAX
        assert report.inventory_from == len(told)
        told += [task for run in report.inventory for task, _, _ in run.attempts]
        if not report.has_more_inventory:
            break

    assert told == [map_task(number) for number in range(MANY)]


def test_a_leader_of_an_earlier_version_is_told_the_whole_inventory() -> None:
    report = reported(follower(5, 2).step(orders(1, wants_inventory=True), 0.0))

    assert len(report.inventory[0].attempts) == 5 and not report.has_more_inventory


def test_orders_are_followed_without_a_look_at_all_that_lies_on_the_disk() -> None:
    one = follower(3, 2)
    one._slots.held[RUN] = NotGoneThrough(one._slots.held[RUN])
    commands = one.step(orders(1), 0.0)

    assert reported(commands).orders == 1


def test_sources_are_put_in_order_once() -> None:
    gathering = ShuffleProgress(RUN, lambda _: True, lambda *_: None)
    sources = [Source(task, "5.1", "a") for task in (2, 0, 1)]
    gathering.announce(0, sources, 3)

    assert gathering.in_order() == tuple(sorted(sources, key=lambda one: one.task))
    assert gathering.in_order() is gathering.in_order()

    gathering.announce(3, [Source(1, "5.2", "a")], 3)

    assert [one.attempt for one in gathering.in_order()] == ["5.1", "5.2", "5.1"]


def test_partitions_that_come_late_are_gathered_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pymr.control.follower.shuffle_progress.SETTLED_MAX", 5)
    gathering = ShuffleProgress(RUN, lambda _: False, lambda *_: None)
    gathering.settle((0, 1, 2), 9)  # before anything is known of them: all
    gathering.announce(0, [Source(task, "5.1", "b") for task in range(2)], 2)
    told = [[one for one, _ in gathering.settle(range(8), 9)] for _ in range(4)]

    assert told == [[3, 4], [5, 6], [7], []]
    assert not gathering.is_complete(7)


def test_lost_outputs_are_told_some_at_a_time() -> None:
    gathering = ShuffleProgress(RUN, lambda _: False, lambda *_: None)
    sources = [Source(task, "5.1", "b") for task in range(LOST_MAX + 1)]
    gathering.announce(0, sources, len(sources))
    for source in sources:
        gathering.lose(source)

    assert len(gathering.report().lost) == LOST_MAX

"""Which job begins when: cycles, groups, forced jobs; by the leader's decisions and the job queue."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from leader_desk import RUN, Desk, run_record

from pymr.control.job_queue import JobQueue, queue_order
from pymr.control.leader.scheduling import FAILED_TRANSFER_SECONDS, LEAVE_LOOK_SECONDS, LEAVING_MAX
from pymr.control.stored_state import BeginCycle, BeginRun, JobChanges, JobRecord, JobState, LeaveQueue
from pymr.wire.rows import JobStatus

ONE = ("a", "h", 1)


def job(name: str, version: int = 1, status: JobStatus = "queued", **other: Any) -> JobRecord:
    """A job; what JobRecord has no field for is one of its definition."""
    own = {key: value for key, value in other.items() if key in JobRecord.__struct_fields__}
    definition = {key: value for key, value in other.items() if key not in own}
    fields = {"job_name": name, "job_type": "mapreduce", "input_dirs": ["input"], **definition}
    given = {"change": version, "start_time": 0.0 if status != "queued" else None} | own
    return JobRecord(
        name=name, version=version, fields=fields, project_hash="", submitted_at=0.0, status=status, **given
    )


def ran(name: str, version: int = 1, **other: Any) -> JobRecord:
    return job(name, version, "succeeded", **({"cycle": 1} | other))


def desk_of(*jobs: JobRecord, **settings: Any) -> Desk:
    desk = Desk(ONE, **settings)
    desk.load(jobs)
    return desk


def begun(desk: Desk) -> list[str]:
    return [write.job_name for write in desk.asked(BeginRun)]


# -- cycles


def test_a_cycle_begins_when_all_have_run_and_it_has_lasted_long_enough() -> None:
    desk = desk_of(ran("one"), ran("two", 2), cycle_seconds=60.0)
    desk.pass_time(59.0)

    assert desk.asked(BeginCycle) == []

    desk.pass_time(1.0)

    assert desk.asked(BeginCycle) == [BeginCycle(1)]
    assert begun(desk) == []

    desk.answer(BeginCycle, 2)

    assert begun(desk) == ["one"]


def test_how_long_a_cycle_has_lasted_is_read_from_redis() -> None:
    desk = Desk(ONE, cycle_seconds=60.0)
    desk.change([ran("one")], now=1055.0)
    desk.load([ran("one")])
    desk.change([ran("one")], now=1055.0)
    desk.pass_time(5.0)

    assert len(desk.asked(BeginCycle)) == 1


def test_a_cycle_ends_in_time_though_the_clock_of_redis_is_set_back() -> None:
    desk = desk_of(ran("one"), cycle_seconds=60.0)
    for _ in range(6):
        desk.pass_time(10.0)
        desk.change([ran("one")], now=1000.0 + desk.now - 3600.0)

    assert desk.asked(BeginCycle) == [BeginCycle(1)]

    desk.answer(BeginCycle, 2)
    desk.answer(BeginRun, None)
    desk.change([ran("one", cycle=2)], cycle=2, cycle_began_at=1060.0 - 3600.0, now=1060.0 - 3600.0)
    desk.pass_time(59.0)

    assert desk.asked(BeginCycle) == []

    desk.pass_time(1.0)

    assert desk.asked(BeginCycle) == [BeginCycle(2)]


@pytest.mark.parametrize(
    "jobs",
    [
        [],
        [job("failed", status="failed")],
        [ran("kept", run_once=True, group_name="g"), job("failed", 2, "failed", group_name="g")],
    ],
    ids=["an empty table", "only failed ones", "only those that run once"],
)
def test_no_cycle_begins_where_nothing_recurs(jobs: Sequence[JobRecord]) -> None:
    desk = desk_of(*jobs)
    desk.pass_time(120.0)

    assert desk.asked(BeginCycle) == []


def test_the_first_run_of_a_cycle_opens_it_and_no_other_does() -> None:
    desk = desk_of(job("one"), job("two", 2), concurrent_runs=2)

    assert [write.opens_cycle for write in desk.asked(BeginRun)] == [True, False]

    desk = desk_of(ran("one"), job("new", 2))

    assert [write.opens_cycle for write in desk.asked(BeginRun)] == [False]


def test_the_time_of_a_cycle_counts_from_the_run_that_opens_it_before_the_table_says_so() -> None:
    desk = desk_of(job("one"))
    began = desk.leader.job_queue.cycle_began
    desk.pass_time(59.0)
    desk.answer(BeginRun, None)

    assert desk.leader.job_queue.cycle_began == began

    desk = desk_of(job("one"))
    desk.pass_time(59.0)
    desk.answer(BeginRun, run_record(job_name="one"))

    assert desk.leader.job_queue.cycle_began == desk.leader.now


def test_no_cycle_begins_while_the_queue_is_paused_or_something_runs() -> None:
    desk = desk_of(ran("one"))
    desk.change([ran("one")], paused=True)
    desk.pass_time(120.0)

    assert desk.asked(BeginCycle) == []

    desk.change([ran("one"), job("new", 2)])
    desk.answer(BeginRun, run_record(job_name="new", job_version=2))
    desk.pass_time(120.0)

    assert desk.asked(BeginCycle) == []


def test_a_job_of_the_present_cycle_is_due_again_only_in_the_next() -> None:
    desk = desk_of(ran("old", cycle=1), ran("new", 2, cycle=2))
    desk.change([ran("old", cycle=1), ran("new", 2, cycle=2)], cycle=2)

    assert begun(desk) == ["old"]


def test_a_skipped_job_recurs_even_if_it_is_to_run_once() -> None:
    job_queue = JobQueue()
    skipped = job("one", status="skipped", run_once=True, cycle=1)
    job_queue.apply(JobChanges(1, (skipped,), (), True, False))
    job_queue.begin_cycle(2, 0.0)

    assert job_queue.next_job(()) == skipped


# -- jobs that are forced


def test_a_forced_job_runs_again_in_its_cycle_behind_all_others() -> None:
    forced = ran("forced", force_run=True, job_priority=9, start_time=1000.0)
    desk = desk_of(forced, job("other", 2))

    assert begun(desk) == ["other"]

    desk.answer(BeginRun, None)
    desk.change([forced, ran("other", 2, change=9)])
    desk.pass_time(0.5)

    assert begun(desk) == []

    desk.pass_time(0.5)

    assert begun(desk) == ["forced"]


def test_forced_jobs_take_turns() -> None:
    first = ran("first", force_run=True, job_priority=5, start_time=1002.0)
    second = ran("second", 2, force_run=True, start_time=1001.0)
    desk = Desk(ONE)
    desk.now = 10.0
    desk.load([first, second])

    assert begun(desk) == ["second"]


def test_forced_jobs_take_turns_though_the_clock_of_redis_is_set_back() -> None:
    first = ran("first", force_run=True, start_time=5000.0)
    second = ran("second", 2, force_run=True, start_time=1010.0)
    desk = Desk(ONE)
    desk.now = 10.0
    desk.load([first])
    desk.pass_time(0.5)
    desk.change([first, second])

    assert begun(desk) == []

    desk.pass_time(0.5)

    assert begun(desk) == ["first"], "a second after its run was heard of"

    desk.answer(BeginRun, None)
    desk.change([ran("first", change=9, force_run=True, start_time=1011.0), second])
    desk.pass_time(0.5)

    assert begun(desk) == ["second"]


def test_a_cycle_is_not_held_up_by_forced_jobs() -> None:
    forced = ran("forced", force_run=True, start_time=1000.0)
    desk = desk_of(forced, ran("other", 2), cycle_seconds=5.0, concurrent_runs=2)
    desk.pass_time(1.0)
    desk.answer(BeginRun, run_record(job_name="forced", fields=forced.fields))
    desk.pass_time(4.0)

    assert desk.asked(BeginCycle) == [BeginCycle(1)]


# -- groups


def test_a_group_runs_one_after_another_beside_others() -> None:
    jobs = [
        job("a1", 1, group_name="a"),
        job("a2", 2, group_name="a"),
        job("b1", 3, group_name="b", job_priority=-1),
        job("alone", 4, job_priority=-2),
    ]
    desk = desk_of(*jobs, concurrent_runs=4)

    assert begun(desk) == ["a1", "b1", "alone"]


def test_a_member_waits_for_one_before_it_that_cannot_begin_yet() -> None:
    job_queue = JobQueue()
    job_queue.apply(
        JobChanges(1, (job("a1", 1, group_name="a"), job("a2", 2, group_name="a")), (), True, False)
    )

    assert job_queue.next_job({"a1"}) is None

    job_queue.begin(job_queue.jobs["a1"])

    assert job_queue.next_job(()) is None


def test_the_group_of_a_run_is_that_of_its_own_version() -> None:
    old = job("one", 1, group_name="a")
    desk = desk_of(old, concurrent_runs=2)
    desk.answer(BeginRun, run_record(job_name="one", fields=old.fields))
    desk.change([job("one", 2), job("two", 3, group_name="a")])  # the run of `one` is about to end

    assert begun(desk) == []


# -- the job queue against a simple one


def test_the_backlog_keeps_its_order_through_any_changes() -> None:
    random = Random(3)
    job_queue, known = JobQueue(), dict[str, JobRecord]()
    for change in range(1, 601):
        name = f"job{random.randrange(12)}"
        if random.random() < 0.1:
            known.pop(name, None)
            changes = JobChanges(change, (), (name,), False, False, cycle=job_queue.cycle)
        elif random.random() < 0.05:
            changes = JobChanges(change, (), (), False, False, cycle=job_queue.cycle + 1)
        else:
            known[name] = _any_job(random, name, change, job_queue.cycle)
            changes = JobChanges(change, (known[name],), (), False, False, cycle=job_queue.cycle)
        job_queue.apply(changes, 0.0)
        due = sorted((one for one in known.values() if _is_due(one, job_queue.cycle)), key=queue_order)

        assert [entry[2] for entry in job_queue.due()] == [one.name for one in due]
        assert sorted(one.name for one in job_queue.in_order()) == sorted(known)
        assert job_queue.next_job(()) == (due[0] if due else None)


def _any_job(random: Random, name: str, change: int, cycle: int) -> JobRecord:
    status: JobStatus = random.choice(["queued", "running", "succeeded", "failed", "skipped"])
    return job(
        name,
        random.randrange(5) * 100 + int(name[3:]),
        status,
        change=change,
        cycle=random.choice([0, cycle - 1, cycle]),
        job_priority=random.randrange(3),
        run_once=random.random() < 0.3,
        force_run=random.random() < 0.3,
    )


def _is_due(one: JobRecord, cycle: int) -> bool:
    if one.status in ("running", "failed") or (one.status == "succeeded" and one.fields["run_once"]):
        return False
    return one.status == "queued" or one.cycle < cycle


def test_states_that_have_changed_join_the_others() -> None:
    job_queue = JobQueue()
    one, two = JobState("one-000001"), JobState("two-000001")
    job_queue.apply(JobChanges(1, (), (), True, False, states={"one": one}))
    job_queue.apply(JobChanges(2, (), (), False, False))
    job_queue.apply(JobChanges(3, (), (), False, False, states={"two": two}))

    assert job_queue.states == {"one": one, "two": two}

    job_queue.apply(JobChanges(4, (), (), True, False, states={"two": two}))

    assert job_queue.states == {"two": two}


def test_a_run_that_a_group_needs_is_not_begun_from_a_table_that_lags() -> None:
    desk = desk_of(job("one", 1, group_name="g"), job("two", 2, group_name="g"))
    desk.answer(BeginRun, run_record(run_id=RUN, job_name="one", fields={"group_name": "g"}))

    assert begun(desk) == []


def test_a_cycle_waits_for_what_is_due_and_cannot_begin_yet() -> None:
    forced = job("forced", 1, group_name="g", force_run=True)
    desk = desk_of(forced, job("blocked", 2, group_name="g"), ran("other", 3), concurrent_runs=2)
    desk.answer(BeginRun, run_record(job_name="forced", fields=forced.fields))
    desk.pass_time(120.0)

    assert desk.asked(BeginCycle) == []


# -- what leaves the queue by itself


def transfer(name: str, failed_ago: float, **other: Any) -> JobRecord:
    fields = {"job_type": "file_transfer", "run_once": True, "transfer_type": "upload"} | other
    return job(name, status="failed", end_time=1000.0 - failed_ago, **fields)


def test_a_one_off_transfer_that_failed_a_day_ago_leaves_the_queue() -> None:
    desk = desk_of()
    known = [
        transfer("old", FAILED_TRANSFER_SECONDS + 1),
        transfer("new", FAILED_TRANSFER_SECONDS - 3_600),
        transfer("recurring", FAILED_TRANSFER_SECONDS + 1, run_once=False),
        transfer("grouped", FAILED_TRANSFER_SECONDS + 1, group_name="g"),
        job("script", status="failed", end_time=0.0, job_type="script", run_once=True),
        ran("succeeded", job_type="file_transfer", run_once=True, end_time=0.0),
    ]
    desk.change(known)
    desk.pass_time(LEAVE_LOOK_SECONDS + 1)

    assert desk.asked(LeaveQueue) == [LeaveQueue("old", 1)]

    desk.answer(LeaveQueue, True)

    assert [event.text for event in desk.events if event.kind == "job.left"] == [
        "old leaves the queue, as nobody has retried it since it failed"
    ]


def test_of_many_that_failed_long_ago_some_leave_at_a_time() -> None:
    desk = desk_of()
    desk.change([transfer(f"t{number}", FAILED_TRANSFER_SECONDS * 2) for number in range(LEAVING_MAX + 5)])
    desk.pass_time(LEAVE_LOOK_SECONDS + 1)

    assert len(desk.asked(LeaveQueue)) == LEAVING_MAX

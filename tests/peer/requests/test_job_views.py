"""What consoles see of the queue: its order, what is due, and when each job is expected to run."""

from __future__ import annotations

import time
from typing import Any

import pytest
from leader_desk import RUN, Desk, run_record
from msgspec.structs import replace

from pymr.config.cluster import ClusterConfig, SchedulerConfig
from pymr.control.job_queue import JobQueue
from pymr.control.stored_state import BeginRun, HostPlan, JobChanges, JobRecord
from pymr.peer.requests.forecast import Forecast, expected_left
from pymr.peer.requests.phase_views import progress
from pymr.peer.requests.views import JobViews, history_page, run_row, worker_rows
from pymr.wire.protocol import RunningAttempt, WorkerReport, WorkerState
from pymr.wire.rows import JobRow, JobStatus, PhaseRow
from pymr.wire.wording import phase_share

NOW = 10_000.0


def job(name: str, version: int, status: JobStatus = "queued", **other: Any) -> JobRecord:
    """A job; what JobRecord has no field for is one of its definition."""
    own = {key: value for key, value in other.items() if key in JobRecord.__struct_fields__}
    definition = {key: value for key, value in other.items() if key not in own}
    return JobRecord(
        name=name,
        version=version,
        change=version,
        fields={"job_name": name, "job_type": "script", **definition},
        project_hash="",
        submitted_at=0.0,
        status=status,
        **own,
    )


def table_of(*jobs: JobRecord, **other: Any) -> JobQueue:
    table = JobQueue()
    fields: dict[str, Any] = {"paused": False, "now": NOW, "cycle_began_at": NOW - 30.0} | other
    table.apply(JobChanges(9, jobs, (), True, **fields), time.monotonic())
    return table


def expected(
    *jobs: JobRecord, lanes: int = 1, left: dict[str, float | None] | None = None, **other: Any
) -> dict[str, tuple[float | None, float | None]]:
    times = Forecast(lanes).times(table_of(*jobs, **other), 0.0, left or {})
    return {name: times.get(name, (None, None)) for name in (one.name for one in jobs)}


# -- the forecast


def test_jobs_are_expected_one_after_another() -> None:
    jobs = job("low", 1, seconds=5.0), job("high", 2, seconds=3.0, job_priority=1)

    assert expected(*jobs) == {"high": (0.0, 3.0), "low": (3.0, 8.0)}


def test_what_runs_is_waited_for_and_lanes_are_side_by_side() -> None:
    jobs = job("now", 1, "running"), job("one", 2, seconds=5.0), job("two", 3, seconds=5.0)

    assert expected(*jobs, left={"now": 2.0})["two"] == (7.0, 12.0)
    assert expected(*jobs, left={"now": 2.0}, lanes=2)["two"] == (2.0, 7.0)


def test_members_of_a_group_are_not_expected_side_by_side() -> None:
    jobs = [job(name, number, seconds=5.0, group_name="g") for number, name in enumerate("abc")]
    running = job("r", 9, "running", group_name="g")

    assert expected(*jobs, lanes=4)["c"] == (10.0, 15.0)
    assert expected(running, *jobs, lanes=4, left={"r": 1.0})["a"] == (1.0, 6.0)


def test_a_member_that_waits_for_its_group_takes_no_lane() -> None:
    group = [job(name, number, seconds=3.0, group_name="g") for number, name in enumerate(("ga", "gb", "gc"))]
    alone = [job(name, number, seconds=1.0) for number, name in enumerate(("s1", "s2", "s3"), 3)]

    assert {name: begins for name, (begins, _) in expected(*group, *alone, lanes=2).items()} == {
        "ga": 0.0, "gb": 3.0, "gc": 6.0, "s1": 0.0, "s2": 1.0, "s3": 2.0,
    }  # fmt: skip


def test_ten_thousand_jobs_are_played_through_in_a_moment() -> None:
    jobs = [job(f"j{number}", number, seconds=1.0, group_name=f"g{number % 500}") for number in range(10_000)]
    table = table_of(*jobs)
    forecast = Forecast(8)
    began = time.process_time()
    times = forecast.times(table, 0.0, {})

    assert max(ends or 0.0 for _, ends in times.values()) == 1250.0
    assert time.process_time() - began < 2.0  # some 0.05


def test_a_job_of_unknown_length_takes_as_long_as_others_of_its_type() -> None:
    jobs = job("known", 1, seconds=4.0), job("new", 2), job("last", 3, job_type="mapreduce")

    assert expected(*jobs, job("lost", 4)) == {
        "known": (0.0, 4.0),
        "new": (4.0, 8.0),
        "last": (8.0, None),
        "lost": (None, None),
    }


def test_nothing_is_expected_of_a_paused_queue_or_behind_a_run_of_unknown_length() -> None:
    running, waiting = job("now", 1, "running"), job("one", 2, seconds=1.0)

    assert expected(waiting, paused=True)["one"] == (None, None)
    assert expected(running, waiting, left={"now": None})["one"] == (None, None)


@pytest.mark.parametrize(
    ("usual", "elapsed", "done", "left"),
    [
        (None, 10.0, 0.0, None),
        (None, 10.0, 0.5, 10.0),
        (30.0, 10.0, 0.0, 20.0),
        (30.0, 10.0, 0.2, 40.0),
        (30.0, 40.0, 0.0, 0.0),
        (30.0, 40.0, 0.8, 10.0),
    ],
)
def test_the_time_left_is_the_usual_one_and_no_less_than_progress_says(
    usual: float | None, elapsed: float, done: float, left: float | None
) -> None:
    assert expected_left(usual, elapsed, done) == (pytest.approx(left) if left is not None else None)


# -- rows


def test_a_page_tells_what_is_due_and_when_the_next_cycle_begins() -> None:
    jobs = [
        job("due", 1, "succeeded", cycle=1, seconds=2.0),
        job("ran", 2, "succeeded", cycle=2, seconds=2.0),
        job("runs", 3, "running", cycle=2, seconds=60.0, start_time=NOW - 20.0),
        job("failed", 4, "failed", cycle=2),
    ]
    views = JobViews(ClusterConfig(scheduler=SchedulerConfig(cycle_seconds=90.0)))
    page = views.page("id", table_of(*jobs, cycle=2), None, 0)
    rows = {row.fields["job_name"]: row for row in page.rows}

    assert [(name, row.status) for name, row in rows.items()] == [
        ("runs", "running"),
        ("due", "queued"),
        ("ran", "succeeded"),
        ("failed", "failed"),
    ]
    assert (page.cycle, page.total) == (2, 4)
    assert page.next_cycle_at == pytest.approx(NOW + 60.0, abs=1.0)
    assert rows["runs"].seconds_left is None  # that it goes on is not known without a leader
    assert rows["runs"].expected_end == pytest.approx(NOW + 40.0, abs=1.0)
    assert rows["due"].expected_start == pytest.approx(NOW + 40.0, abs=1.0)
    assert (rows["due"].last_seconds, rows["due"].cycle, rows["due"].progress) == (2.0, 1, 0.0)
    assert rows["ran"].expected_start is None
    assert [row.fields["job_name"] for row in views.page("id", table_of(*jobs, cycle=2), None, 3).rows] == [
        "failed"
    ]


def test_a_row_names_the_package_of_its_project() -> None:
    with_project = replace(job("words", 1), project_hash="0f")
    view = JobViews(ClusterConfig()).page("r", table_of(with_project, job("alone", 2)), None, 0)

    assert [row.project_hash for row in view.rows] == ["0f", ""]


def test_a_job_that_has_left_the_table_meanwhile_still_has_a_row() -> None:
    row, _ = JobViews(ClusterConfig()).job(job("gone", 1, "succeeded"), table_of(), None)

    assert (row.status, row.expected_start) == ("succeeded", None)


def test_a_history_row_tells_of_a_script() -> None:
    record = run_record(fields={"job_type": "script"}, exit_status=3, output="oh", skipped=2)
    row = run_row(record)

    assert (row.job_type, row.exit_status, row.output, row.skipped) == ("script", 3, "oh", 2)


def test_the_progress_of_a_transfer_is_that_of_its_bytes() -> None:
    rows = (
        PhaseRow(name="list", done=2, total=2),
        PhaseRow(name="copy", done=0, total=1, units=(1, 50), total_units=100),
    )

    assert progress(rows) == pytest.approx((0.05 + 0.44) / 0.93)


def test_a_worker_that_copies_is_shown_with_its_step() -> None:
    desk = Desk(("a", "h", 1))
    desk.load([job("copies", 1, job_type="file_transfer")])
    desk.answer(BeginRun, run_record(job_name="copies", fields={"job_type": "file_transfer"}))
    worker = WorkerReport(0, 77, "copy", RUN, "copy-00000", (1, 10))
    desk.report("a", workers=(worker,), running=[])
    config: Any = type("Config", (), {"peers": [desk.leader.peers["a"].info]})
    (row,) = worker_rows(config, desk.leader)

    assert (row.state, row.phase, row.job_name, row.done) == ("copy", "copy", "copies", (1, 10))


# -- a run that is under way


class Watched:
    """A run of two map tasks on two workers of a machine, at which the consoles' views look each second."""

    def __init__(self, **info: Any) -> None:
        self.desk, self.views, self.seconds = Desk(("a", "h", 2)), JobViews(ClusterConfig()), 0.0
        self.desk.begin("a", tasks=2)
        self.table = table_of(
            job("job", 1, "running", run_id=RUN, start_time=NOW, job_type="mapreduce", **info)
        )

    def look(self, *done: int, state: WorkerState = "map") -> tuple[JobRow, dict[str, PhaseRow]]:
        """done: how much of each task is. state: of the worker of the last."""
        states = ["map"] * (len(done) - 1) + [state]
        running = [
            RunningAttempt(one.id, one.slot, its_state, (units, units))  # type: ignore[arg-type]
            for one, its_state, units in zip(self.desk.given("a"), states, done, strict=True)
        ]
        self.desk.report("a", running=running)
        self.seconds += 1.0
        self.views.look(self.desk.leader, self.seconds)
        row, phases = self.views.job(self.table.jobs["job"], self.table, self.desk.leader)
        return row, {phase.name: phase for phase in phases}


def test_the_time_left_is_that_of_the_phase_that_takes_longest_for_table_and_board_alike() -> None:
    watched = Watched()
    watched.desk.leader.runs[RUN].plan = replace(
        watched.desk.leader.runs[RUN].plan, hosts=(HostPlan("h", "a", 0, 2, bytes=1_000, files=2),)
    )
    watched.look(10, 10)
    watched.look(20, 20)
    row, phases = watched.look(30, 30)
    (listed,) = watched.views.page("id", watched.table, watched.desk.leader, 0).rows

    assert phases["map"].seconds_left == pytest.approx((1_000 - 60) / 20)
    assert row.seconds_left == listed.seconds_left == phases["map"].seconds_left
    assert row.expected_end == pytest.approx(NOW + 47.0, abs=1.0)


def test_nothing_is_left_of_a_run_that_stands_at_a_breakpoint_or_does_not_move() -> None:
    watched = Watched(seconds=60.0)
    watched.look(10, 10)
    still, _ = watched.look(10, 10)
    watched.look(20, 10)
    moving, phases = watched.look(30, 10)
    stopped, stopped_phases = watched.look(40, 10, state="breakpoint")

    assert (still.seconds_left, still.breakpoints) == (None, ())
    assert moving.seconds_left == phases["reduce"].seconds_left == pytest.approx(60.0, abs=1.0)
    assert (stopped.status, stopped.seconds_left, stopped.breakpoints) == ("running", None, ("a/1",))
    assert {phase.seconds_left for phase in stopped_phases.values()} == {None}


def test_the_shuffle_of_a_run_on_one_machine_is_over_when_a_task_is_reduced() -> None:
    desk, table = Desk(("a", "h", 1)), table_of(job("job", 1, "running", run_id=RUN))
    desk.begin("a")

    def shuffle() -> PhaseRow:
        _, phases = JobViews(ClusterConfig()).job(table.jobs["job"], table, desk.leader)
        return phases[2]

    before = phase_share(shuffle())
    desk.do("a", "map-00000")
    given = [replace(one, state="reduce") for one in desk.given("a")]
    desk.report("a", running=given)

    assert (before, shuffle().total, phase_share(shuffle())) == (0.0, 0, 1.0)


# -- the history


def test_a_page_of_the_history_says_where_the_next_one_begins() -> None:
    runs = [run_record(run_id=f"job-{number}") for number in range(3)]

    assert history_page("x", runs, 10, 3).next == 13
    assert history_page("x", runs, 10, 4).next is None
    assert history_page("x", (), 10, 4).next is None


def test_a_page_of_long_outputs_has_as_many_runs_as_go_into_an_answer() -> None:
    runs = [run_record(run_id=f"job-{number}", output="x" * 10_000) for number in range(1_000)]
    first = history_page("x", runs, 0, 1_000)
    last = history_page("x", runs[-100:], 900, 1_000)

    assert 100 <= len(first.rows) == first.next < 210
    assert (len(last.rows), last.next) == (100, None)

"""The job table: which lines there are, in what order, with groups, a filter and a sort column."""

from __future__ import annotations

import random

import msgspec
import pytest
from job_samples import NOW, job, run

from pymr.wire.rows import JobRow
from tui.model.job_table import (
    SORT_COLUMNS,
    GroupLine,
    JobTable,
    Line,
    has_left,
    name_of,
    rows_of_runs,
)
from tui.model.sort_order import SortOrder


def told(lines: list[Line]) -> list[str]:
    """Jobs by name; a group as `[name jobs worst]`, with a `+` where it is folded."""
    return [
        f"[{line.name} {line.jobs} {line.worst}]{'+' * line.is_folded}"
        if isinstance(line, GroupLine)
        else name_of(line)
        for line in lines
    ]


def table(*rows: JobRow) -> JobTable:
    made = JobTable()
    made.set_rows(rows)
    return made


ROWS = (
    job("runs", "running", progress=0.5, current_phase="map", seconds_left=60.0, priority=3),
    job("waits", expected_start=NOW + 50, priority=9, last_seconds=5.0),
    job("failed_first", "failed", end_time=NOW - 50, submitter="bob"),
    job("ended_first", "succeeded", end_time=NOW - 90, last_seconds=9.0),
    job("waits_too", expected_start=NOW + 90),
    job("ended_last", "skipped", end_time=NOW - 10),
    job("failed_last", "failed", end_time=NOW - 20),
    job("runs_too", "running", progress=0.1, current_phase="reduce", seconds_left=5.0),
)

PIPELINE = (
    job("a", "succeeded", "night", end_time=NOW),
    job("alone", "queued"),
    job("only", "queued", "single"),
    job("b", "failed", "night", end_time=NOW),
    job("c", "queued", "night"),
)


def test_what_runs_stands_first_and_what_has_ended_last() -> None:
    assert told(table(*ROWS).lines) == [
        "runs", "runs_too", "waits", "waits_too", "failed_last", "failed_first", "ended_last", "ended_first",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "first", "last"),
    [
        ("name", "ended_first", "waits_too"),
        ("priority", "runs_too", "waits"),
        ("status", "failed_last", "ended_first"),
        ("phase", "runs", "ended_first"),
        ("progress", "runs_too", "ended_first"),
        ("when", "runs_too", "ended_first"),
        ("last", "waits", "ended_last"),
        ("submitter", "runs", "failed_first"),
    ],
)
def test_any_column_sorts(column: str, first: str, last: str) -> None:
    made = table(*ROWS)

    made.sort(SortOrder(column))

    names = told(made.lines)
    assert (names[0], names[-1]) == (first, last)
    assert len(names) == len(ROWS)


@pytest.mark.parametrize("column", ["phase", "progress", "when", "last"])
def test_jobs_without_a_value_stand_last_in_both_directions(column: str) -> None:
    without = {"phase": "waits", "progress": "waits", "when": "nothing_known", "last": "runs"}[column]
    made = table(*ROWS, job("nothing_known"))

    made.sort(SortOrder(column))
    upwards = told(made.lines)
    made.sort(SortOrder(column, is_reverse=True))
    downwards = told(made.lines)

    assert upwards != downwards
    assert upwards[upwards.index(without) :] == downwards[downwards.index(without) :]


def test_equal_jobs_keep_the_order_of_the_queue() -> None:
    made = table(*ROWS)
    in_queue_order = told(made.lines)

    made.sort(SortOrder("type"))
    upwards = told(made.lines)
    made.sort(SortOrder("type", is_reverse=True))

    assert upwards == told(made.lines) == in_queue_order


def test_a_header_sorts_upwards_then_downwards_then_not_at_all() -> None:
    made = table(*ROWS)
    states = []

    for _ in range(4):
        made.sort(made.order.clicked("name"))
        states.append(tuple(made.order))

    assert states == [("name", False), ("name", True), ("", False), ("name", False)]


def test_the_next_column_is_one_of_those_that_are_shown() -> None:
    made = table(*ROWS)
    seen = []

    for _ in range(4):
        made.sort_next(["name", "note", "status"])
        seen.append(made.order.column)

    assert seen == ["name", "status", "", "name"]


def test_the_jobs_of_a_group_stand_together_below_its_line() -> None:
    made = table(*PIPELINE)

    assert told(made.lines) == ["alone", "only", "[night 3 failed]", "c", "b", "a"]
    assert [row.fields["job_name"] for row in made.members("night")] == ["c", "b", "a"]
    assert made.groups == {"night"}


def test_a_group_is_folded_by_its_name_and_stays_so() -> None:
    made = table(*PIPELINE)

    made.fold("night")
    folded = told(made.lines)
    made.set_rows((*PIPELINE, job("d", "running", "night")))
    later = told(made.lines)
    made.fold("night")

    assert folded == ["alone", "only", "[night 3 failed]+"]
    assert later == ["[night 4 failed]+", "alone", "only"]
    assert told(made.lines) == ["[night 4 failed]", "d", "c", "b", "a", "alone", "only"]


def test_all_groups_fold_and_unfold() -> None:
    made = table(*PIPELINE, job("x", group="day"), job("y", group="day"))

    made.fold("day")
    made.fold_all()
    folded = told(made.lines)
    made.fold_all()

    assert sorted(line for line in folded if line.startswith("[")) == ["[day 2 queued]+", "[night 3 failed]+"]
    assert not any(line.endswith("+") for line in told(made.lines))


def test_a_filter_leaves_the_jobs_that_pass_and_their_groups() -> None:
    made = table(*PIPELINE, *ROWS)

    made.set_filter("group:night !failed")
    in_group = told(made.lines)
    made.set_filter("failed_l")

    assert in_group == ["[night 2 queued]", "c", "a"]
    assert told(made.lines) == ["failed_last"]
    assert made.passed == 1


def test_a_filter_follows_the_status_of_a_job() -> None:
    made = table(job("j", "queued"))
    made.set_filter("status:running")
    before = told(made.lines)

    made.set_rows((job("j", "running"),))

    assert (before, told(made.lines)) == ([], ["j"])


def test_the_next_failed_job_is_found_from_anywhere_and_in_folded_groups() -> None:
    made = table(*ROWS, *PIPELINE)
    made.fold("night")
    after_b = made.waiting_after("b")
    seen, key = [], "runs"

    for _ in range(4):
        row = made.waiting_after(key)
        assert row is not None
        made.unfold_of(row)
        key = name_of(row)
        seen.append(key)

    assert after_b is not None
    assert sorted(seen[:3]) == ["b", "failed_first", "failed_last"]
    assert seen[3] == seen[0]
    assert table(job("fine")).waiting_after("fine") is None


def test_a_failed_job_that_does_not_pass_the_filter_is_no_next_one() -> None:
    made = table(*ROWS)

    made.set_filter("!failed")

    assert made.waiting_after("runs") is None
    assert made.find("failed_last") is not None
    assert made.find("unknown") is None


def test_a_job_that_has_left_the_queue_is_a_line_of_its_last_run() -> None:
    runs = (
        run(5, "failed", job_name="waits"),
        run(4, "succeeded", job_name="once", seconds=30.0),
        run(3, "failed", job_name="once"),
        run(2, "replaced", job_name="broken_off"),
        run(1, "failed", job_name="failed_once"),
        run(0, "succeeded", job_name="hidden"),
    )
    made = table(*ROWS, *rows_of_runs(runs, ROWS, {"hidden": 1, "once": 0}))

    left = [row for row in made.rows if has_left(row)]

    assert [(name_of(row), row.status, row.last_seconds) for row in left] == [
        ("once", "succeeded", 30.0), ("failed_once", "failed", 60.0),
    ]  # fmt: skip
    assert told(made.lines)[-4:] == ["once", "failed_once", "ended_last", "ended_first"]
    assert made.waiting_after("once") == ROWS[6]


@pytest.mark.parametrize("seed", range(10))
def test_every_job_stands_in_one_line_whatever_is_set(seed: int) -> None:
    chance = random.Random(seed)
    rows = tuple(
        job(
            f"j{number}",
            chance.choice(["queued", "running", "failed", "succeeded", "skipped"]),
            chance.choice([None, "g1", "g2", f"g{number}"]),
            end_time=chance.choice([None, chance.random()]),
            last_seconds=chance.choice([None, chance.random()]),
            priority=chance.randint(-2, 2),
        )
        for number in range(60)
    )
    made = table(*rows)
    made.sort(SortOrder(chance.choice(["", *SORT_COLUMNS]), chance.random() < 0.5))

    jobs = [name_of(line) for line in made.lines if isinstance(line, JobRow)]
    groups = [line for line in made.lines if isinstance(line, GroupLine)]

    assert sorted(jobs) == sorted(name_of(row) for row in rows)
    assert sum(group.jobs for group in groups) == sum(len(made.members(group.name)) for group in groups)
    assert len({group.name for group in groups}) == len(groups)


def test_a_job_that_was_deleted_and_submitted_again_is_a_line_of_its_later_run() -> None:
    later = msgspec.structs.replace(run(2, "failed", job_name="again"), job_version=7)
    runs = (later, run(1, "succeeded", job_name="again"), run(0, "succeeded", job_name="gone"))

    rows = rows_of_runs(runs, (), {"again": 6, "gone": 6})

    assert [(name_of(row), row.status) for row in rows] == [("again", "failed")]

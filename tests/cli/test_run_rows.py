"""What `pymr show` and `pymr workers` say of what is at work: slow tasks, partitions, held keyboards."""

from __future__ import annotations

from typing import Any

import pytest

from pymr.cli.rows import failures_shown, job_view_lines, job_view_object, workers_lines
from pymr.wire.requests import JobView
from pymr.wire.rows import FailedAttempt, TaskRow, WorkerRow


def view(**fields: Any) -> JobView:
    return JobView(id="", row=None, **fields)


def lines_of(shown: JobView) -> list[str]:
    return job_view_lines("j", shown, (), 0)


def task(number: int, seconds: float) -> TaskRow:
    return TaskRow(
        task=f"map-{number:05d}", attempt="1.1", worker="a/0", state="map", seconds=seconds, usual_seconds=4.0
    )


def test_tasks_that_take_longer_than_is_usual_are_listed_the_slowest_first() -> None:
    tasks = (task(1, 6.0), task(2, 6.1), task(3, 90.0))

    assert lines_of(view(tasks=tasks))[-3:] == [
        "SLOW TASK  WORKER  STATE   TIME  USUAL",
        "map-00003  a/0     map     1:30  4.0 s",
        "map-00002  a/0     map    6.1 s  4.0 s",
    ]
    assert "SLOW" not in " ".join(lines_of(view(tasks=tasks[:1])))
    assert job_view_object("j", view(tasks=tasks), ())["tasks"] == tasks


def test_of_many_slow_tasks_the_first_ten_are_listed() -> None:
    lines = lines_of(view(tasks=tuple(task(number, 10.0) for number in range(12))))

    assert lines[-1] == "(2 more)"
    assert sum("map-" in line for line in lines) == 10


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [
        (
            (12_300_000, 1_100_000, 1_000_000),
            "largest 12.3 MB, median 1.1 MB (11 \N{MULTIPLICATION SIGN} the median)",
        ),
        ((1_000, 1_000), "largest 1.0 kB, median 1.0 kB (1.0 \N{MULTIPLICATION SIGN} the median)"),
        ((5, 0, 0), "largest 5 B, median 0 B"),
    ],
)
def test_how_unlike_partitions_are_is_one_line(sizes: tuple[int, ...], shown: str) -> None:
    assert lines_of(view(partition_bytes=sizes))[-1] == f"partitions: {shown}"
    assert job_view_object("j", view(partition_bytes=sizes), ())["partition_bytes"] == sizes


def test_a_job_that_is_not_at_work_has_neither() -> None:
    assert lines_of(view()) == ["j is not in the queue"]


def test_who_has_a_keyboard_is_shown_only_where_anybody_has_one() -> None:
    idle = WorkerRow(name="a/0", peer="a", pid=5, state="idle")
    held = WorkerRow(name="a/1", peer="a", pid=6, state="breakpoint", holder="me@here:1")

    assert workers_lines((idle,), 0)[0].endswith("DONE")
    assert workers_lines((idle, held), 0)[0].endswith("DONE  HOLDER")
    assert workers_lines((idle, held), 0)[2].endswith("me@here:1")


def test_attempts_that_two_workers_ended_by_are_shown_as_one_failure() -> None:
    attempts = [
        FailedAttempt(
            task="map-7", attempt=f"1.{slot}", worker=f"a/{slot}", error=f"a/{slot} was ended by SIGSEGV"
        )
        for slot in (1, 0)
    ]

    assert failures_shown(attempts) == [
        ("attempt 1.1 of map-7 failed on a/1; 2 attempts, the same each time:", "a/1 was ended by SIGSEGV")
    ]

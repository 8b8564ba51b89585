"""How long the tasks of a run take as a rule, and which of them take longer."""

from __future__ import annotations

import pytest

from pymr.control.runs.durations import DURATIONS_MAX, Durations
from pymr.wire.rows import TaskRow


def usual(*seconds: float) -> float | None:
    durations = Durations()
    for one in seconds:
        durations.add("map", one)
    return durations.usual("map")


def test_nothing_is_usual_before_four_tasks_are_done() -> None:
    assert usual() is None
    assert usual(1.0, 2.0, 3.0) is None


@pytest.mark.parametrize(
    ("seconds", "third_quartile"),
    [((4.0, 1.0, 3.0, 2.0), 3.0), ((1.0, 1.0, 1.0, 1.0, 9.0), 1.0), (tuple(range(1, 101)), 75.0)],
)
def test_three_of_four_tasks_took_no_longer(seconds: tuple[float, ...], third_quartile: float) -> None:
    assert usual(*seconds) == third_quartile


def test_each_kind_of_task_has_its_own() -> None:
    durations = Durations()
    for _ in range(4):
        durations.add("map", 1.0)
        durations.add("reduce", 10.0)

    assert (durations.usual("map"), durations.usual("reduce")) == (1.0, 10.0)
    assert durations.usual("copy") is None


def test_only_the_latest_are_remembered() -> None:
    assert usual(*[1.0] * DURATIONS_MAX, *[2.0] * DURATIONS_MAX) == 2.0
    assert usual(*[5.0, 1.0] * DURATIONS_MAX, *[3.0] * DURATIONS_MAX) == 3.0


@pytest.mark.parametrize(
    ("seconds", "usual_seconds", "is_slow"), [(15.0, 10.0, False), (15.1, 10.0, True), (1e9, None, False)]
)
def test_a_task_is_slow_beyond_one_and_a_half_times_of_what_is_usual(
    seconds: float, usual_seconds: float | None, is_slow: bool
) -> None:
    row = TaskRow(
        task="map-00000",
        attempt="1.1",
        worker="a/0",
        state="map",
        seconds=seconds,
        usual_seconds=usual_seconds,
    )

    assert row.is_slow is is_slow

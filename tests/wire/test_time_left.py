"""How long the phases of a run still take: by their pace of late, and nothing where nothing moves."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pymr.wire.rows import PhaseRow
from pymr.wire.time_left import WINDOW_SECONDS, TimeLeft, seconds_left
from pymr.wire.wording import phase_share


def map_phase(done_bytes: int, total: int = 1_000, done: int = 1) -> PhaseRow:
    return PhaseRow(name="map", done=done, total=10, units=(done_bytes // 10, done_bytes), total_units=total)


def looked(*looks: tuple[float, PhaseRow]) -> TimeLeft:
    time_left = TimeLeft()
    for at, phase in looks:
        time_left.note([phase], at)
    return time_left


def test_what_is_left_goes_on_at_the_pace_of_late() -> None:
    slow = [(float(second), map_phase(second * 10, 100_000)) for second in range(40)]
    fast = [(40.0 + second, map_phase(400 + second * 100, 100_000)) for second in range(25)]
    time_left = looked(*slow, *fast)

    assert WINDOW_SECONDS < 24
    assert time_left.of(fast[-1][1]) == pytest.approx((100_000 - 2_800) / 100)


def test_where_no_amount_is_known_tasks_are_counted() -> None:
    one, other = (PhaseRow(name="shuffle", done=done, total=10, units=(done, 0)) for done in (2, 4))

    assert looked((0.0, one), (2.0, other)).of(other) == pytest.approx(6.0)


def test_small_files_are_judged_by_their_number_too() -> None:
    """Their bytes are there long before they have their names."""
    totals = {"total": 2, "total_first": 100, "total_units": 1_000}
    one = PhaseRow(name="copy", units=(10, 900), **totals)  # type: ignore[arg-type]
    other = PhaseRow(name="copy", units=(20, 1_000), **totals)  # type: ignore[arg-type]

    assert looked((0.0, one), (1.0, other)).of(other) == pytest.approx(8.0)


@pytest.mark.parametrize(
    "looks",
    [
        [(0.0, map_phase(5))],
        [(0.0, map_phase(5)), (1.0, map_phase(5))],
        [(0.0, map_phase(5)), (0.1, map_phase(50))],
        [(0.0, map_phase(5)), (1.0, map_phase(500, done=10))],
    ],
    ids=["seen once", "stands still", "seen too shortly", "over"],
)
def test_nothing_is_told_of_what_does_not_move(looks: Iterable[tuple[float, PhaseRow]]) -> None:
    *_, (_, phase) = looks

    assert looked(*looks).of(phase) is None


def test_the_run_takes_as_long_as_the_phase_that_takes_longest() -> None:
    time_left = TimeLeft()
    phases = [
        [map_phase(100 * look), PhaseRow(name="shuffle", done=look, total=100), PhaseRow(name="reduce")]
        for look in (1, 2)
    ]
    for at, look in enumerate(phases):
        time_left.note(look, float(at))
    told = time_left.told_in(phases[-1])

    assert [phase.seconds_left for phase in told] == [pytest.approx(8.0), pytest.approx(98.0), None]
    assert seconds_left(told) == pytest.approx(98.0)
    assert seconds_left(phases[0]) is None


def test_how_long_the_runs_before_took_is_told_of_the_last_phase_while_another_moves() -> None:
    """So that the end of the map phase is not taken for that of the run."""
    time_left, still = TimeLeft(), TimeLeft()
    rest = [PhaseRow(name="reduce", total=4), PhaseRow(name="publish", total=1)]
    for second in (1, 2):
        time_left.note([map_phase(100 * second), *rest], float(second))
        still.note([map_phase(100), *rest], float(second))
    phases = [map_phase(200), *rest]

    assert [one.seconds_left for one in time_left.told_in(phases, 300.0)] == [pytest.approx(8.0), 300.0, None]
    assert [one.seconds_left for one in time_left.told_in(phases, 3.0)] == [pytest.approx(8.0), None, None]
    assert [one.seconds_left for one in still.told_in(phases, 300.0)] == [None] * 3


def test_a_phase_with_nothing_to_do_is_over() -> None:
    assert phase_share(PhaseRow(name="shuffle", is_over=True)) == 1.0
    assert phase_share(PhaseRow(name="shuffle")) == 0.0

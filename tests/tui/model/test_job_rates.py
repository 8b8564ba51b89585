"""Rates of phases: from one look to the next, and nothing where nothing is known."""

from __future__ import annotations

import pytest
from job_samples import job, view

from pymr.wire.requests import JobView
from pymr.wire.rows import PhaseRow
from tui.model.job_rates import WINDOW_SECONDS, JobRates


def look(units: tuple[int, int], total: int = 1_000, run_id: str = "r1", done: int = 1) -> JobView:
    phase = PhaseRow(name="map", done=done, total=10, units=units, total_units=total)
    return view(job("j", "running", run_id=run_id), phases=(phase,))


def test_a_rate_is_the_mean_of_the_last_seconds() -> None:
    rates = JobRates()
    for second in range(40):
        rates.note(look((second * 10, second * 100), total=100_000), float(second))
    for second in range(40, 65):
        units = (400 + (second - 40) * 20, 4_000 + (second - 40) * 200)
        rates.note(look(units, total=100_000), float(second))

    rate = rates.of("map")

    assert rate is not None
    assert rate.first == pytest.approx(20.0)
    assert rate.second == pytest.approx(200.0)
    assert WINDOW_SECONDS < 25


def test_nothing_is_told_of_what_stands_still_is_over_or_was_seen_once() -> None:
    once, still, over, short = JobRates(), JobRates(), JobRates(), JobRates()
    once.note(look((1, 1)), 0.0)
    for at in (0.0, 1.0):
        still.note(look((5, 5)), at)
        over.note(look((int(at), 5), done=10), at)
        short.note(look((int(at * 9), 5)), at / 100)

    assert [rates.of("map") for rates in (once, still, over, short)] == [None] * 4
    assert still.of("reduce") is None


def test_another_run_begins_anew() -> None:
    rates = JobRates()
    rates.note(look((500, 500)), 0.0)
    rates.note(look((900, 900)), 1.0)
    rates.note(look((1, 1), run_id="r2"), 2.0)

    assert rates.of("map") is None


def test_the_same_look_again_is_none() -> None:
    rates, one = JobRates(), look((1, 100))
    rates.note(look((0, 0)), 0.0)
    rates.note(one, 1.0)
    rates.note(one, 9.0)

    rate = rates.of("map")

    assert rate is not None
    assert rate.second == pytest.approx(100.0)

"""A wider terminal shows the columns of a narrower one, and perhaps more: of every table, at every width."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from asked_console import asked_console
from job_samples import NOW, job, run, view
from still_cluster import still_state
from waiting import until

from tui.model.job_rates import JobRates
from tui.render.event_cells import event_columns
from tui.render.job_cells import job_columns
from tui.render.peer_cells import PEER_COLUMNS
from tui.render.table_columns import Column, place_columns
from tui.screens.jobs import WIDE_COLUMNS, JobsScreen
from tui.widgets.job.detail_lines import Shown, detail_lines
from tui.widgets.job.phase_board import phase_lines

WIDTHS = range(40, 261)
STATE = still_state()[0]
ROWS = (
    job("a" * 40, "failed", "billing", exception="ValueError: so odd", end_time=NOW, last_seconds=3.0),
    job("b", "queued", "billing"),
)


@pytest.mark.parametrize(
    "columns",
    [job_columns(ROWS), job_columns((*ROWS[1:], job("c"))), PEER_COLUMNS, event_columns(STATE.events)],
    ids=["jobs", "jobs of short names", "peers", "events"],
)
def test_columns_are_only_added(columns: Sequence[Column]) -> None:
    shown = [{placed.column.key for placed in place_columns(columns, width)} for width in WIDTHS]

    assert all(before <= after for before, after in itertools.pairwise(shown))
    assert shown[-1] == {column.key for column in columns}


async def test_the_table_of_jobs_never_loses_a_column_where_the_detail_comes_beside_it() -> None:
    near = {WIDE_COLUMNS + step for step in (-2, -1, 0, 1, 2)}
    async with asked_console(ROWS, (40, 30)) as (app, pilot):
        screen = app.shown_screen
        assert isinstance(screen, JobsScreen)
        shown: list[tuple[int, set[str]]] = []
        for width in sorted({*range(40, 261, 9), 80, 119, 120, 121, 199, 200, *near}):
            await pilot.resize_terminal(width, 30)
            await until(pilot, lambda width=width: screen.size.width == width, "the width")  # type: ignore[misc]
            await pilot.pause()
            shown.append((width, set(screen.table.shown_columns)))
        is_beside = screen.detail.region.x > 0

    lost = [(width, before - after) for (_, before), (width, after) in itertools.pairwise(shown)]
    assert [one for one in lost if one[1]] == []
    assert is_beside
    assert shown[-1][1] == {column.key for column in job_columns(ROWS)}


def test_the_phases_and_the_history_of_a_job_only_gain_by_width() -> None:
    row = job("count", "running", run_id="r9")
    told = view(row, runs=(run(2, seconds=20.0, records=5), run(1, "failed", exception="ValueError: odd")))
    titles, words = [], []
    for width in WIDTHS:
        heading = phase_lines(STATE.job_views["nightly_wordcount"].phases, {}, width)[0].plain
        titles.append(set(heading.split()))
        lines = detail_lines(Shown(row, told), JobRates(), width, NOW)
        runs = [line.plain for line in lines if "succeeded" in line.plain or "failed" in line.plain]
        words.append([len(line.split()) for line in runs])

    assert all(before <= after for before, after in itertools.pairwise(titles))
    assert all(before <= after for before, after in itertools.pairwise(words))

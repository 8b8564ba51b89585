"""The detail of a job: what it says in which standing, and how it scrolls."""

from __future__ import annotations

import time

import pytest
from job_samples import NOW, TRACEBACK, job, run, view
from rich.cells import cell_len
from textual.app import App, ComposeResult
from waiting import screen_text

from pymr.wire.requests import JobView
from pymr.wire.rows import FailedAttempt, JobRow, PanePlace, PhaseRow, TaskRow
from tui.model.job_rates import JobRates, PhaseRate
from tui.model.job_table import GroupLine
from tui.render.bars import bar_text
from tui.render.job_cells import job_cell, job_columns
from tui.render.partition_strip import partition_strip, partition_words
from tui.render.sparkline import highest_of_each, spark_text
from tui.widgets.job.detail import JobDetail
from tui.widgets.job.detail_lines import Shown, detail_lines
from tui.widgets.job.phase_board import phase_lines, short_number

PHASES = (
    PhaseRow(name="map", done=4, total=10, running=2, units=(1_000, 5_000_000), total_units=10_000_000),
    PhaseRow(name="reduce", total=24),
)


def task(name: str, seconds: float) -> TaskRow:
    return TaskRow(task=name, attempt="1", worker="beta/1", state="map", seconds=seconds, usual_seconds=10.0)


def text_of(row: JobRow, told: JobView | None = None, width: int = 78) -> str:
    return "\n".join(line.plain.rstrip() for line in detail_lines(Shown(row, told), JobRates(), width, NOW))


RUNNING = job("count", "running", run_id="r9", progress=0.42, seconds_left=63, start_time=NOW - 30, version=4)
FAILED = job("import", "failed", exception=TRACEBACK, end_time=NOW - 300, run_id="r8")


def test_job_on_an_external_engine_shows_that_and_how_far_the_engine_is() -> None:
    row = job("count", "running", run_id="r9", start_time=NOW - 30)
    row.fields["engine"] = "dask"
    driver = TaskRow(task="driver-00000", attempt="5.1", worker="alpha/0", state="map", seconds=31.0)
    text = text_of(row, view(row, phases=PHASES, tasks=(driver,)))

    assert "mapreduce on dask · priority 0" in text
    assert "4/10     2" in text
    assert "TASKS  1 running\n driver-00000  alpha/0  map" in text


def test_a_running_job_shows_its_phases_slow_tasks_partitions_and_counters() -> None:
    told = view(
        RUNNING,
        phases=PHASES,
        tasks=(task("map-1", 31.0), task("map-2", 14.0)),
        partition_bytes=(1_000_000,) * 9 + (4_000_000,),
        counters={"lines": 18_000, "blank": 3},
        failed_attempts=(FailedAttempt(task="map-7", attempt="2", worker="alpha/0", error=TRACEBACK),),
        runs=(run(2, seconds=20.0), run(1, "failed", exception=TRACEBACK)),
    )

    text = text_of(RUNNING, told)

    assert "▶ running  42%  1:03 left" in text
    assert "run r9 · began 30 s ago" in text
    assert "version 4" in text
    assert "4/10     2" in text
    assert "TASKS  2 running, 1 slow\n !  map-1  beta/1  map" in text
    assert "31 s  usually 10 s" in text
    assert "PARTITIONS  10, largest 4.0 MB = 4.0 \u00d7 median" in text
    assert "map-7, attempt 2, on alpha/0: KeyError: 'CHF'" in text
    assert " blank       3\n lines  18,000" in text
    assert "✗ failed" in text
    assert "EXCEPTION" not in text


@pytest.mark.parametrize("width", [45, 57, 78, 120])
def test_no_column_of_the_phases_moves_as_figures_come_and_go(width: int) -> None:
    idle = (PhaseRow(name="map"), PhaseRow(name="reduce", total=24))
    busy = (
        PhaseRow(
            name="map", done=4, total=10, running=2, units=(1_000, 5_000_000), total_units=10_000_000,
            seconds=3.0, seconds_left=63.0,
        ),
        PhaseRow(name="reduce", total=24),
    )  # fmt: skip
    rate = {"map": PhaseRate(12_000.0, 3e6)}
    shown = [phase_lines(phases, rates, width) for phases, rates in ((idle, {}), (busy, {}), (busy, rate))]

    assert len({lines[0].plain for lines in shown}) == 1
    assert {line.cell_length <= width for lines in shown for line in lines} == {True}
    assert shown[2][1].plain.rstrip().endswith("1:03")


def test_warnings_are_those_of_the_running_run_else_of_the_last_one() -> None:
    succeeded = job("count", "succeeded", run_id="r8")
    running = text_of(
        RUNNING, view(RUNNING, phases=PHASES, warnings=("now",), runs=(run(8, warnings=("then",)),))
    )
    ended = text_of(succeeded, view(succeeded, runs=(run(8, warnings=("then", "twice")),)))

    assert " WARNINGS\n now" in running and "then" not in running
    assert " WARNINGS\n then\n twice" in ended
    assert "WARNINGS" not in text_of(succeeded, view(succeeded, runs=(run(8),)))


def test_a_failed_job_shows_why_before_anything_else() -> None:
    place = PanePlace("beta/1", "r8", 100)
    told = view(FAILED, runs=(run(8, "failed", exception=TRACEBACK, failed_at=place, counters={"n": 1}),))

    lines = text_of(FAILED, told).split("\n")
    heading = lines.index(" EXCEPTION")

    assert heading <= 5
    assert lines[heading + 1] == " KeyError: 'CHF'"
    assert [line[1:] for line in lines[heading + 3 : heading + 7]] == TRACEBACK.split("\n")
    assert lines.index(" COUNTERS") > heading


def test_a_failed_job_shows_why_before_its_view_is_there() -> None:
    assert "KeyError: 'CHF'" in text_of(FAILED)


def test_a_job_that_waits_says_for_what_and_when_it_is_expected() -> None:
    text = text_of(
        job("links", waiting_for="input files on beta", expected_start=NOW + 120, last_seconds=12.0)
    )

    assert "waits for input files on beta" in text
    assert "begins in 2 min" in text
    assert "takes 12 s" in text
    assert "PHASES" not in text


def test_sections_that_say_nothing_are_left_out() -> None:
    text = text_of(RUNNING, view(RUNNING))

    assert [line for line in text.split("\n") if line.strip().isupper()] == []


@pytest.mark.parametrize("width", [0, 1, 2, 3, 12, 13, 20, 40, 57, 78, 99, 200])
def test_no_line_is_wider_than_the_pane(width: int) -> None:
    told = view(
        RUNNING, phases=PHASES, tasks=(task("map-" + "1" * 80, 31.0),), partition_bytes=tuple(range(1, 900)),
        counters={"c" * 90: 10**20}, runs=tuple(run(n, output="x" * 500) for n in range(40)),
    )  # fmt: skip
    wide = job("w" * 120, "failed", exception="ValueError: " + "y" * 900, submitter="s" * 300)

    for row, one in ((RUNNING, told), (wide, view(wide)), (wide, None)):
        lines = detail_lines(Shown(row, one), JobRates(), width, NOW)
        assert max(line.cell_length for line in lines) <= width


@pytest.mark.parametrize("width", [30, 40, 57])
def test_sentences_of_an_exception_are_broken_between_words_and_code_as_it_stands(width: int) -> None:
    sentence = "the output of counts is not whole: gamma, which has a part of it, is not there"
    code = "    " + "(first  +  second) " * 4
    row = job("j", "failed", exception=f"{sentence}\n{sentence}; run it again\n{code}")

    lines = [line[1:] for line in text_of(row, width=width).split("\n") if line.startswith(" ")]

    words = {word for line in lines for word in line.split()}
    assert set(sentence.replace("there", "there;").split()) <= words
    assert code.strip() in "".join(line.ljust(width - 2) for line in lines)


def test_text_of_a_job_is_shown_as_it_is_and_moves_no_cursor() -> None:
    row = job("j", "failed", exception="[red]bold[/]\n\x1b[2Jgone\ttab\u202e")

    text = text_of(row)

    assert " [red]bold[/]\n ?[2Jgone        tab?" in text


def test_a_group_shows_its_jobs() -> None:
    group = GroupLine("night", (("failed", 1), ("queued", 1)), False)
    jobs = (FAILED, job("later", "queued", "night", waiting_for="import"))

    lines = detail_lines(Shown(group=group, jobs=jobs), JobRates(), 78, NOW)

    text = "\n".join(line.plain.rstrip() for line in lines)
    assert "night  group of 2 jobs\n ✗ 1 failed   · 1 queued" in text
    assert "import  ✗ failed" in text
    assert "waits for import" in text
    assert "KeyError: 'CHF'" in text


class DetailApp(App[None]):
    def compose(self) -> ComposeResult:
        yield JobDetail()


async def test_it_stays_scrolled_while_it_is_about_the_same_job() -> None:
    app = DetailApp()
    long = "\n".join(f"line {number}" for number in range(200))
    async with app.run_test(size=(60, 10)) as pilot:
        detail = app.query_one(JobDetail)
        detail.focus()
        detail.show(Shown(job("a", "failed", exception=long)), time.monotonic())
        await pilot.pause()
        await pilot.press("space", "space")
        await pilot.pause(0.3)
        scrolled = detail.scroll_offset.y
        detail.show(Shown(job("a", "failed", exception=long, version=2)), time.monotonic())
        await pilot.pause()
        same = detail.scroll_offset.y
        detail.show(Shown(job("b", "failed", exception=long)), time.monotonic())
        await pilot.pause()

        assert scrolled > 0
        assert same == scrolled
        assert detail.scroll_offset.y == 0
        assert "b  " in screen_text(pilot)


async def test_text_is_marked_with_the_mouse_and_copied() -> None:
    app = DetailApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.query_one(JobDetail).show(Shown(FAILED), time.monotonic())
        await pilot.pause()
        lines = screen_text(pilot).splitlines()
        first = next(number for number, line in enumerate(lines) if "Traceback" in line)
        await pilot.mouse_down(JobDetail, offset=(1, first))
        await pilot.hover(JobDetail, offset=(10, first + 3))
        await pilot.mouse_up(JobDetail, offset=(10, first + 3))
        marked = app.screen.get_selected_text()

    assert marked is not None
    assert marked.startswith("Traceback (most recent call last):\n")
    assert marked.endswith("\n KeyError: ")


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "    "), (0.001, "▏   "), (0.5, "██  "), (0.54, "██▏ "), (0.9999, "███▉"), (1, "████"), (2, "████")],
)
def test_a_bar_is_full_only_when_all_is_done(share: float, text: str) -> None:
    assert bar_text(share, 4) == text


def test_sparklines_and_strips() -> None:
    assert spark_text([0, 1, 4, 8]) == " ▂▅█"
    assert spark_text([50, 100], top=100) == "▅█"
    assert spark_text([]) == ""
    assert highest_of_each([1, 9, 2, 3, 8, 1], 3) == [9, 3, 8]
    assert highest_of_each([1, 2], 3) == [1, 2]
    assert partition_strip((10, 10, 40), 10).plain == "▃▃█"
    assert partition_words((10, 10, 40)).plain == "3, largest 40 B = 4.0 \u00d7 median"
    assert partition_words((0, 0, 40)).plain == "3, largest 40 B"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (3.14, "3.1"), (870, "870"), (12_340, "12.3 k"), (999_400, "999 k"), (1.2e6, "1.2 M")],
)
def test_short_numbers(number: float, text: str) -> None:
    assert short_number(number) == text


def test_a_clock_that_is_ahead_shows_no_times_to_come() -> None:
    ended = job("count", "succeeded", end_time=NOW + 3, run_id="r1")
    begun = job("count", "running", start_time=NOW + 3, run_id="r1")

    assert "ended now" in text_of(ended)
    assert "began now" in text_of(begun)
    assert str(job_cell(ended, "when", frozenset(), NOW)) == "now"


def test_facts_of_wide_letters_are_broken_between_them() -> None:
    row = job("count", group="\u65e5\u672c\u8a9e" * 4, submitter="\u65e5", run_id="r1")
    lines = text_of(row, width=60).split("\n")

    assert all(cell_len(line) <= 60 for line in lines)
    assert "\u2026" not in "".join(lines)


def test_the_column_of_names_has_room_for_wide_letters() -> None:
    name, *_ = job_columns([job("\u65e5\u672c\u8a9e" * 5)])

    assert name.width_max >= cell_len("\u65e5\u672c\u8a9e" * 5)

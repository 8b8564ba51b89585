"""The jobs screen in the console, over states that are told to it: keys, selection, detail, attaching."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from job_samples import NOW, TRACEBACK, job, run, state, view
from textual.pilot import Pilot
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input
from waiting import screen_text, until, until_shown

import tui.app
from pymr.client import RunPanes, UnreachableError
from pymr.wire.requests import JobView
from pymr.wire.rows import JobRow, PanePlace, PhaseRow, TaskRow, WorkerRow
from tui.app import ConsoleApp
from tui.model.state import ClusterState
from tui.screens.jobs import JobsScreen
from tui.settings.options import Options
from tui.widgets.table import Table
from tui.widgets.top_bar import TopBar

FAILED = job("import", "failed", exception=TRACEBACK, end_time=NOW, run_id="r8")
DONE = job("done", "succeeded", run_id="r7")
RUNNING = job("count", "running", run_id="r9", progress=0.4, current_phase="map")
ROWS = (
    RUNNING,
    job("mails", "queued", "billing"),
    job("totals", "queued", "billing"),
    FAILED,
    job("clean", "succeeded", end_time=NOW),
)


class ToldClient:
    """Answers what the state says."""

    def __init__(self, told: ClusterState) -> None:
        self._told = told

    def job(self, job_name: str) -> JobView:
        return self._told.job_views[job_name]

    def panes_in(self, run_id: str) -> RunPanes:
        return PANES[run_id]

    def workers(self) -> tuple[WorkerRow, ...]:
        return (WorkerRow(name="b/7", peer="b", pid=1, state="map", job_name="count"),)


class ToldConsole(ConsoleApp):
    """A console that is told of states, and notes where it is sent."""

    CSS_PATH = Path(tui.app.__file__).with_name("styles.tcss")

    def __init__(self) -> None:
        super().__init__(Options(), None)
        self.went: list[tuple[object, ...]] = []

    def _offer_cluster(self) -> None:
        pass

    def open_pane(self, worker: str, run_id: str = "", offset: int | None = None) -> None:
        self.went.append((worker, run_id, offset))

    def open_workers(self, job_name: str = "", peer: str = "") -> None:
        self.went.append((job_name,))

    @property
    def jobs(self) -> JobsScreen:
        assert isinstance(self.shown_screen, JobsScreen)
        return self.shown_screen

    @property
    def selected(self) -> str:
        row = self.jobs.selected_job()
        return "" if row is None else str(row.fields["job_name"])

    async def ask(self, call: Any) -> Any:
        """The only question is for the view of the selected job, and who is at it."""
        if not self.state.job_views:
            raise UnreachableError("nobody answers")
        return call(ToldClient(self.state))

    async def tell(self, pilot: Pilot[None], rows: Sequence[JobRow], *views: JobView) -> None:
        self.state = state(rows, *views)
        self.show_on(self.jobs)
        await pilot.pause()


@asynccontextmanager
async def console(
    rows: Sequence[JobRow] = ROWS, *views: JobView, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[ToldConsole, Pilot[None]]]:
    app = ToldConsole()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.screen_stack and app.jobs.is_mounted, "the jobs screen")
        await app.tell(pilot, rows, *views)
        yield app, pilot


def names(pilot: Pilot[None]) -> list[str]:
    """What stands first in the lines of the table."""
    lines = screen_text(pilot).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(" JOB")) + 1
    table = [line[:17].strip() for line in lines[start : start + 9]]
    return [name for name in table if name]


async def test_it_says_what_it_waits_for_before_there_is_an_answer_and_what_to_do_without_jobs() -> None:
    app = ToldConsole()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "Waiting for the first answer")
        await app.tell(pilot, ())

        assert "No jobs yet: press s to submit one." in screen_text(pilot)


@pytest.mark.parametrize("size", [(80, 24), (120, 35), (200, 50)])
async def test_a_failed_job_is_one_key_away_from_its_traceback(size: tuple[int, int]) -> None:
    async with console(size=size) as (app, pilot):
        await pilot.press("n")
        await until_shown(pilot, "KeyError: 'CHF'")

        assert app.selected == "import"
        assert "Traceback (most recent call last)" in screen_text(pilot)


async def test_the_detail_stands_below_the_table_or_beside_it() -> None:
    async with console(size=(80, 24)) as (app, pilot):
        below = app.jobs.detail.region
        await pilot.resize_terminal(240, 35)
        await until(pilot, lambda: app.jobs.detail.region.x > 0, "the detail beside the table")
        beside = app.jobs.detail.region

        assert (below.x, below.width) == (0, 80)
        assert 8 <= below.height <= 12
        assert (beside.x, beside.width) == (158, 82)


async def test_enter_gives_the_detail_all_of_the_room_and_escape_takes_it_back() -> None:
    async with console() as (app, pilot):
        await pilot.press("n", "enter")
        await until(pilot, lambda: app.jobs.detail.region.height > 18, "a large detail")
        is_focused = app.jobs.detail.has_focus
        await pilot.press("escape")
        await until(pilot, lambda: app.jobs.table.region.height > 5, "the table again")

        assert is_focused
        assert app.jobs.table.has_focus
        assert app.selected == "import"


async def test_a_filter_takes_effect_as_it_is_typed_is_kept_by_enter_and_cleared_by_escape() -> None:
    async with console() as (app, pilot):
        await pilot.press("slash", *"imp")
        await until(pilot, lambda: names(pilot)[:1] == ["import"], "the filtered job")
        typed = screen_text(pilot)
        await pilot.press("enter")
        await pilot.pause()
        kept = names(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: "count" in names(pilot), "all jobs again")

        assert "1 of 5" in typed
        assert kept[0] == "import"
        assert app.jobs.table.has_focus
        assert app.selected == "import"
        assert not app.jobs.filter_line.display


async def test_what_is_typed_into_a_filter_lays_nothing_out_anew() -> None:
    laid_out: list[object] = []
    async with console() as (app, pilot):
        await pilot.press("slash", "i")
        await until_shown(pilot, "4 of 5")
        app.jobs.screen_layout_refresh_signal.subscribe(app.jobs, laid_out.append, immediate=True)
        await pilot.press("m", "p")
        await until(pilot, lambda: app.jobs.filter_line.text == "imp", "the filter")

        assert laid_out == []


async def test_of_a_filter_longer_than_its_line_the_end_is_seen() -> None:
    async with console() as (app, pilot):
        await pilot.press("slash", "x")
        await until_shown(pilot, "/ x")
        app.jobs.filter_line.query_one(Input).insert_text_at_cursor("x" * 90 + "END")
        await until_shown(pilot, "xEND")
        app.jobs.refresh(layout=True)
        await pilot.pause()

        assert "xEND" in screen_text(pilot)


async def test_a_filter_that_is_given_up_leads_back_to_where_it_began() -> None:
    async with console() as (app, pilot):
        await pilot.press("end", "slash", *"imp")
        await until(pilot, lambda: app.selected == "import", "the filtered job")
        await pilot.press("escape")
        await until(pilot, lambda: app.selected == "clean", "the job of before")


async def test_a_filter_that_nothing_passes_says_so() -> None:
    async with console() as (app, pilot):
        await pilot.press("slash", *"zzz")
        await until_shown(pilot, "No job passes the filter")
        await pilot.press("escape")
        await until(pilot, lambda: app.selected, "a selected job")

        assert names(pilot)[0] == "count"


async def test_keys_and_headers_sort_and_the_cursor_stays_on_its_job() -> None:
    async with console() as (app, pilot):
        await pilot.press("n", "o")
        await until_shown(pilot, "JOB ▲")
        upwards = names(pilot)
        await pilot.press("O")
        await until_shown(pilot, "JOB ▼")
        downwards = names(pilot)
        await pilot.click("#jobs-table", offset=(24, 0))
        await until_shown(pilot, "STATUS ▲")

        assert upwards == ["clean", "count", "import", "▾ billing  2", "mails", "totals"]
        assert downwards == ["▾ billing  2", "totals", "mails", "import", "count", "clean"]
        assert names(pilot)[0] == "import"
        assert app.selected == "import"


async def test_groups_fold_and_the_cursor_goes_to_the_line_of_the_group() -> None:
    async with console() as (app, pilot):
        await pilot.press("down", "down", "space")
        await until_shown(pilot, "▸ billing")
        folded = names(pilot)
        nothing_selected = app.selected
        await until_shown(pilot, "group of 2 jobs")
        await pilot.press("enter")
        await until_shown(pilot, "▾ billing")
        await pilot.press("z")
        await until_shown(pilot, "▸ billing")

        assert folded == ["count", "▸ billing  2", "import", "clean"]
        assert nothing_selected == ""


async def test_selection_and_scroll_are_the_same_after_an_update() -> None:
    many = [job(f"job{number:03}") for number in range(300)]
    async with console(many) as (app, pilot):
        for _ in range(5):
            await pilot.press("pagedown")
        await pilot.press("up", "up")
        before, selected = names(pilot), app.selected
        await app.tell(pilot, [job("new", "running"), *many])
        after = names(pilot)

        assert after[:-1] == before[:-1]
        assert (before[-1][:10], after[-1][:10]) == ("▲ 28 above", "▲ 29 above")
        assert app.selected == selected


async def test_the_view_of_the_selected_job_is_wanted_once_the_cursor_rests() -> None:
    async with console() as (app, pilot):
        await until(pilot, lambda: app.jobs.wanted_job == "count", "the first job to be wanted")
        await pilot.press("n")
        await until(pilot, lambda: app.jobs.wanted_job == "import", "the failed job to be wanted")

        assert app.jobs.wants.jobs


async def test_a_job_that_has_left_the_queue_stays_with_its_result_and_its_cursor() -> None:
    async with console((*ROWS, job("once", "running"))) as (app, pilot):
        app.jobs.select_job("once")
        await app.tell(pilot, ROWS)
        meanwhile = app.selected
        app.state = replace(state(ROWS), runs=(run(2, job_name="once"), run(1, "deleted", job_name="gone")))
        app.show_on(app.jobs)
        await until_shown(pilot, "in the queue no more")

        assert meanwhile != "once"
        assert names(pilot)[-2:] == ["once", "clean"]
        assert app.jobs.table.cursor_row == app.jobs.table.rows[-2]
        assert app.selected == ""


async def test_the_detail_is_as_fresh_as_the_view_of_the_job_once_that_is_read_anew() -> None:
    old = view(job("count", "queued", version=7))
    async with console(ROWS, old) as (app, pilot):
        await until(pilot, lambda: app.jobs.wanted_job == "count", "the first job to be wanted")
        await app.tell(pilot, ROWS, old)
        before = screen_text(pilot)
        await app.tell(pilot, ROWS, view(job("count", "running", progress=0.77, version=8)))

        assert "version 7" not in before
        assert "77%" in screen_text(pilot)
        assert "version 8" in screen_text(pilot)


async def test_a_job_that_is_opened_is_selected_as_soon_as_it_is_known() -> None:
    async with console() as (app, pilot):
        await pilot.press("slash", *"imp", "enter")
        app.jobs.select_job("new")
        await app.tell(pilot, [*ROWS, job("new", "queued", "billing")])
        await until(pilot, lambda: app.selected == "new", "the new job to be selected")

        assert "count" in names(pilot)


def working(*workers: str) -> JobView:
    tasks = [TaskRow(task="m", attempt="1", worker=one, state="map", seconds=1.0) for one in workers]
    return view(RUNNING, tasks=tuple(tasks))


PLACE = PanePlace("beta/1", "r8", 77)
QUEUED = job("again", "queued")
PANES = {
    "r4": RunPanes({}, is_kept=True),
    "r5": RunPanes({}, is_kept=False),
    "r6": RunPanes({}, is_kept=None),
    "r7": RunPanes({"a/0": 10, "a/1": 300, "b/0": 20}, is_kept=True),
    "r8": RunPanes({"b/0": 20}, is_kept=True),
}


@pytest.mark.parametrize(
    ("selected", "told", "place"),
    [
        (FAILED, view(FAILED, runs=(run(8, "failed", failed_at=PLACE),)), ("beta/1", "r8", 77)),
        (FAILED, view(FAILED, runs=(run(8, "failed"),)), ("b/0", "r8", None)),
        (FAILED, view(FAILED), ("import",)),
        (DONE, view(DONE, runs=(run(7), run(8))), ("a/1", "r7", None)),
        (QUEUED, view(QUEUED, runs=(run(7),)), ("a/1", "r7", None)),
        (QUEUED, view(QUEUED, runs=(run(8, "failed", failed_at=PLACE),)), ("beta/1", "r8", 77)),
        (QUEUED, view(QUEUED), ("again",)),
        (RUNNING, working("a/1", "a/1"), ("a/1", "r9", None)),
        (RUNNING, working("a/1", "a/2"), ("count",)),
        (RUNNING, working(), ("b/7", "r9", None)),
        (RUNNING, None, ("count",)),
    ],
)
async def test_attach_leads_to_the_failure_or_the_worker_or_all_workers(
    selected: JobRow, told: JobView | None, place: tuple[object, ...]
) -> None:
    async with console((selected,), *[told] * (told is not None)) as (app, pilot):
        await pilot.press("a")
        await until(pilot, lambda: app.went, "a place")

        assert app.went == [place]


@pytest.mark.parametrize(
    ("number", "words"),
    [(4, "r4 put out nothing"), (5, "The output of r5 is no longer kept"), (6, "not all peers answer")],
)
async def test_attach_says_why_there_is_no_output_of_a_job_that_has_ended(number: int, words: str) -> None:
    async with console((DONE,), view(DONE, runs=(run(number),))) as (app, pilot):
        await pilot.press("a")
        await until(pilot, lambda: any(words in one.message for one in app._notifications), "a notice")

        assert app.went == []


async def test_nothing_is_cut_at_80_by_24() -> None:
    async with console(ROWS, view(RUNNING)) as (_, pilot):
        lines = screen_text(pilot).splitlines()

        assert len(lines) == 24
        assert lines[2].split() == ["JOB", "STATUS", "PHASE", "PROGRESS", "WHEN", "LAST"]


async def test_an_answer_that_says_nothing_new_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def note(widget: type[Widget], method: str) -> None:
        original = getattr(widget, method)

        def noted(self: Widget, *arguments: Any) -> Any:
            drawn.append(widget.__name__)
            return original(self, *arguments)

        monkeypatch.setattr(widget, method, noted)

    async with console() as (app, pilot):
        note(Table, "render_line")
        note(TopBar, "render")
        await app.tell(pilot, [msgspec.structs.replace(row) for row in ROWS])
        app.jobs.table.refresh_cells()
        await pilot.pause()
        same = list(drawn)
        await app.tell(pilot, [msgspec.structs.replace(ROWS[0], progress=0.9), *ROWS[1:]])

        assert same == []
        assert drawn == ["Table"]


async def test_without_jobs_an_answer_draws_nothing_either(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def draw(_: Table[Any], y: int) -> Strip:
        drawn.append(y)
        return Strip([])

    async with console(()) as (app, pilot):
        await until_shown(pilot, "No jobs yet")
        monkeypatch.setattr(Table, "render_line", draw)
        await app.tell(pilot, ())

        assert drawn == []


# ---- breakpoints, and the time left

STOPPED = job(
    "stops", "running", run_id="r7", progress=0.4, current_phase="map", breakpoints=("beta/1", "gamma/0")
)


async def test_a_job_at_a_breakpoint_does_not_look_like_one_that_goes_on() -> None:
    async with console((STOPPED, *ROWS), view(STOPPED), size=(120, 36)) as (app, pilot):
        await until_shown(pilot, "paused at a breakpoint in beta/1, gamma/0: n goes there")
        text = screen_text(pilot)
        await pilot.press("slash", *"status:breakp", "enter")
        await until(pilot, lambda: names(pilot) == ["stops"], "the only one at a breakpoint")

        assert "◆ breakpoint" in next(line for line in text.splitlines() if line.startswith(" stops"))
        assert "▶ running" in next(line for line in text.splitlines() if line.startswith(" count"))
        assert app.selected == "stops"


async def test_a_key_goes_from_worker_to_worker_at_a_breakpoint_and_to_what_has_failed() -> None:
    other = job("too", "running", run_id="r6", breakpoints=("alpha/0",))
    async with console((STOPPED, *ROWS, other)) as (app, pilot):
        selected = []
        for _ in range(6):
            await pilot.press("n")
            await pilot.pause()
            selected.append(app.selected)

        assert selected == ["stops", "stops", "too", "import", "stops", "stops"]
        assert app.went == [
            ("beta/1", "r7", None), ("gamma/0", "r7", None), ("alpha/0", "r6", None),
            ("beta/1", "r7", None), ("gamma/0", "r7", None),
        ]  # fmt: skip


async def test_a_key_of_the_job_attaches_to_its_worker_at_the_breakpoint() -> None:
    async with console((STOPPED,), view(STOPPED)) as (app, pilot):
        await pilot.press("a")
        await until(pilot, lambda: app.went, "the worker")

        assert app.went == [("beta/1", "r7", None)]


async def test_the_time_left_of_the_selected_job_is_the_same_in_table_and_detail() -> None:
    """Although each is asked for by itself, and one answer is older than the other."""
    listed, viewed = (replace_row(RUNNING, seconds_left=seconds) for seconds in (57.0, 27_187.0))
    phases = (PhaseRow(name="map", done=1, total=4, seconds_left=27_187.0),)
    async with console((listed, FAILED), size=(120, 36)) as (app, pilot):
        await until(pilot, lambda: app.jobs.wanted_job == "count", "the selected job to be asked for")
        await app.tell(pilot, (listed, FAILED), view(viewed, phases=phases))
        await until_shown(pilot, "7:33:07 left")
        text = screen_text(pilot)

        assert text.count("7:33:07 left") == 2  # the table, and the heading of the detail
        assert text.count("7:33:07") == 3  # and the phase
        assert "57 s" not in text


def replace_row(row: JobRow, **info: Any) -> JobRow:
    return msgspec.structs.replace(row, **info)

"""The first screen: the jobs of the cluster, and all that is known of the selected one."""

from __future__ import annotations

import time
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.timer import Timer

from pymr.base.errors import PymrError
from pymr.client import Client, RunPanes
from pymr.wire.requests import JobView
from pymr.wire.rows import JobRow, RunRow
from tui.console.screen import ConsoleScreen
from tui.model.job_table import (
    GroupLine,
    JobTable,
    Line,
    group_of,
    has_left,
    line_key,
    name_of,
    rows_of_runs,
)
from tui.model.state import ClusterState
from tui.render.job_cells import job_cell, job_columns, job_kind
from tui.widgets.filter_line import FilterLine
from tui.widgets.job.detail import JobDetail
from tui.widgets.job.detail_lines import Shown
from tui.widgets.table import Cell, Table

MOVE_SECONDS = 0.1
"""A job that the cursor stays on for this long is asked about. Lower: more questions while it moves."""

WIDE_COLUMNS = 220
"""From this width on the detail is beside the table, which still has room for all of its columns."""

SEEK_SECONDS = 10.0
"""How long a job is waited for that was just submitted."""

_NO_JOBS = "No jobs yet."
_NO_JOBS_SUBMIT = "No jobs yet: press s to submit one."
_NOT_WELL = "No job is known while the cluster has the problem that is told above."
_NO_MATCH = "No job passes the filter: escape clears it."
_NO_ANSWER = "Waiting for the first answer of the cluster."

QUEUE_KEYS = (
    Binding("s", "app.submit", "submit", id="jobs.submit"),
    Binding("e", "app.edit", "edit", id="jobs.edit"),
    Binding("d", "app.delete", "delete", id="jobs.delete"),
    Binding("u", "app.undelete", "undo", id="jobs.undelete"),
    Binding("r", "app.retry", "retry", id="jobs.retry"),
    Binding("f", "app.force", "force", id="jobs.force"),
    Binding("p", "app.pause", "pause", id="jobs.pause"),
)
"""Of the Jobs screen. The actions are the console's, as their answers may come on another screen."""


class JobsScreen(ConsoleScreen):
    """A table, beside or below it the detail of the job under the cursor."""

    WANTS = frozenset({"jobs"})
    AUTO_FOCUS = "#jobs-table"
    # Beside the detail there is room for every column: a wider terminal never shows fewer of them.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE_COLUMNS, "-wide")]  # noqa: RUF012 (as Screen declares it)
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-tall")]  # noqa: RUF012 (as Screen declares it)
    DEFAULT_CSS = """
    JobsScreen .jobs { width: 100%; height: 100%; layout: vertical; }
    JobsScreen.-wide .jobs { layout: horizontal; }
    JobsScreen .jobs--list, JobsScreen #job-detail { width: 100%; height: 1fr; }
    JobsScreen.-tall .jobs--list { height: 2fr; }
    JobsScreen.-tall #job-detail { height: 3fr; }
    JobsScreen.-wide .jobs--list, JobsScreen.-wide #job-detail { width: 1fr; height: 100%; }
    JobsScreen.-wide .jobs--list { min-width: 158; }
    JobsScreen #jobs-table { height: 1fr; }
    JobsScreen.-detail .jobs--list { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", id="jobs.filter"),
        Binding("a", "attach", "attach", id="jobs.attach"),
        Binding("n,exclamation_mark", "next_failed", "next problem", id="jobs.next_failed"),
        Binding("o", "sort", "sort", id="jobs.sort"),
        Binding("O", "reverse", "reverse the order", id="jobs.reverse", show=False),
        Binding("space", "fold", "fold the group", id="jobs.fold", show=False),
        Binding("z", "fold_all", "fold all groups", id="jobs.fold_all", show=False),
        Binding("enter", "attach", "attach", id="jobs.attach_from_detail", show=False),
        Binding("escape", "app.back", "back", id="jobs.back", show=False),
        *QUEUE_KEYS,
    ]

    def __init__(self) -> None:
        super().__init__()
        self._jobs = JobTable()
        self._told: tuple[tuple[JobRow, ...] | None, tuple[RunRow, ...], dict[str, int]] = (None, (), {})
        self._sought, self._sought_until = "", 0.0  # a job to select as soon as the cluster tells of it
        self._asked_for = ""
        self._breakpoint = ""  # the worker at one that was gone to last
        self._old_view: JobView | None = None  # of that job, from before it was asked for
        self._timer: Timer | None = None

    def compose_body(self) -> ComposeResult:
        with Container(classes="jobs"):
            with Vertical(classes="jobs--list"):
                yield Table(
                    job_columns(()), self._cell, line_key, empty=_NO_ANSWER, kind=job_kind, id="jobs-table"
                )
                yield FilterLine("words, !without, 'exact, status:failed", id="jobs-filter")
            yield JobDetail(id="job-detail")

    def on_mount(self) -> None:
        self.set_interval(1.0, self._tick)

    @property
    def table(self) -> Table[Line]:
        return self.query_one("#jobs-table", Table)

    @property
    def detail(self) -> JobDetail:
        return self.query_one("#job-detail", JobDetail)

    @property
    def filter_line(self) -> FilterLine:
        return self.query_one("#jobs-filter", FilterLine)

    # ---- what the console asks of it

    def show_state(self, state: ClusterState) -> None:
        rows = None if state.jobs is None else state.jobs.rows
        deleted = {one.name: one.version for one in self.console.deleted}
        told = rows, state.runs, deleted
        if rows is not None and told != self._told:  # most answers say what the ones before did
            self._told = told
            self._jobs.set_rows((*rows, *rows_of_runs(state.runs, rows, deleted)))
            self.table.set_columns(job_columns(self._jobs.rows))
            self._show_lines()
        self.table.refresh_cells()  # the view of the selected job says the same of it
        self._tell_why_empty()
        if self._sought:
            self._seek()
        self._show_detail()

    def selected_job(self) -> JobRow | None:
        row = self._row
        return None if row is None or has_left(row) else row

    def left_job(self) -> str:
        row = self._row
        return name_of(row) if row is not None and has_left(row) else ""

    @property
    def _row(self) -> JobRow | None:
        """The job under the cursor, one that has left the queue too."""
        line = self.table.cursor_row
        return None if isinstance(line, GroupLine) else line

    @property
    def wanted_job(self) -> str:
        return self._asked_for

    def select_job(self, job_name: str) -> None:
        """Move to a job, now or as soon as the cluster tells of it; a filter that hides it is cleared."""
        self._sought, self._sought_until = job_name, time.monotonic() + SEEK_SECONDS
        self._seek()

    # ---- keys

    def action_filter(self) -> None:
        self.set_class(False, "-detail")
        self.filter_line.open()

    def action_sort(self) -> None:
        self._jobs.sort_next(self.table.shown_columns)
        self._show_lines()

    def action_reverse(self) -> None:
        self._jobs.sort(self._jobs.order.turned())
        self._show_lines()

    def action_fold(self) -> None:
        line = self.table.cursor_row
        group = line.name if isinstance(line, GroupLine) else group_of(line) if line is not None else ""
        if group in self._jobs.groups:
            self._jobs.fold(group)
            self._show_lines(at_group=group)

    def action_fold_all(self) -> None:
        line = self.table.cursor_row
        group = group_of(line) if isinstance(line, JobRow) else ""
        self._jobs.fold_all()
        self._show_lines(at_group=group if group in self._jobs.folded else "")

    def action_next_failed(self) -> None:
        """To the next job that has failed, or the next worker at a breakpoint."""
        here, row = self.table.cursor_row, self._row
        worker = "" if row is None else self._next_breakpoint(row)
        if row is None or not worker:
            row = self._jobs.waiting_after("" if here is None else line_key(here))
            if row is None:
                self.notify("No job has failed, and none is paused at a breakpoint.")
                return
            self._jobs.unfold_of(row)
            self._show_lines()
            self.table.move_to_key(name_of(row))
            worker = row.breakpoints[0] if row.breakpoints else ""
        self._breakpoint = worker
        if worker:
            self.console.open_pane(worker, row.run_id or "")

    def _next_breakpoint(self, row: JobRow) -> str:
        """The worker of a job at a breakpoint that comes behind the one that was shown last; "" for none."""
        workers = list(row.breakpoints)
        if self._breakpoint in workers:
            del workers[: workers.index(self._breakpoint) + 1]
        return workers[0] if workers else ""

    def action_attach(self) -> None:
        """To the place of the failure, or to the worker that is at it; where there are more, to them all. Of
        a job that does not run, to what its last run put out, of the worker with the most."""
        if self._row is None:
            self.notify("Select a job to see its workers.", severity="warning")
        else:
            self.console.begin(self._attach_to(self._row))

    async def _attach_to(self, row: JobRow) -> None:
        """Its view is asked for, as the one that is known may be older than the failure."""
        name = name_of(row)
        try:
            view, workers, panes = await self.console.ask(lambda client: _view_and_workers(client, name))
        except PymrError:  # nobody answers: what is known has to do
            view, workers, panes = self._view_of(row) or JobView(id="", row=row), set(), None
        if not self.is_current:  # the operator has gone elsewhere meanwhile
            return
        row = view.row or row
        run = view.runs[0] if view.runs else None
        is_running = row.status == "running"
        if not is_running and run is not None and (place := run.failed_at) is not None:
            self.console.open_pane(place.worker, place.run_id, place.offset)
        elif row.breakpoints:
            self.console.open_pane(row.breakpoints[0], row.run_id or "")
        elif is_running and len(workers) == 1:
            self.console.open_pane(workers.pop(), row.run_id or "")
        elif is_running or run is None or panes is None:
            self.console.open_workers(name)
        elif panes.sizes:
            self.console.open_pane(max(panes.sizes, key=panes.sizes.__getitem__), run.run_id)
        else:
            self.notify(_no_output(run.run_id, panes.is_kept), severity="warning", markup=False)

    def leave_part(self) -> bool:
        """From the detail to the table; from there, to all jobs."""
        if self.has_class("-detail"):
            self._be_large(False)
        elif self.focused is not None and not self.table.has_focus:
            self.table.focus()
        elif self._jobs.filter_text:
            self.filter_line.clear()
        else:
            return False
        return True

    # ---- what the widgets tell

    @on(Table.Opened)
    def _open(self, event: Table.Opened) -> None:
        event.stop()
        if isinstance(event.row, GroupLine):
            self.action_fold()
        else:
            self._be_large(True)

    @on(Table.Moved)
    def _move(self, event: Table.Moved) -> None:
        event.stop()
        self._show_detail()
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(MOVE_SECONDS, self._ask_for_selected)

    @on(Table.SortWanted)
    def _sort(self, event: Table.SortWanted) -> None:
        event.stop()
        self._jobs.sort(self._jobs.order.clicked(event.column_key))
        self._show_lines()

    @on(FilterLine.Changed)
    def _filter(self, event: FilterLine.Changed) -> None:
        event.stop()
        self._jobs.set_filter(event.text)
        self._show_lines()

    @on(FilterLine.Left)
    def _leave_filter(self, event: FilterLine.Left) -> None:
        event.stop()
        if self.filter_line.text:
            self.table.stay()
        self.table.focus()

    # ---- showing

    def _cell(self, line: Line, column: str) -> Cell:
        return job_cell(self._as_in_detail(line), column, self._jobs.groups, time.time())

    def _as_in_detail(self, line: Line) -> Line:
        """The summary of the selected job, consistent with its detail: no figure appears twice."""
        if isinstance(line, GroupLine) or name_of(line) != self._asked_for or self._row is not line:
            return line
        return self._fresh_row(line)

    def _show_lines(self, at_group: str = "") -> None:
        """at_group: the line the cursor goes to, as that of its job is folded away."""
        jobs, table = self._jobs, self.table
        lines = jobs.lines
        table.set_sorted(*jobs.order)
        self._tell_why_empty()
        table.set_rows(lines)
        if at_group:
            group = next(line for line in lines if isinstance(line, GroupLine) and line.name == at_group)
            table.move_to_key(line_key(group))
        self.filter_line.show_found(f"{jobs.passed:,} of {len(jobs.rows):,}" if jobs.filter_text else "")

    def _tell_why_empty(self) -> None:
        state = self.console.state
        if state.jobs is None:
            words = _NO_ANSWER
        elif self._jobs.rows:
            words = _NO_MATCH
        elif state.cluster is not None and state.cluster.problem:
            words = _NOT_WELL
        else:
            words = _NO_JOBS_SUBMIT if state.may_change else _NO_JOBS
        self.table.set_empty(words)

    def _seek(self) -> None:
        row = self._jobs.find(self._sought)
        if row is None and time.monotonic() < self._sought_until:
            return
        self._sought = ""
        if row is None:
            return
        self._jobs.unfold_of(row)
        self._show_lines()
        if not self.table.move_to_key(name_of(row)):
            self.filter_line.clear()
            self._jobs.set_filter("")
            self._show_lines()
            self.table.move_to_key(name_of(row))

    def _show_detail(self) -> None:
        line = self.table.cursor_row
        if isinstance(line, GroupLine):
            shown = Shown(group=line, jobs=self._jobs.members(line.name))
        elif line is None:
            shown = Shown()
        else:
            shown = Shown(self._fresh_row(line), self._view_of(line))
        self.detail.show(shown, self.console.state.answered_at or time.monotonic())

    def _fresh_row(self, row: JobRow) -> JobRow:
        """As its view has it, where that was got since the job was selected."""
        view = self._view_of(row)
        is_fresh = name_of(row) == self._asked_for and view is not self._old_view
        return view.row if view is not None and view.row is not None and is_fresh else row

    def _view_of(self, row: JobRow) -> JobView | None:
        return self.console.state.job_views.get(name_of(row))

    def _ask_for_selected(self) -> None:
        row = self._row
        name = "" if row is None else name_of(row)
        if name != self._asked_for:
            self._asked_for, self._old_view = name, None if row is None else self._view_of(row)
            self.console.wants_changed()

    def _be_large(self, is_large: bool) -> None:
        """Give the detail all of the room and the keys, or the table its share again."""
        self.set_class(is_large, "-detail")
        if is_large:
            self.detail.focus()
        else:
            self.table.focus()

    def _tick(self) -> None:
        """Times such as `in 2 min` change by themselves."""
        if self.is_current:
            self.table.refresh_cells()
            self.detail.show_anew()


def _no_output(run_id: str, is_kept: bool | None) -> str:
    """Why there is nothing to show of a run."""
    if is_kept is None:
        return f"Whether output of {run_id} is kept cannot be told: not all peers answer."
    return f"{run_id} put out nothing." if is_kept else f"The output of {run_id} is no longer kept."


def _view_and_workers(client: Client, job_name: str) -> tuple[JobView, set[str], RunPanes | None]:
    """A job, and the workers that are at it: as its leader says, or as they say themselves; and where it does
    not run, what is kept of the output of its last run, but for one whose failure has a place."""
    view = client.job(job_name)
    workers = {task.worker for task in view.tasks}
    if not workers and view.row is not None and view.row.status == "running":
        workers = {worker.name for worker in client.workers() if worker.job_name == job_name}
    run = view.runs[0] if view.runs else None
    is_running = view.row is not None and view.row.status == "running"
    if run is None or is_running or run.failed_at is not None:
        return view, workers, None
    return view, workers, client.panes_in(run.run_id)

"""All that is known of a job, as lines of text: what is urgent first, what says nothing left out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content

from pymr.jobs.external_engines import external_engine
from pymr.wire.requests import JobView
from pymr.wire.rows import FailedAttempt, JobRow, RunRow, TaskRow
from pymr.wire.wording import (
    count_of,
    from_now,
    kind_of,
    moment,
    percent,
    reason_of,
    result_of,
    span,
    status_of,
)
from tui.model.job_rates import JobRates
from tui.model.job_table import GroupLine, group_of, has_left, name_of, submitter_of
from tui.model.printable import printable, printable_lines
from tui.render.partition_strip import partition_strip, partition_words
from tui.render.small_table import fitting, small_table
from tui.render.sparkline import spark_text
from tui.render.status_words import STATUS_LOOKS, status_words
from tui.render.styled_line import MUTED, Cell
from tui.render.table_columns import MARGIN, Column
from tui.widgets.job.phase_board import phase_lines

_TASKS_SHOWN = 10
_RUNS_SHOWN = 20
_SPARK_RUNS = 40
_EXCEPTION_LINES_MAX = 1_000
_GAP = "  "
_WIDTH_MIN = 20
"""In a narrower place the lines are those of this width, cut."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a detail is about. view: the latest answer about the job of `row`; None before there is one.
    jobs: of the group of `group`, if that is selected instead."""

    row: JobRow | None = None
    view: JobView | None = None
    group: GroupLine | None = None
    jobs: tuple[JobRow, ...] = ()


def detail_lines(shown: Shown, rates: JobRates, width: int, now: float | None = None) -> list[Content]:
    """Lines of at most `width` columns."""
    now = time.time() if now is None else now
    room = max(width, _WIDTH_MIN)
    if shown.group is not None:
        lines = _group_lines(shown.group, shown.jobs, room)
    elif shown.row is not None:
        lines = _job_lines(shown.row, shown.view or JobView(id="", row=shown.row), rates, room, now)
    else:
        lines = []
    return [line.truncate(max(width, 0), ellipsis=True) for line in lines]


def _job_lines(row: JobRow, view: JobView, rates: JobRates, width: int, now: float) -> list[Content]:
    lines = _heading(row, width, now)
    for title, section in _sections(row, view, rates, width, now):
        if section:
            lines += [Content(), *[_title(title, width)] * bool(title), *section]
    return lines


def _sections(
    row: JobRow, view: JobView, rates: JobRates, width: int, now: float
) -> Iterator[tuple[Content | str, list[Content]]]:
    is_running = row.status == "running"
    ended = view.runs[0] if view.runs and not is_running else None
    if row.status == "failed":
        yield "exception", _exception(row.exception or (ended.exception if ended else None) or "", width)
    if is_running:
        yield "", phase_lines(view.phases, {one.name: rates.of(one.name) for one in view.phases}, width)
    yield _tasks_title(view.tasks), _tasks(view.tasks, width)
    if any(view.partition_bytes):
        strip = partition_strip(view.partition_bytes, width - 2 * MARGIN)
        yield Content.assemble("partitions", _GAP, partition_words(view.partition_bytes)), [_inset(strip)]
    failed = len(view.failed_attempts) if ended is None else ended.attempts_failed
    if row.status != "failed":
        yield f"failed attempts{_GAP}{failed:,}", _failed_attempts(view.failed_attempts, failed, width)
    yield "warnings", _warnings(view.warnings if ended is None else ended.warnings, width)
    counters = ended.counters if ended is not None else view.counters
    yield "counters", _counters(counters, width)
    if ended is not None and ended.output.strip():
        yield "last lines of output", _wrapped(ended.output, width)
    if row.status != "failed" and row.exception:
        yield "exception", _exception(row.exception, width)
    yield _runs_title(view.runs), _runs(view.runs, width, now)


# ---- the heading


def _heading(row: JobRow, width: int, now: float) -> list[Content]:
    status = status_words(status_of(row)).stylize("bold")
    if row.status == "running":
        left = f"{_GAP}{span(row.seconds_left)} left" if row.seconds_left is not None else ""
        status = Content.assemble(status, f"{_GAP}{percent(row.progress)}{left}")
    room = width - 2 * MARGIN - status.cell_length - len(_GAP)
    name = Content.styled(printable(name_of(row)), "bold").truncate(max(room, 8), ellipsis=True, pad=True)
    return [_inset(Content.assemble(name, _GAP, status)), *_facts(row, width, now), *_waiting(row, width)]


def _facts(row: JobRow, width: int, now: float) -> list[Content]:
    facts = [f"run {row.run_id}"] if row.run_id else []
    # What has been is so by the clock of another machine, which may be ahead.
    if row.status == "running":
        facts.append(f"began {from_now(min(row.start_time or now, now), now)}")
    elif row.end_time is not None:
        facts.append(f"ended {from_now(min(row.end_time, now), now)}")
    if row.status != "running" and row.expected_start is not None:
        facts.append(f"begins {from_now(max(row.expected_start, now), now)}")
    if row.last_seconds is not None:
        facts.append(f"takes {span(row.last_seconds)}")
    engine = external_engine(row.fields)
    facts.append(kind_of(row.fields) + (f" on {engine}" if engine else ""))
    if group := group_of(row):
        facts.append(f"group {group}")
    if has_left(row):
        return _flowing([*map(printable, facts), "in the queue no more"], width)
    facts.append(f"priority {row.fields.get('job_priority', 0)}")
    submitter = f" by {submitter_of(row)}" if submitter_of(row) else ""
    facts.append(f"submitted {moment(row.submitted_at, now)}{submitter}, version {row.version}")
    return _flowing([printable(fact) for fact in facts], width)


def _flowing(facts: Sequence[str], width: int) -> list[Content]:
    """Facts after one another, none of them broken where it fits into a line."""
    lines, line = [], ""
    for fact in facts:
        longer = f"{line} · {fact}" if line else fact
        if line and cell_len(longer) > width - 2 * MARGIN:
            lines.append(line)
            longer = fact
        line = longer
    cut = (Content.styled(one, MUTED).truncate(width - 2 * MARGIN, ellipsis=True) for one in [*lines, line])
    return [_inset(one) for one in cut]


def _waiting(row: JobRow, width: int) -> list[Content]:
    told = [_awaited(row)] if row.waiting_for else []
    if row.breakpoints:
        told.append(f"paused at a breakpoint in {', '.join(row.breakpoints)}: n goes there")
    words = (Content.styled(printable(one), "$warning") for one in told)
    return [_inset(line) for one in words for line in one.wrap(width - 2 * MARGIN)]


# ---- the sections


def _exception(text: str, width: int) -> list[Content]:
    """What it says in a line, then all of it."""
    if not text.strip():
        return []
    reason = printable(reason_of(text))
    lines = [_inset(line) for line in _words(Content.styled(reason, "bold $error"), width)]
    if text.strip() == reason:
        return lines
    whole: list[Content] = []
    for line in printable_lines(text)[-_EXCEPTION_LINES_MAX:]:
        is_code = line.startswith(" ")  # as it stands, so that what marks a place in it fits
        whole += Content(line).fold(width - 2 * MARGIN) if is_code else _words(Content(line), width)
    return [*lines, Content(), *(_inset(line) for line in whole)]


def _words(content: Content, width: int) -> list[Content]:
    """A line, broken between words where it is too long for one."""
    if content.cell_length <= width - 2 * MARGIN:
        return [content]
    return content.wrap(width - 2 * MARGIN)


def _warnings(warnings: Sequence[str], width: int) -> list[Content]:
    words = (Content.styled(printable(warning), "$warning") for warning in warnings)
    return [_inset(line) for one in words for line in one.wrap(width - 2 * MARGIN)]


def _tasks_title(tasks: Sequence[TaskRow]) -> Content:
    slow = sum(task.is_slow for task in tasks)
    more = (f", {slow} slow", "$warning") if slow else ""
    return Content.assemble("tasks", f"{_GAP}{len(tasks)} running", more)


def _tasks(tasks: Sequence[TaskRow], width: int) -> list[Content]:
    """Those that are running: the slow ones first, then those that have been for longest."""
    rows: list[dict[str, Cell]] = [
        {
            "mark": Content.styled("!", "bold $warning") if task.is_slow else "",
            "task": task.task,
            "worker": task.worker,
            "state": task.state,
            "seconds": Content.styled(span(task.seconds), "$warning") if task.is_slow else span(task.seconds),
            "usual": f"usually {span(task.usual_seconds)}" if task.is_slow else "",
        }
        for task in sorted(tasks, key=lambda task: not task.is_slow)[:_TASKS_SHOWN]
    ]
    columns = (
        Column("mark", "", 1),
        fitting("task", "", rows, 24),
        fitting("worker", "", rows, 24),
        Column("state", "", 10, priority=1),
        fitting("seconds", "", rows, 10, right=True),
        Column("usual", "", 16),
    )
    return small_table(columns, rows, width, has_titles=False)


def _failed_attempts(attempts: Sequence[FailedAttempt], failed: int, width: int) -> list[Content]:
    """The last of them; of a run that has ended, only that there were some."""
    if not attempts:
        return [_inset(Content("Their tasks were tried again."))] if failed else []
    last = attempts[0]
    words = f"{last.task}, attempt {last.attempt}, on {last.worker}: {reason_of(last.error)}"
    return [_inset(line) for line in Content(printable(words)).wrap(width - 2 * MARGIN)]


def _counters(counters: dict[str, int | float], width: int) -> list[Content]:
    rows: list[dict[str, Cell]] = [
        {"name": name, "value": f"{number:,}"} for name, number in sorted(counters.items())
    ]
    columns = (fitting("name", "", rows, width // 2), fitting("value", "", rows, 24, right=True))
    return small_table(columns, rows, width, has_titles=False)


def _runs_title(runs: Sequence[RunRow]) -> Content:
    """With how long the last ones took as a sparkline, the latest on the right."""
    ended = [run for run in reversed(runs[:_SPARK_RUNS]) if run.end_time is not None]
    blocks = spark_text([max(_seconds(run) or 0.0, 0.001) for run in ended])
    pieces = [(block, _spark_colour(run)) for block, run in zip(blocks, ended, strict=True)]
    return Content.assemble("runs", _GAP, *pieces if len(pieces) > 1 else ())


def _spark_colour(run: RunRow) -> str:
    return "$error" if run.status == "failed" else "$primary"


def _runs(runs: Sequence[RunRow], width: int, now: float) -> list[Content]:
    rows: list[dict[str, Cell]] = [
        {
            "status": status_words(run.status),
            "when": moment(run.start_time, now),
            "seconds": span(_seconds(run)),
            "result": reason_of(run.exception) if run.status == "failed" else result_of(run),
        }
        for run in runs[:_RUNS_SHOWN]
    ]
    columns = (
        fitting("status", "", rows, 12),
        fitting("when", "", rows, 16),
        fitting("seconds", "", rows, 8, right=True),
        Column("result", "", 10, flex=1),
    )
    return small_table(columns, rows, width, has_titles=False)


def _seconds(run: RunRow) -> float | None:
    return None if run.end_time is None else run.end_time - run.start_time


# ---- a group


def _group_lines(group: GroupLine, jobs: Sequence[JobRow], width: int) -> list[Content]:
    counts = Content("   ").join(
        [Content.styled(f"{STATUS_LOOKS[status][0]} {count:,} {status}", STATUS_LOOKS[status][1])
         for status, count in group.counts]
    )  # fmt: skip
    rows: list[dict[str, Cell]] = [
        {
            "name": name_of(job),
            "status": status_words(status_of(job)),
            "note": reason_of(job.exception) if job.status == "failed" else _awaited(job),
        }
        for job in jobs
    ]
    columns = (
        fitting("name", "", rows, max(width // 2, 10)),
        Column("status", "", 12),
        Column("note", "", 10, flex=1, priority=1),
    )
    size = f"{_GAP}group of {count_of(group.jobs, 'job')}"
    words = Content.assemble((printable(group.name), "bold"), (size, MUTED))
    return [_inset(words), _inset(counts), Content(), *small_table(columns, rows, width, has_titles=False)]


def _awaited(row: JobRow) -> str:
    """The job that one waits for, in words."""
    return f"waits for {row.waiting_for}" if row.waiting_for else ""


# ---- lines


def _title(words: Content | str, width: int) -> Content:
    """A muted line that stands above a section."""
    content = words if isinstance(words, Content) else Content(words)
    name, gap, rest = content.plain.partition(_GAP)
    styled = Content.assemble((name.upper(), MUTED), gap, content[len(name) + len(gap) :] if rest else "")
    return _inset(styled).truncate(width)


def _wrapped(text: str, width: int) -> list[Content]:
    """Text of a job just as it is, long lines broken."""
    lines = []
    for line in printable_lines(text)[-_EXCEPTION_LINES_MAX:]:
        lines += [_inset(part) for part in Content(line).fold(width - 2 * MARGIN)]
    return lines


def _inset(content: Content) -> Content:
    return content.pad_left(MARGIN)

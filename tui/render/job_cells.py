"""The columns of the jobs table and their cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.cells import cell_len
from textual.content import Content

from pymr.wire.rows import JobRow
from pymr.wire.wording import from_now, kind_of, percent, reason_of, span, status_of
from tui.model.job_table import GroupLine, Line, group_of, has_left, name_of, submitter_of
from tui.model.printable import printable
from tui.render.bars import bar
from tui.render.status_words import STATUS_LOOKS, status_words
from tui.render.styled_line import MUTED, Cell
from tui.render.table_columns import Column

_NAME_WISH, _NAME_WIDTH_MAX = 28, 48
_BAR_WIDTH = 6
_INDENT = "  "

_NAME = Column("name", "JOB", 14, flex=4)
_OTHERS = (
    Column("group", "GROUP", 8, flex=1, width_max=20, priority=7),
    Column("type", "TYPE", 10, flex=1, width_max=13, priority=6),
    Column("priority", "PRIO", 6, align="right", priority=8),
    Column("status", "STATUS", 12),
    Column("phase", "PHASE", 7, priority=4),
    Column("progress", "PROGRESS", _BAR_WIDTH + 5, priority=1),
    Column("when", "WHEN", 12, align="right", priority=2),
    Column("last", "LAST", 7, align="right", priority=3),
    Column("submitter", "SUBMITTER", 10, flex=1, width_max=24, priority=9),
    Column("note", "NOTE", 24, flex=3, priority=10, may_sort=False),
)


def job_columns(rows: Sequence[JobRow]) -> Sequence[Column]:
    """As wide as the names are, and without a column that says nothing of any job."""
    names = (row.fields.get("job_name") or "" for row in rows)
    longest = max((len(name) if name.isascii() else cell_len(name) for name in names), default=0)
    has_group = any(row.fields.get("group_name") for row in rows)
    width_max = min(longest + len(_INDENT), _NAME_WIDTH_MAX)
    name = replace(_NAME, width_max=max(width_max, _NAME.width), wish=min(width_max, _NAME_WISH))
    return (name, *(column for column in _OTHERS if has_group or column.key != "group"))


def job_cell(line: Line, column: str, groups: frozenset[str], now: float) -> Cell:
    """groups: those that have a line of their own, below which their jobs are set in."""
    if isinstance(line, GroupLine):
        return _group_cell(line, column)
    if column == "name":
        name = _INDENT + name_of(line) if group_of(line) in groups else name_of(line)
        return Content.styled(printable(name), MUTED) if has_left(line) else name
    if column == "status":
        return status_words(status_of(line))
    if column == "progress":
        return _progress(line)
    if column == "when":
        return _when(line, now)
    return _plain_cell(line, column)


def job_kind(line: Line) -> str:
    """The summary of a hidden line of the table: whether it is running, or waits for a person."""
    if isinstance(line, GroupLine):
        status = line.worst if line.is_folded else "queued"
    else:
        status = "queued" if has_left(line) else status_of(line)
    return {"running": "running", "breakpoint": "at a breakpoint", "failed": "failed"}.get(status, "")


def _plain_cell(row: JobRow, column: str) -> Cell:
    if column == "phase":
        return row.current_phase or "begins" if row.status == "running" else ""
    if column == "last":
        return span(row.last_seconds) if row.last_seconds is not None else ""
    if column == "priority":
        return str(row.fields.get("job_priority", ""))
    if column == "note":
        return _note(row)
    words = {"group": group_of(row), "type": kind_of(row.fields), "submitter": submitter_of(row)}[column]
    return Content.styled(printable(words), MUTED)


def _progress(row: JobRow) -> Cell:
    if row.status != "running":
        return ""
    return Content.assemble(bar(row.progress, _BAR_WIDTH), f" {percent(row.progress):>4}")


def _when(row: JobRow, now: float) -> Cell:
    """How long until it ends or begins, else how long ago it ended; `waits` where it cannot begin."""
    if row.status == "running":
        return f"{span(row.seconds_left)} left" if row.seconds_left is not None else ""
    if row.waiting_for:
        return Content.styled("waits", "$warning")
    if row.status == "queued" and row.expected_start is not None:
        return from_now(max(row.expected_start, now), now)
    if row.end_time is None:
        return ""
    # By the clock of another machine, which may be ahead.
    return Content.styled(from_now(min(row.end_time, now), now), MUTED)


def _note(row: JobRow) -> Cell:
    if row.waiting_for:
        return Content.styled(printable(f"waits for {row.waiting_for}"), "$warning")
    if row.breakpoints:
        return Content.styled(printable(f"at a breakpoint: {', '.join(row.breakpoints)}"), "$warning")
    if has_left(row):
        return Content.styled("in the queue no more", MUTED)
    return reason_of(row.exception) if row.status == "failed" else ""


def _group_cell(group: GroupLine, column: str) -> Cell:
    if column == "name":
        mark, size = "▸" if group.is_folded else "▾", f"  {group.jobs:,}"
        return Content.assemble((f"{mark} ", MUTED), (printable(group.name), "bold"), (size, MUTED))
    symbol, colour = STATUS_LOOKS[group.worst]
    if column == "status":
        return Content.styled(f"{symbol} {group.worst}", colour)
    if column == "note":
        return Content.styled(", ".join(f"{count:,} {status}" for status, count in group.counts), MUTED)
    return ""

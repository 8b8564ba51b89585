"""The cells of an event in the table of events."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from pymr.wire.rows import EventRow
from pymr.wire.wording import moment
from tui.model.failures import is_failure
from tui.render.styled_line import MUTED, Cell
from tui.render.table_columns import Column

_SYMBOLS = {
    "run.started": "▶",
    "run.succeeded": "✓",
    "run.failed": "✗",
    "run.skipped": "○",
    "run.deleted": "○",
    "run.replaced": "○",
    "run.waiting": "·",
    "task.failed": "✗",
    "task.lost": "✗",
    "peer.lost": "✗",
    "peer.joined": "●",
    "run.breakpoint": "◆",
    "leader.elected": "★",
    "redis.lost": "✗",
    "redis.back": "●",
    "queue.paused": "○",
    "queue.resumed": "▶",
    "job.deleted": "○",
}
_COLOURS = {"run.breakpoint": "$warning"}
_OTHER = "·"
_CLOCK, _DATE = len("12:34:56"), len("2024-01-31 12:34")


def kind_words(kind: str) -> str:
    """`run failed`."""
    return kind.replace(".", " ").replace("_", " ")


def event_columns(events: Sequence[EventRow]) -> tuple[Column, ...]:
    """Columns wide enough for the times of these events, the earliest first."""
    has_dates = bool(events) and len(moment(events[0].time)) > _CLOCK
    return (
        Column("time", "time", _DATE if has_dates else _CLOCK, may_sort=False),
        Column("kind", "kind", 16, may_sort=False),
        Column("text", "what", 40, flex=4, may_sort=False),
        Column("job_name", "job", 16, flex=1, width_max=32, priority=1, may_sort=False),
        Column("peer", "peer", 8, flex=1, width_max=20, priority=2, may_sort=False),
    )


def event_cell(event: EventRow, column: str) -> Cell:
    if column == "time":
        return Content.styled(moment(event.time), MUTED)
    if column == "kind":
        words = f"{_SYMBOLS.get(event.kind, _OTHER)} {kind_words(event.kind)}"
        colour = "$error" if is_failure(event) else _COLOURS.get(event.kind, "")
        return Content.styled(words, colour) if colour else words
    return str(getattr(event, column))

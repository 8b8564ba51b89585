"""Rows of what is at work in a running run: tasks that take long, and partitions of unlike size."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from pymr.cli.tables import table_lines
from pymr.wire.rows import TaskRow
from pymr.wire.wording import amount, span

_TASKS_SHOWN = 10


def slow_lines(tasks: Sequence[TaskRow], width: int) -> list[str]:
    """The tasks that take longer than is usual, the slowest first; none where there are none."""
    slow = sorted((one for one in tasks if one.is_slow), key=lambda one: one.seconds, reverse=True)
    if not slow:
        return []
    rows = [
        (one.task, one.worker, one.state, span(one.seconds), span(one.usual_seconds))
        for one in slow[:_TASKS_SHOWN]
    ]
    lines = table_lines(("SLOW TASK", "WORKER", "STATE", ">TIME", ">USUAL"), rows, width=width)
    return [*lines, f"({len(slow) - _TASKS_SHOWN} more)"] if len(slow) > _TASKS_SHOWN else lines


def partitions_line(sizes: Sequence[int]) -> str:
    """How unlike the partitions of a run are."""
    largest, middle = max(sizes), median(sizes)
    factor = f" ({_times(largest / middle)} \N{MULTIPLICATION SIGN} the median)" if middle else ""
    return f"partitions: largest {amount(largest)}, median {amount(middle)}{factor}"


def _times(factor: float) -> str:
    return f"{factor:.1f}" if factor < 10 else f"{factor:,.0f}"

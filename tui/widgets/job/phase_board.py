"""The phase board: how far each phase of a run is, how fast it goes, and when it will be over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.content import Content

from pymr.wire.rows import PhaseRow
from pymr.wire.wording import amount, percent, phase_share, span
from tui.model.job_rates import PhaseRate
from tui.render.bars import bar
from tui.render.small_table import fixed_table
from tui.render.styled_line import MUTED, Cell
from tui.render.table_columns import Column, place_columns

_BAR = Column("bar", "", 7, flex=1, width_max=40)
_COLUMNS = (
    Column("phase", "PHASES", 8),
    _BAR,
    Column("share", "", 4, align="right"),
    Column("tasks", "DONE", 9, align="right", priority=1),
    Column("running", "RUN", 4, align="right", priority=3),
    Column("first", "", 14, align="right", priority=4),
    Column("second", "PER SECOND", 10, align="right", priority=2),
    Column("seconds", "TIME", 7, align="right", priority=5),
    Column("left", "LEFT", 7, align="right", priority=1),
)
_OF_UNITS = ("first", "second")
_BYTES_PHASES = ("map", "shuffle", "list", "spread", "copy", "delete")
_UNITS = {
    "map": "records", "shuffle": "segments", "sort": "groups", "reduce": "groups",
    "list": "files", "spread": "files", "copy": "files", "delete": "files",
}  # fmt: skip


def phase_lines(
    phases: Sequence[PhaseRow], rates: Mapping[str, PhaseRate | None], width: int
) -> list[Content]:
    """A line for each phase below a line of titles. rates: by phase, of those that are known. No column moves
    as figures come and go."""
    has_units = any(phase.name in _UNITS for phase in phases)
    columns = [one for one in _COLUMNS if has_units or one.key not in _OF_UNITS]
    bar_width = next((size for column, _, size in place_columns(columns, width) if column is _BAR), 0)
    rows: list[dict[str, Cell]] = [{one.key: Content.styled(one.title, MUTED) for one in columns}]
    are_all_done = True
    for phase in phases:
        share = phase_share(phase)
        are_all_done &= share >= 1  # the shuffle of an unfinished map phase has yet to grow
        colour = "$success" if are_all_done else "$primary"
        rows.append({**_cells(phase, rates.get(phase.name)), "bar": bar(share, bar_width, colour)})
    return fixed_table(columns, rows, width) if phases else []


def short_number(number: float) -> str:
    """`870`, `123 k`, `1.2 M`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.{0 if number >= 100 * size else 1}f} {unit}"
    return f"{number:.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"


def _cells(phase: PhaseRow, rate: PhaseRate | None) -> dict[str, Cell]:
    share = phase_share(phase)
    is_begun = share > 0 or phase.running > 0 or phase.seconds > 0
    cells: dict[str, Cell] = {
        "phase": phase.name if is_begun else Content.styled(phase.name, MUTED),
        "share": percent(share) if is_begun else "",
        "tasks": f"{phase.done:,}/{phase.total:,}" if phase.total else "",
        "running": f"{phase.running:,}" if phase.running else "",
        "seconds": span(phase.seconds) if phase.seconds else "",
        "left": span(phase.seconds_left) if phase.seconds_left is not None else "",
    }
    if rate is not None:
        unit = _UNITS.get(phase.name)
        cells["first"] = f"{short_number(rate.first)} {unit}" if unit and rate.first else ""
        if rate.second:
            in_bytes = phase.name in _BYTES_PHASES
            cells["second"] = amount(rate.second) if in_bytes else f"{short_number(rate.second)} val"
    return cells

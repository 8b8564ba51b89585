"""What differs between two versions of a job, a field a line: added, removed, or changed."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from tui.model.job_text.diff import FieldChange
from tui.model.printable import printable
from tui.render.styled_line import MUTED

_VALUE_CHARACTERS_MAX = 300
_SIGNS = {"added": ("+", "$success"), "removed": ("-", "$error"), "changed": ("~", "$warning")}


class DiffView(Static):
    """old, new: what the two versions are called in the line above the fields; none where both are \"\"."""

    DEFAULT_CSS = """
    DiffView { height: auto; }
    """

    def __init__(self, changes: Sequence[FieldChange], old: str = "", new: str = "") -> None:
        super().__init__(_lines(changes, old, new), markup=False)


def _lines(changes: Sequence[FieldChange], old: str, new: str) -> Content:
    width = max((len(change.name) for change in changes), default=0)
    lines = [Content.styled(f"  {old} → {new}", MUTED)] if old or new else []
    for change in changes:
        sign, colour = _SIGNS[change.kind]
        before, after = _cut(change.old), _cut(change.new)
        value = (
            Content.assemble((before, MUTED), " → ", after) if before and after else Content(before or after)
        )
        name = printable(change.name).ljust(width)
        lines.append(Content.assemble((f"{sign} ", f"bold {colour}"), (name, "bold"), "  ", value))
    return Content("\n").join(lines)


def _cut(value: str) -> str:
    shown = printable(value)
    return shown if len(shown) <= _VALUE_CHARACTERS_MAX else f"{shown[:_VALUE_CHARACTERS_MAX]}…"

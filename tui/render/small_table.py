"""Small tables as lines of text, for what is shown whole among other things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.content import Content

from tui.render.styled_line import MUTED, Cell, content_of, fitted
from tui.render.table_columns import Column, place_columns


def small_table(
    columns: Sequence[Column], rows: Sequence[Mapping[str, Cell]], width: int, *, has_titles: bool = True
) -> list[Content]:
    """Rows of cells by the key of their column, aligned. One that says nothing in any row is left out."""
    told = [column for column in columns if any(content_of(row.get(column.key, "")) for row in rows)]
    titles = {column.key: Content.styled(column.title, MUTED) for column in told}
    return fixed_table(told, [titles, *rows] if has_titles else rows, width)


def fixed_table(columns: Sequence[Column], rows: Sequence[Mapping[str, Cell]], width: int) -> list[Content]:
    """Rows of cells by the key of their column, each column in its place whatever its content."""
    placed = place_columns(columns, width)
    lines = []
    for row in rows:
        pieces: list[Content] = []
        x = 0
        for column, start, size in placed:
            pieces.append(Content(" " * (start - x)))
            pieces.append(fitted(content_of(row.get(column.key, "")), size, column.align))
            x = start + size
        lines.append(Content.assemble(*pieces))
    return lines


def fitting(
    key: str, title: str, rows: Sequence[Mapping[str, Cell]], width_max: int, *, right: bool = False
) -> Column:
    """A column as wide as its content, up to `width_max`."""
    width = max([len(title), *(content_of(row.get(key, "")).cell_length for row in rows)])
    return Column(key, title, min(width, width_max), align="right" if right else "left")

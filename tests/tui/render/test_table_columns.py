"""Columns of tables: which are shown in a width, and how the room is shared out."""

from __future__ import annotations

from tui.render.table_columns import GAP, MARGIN, Column, place_columns

NAME = Column("name", "NAME", 10, flex=2, width_max=30)
STATUS = Column("status", "STATUS", 8)
NOTE = Column("note", "NOTE", 10, flex=1, priority=2)
TIME = Column("time", "TIME", 6, priority=1)
COLUMNS = (NAME, STATUS, NOTE, TIME)


def widths(width: int, *columns: Column) -> dict[str, int]:
    return {one.column.key: one.width for one in place_columns(columns or COLUMNS, width)}


def test_those_of_the_highest_priority_go_first() -> None:
    assert list(widths(42)) == ["name", "status", "note", "time"]
    assert list(widths(41)) == ["name", "status", "time"]
    assert list(widths(29)) == ["name", "status"]


def test_what_is_left_over_is_shared_out_up_to_the_widest() -> None:
    assert widths(54) == {"name": 18, "status": 8, "note": 14, "time": 6}
    assert widths(142) == {"name": 30, "status": 8, "note": 90, "time": 6}


def test_columns_stand_side_by_side_and_never_overflow() -> None:
    for width in range(1, 200):
        placed = place_columns(COLUMNS, width)
        ends = [one.x + one.width for one in placed]

        assert all(after.x == end + GAP for after, end in zip(placed[1:], ends, strict=False))
        assert all(end <= width - MARGIN for end in ends)


def test_a_luxury_is_shown_only_where_the_wishes_of_the_others_are_met() -> None:
    name, luxury = Column("name", "", 10, flex=1, wish=20), Column("luxury", "", 5, priority=9)

    assert widths(26, name, luxury) == {"name": 24}
    assert widths(29, name, luxury) == {"name": 20, "luxury": 5}

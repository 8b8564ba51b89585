"""The table: what is drawn of many rows, where the cursor stays, and what keys and the mouse do."""

from __future__ import annotations

from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.content import Content
from textual.pilot import Pilot
from waiting import screen_text, until

from tui.widgets.table import Cell, Column, Table

Row = tuple[str, str]

COLUMNS = (
    Column("name", "NAME", 12, flex=1, width_max=20),
    Column("word", "WORD", 12),
    Column("rest", "REST", 20, priority=1, may_sort=False),
)
SIZE = (40, 12)
SEEN = 11


class TableApp(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[str] = []
        self.told: list[tuple[str, Any]] = []

    def compose(self) -> ComposeResult:
        yield Table[Row](COLUMNS, self.cell, lambda row: row[0], empty="nothing here yet")

    def cell(self, row: Row, column: str) -> Cell:
        if column == "name":
            self.drawn.append(row[0])
            return row[0]
        return Content.styled(row[1], "$error")

    @property
    def table(self) -> Table[Row]:
        return self.query_one(Table)

    def on_table_moved(self, event: Table.Moved) -> None:
        self.told.append(("moved", event.row and event.row[0]))

    def on_table_opened(self, event: Table.Opened) -> None:
        self.told.append(("opened", event.row[0]))

    def on_table_sort_wanted(self, event: Table.SortWanted) -> None:
        self.told.append(("sort", event.column_key))


def rows(*numbers: int, word: str = "word") -> list[Row]:
    return [(f"row{number}", word) for number in numbers]


async def shown(pilot: Pilot[object], app: TableApp, some: list[Row]) -> list[str]:
    app.table.set_rows(some)
    await pilot.pause()
    return lines(pilot)


def lines(pilot: Pilot[object]) -> list[str]:
    """The first words of the lines that have any."""
    return [line.split()[0] for line in screen_text(pilot).splitlines() if line.strip()]


async def test_only_the_rows_that_are_seen_are_made() -> None:
    app = TableApp()
    async with app.run_test(size=SIZE) as pilot:
        await shown(pilot, app, rows(*range(10_000)))
        first = set(app.drawn)
        app.drawn.clear()
        await pilot.press("end")
        await pilot.pause()

        assert first == {f"row{number}" for number in range(SEEN)}
        assert set(app.drawn) == {f"row{number}" for number in range(9_989, 10_000)}


async def test_a_cursor_move_draws_two_lines() -> None:
    app = TableApp()
    async with app.run_test(size=SIZE) as pilot:
        await shown(pilot, app, rows(*range(10_000)))
        app.drawn.clear()
        await pilot.press("down")
        await pilot.pause()

        assert sorted(app.drawn) == ["row0", "row1"]


async def test_rows_that_are_the_same_are_not_drawn_again() -> None:
    app = TableApp()
    async with app.run_test(size=SIZE) as pilot:
        await shown(pilot, app, rows(*range(100)))
        app.drawn.clear()
        changed = [("row3", "changed") if row[0] == "row3" else row for row in rows(*range(100))]
        await shown(pilot, app, changed)

        assert app.drawn == ["row3"]
        assert "changed" in screen_text(pilot)


async def test_the_cursor_stays_on_its_row_and_the_row_on_its_line() -> None:
    app = TableApp()
    async with app.run_test(size=SIZE) as pilot:
        before = await shown(pilot, app, rows(*range(100)))
        await pilot.press("pagedown", "pagedown", "up", "up")
        before = lines(pilot)
        after = await shown(pilot, app, rows(*range(-5, 100)))

        assert app.table.cursor_row == ("row18", "word")
        assert after == before
        assert [kind for kind, _ in app.told] == ["moved"] * 5


async def test_with_the_rows_in_another_order_the_cursor_row_stays_on_its_line() -> None:
    app = TableApp()
    async with app.run_test(size=SIZE) as pilot:
        await shown(pilot, app, rows(*range(100)))
        app.table.move_to_key("row50")
        await pilot.pause()
        before = lines(pilot).index("row50")
        after = await shown(pilot, app, rows(*reversed(range(100))))

        assert after.index("row50") == before
        assert after[before + 1] == "row49"


async def test_where_the_row_of_the_cursor_is_gone_the_cursor_stays_in_its_place() -> None:
    app = TableApp()
    async with app.run_test(size=SIZE) as pilot:
        await shown(pilot, app, rows(1, 2, 3, 4))
        await pilot.press("down", "down")
        await shown(pilot, app, rows(1, 2, 4))
        third = app.table.cursor_row
        await shown(pilot, app, rows(1))
        last = app.table.cursor_row
        await shown(pilot, app, [])

        assert (third, last, app.table.cursor_row) == (("row4", "word"), ("row1", "word"), None)
        assert app.told[-1] == ("moved", None)
        assert "nothing here yet" in screen_text(pilot)


async def test_the_cursor_returns_to_its_row_when_that_comes_back_unless_it_was_moved() -> None:
    app = TableApp()
    async with app.run_test(size=SIZE) as pilot:
        await shown(pilot, app, rows(1, 2, 3, 4))
        app.table.move_to_key("row3")
        await shown(pilot, app, rows(1, 2))
        await shown(pilot, app, rows(1, 2, 3, 4))
        returned = app.table.cursor_row
        await shown(pilot, app, rows(1, 2))
        await pilot.press("up")
        await shown(pilot, app, rows(1, 2, 3, 4))

        assert returned == ("row3", "word")
        assert app.table.cursor_row == ("row1", "word")


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        (["down", "down", "up"], 1),
        (["up"], 0),
        (["end"], 99),
        (["end", "home"], 0),
        (["pagedown"], 10),
        (["end", "pageup"], 89),
        (["end", "down"], 99),
    ],
)
async def test_keys_move_the_cursor_and_keep_it_in_view(keys: list[str], place: int) -> None:
    app = TableApp()
    async with app.run_test(size=SIZE) as pilot:
        await shown(pilot, app, rows(*range(100)))
        await pilot.press(*keys)

        assert app.table.cursor == place
        assert f"row{place}" in lines(pilot)


async def test_the_mouse_selects_opens_and_sorts() -> None:
    app = TableApp()
    async with app.run_test(size=(60, 12)) as pilot:
        await shown(pilot, app, rows(*range(100)))
        await pilot.click(Table, offset=(3, 4))
        await pilot.click(Table, offset=(3, 5), times=2)
        await pilot.press("enter")
        await pilot.click(Table, offset=(3, 0))
        await pilot.click(Table, offset=(40, 0))
        await pilot.pause()

        assert app.told == [
            ("moved", "row0"), ("moved", "row3"), ("moved", "row4"),
            ("opened", "row4"), ("opened", "row4"), ("sort", "name"),
        ]  # fmt: skip


async def test_the_column_that_is_sorted_by_is_marked() -> None:
    app = TableApp()
    async with app.run_test(size=SIZE) as pilot:
        await shown(pilot, app, rows(1))
        app.table.set_sorted("word", True)
        await pilot.pause()
        down = screen_text(pilot)
        app.table.set_sorted("name")
        await pilot.pause()

        assert "WORD ▼" in down
        assert "NAME ▲" in screen_text(pilot)
        assert "REST" not in down


async def test_a_smaller_terminal_keeps_the_cursor_in_view() -> None:
    app = TableApp()
    async with app.run_test(size=(40, 30)) as pilot:
        await shown(pilot, app, rows(*range(100)))
        for _ in range(25):
            await pilot.press("down")
        await pilot.resize_terminal(40, 10)
        await until(pilot, lambda: "row25" in lines(pilot), "the row of the cursor")

        assert len(lines(pilot)) == 10


async def test_text_of_jobs_is_never_markup_and_moves_no_cursor() -> None:
    app = TableApp()
    async with app.run_test(size=SIZE) as pilot:
        await shown(pilot, app, [("[b]\x1b[31mx\n", "[/]\u202e\ty")])

        assert "[b]?[31mx?" in screen_text(pilot)
        assert "[/]??y" in screen_text(pilot)


@pytest.mark.parametrize("environment", ["NO_COLOR", "ansi"])
async def test_without_colours_the_cursor_is_reverse(
    environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if environment == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    app = TableApp()
    if environment == "ansi":
        app.theme = "ansi-dark"
    async with app.run_test(size=SIZE) as pilot:
        await shown(pilot, app, rows(1, 2))

        def reverse(y: int) -> list[bool]:
            return [bool(segment.style and segment.style.reverse) for segment in app.table.render_line(y)]

        assert all(reverse(1))
        assert not any(reverse(2))


async def test_another_theme_draws_the_cells_in_its_colours() -> None:
    app = TableApp()
    async with app.run_test(size=SIZE) as pilot:
        await shown(pilot, app, rows(1, 2))
        before = list(app.table.render_line(2))
        app.theme = "textual-light"
        await pilot.pause()

        assert [one.text for one in app.table.render_line(2)] == [one.text for one in before]
        assert [one.style for one in app.table.render_line(2)] != [one.style for one in before]


# ---- rows that are out of view


class KindsApp(TableApp):
    def compose(self) -> ComposeResult:
        yield Table[Row](COLUMNS, self.cell, lambda row: row[0], kind=lambda row: row[1].strip("-"))


def some(*numbers: int, running: int = -1) -> list[Row]:
    return [(f"row{number}", "running" if number == running else "-") for number in numbers]


async def test_what_comes_first_stays_in_view_while_nobody_has_moved() -> None:
    app = KindsApp()
    async with app.run_test(size=SIZE) as pilot:
        await shown(pilot, app, some(*range(10, 60)))
        came = await shown(pilot, app, some(1, 2, *range(10, 60), running=1))
        cursor = app.table.cursor_row
        ended = await shown(pilot, app, some(1, 2, *range(11, 60), 10, running=1))

        assert came[1:4] == ["row1", "row2", "row10"]
        assert cursor == ("row10", "-")
        assert ended[1:4] == ["row1", "row2", "row11"]
        assert app.table.cursor == 0  # and not where the row of the cursor has gone to, out of view


async def test_rows_out_of_view_are_counted_with_those_that_are_running() -> None:
    app = KindsApp()
    async with app.run_test(size=SIZE) as pilot:
        await shown(pilot, app, some(*range(10)))
        fitting = screen_text(pilot)
        await shown(pilot, app, some(*range(30), running=29))
        at_top = screen_text(pilot).splitlines()[-1]
        await pilot.press("down", "down")
        await shown(pilot, app, some(100, 101, *range(30), running=101))
        kept = screen_text(pilot).splitlines()
        await shown(pilot, app, some(100, 101, *range(30), running=100))
        await pilot.press("end")
        await pilot.pause()
        at_end = screen_text(pilot).splitlines()[-1]

        assert "below" not in fitting
        assert at_top == " ▼ 20 below, 1 running"
        assert kept[1].split()[0] == "row0"  # somebody has moved: the row of the cursor stays where it is
        assert kept[-1] == " ▲ 2 above, 1 running   ▼ 20 below"
        assert at_end == " ▲ 22 above, 1 running"


async def test_the_line_of_hidden_rows_follows_what_becomes_of_them() -> None:
    app = KindsApp()
    async with app.run_test(size=SIZE) as pilot:
        await shown(pilot, app, some(*range(30)))
        before = screen_text(pilot).splitlines()[-1]
        await shown(pilot, app, some(*range(30), running=25))

        assert before == " ▼ 20 below"
        assert screen_text(pilot).splitlines()[-1] == " ▼ 20 below, 1 running"


async def test_at_home_the_first_rows_stay_in_view_again() -> None:
    app = KindsApp()
    async with app.run_test(size=SIZE) as pilot:
        await shown(pilot, app, some(*range(10, 60)))
        await pilot.press("down", "home")
        came = await shown(pilot, app, some(1, 2, *range(10, 60)))

        assert came[1:4] == ["row1", "row2", "row10"]


async def test_rows_are_looked_at_once_for_what_is_told_of_those_out_of_view() -> None:
    app = KindsApp()
    async with app.run_test(size=SIZE) as pilot:
        looked: list[Row] = []
        kind = app.table._kind
        assert kind is not None
        app.table._kind = lambda row: looked.append(row) or kind(row)  # type: ignore[func-returns-value]
        rows = some(*range(1_000), running=500)
        await shown(pilot, app, rows)
        await pilot.press("down", "end", "home", "pagedown")
        await pilot.pause()

        assert len(looked) == len(rows)
        assert screen_text(pilot).splitlines()[-1].endswith("below, 1 running")

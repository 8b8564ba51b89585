"""A pane's view: what is looked at stays where it is, whatever is loaded, wrapped or put out."""

from __future__ import annotations

import re
import time

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from waiting import cursor_cell, screen_text, until

from pymr.client import PaneBytes
from pymr.wire.rows import WorkerRow
from tui.model.pane.buffer import PaneTail
from tui.model.pane.needle import Needle
from tui.widgets.pane.tile import PaneTile
from tui.widgets.pane.view import LOAD_BYTES, PaneView

LINES = [b"%06d %s\n" % (number, b"x" * (number % 120)) for number in range(30_000)]
PANE = b"".join(LINES)


class ViewApp(App[None]):
    """A view, and what it asked for."""

    CSS = "PaneView > .pane-view--current { background: red; } PaneView > .pane-view--match { color: red; }"

    def __init__(self) -> None:
        super().__init__()
        self.wanted: list[tuple[int, int]] = []

    def compose(self) -> ComposeResult:
        yield PaneView()

    def on_mount(self) -> None:
        self.view.focus()

    @property
    def view(self) -> PaneView:
        return self.query_one(PaneView)

    def on_pane_view_wanted(self, event: PaneView.Wanted) -> None:
        self.wanted.append((event.start, event.end))

    def load(self) -> None:
        """Give the view what it asked for."""
        for start, end in self.wanted:
            self.view.add(piece(start, end))
        self.wanted.clear()


def piece(start: int, end: int) -> PaneBytes:
    start = max(0, len(PANE) + start) if start < 0 else start
    return PaneBytes("r1", start, PANE[start:end], len(PANE))


def shown(pilot: Pilot[object]) -> list[str]:
    return [line.rstrip("▁▂▃▄▅▆▇█ ") for line in screen_text(pilot).split("\n")]


def numbers(pilot: Pilot[object]) -> list[int]:
    return [int(line[:6]) for line in shown(pilot) if line[:6].isdecimal()]


async def test_the_end_is_followed_until_somebody_scrolls_up() -> None:
    app = ViewApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.view.add(piece(-30_000, len(PANE)))
        await pilot.pause()
        following = numbers(pilot)
        await pilot.press("up", "up")
        paused = numbers(pilot)
        app.view.add(PaneBytes("r1", len(PANE), b"030000 more\n" * 100, len(PANE) + 1_200))
        await pilot.pause()
        still = numbers(pilot)
        await pilot.press("end")
        again = shown(pilot)

        assert following == list(range(29_976, 30_000))
        assert paused == still == list(range(29_974, 29_998))
        assert again == ["030000 more"] * 24


async def test_scrolling_up_loads_what_is_before_and_nothing_jumps() -> None:
    app = ViewApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.view.add(piece(-2_000, len(PANE)))
        await pilot.pause()
        await pilot.press("pageup")
        await until(pilot, lambda: app.wanted, "a wish")
        wanted, before = list(app.wanted), numbers(pilot)
        app.load()
        await pilot.pause()
        after = shown(pilot)
        app.view.add(piece(0, 500_000))
        await pilot.pause()

        assert wanted == [(len(PANE) - 2_000 - LOAD_BYTES, len(PANE) - 2_000)]
        assert after[-1].startswith(f"{before[-1]:06d}")
        assert shown(pilot) == after


async def test_home_shows_the_first_byte_and_down_goes_on_from_there() -> None:
    app = ViewApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.view.add(piece(-2_000, len(PANE)))
        await pilot.press("home")
        await until(pilot, lambda: app.wanted, "a wish")
        app.load()
        await pilot.pause()
        first = numbers(pilot)
        while numbers(pilot)[-1] < 4_200:
            app.view.action_move(150)
            await pilot.pause()
            app.load()
            await pilot.pause()

        assert first == list(range(24))
        assert numbers(pilot) == list(range(numbers(pilot)[0], numbers(pilot)[0] + 24))


async def test_a_gap_is_told_and_enter_reads_it() -> None:
    app = ViewApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.view.add(piece(0, 500))
        app.view.add(piece(-300, len(PANE)))
        await pilot.pause()
        line = next(line for line in shown(pilot) if "not shown" in line)
        await pilot.press("enter")
        await until(pilot, lambda: app.wanted, "a wish")

        assert line == "··· 2.0 MB of output not shown — Enter reads it"
        assert app.wanted == [(500, 500 + (1 << 20))]


@pytest.mark.parametrize("width", [20, 80])
async def test_wrapped_lines_are_shown_whole_and_scroll_by_rows(width: int) -> None:
    app = ViewApp()
    async with app.run_test(size=(width, 24)) as pilot:
        app.view.add(piece(0, 30_000))
        app.view.wrap(True)
        app.view.action_first()
        await pilot.pause()
        seen = shown(pilot)
        for _ in range(80):
            app.view.action_move(1)
            await pilot.pause()
            seen.append(shown(pilot)[-1])
        text = "".join(seen)

        assert text.startswith("".join(line.decode().strip() for line in LINES[:12]).replace(" \n", ""))


async def test_wrapping_keeps_the_place() -> None:
    app = ViewApp()
    async with app.run_test(size=(40, 24)) as pilot:
        app.view.add(piece(0, len(PANE)))
        app.view.show_found(len(b"".join(LINES[:10_000])))
        await pilot.pause()
        top = numbers(pilot)[0]
        app.view.wrap(True)
        await pilot.pause()

        assert numbers(pilot)[0] == top


async def test_wrapping_keeps_a_failure_in_sight_and_what_was_found() -> None:
    before = b"".join(b"line %d %s\r\n" % (number, b"x" * 300) for number in range(50))
    failure = b"Traceback\r\n  in words\r\nKeyError\r\n"
    pane = before + failure + before
    for is_found in (False, True):
        app = ViewApp()
        async with app.run_test(size=(40, 24)) as pilot:
            app.view.add(PaneBytes("r1", 0, pane, len(pane)))
            if is_found:
                app.view.mark(Needle("KeyError").in_text())
                app.view.show_found(pane.index(b"KeyError"))
            else:
                app.view.show_region(len(before), len(before) + len(failure))
            seen = []
            for is_wrapped in (True, False, True):
                app.view.wrap(is_wrapped)
                await pilot.pause()
                seen.append("KeyError" in screen_text(pilot) and "Traceback" in screen_text(pilot))

            assert all(seen), (is_found, seen)


async def test_a_found_line_stands_in_the_middle_third() -> None:
    app = ViewApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.view.add(piece(0, len(PANE)))
        app.view.mark(Needle("^015000").in_text())
        app.view.show_found(len(b"".join(LINES[:15_000])))
        await pilot.pause()
        strip = app.view.render_line(numbers(pilot).index(15_000))

        assert 8 <= numbers(pilot).index(15_000) < 16
        assert len({segment.style.bgcolor for segment in strip if segment.style}) >= 1
        assert not app.view.is_following


async def test_a_region_is_shown_from_its_beginning() -> None:
    app = ViewApp()
    async with app.run_test(size=(80, 24)) as pilot:
        start = len(b"".join(LINES[:15_000]))
        app.view.add(piece(start - 5_000, start + 5_000))
        app.view.show_region(start, start + 150)
        await pilot.pause()
        small = numbers(pilot)
        app.view.show_region(start, start + 4_000)
        await pilot.pause()

        assert small.index(15_000) == 6
        assert numbers(pilot)[0] == 15_000


class HiddenApp(ViewApp):
    """A view that has no size yet, as on a screen that has just been switched to."""

    CSS = "PaneView { display: none; }"


async def test_a_region_shown_before_the_view_has_a_size_stands_where_it_should() -> None:
    app = HiddenApp()
    async with app.run_test(size=(80, 24)) as pilot:
        start = len(b"".join(LINES[:15_000]))
        app.view.add(piece(start - 5_000, start + 5_000))
        app.view.show_region(start, start + 150)
        assert app.view.size.height == 0
        app.view.display = True
        await pilot.pause()

        assert numbers(pilot).index(15_000) == 6


async def test_a_taller_view_has_no_empty_rows_below_while_there_are_lines_above() -> None:
    app = ViewApp()
    async with app.run_test(size=(80, 10)) as pilot:
        start = len(b"".join(LINES[:-20]))
        app.view.add(piece(start, len(PANE)))
        app.view.follow(False)
        app.view.action_move(5)
        await pilot.resize_terminal(80, 20)
        await pilot.pause()

        assert numbers(pilot) == list(range(29_980, 30_000))


async def test_times_stand_beside_lines_whose_time_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    app = ViewApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.view.add(PaneBytes("r1", 0, b"one\ntwo\nthree\n", 14, 0, ((4, 3_723.5),)))
        app.view.show_times(True)
        await pilot.pause()

        times = [line[:9].strip() for line in shown(pilot)[:3]]
        assert times[0] == ""
        assert times[1] == times[2]
        assert re.fullmatch(r"\d\d:02:03", times[1])


async def test_colours_can_be_left_out() -> None:
    app = ViewApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.view.add(PaneBytes("r1", 0, b"\x1b[31mred\x1b[0m\n", 13))
        await pilot.pause()
        coloured = {segment.style.color for segment in app.view.render_line(0) if segment.style}
        app.view.colour(False)
        await pilot.pause()
        plain = {segment.style.color for segment in app.view.render_line(0) if segment.style}

        assert len(coloured) == 2
        assert len(plain) == 1


async def test_what_the_mouse_selects_is_copied_even_when_more_is_loaded() -> None:
    app = ViewApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.view.add(piece(-5_000, len(PANE)))
        await pilot.pause()
        first = numbers(pilot)[2]
        await pilot.mouse_down(PaneView, offset=(3, 2))
        await pilot.hover(PaneView, offset=(4, 3))
        await pilot.mouse_up(PaneView, offset=(6, 4))
        await pilot.pause()
        selected = app.view.visible_text()
        app.view.add(piece(-50_000, -5_000 + len(PANE)))
        await pilot.pause()

        lines = [line.decode().rstrip("\n") for line in LINES[first : first + 3]]
        assert selected == "\n".join([lines[0][3:], lines[1], lines[2][: len(selected.split("\n")[2])]])
        assert app.view.visible_text() == selected
        assert not app.view.is_following


async def test_the_end_of_a_line_of_wide_characters_is_reached_and_copied() -> None:
    app, data = ViewApp(), ("中文" * 25 + "END\n").encode()
    async with app.run_test(size=(60, 8)) as pilot:
        app.view.add(PaneBytes("r1", 0, data, len(data)))
        app.view.follow(False)
        for _ in range(10):
            app.view.action_move_across(1)
        await pilot.pause()
        end = shown(pilot)[0]
        await pilot.mouse_down(PaneView, offset=(0, 0))
        await pilot.mouse_up(PaneView, offset=(12, 0))
        await pilot.pause()

        assert end.endswith("中文END")
        assert app.view.visible_text() == data.decode()[22:29]


async def test_a_repaint_costs_what_is_visible_however_many_marks_a_line_has() -> None:
    took_s = {}
    for length in (400, 4_000):
        app, data = ViewApp(), b"a" * length + b"\n"
        async with app.run_test(size=(160, 45)) as pilot:
            app.view.add(PaneBytes("r1", 0, data * 50, len(data) * 50))
            app.view.mark(Needle("a").in_text())
            await pilot.pause()
            moves_s = []
            for _ in range(5):
                began = time.process_time()
                app.view.action_move(-1)
                await pilot.pause()
                moves_s.append(time.process_time() - began)
            took_s[length] = min(moves_s)

    assert took_s[4_000] < 10 * took_s[400]  # about the same; with the whole lines marked 1,000 times as much


@pytest.mark.parametrize("is_wrapped", [False, True])
@pytest.mark.parametrize("is_loaded", [False, True])
@pytest.mark.parametrize("at", [4_500, 20_000, 40_050])
async def test_a_match_in_a_long_line_is_in_sight_and_the_current_one(
    at: int, is_loaded: bool, is_wrapped: bool
) -> None:
    app, data = ViewApp(), b"x" * at + b"NEEDLE" + b"y" * 60_000
    async with app.run_test(size=(80, 24)) as pilot:
        whole = PaneBytes("r1", 0, data, len(data))
        app.view.add(whole if is_loaded else PaneBytes("r1", len(data) - 100, data[-100:], len(data)))
        app.view.wrap(is_wrapped)
        app.view.mark(Needle("NEEDLE").in_text())
        app.view.show_found(at)
        app.view.add(whole)
        await pilot.pause()
        line = app.view.found_line
        row = next(y for y, text in enumerate(shown(pilot)) if "NEEDLE" in text)
        marked = next(one for one in app.view.render_line(row) if one.text == "NEEDLE")

        assert line is not None
        assert line[0] <= at < line[1] <= at + 4_096
        assert app.view.buffer.line(app.view.buffer.index_of(line[1])).offset == line[1]
        current = app.view.get_component_rich_style("pane-view--current", partial=True)
        assert marked.style is not None
        assert marked.style.bgcolor == current.bgcolor


async def test_text_of_jobs_is_never_read_as_markup() -> None:
    app = ViewApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.view.add(PaneBytes("r1", 0, b"[bold]x[/] [@click=app.quit]y[/]\n", 33))
        await pilot.pause()

        assert shown(pilot)[0] == "[bold]x[/] [@click=app.quit]y[/]"


async def test_a_view_without_output_and_without_room_does_nothing_wrong() -> None:
    app = ViewApp()
    async with app.run_test(size=(1, 1)) as pilot:
        await pilot.press("home", "pagedown", "up", "end", "enter", "left", "right")
        app.view.wrap(True)
        app.view.add(piece(0, 1_000))
        await pilot.resize_terminal(200, 50)
        await pilot.pause()

        assert app.view.buffer.end == len(PANE)


class TileApp(App[None]):
    def compose(self) -> ComposeResult:
        yield PaneTile()


@pytest.mark.parametrize(
    ("row", "title"),
    [
        (WorkerRow(name="alpha/0", peer="alpha", pid=0, state="idle"), "· alpha/0 idle"),
        (
            WorkerRow(name="alpha/0", peer="alpha", pid=1, state="map", task="m-1", job_name="count"),
            "▶ alpha/0 map  m-1  count",
        ),
        (
            WorkerRow(name="alpha/0", peer="alpha", pid=1, state="breakpoint", holder="ada@host:7"),
            "◆ alpha/0 breakpoint  ada@host types",
        ),
    ],
)
async def test_a_tile_tells_who_it_is_and_its_last_lines(row: WorkerRow, title: str) -> None:
    app, tail = TileApp(), PaneTail()
    tail.add(piece(-1_000, len(PANE)))
    async with app.run_test(size=(40, 8)) as pilot:
        app.query_one(PaneTile).show(row, tail)
        await pilot.pause()
        lines = shown(pilot)

        assert lines[0].strip() == title
        assert [line[1:7] for line in lines[1:7]] == [f"{number:06d}" for number in range(29_994, 30_000)]
        assert max(map(len, lines)) <= 40


async def test_a_tile_tells_why_its_pane_cannot_be_read() -> None:
    app = TileApp()
    async with app.run_test(size=(40, 8)) as pilot:
        row = WorkerRow(name="alpha/0", peer="alpha", pid=1, state="map")
        app.query_one(PaneTile).show(row, PaneTail(), "alpha is away")
        await pilot.pause()

        assert "alpha is away" in screen_text(pilot)


@pytest.mark.parametrize(
    ("written", "cursor"),
    [
        (b"one\r\n(Pdb) ", (1, 6, " ")),
        (b"one\r\n(Pdb) p line\x08\x08", (1, 10, "n")),  # readline has moved it back
        (b"one\r\n", (1, 0, " ")),  # the next line begins here
        (b"one\r\n(Pdb) \x1b[4C", (1, 10, " ")),
        (b"%d\r\n" * 30 % tuple(range(30)), (9, 0, " ")),
        (b"", None),
    ],
)
async def test_the_cursor_is_drawn_where_typing_goes(
    written: bytes, cursor: tuple[int, int, str] | None
) -> None:
    app = ViewApp()
    async with app.run_test(size=(40, 10)) as pilot:
        app.view.add(PaneBytes("r1", 0, written, len(written)))
        app.view.show_cursor(True)
        await pilot.pause()
        drawn = cursor_cell(pilot)
        app.view.show_cursor(False)
        await pilot.pause()

        assert drawn == cursor
        assert cursor_cell(pilot) is None


async def test_bars_below_one_another_are_drawn_where_they_stand() -> None:
    app, output = ViewApp(), b"before\r\n"
    async with app.run_test(size=(40, 10)) as pilot:
        for number in range(50):
            begun = len(output) if number else 0
            output += b"\router %d" % (number // 10) + b"\r\n\rinner %d  \x1b[A" % (number % 10)
            app.view.add(PaneBytes("r1", begun, output[begun:], len(output)))
        await pilot.pause()

        assert [line for line in shown(pilot) if line] == ["before", "outer 4", "inner 9"]
        assert app.view.buffer.line_count == 3

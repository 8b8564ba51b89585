"""How the screens look, kept as pictures: `UPDATE_SNAPSHOTS=1 pytest tests/tui/test_snapshots.py` makes them
anew. What is compared are the characters and how each is drawn, not the text of the files."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from still_cluster import NOW, pane_news, still_state
from svg_screen import DrawnLine, difference, drawn_lines, screen_svg
from textual.pilot import Pilot
from waiting import until_shown

import tui.app
from pymr.config.cluster import ClusterConfig
from tui.app import ConsoleApp
from tui.model.pane.feed import PaneFeed, PaneNews
from tui.model.state import ClusterState
from tui.settings.options import Options

SNAPSHOTS = Path(__file__).parent / "snapshots"
SCREENSHOTS = Path(__file__).parents[2] / "docs" / "screenshots"
SVG_BYTES_MAX = 120_000
DEADLINE_S = 15.0
_PAUSE_S = 0.05
_LOOKS_ALIKE = 4


class StillPanes(PaneFeed):
    """Tells once what each pane that is wished holds."""

    def __init__(self, notify: Callable[[], object]) -> None:
        super().__init__(lambda _: pytest.fail("nobody is asked"), notify)
        self._told: set[str] = set()
        self._untaken: list[PaneNews] = []

    def want(self, wishes: Any) -> None:
        new = [wish for wish in wishes if wish.worker not in self._told]
        self._told |= {wish.worker for wish in new}
        self._untaken += [pane_news(wish.worker) for wish in new]
        if new:
            self._notify()

    def take(self) -> list[PaneNews]:
        taken, self._untaken = self._untaken, []
        return taken


class StillConsole(ConsoleApp):
    """A console whose cluster stands still: it is told the two looks of `still_state`."""

    CSS_PATH = str(Path(tui.app.__file__).with_name("styles.tcss"))  # a relative one is beside this file

    def connect(self, config: ClusterConfig) -> None:
        self._panes = StillPanes(self._tell_of_panes)
        self._answer(*still_state())

    def wants_changed(self) -> None:
        """A question about a job is answered by views of its own."""
        for state in still_state():
            views = {name: msgspec.structs.replace(view) for name, view in state.job_views.items()}
            self._answer(replace(state, job_views=views))

    @property
    def pane_feed(self) -> PaneFeed:
        return self._panes

    def _answer(self, *states: ClusterState) -> None:
        for state in states:
            self.state = state
            self.show_on(self.shown_screen)


@pytest.fixture(autouse=True)
def standing_clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """It is NOW, in UTC, and nobody has settings."""
    localtime = time.localtime
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        patch.setattr(time, "time", lambda: NOW)
        patch.setattr(time, "localtime", lambda seconds=None: localtime(NOW if seconds is None else seconds))
        for name in ("NO_COLOR", "COLUMNS", "LINES"):
            patch.delenv(name, raising=False)
        yield
    time.tzset()


SCREENS = {
    "jobs-80x24": ((80, 24), "dark", "1", "nightly_wordcount"),
    "jobs-200x50": ((200, 50), "dark", "1", "PARTITIONS"),
    "jobs-120x35-light": ((120, 35), "light", "1", "TASKS"),
    "workers-120x35": ((120, 35), "dark", "2", "harbour log 41"),
    "peers-80x24": ((80, 24), "dark", "4", "received"),
    "events-80x24": ((80, 24), "dark", "6", "run failed"),
}


@pytest.mark.parametrize("name", SCREENS)
async def test_a_screen_looks_as_it_did(name: str) -> None:
    size, theme, key, awaited = SCREENS[name]
    path = SNAPSHOTS / f"{name}.svg"
    is_update = bool(os.environ.get("UPDATE_SNAPSHOTS"))
    app = StillConsole(Options(theme=theme), ClusterConfig(name="harbour"))
    async with app.run_test(size=size) as pilot:
        await pilot.press(key)
        await until_shown(pilot, awaited)
        expected = None if is_update else drawn_lines(path.read_text(encoding="utf-8"))
        svg = await settled(pilot, name, expected)
    if is_update:
        path.write_text(svg, encoding="utf-8")
        return

    assert expected is not None
    assert not (told := difference(expected, drawn_lines(svg))), f"{path.name} is another now:\n{told}"


async def settled(pilot: Pilot[None], name: str, expected: list[DrawnLine] | None) -> str:
    """The screen as soon as it is what is expected, or does not change any more."""
    deadline = time.monotonic() + DEADLINE_S
    before, alike = "", 0
    while True:
        await pilot.pause()
        svg = screen_svg(pilot.app, name)
        alike = alike + 1 if svg == before else 0
        if drawn_lines(svg) == expected or alike >= _LOOKS_ALIKE or time.monotonic() > deadline:
            return svg
        before = svg
        await asyncio.sleep(_PAUSE_S)


def test_a_difference_is_told_by_its_lines() -> None:
    before = [DrawnLine("one", ("0-2 #ffffff",)), DrawnLine("two", ("0-2 #ffffff",))]
    after = [DrawnLine("one", ("0-2 bold #ffffff",)), DrawnLine("three", ("0-4 #ffffff",))]

    assert difference(before, before) == ""
    told = difference(before, after).split("\n")
    assert {"-two", "+three", "line 0 is drawn otherwise: one", "  + 0-2 bold #ffffff"} <= set(told)


def test_pictures_are_small_load_nothing_and_tell_nothing_of_the_machine_they_were_made_on() -> None:
    paths = [*SNAPSHOTS.glob("*.svg"), *SCREENSHOTS.glob("*.svg")]
    texts = {path: path.read_text(encoding="utf-8") for path in paths}

    assert {path.stem for path in paths} >= {
        *SCREENS,
        "jobs",
        "workers",
        "attach",
        "peers",
        "editor",
        "events",
    }
    for path, text in texts.items():
        assert len(text) < SVG_BYTES_MAX, path
        assert not re.search(r"url\((?!#)|@import|href=", text), path
        assert not re.search(r"/tmp/|/root/|/home/|/work/", text), path

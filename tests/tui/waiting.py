"""What tests of the console show and wait for: something to be seen, never time to pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from textual.pilot import Pilot

from tui.app import ConsoleApp
from tui.model.state import ClusterState

TIMEOUT_S = 60.0
"""For everything that is waited for: the machine may be busy."""

_PAUSE_S = 0.02


async def until(
    pilot: Pilot[Any], condition: Callable[[], object], what: str, timeout_s: float = TIMEOUT_S
) -> None:
    """Let the app go on until the condition holds. Fails with `what` and the screen after timeout_s."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, (
            f"waited {timeout_s} s for {what}; the screen:\n{screen_text(pilot)}"
        )
        await asyncio.sleep(_PAUSE_S)
        await pilot.pause()


def screen_text(pilot: Pilot[Any]) -> str:
    """What is on the screen, as lines of text."""
    screen = pilot.app.screen
    width, height = screen.size
    lines = screen._compositor.render_strips(screen.size)
    return "\n".join("".join(segment.text for segment in line)[:width].rstrip() for line in lines[:height])


async def until_shown(pilot: Pilot[Any], text: str, timeout_s: float = TIMEOUT_S) -> None:
    """Until this text is on the screen."""
    await until(pilot, lambda: text in screen_text(pilot), f"{text!r} on the screen", timeout_s)


def show_state(app: ConsoleApp, state: ClusterState) -> None:
    """Let a console without a feed show this; what its screens look at again later is this as well."""
    app.state = state
    app.show_on(app.shown_screen)


def cursor_cell(pilot: Pilot[Any]) -> tuple[int, int, str] | None:
    """(row, column, character) of the cursor of the pane, which is reversed; None where none is drawn."""
    screen = pilot.app.screen
    region = screen.query_one("PaneView").region
    for row, strip in enumerate(screen._compositor.render_strips(screen.size)):
        column = 0
        for segment in strip:
            is_inside = region.contains(column, row) and column < region.right - 1  # not of the scroll bar
            if segment.style is not None and segment.style.reverse and is_inside:
                return row, column, segment.text
            column += segment.cell_length
    return None

"""Every theme that one may choose draws every screen, those in the colours of the terminal too."""

from __future__ import annotations

import pytest
from asked_console import asked_console
from still_cluster import still_state
from textual.theme import BUILTIN_THEMES
from waiting import until, until_shown

from tui.settings.themes import THEMES

TERMINALS_OWN = [name for name in BUILTIN_THEMES if "ansi" in name]
MODES = ("jobs", "workers", "peers", "editor", "events")


@pytest.mark.parametrize("theme", [*TERMINALS_OWN, *(theme.name for theme in THEMES)])
async def test_every_screen_is_drawn_in_every_theme(theme: str) -> None:
    async with asked_console(()) as (app, pilot):
        app.state = still_state()[0]
        app.theme = theme
        for mode in MODES:
            await app.action_show(mode)
            await until(pilot, lambda: app.shown_screen.is_mounted, "the screen")
            app.show_on(app.shown_screen)
            await until_shown(pilot, "1 at a breakpoint")

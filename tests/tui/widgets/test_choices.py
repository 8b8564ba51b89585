"""Lists to choose from: the keys of pages, before a list has a size too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from asked_console import asked_console
from textual.command import CommandList
from waiting import until

import tui
from tui.screens.dialogs.palette import Palette
from tui.widgets.choices import Choices

LINES = tuple(f"line {number}" for number in range(100))


@pytest.mark.parametrize("key", ["pagedown", "pageup"])
async def test_a_page_of_a_list_without_a_size_is_nothing(key: str) -> None:
    async with asked_console() as (app, pilot):
        choices = Choices(*LINES)
        choices.styles.height = 0
        await app.screen.mount(choices)
        choices.highlighted = 3
        choices.focus()
        await pilot.press(key)

        assert choices.highlighted == 3


async def test_pages_lead_through_a_list() -> None:
    async with asked_console() as (app, pilot):
        choices = Choices(*LINES)
        choices.styles.height = 10
        await app.screen.mount(choices)
        choices.highlighted = 0
        choices.focus()
        await pilot.pause()
        height = choices.scrollable_content_region.height
        await pilot.press("pagedown", "pagedown", "pageup")

        assert choices.highlighted == height


@pytest.mark.parametrize("key", ["pagedown", "pageup"])
async def test_a_page_of_a_palette_that_is_not_laid_out_yet_is_nothing(key: str) -> None:
    async with asked_console() as (app, pilot):
        await pilot.press("ctrl+p")
        await until(pilot, lambda: app.screen.query(CommandList), "the palette")
        commands = app.screen.query_one(CommandList)
        await until(pilot, lambda: commands.option_count, "its commands")
        commands.display = False
        await pilot.press(key)
        await pilot.press("escape")

        assert not isinstance(app.screen, Palette)


def test_every_list_to_choose_from_is_one_of_these() -> None:
    sources = {path.name: path.read_text() for path in Path(tui.__file__).parent.rglob("*.py")}
    made = re.compile(r"(?<![\w.])OptionList\(|class \w+\(OptionList\b")
    bare = [name for name, text in sources.items() if made.search(text) and name != "choices.py"]

    assert bare == []

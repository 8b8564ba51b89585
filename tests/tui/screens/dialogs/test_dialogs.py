"""What all dialogs have in common: each goes once, and takes no other screen with it."""

from __future__ import annotations

from pathlib import Path

from asked_console import asked_console
from textual.command import CommandList
from textual.screen import ModalScreen
from textual.widgets import OptionList
from waiting import until

import tui
from tui.screens.dialogs.confirm import Confirm
from tui.screens.dialogs.dialog import Dialog
from tui.screens.dialogs.palette import Palette


async def test_a_dialog_that_is_answered_twice_goes_once() -> None:
    answers: list[bool | None] = []
    async with asked_console() as (app, pilot):
        below, above = Confirm("Below?"), Confirm("Above?")
        await app.push_screen(below, answers.append)
        await app.push_screen(above, answers.append)
        above.dismiss(True)
        above.dismiss(False)
        await pilot.pause()

        assert answers == [True]
        assert app.screen is below


async def test_a_dialog_below_another_goes_after_that_one() -> None:
    answers: list[bool | None] = []
    async with asked_console() as (app, pilot):
        below, above = Confirm("Below?"), Confirm("Above?")
        await app.push_screen(below, answers.append)
        await app.push_screen(above)
        below.dismiss(True)
        await pilot.pause()
        before = app.screen
        above.dismiss(False)
        await until(pilot, lambda: len(app.screen_stack) == 1, "both to go")

    assert before is above
    assert answers == [True]


async def test_what_is_chosen_in_a_palette_that_has_gone_is_nothing() -> None:
    async with asked_console() as (app, pilot):
        await pilot.press("ctrl+p")
        await until(pilot, lambda: app.screen.query(CommandList), "the palette")
        palette, commands = app.screen, app.screen.query_one(CommandList)
        await until(pilot, lambda: commands.option_count, "its commands")
        option = commands.get_option_at_index(0)
        palette.post_message(OptionList.OptionSelected(commands, option, 0))
        app.pop_screen()
        await pilot.pause()
        await pilot.press("6")
        await until(pilot, lambda: app.current_mode == "events", "the events")

        assert not isinstance(app.screen, Palette)


def test_every_dialog_is_one_of_these() -> None:
    sources = {path.name: path.read_text() for path in Path(tui.__file__).parent.rglob("*.py")}
    bare = [name for name, text in sources.items() if f"({ModalScreen.__name__}[" in text]

    assert bare == [f"{Dialog.__name__.lower()}.py"]

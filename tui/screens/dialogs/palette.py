"""The palette: all that can be done, by name."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.command import CommandList, CommandPalette
from textual.widgets import Input, OptionList

from tui.screens.dialogs.dialog import Dialog
from tui.widgets.choices import page


class Palette(CommandPalette, Dialog[None]):
    """Textual's, for which a second Enter that came before it had closed was a second choice, and a choice
    that came after Escape was one: each took the screen below with it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pagedown", "page(1)", "Next page", show=False),
        Binding("pageup", "page(-1)", "Previous page", show=False),
    ]

    def action_page(self, direction: int) -> None:
        commands = self.query_one(CommandList)
        page(commands, commands.action_page_down if direction > 0 else commands.action_page_up)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if not self.is_current:
            event.stop()
            event.prevent_default()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        if not self.is_current:
            event.stop()
            event.prevent_default()

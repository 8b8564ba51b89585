"""The palette: all that can be done, by name."""

from __future__ import annotations

from textual.command import CommandPalette
from textual.widgets import Input


class Palette(CommandPalette):
    """Textual's, for which a second Enter that came before it had closed was a second choice: it took the
    screen below with it."""

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if not self.is_current:
            event.stop()
            event.prevent_default()

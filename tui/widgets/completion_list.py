"""The list of what can stand where the cursor is, shown below it. The text keeps the focus and leads it."""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.content import Content
from textual.geometry import Offset
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui.model.job_text.completion import Candidate, Completion
from tui.model.printable import printable
from tui.render.styled_line import MUTED
from tui.widgets.choices import Choices

_ROWS_MAX = 8
_SHOWN_COLUMNS_MAX = 40


class CompletionList(Choices, can_focus=False):
    """Open while `completion` is not None."""

    DEFAULT_CSS = """
    CompletionList {
        overlay: screen; constrain: inside inside; display: none;
        width: auto; height: auto; max-width: 76; padding: 0; border: none; scrollbar-size-vertical: 1;
    }
    """

    class Accepted(Message):
        """candidate: what was chosen, with a key or a click."""

        def __init__(self, candidate: Candidate) -> None:
            super().__init__()
            self.candidate = candidate

    def __init__(self) -> None:
        super().__init__(markup=False)
        self.completion: Completion | None = None

    @property
    def is_open(self) -> bool:
        return self.completion is not None

    @property
    def candidate(self) -> Candidate | None:
        """The one that the bar is on."""
        if self.completion is None or self.highlighted is None:
            return None
        return self.completion.candidates[self.highlighted]

    def open_at(self, place: Offset, completion: Completion) -> None:
        """Show the candidates. place: of the cursor on the screen."""
        self.completion = completion
        self.clear_options()
        self.add_options([Option(line) for line in _lines(completion)])
        self.highlighted = completion.chosen
        height = min(len(completion.candidates), _ROWS_MAX)
        self.styles.max_height = height
        room_below = self.screen.size.height - place.y - 1
        y = place.y + 1 if room_below >= height else max(place.y - height, 0)
        self.absolute_offset = Offset(max(place.x - len(completion.typed) - 1, 0), y)
        self.display = True

    def close(self) -> None:
        self.completion = None
        self.display = False

    def take(self, key: str) -> bool:
        """Do what a key does to an open list; False for one that is none of its keys."""
        if not self.is_open:
            return False
        if key == "escape":
            self.close()
        elif key in ("enter", "tab") and self.candidate is not None:
            self.post_message(self.Accepted(self.candidate))
        else:
            return self._lead(key)
        return True

    def _lead(self, key: str) -> bool:
        """Move the bar with a key; False for one that does not move it."""
        moves = {
            "up": self.action_cursor_up,
            "down": self.action_cursor_down,
            "pageup": self.action_page_up,
            "pagedown": self.action_page_down,
        }
        if key not in moves:
            return False
        move: Callable[[], None] = moves[key]
        move()
        return True

    def on_mouse_down(self, event: events.MouseDown) -> None:
        event.prevent_default()  # the text keeps the focus

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if self.candidate is not None:
            self.post_message(self.Accepted(self.candidate))


def _lines(completion: Completion) -> list[Content]:
    shown = [printable(one.shown) for one in completion.candidates]
    width = min(max(map(len, shown)), _SHOWN_COLUMNS_MAX)
    lines = []
    for name, candidate in zip(shown, completion.candidates, strict=True):
        if len(name) > _SHOWN_COLUMNS_MAX:  # of a path, the end is what is chosen
            room = _SHOWN_COLUMNS_MAX - 1
            name = f"…{name[-room:]}" if "/" in name else f"{name[:room]}…"
        lines.append(Content.assemble(f" {name:<{width}} ", (f" {printable(candidate.detail)} ", MUTED)))
    return lines

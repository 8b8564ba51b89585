"""The line below a pane in which is typed what to search for, or where to save it; else it is gone."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label

from pymr.base.printable import printable
from tui.widgets.completion_list import CompletionList
from tui.widgets.path_line import PathLine

Purpose = Literal["search", "save", "replace"]


class PanePrompt(Horizontal):
    """Asks one thing at a time. Enter answers, Escape leaves, Tab completes a path."""

    DEFAULT_CSS = """
    PanePrompt { height: 1; width: 100%; display: none; padding: 0 1; }
    PanePrompt > Label { width: auto; max-width: 70%; }
    PanePrompt > Input { width: 1fr; height: 1; border: none; padding: 0; background: transparent; }
    PanePrompt > Input:focus { border: none; background-tint: transparent; }
    PanePrompt > .pane-prompt--status { padding: 0 0 0 2; text-wrap: nowrap; text-overflow: ellipsis; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "stop", show=False, id="attach.leave_prompt"),
    ]

    class Changed(Message):
        """text: as it is now."""

        def __init__(self, purpose: Purpose, text: str) -> None:
            super().__init__()
            self.purpose = purpose
            self.text = text

    class Answered(Changed):
        """Enter was pressed."""

    class Left(Message):
        """Escape was pressed; the line is gone."""

        def __init__(self, purpose: Purpose) -> None:
            super().__init__()
            self.purpose = purpose

    def __init__(self) -> None:
        super().__init__()
        self.purpose: Purpose = "search"
        self._offered = ""
        self._typed: dict[tuple[Purpose, str], str] = {}  # by purpose and what was offered

    def compose(self) -> ComposeResult:
        yield Label("", classes="pane-prompt--question", markup=False)
        completions = CompletionList()
        yield PathLine("", "", completions)
        yield Label("", classes="pane-prompt--status", markup=False)
        yield completions

    def open(self, purpose: Purpose, question: str, text: str = "") -> None:
        """Ask. question: what stands before the text. text: that is there at first; what was typed over it
        before is there again, and goes with the first letter."""
        self.purpose, self._offered = purpose, text
        typed = self._typed.get((purpose, text), text)
        self.query_one(".pane-prompt--question", Label).update(f"{question} ")
        entry = self.query_one(PathLine)
        entry.completes_paths = purpose != "search"
        with self.prevent(Input.Changed):
            entry.value = typed
        entry.cursor_position = len(typed)
        if typed != text:
            entry.select_all()
        self.show_status("")
        self.display = True
        entry.focus()
        self.call_after_refresh(self._show_end)

    def _show_end(self) -> None:
        """Of a path that is longer than the room beside this question."""
        entry = self.query_one(PathLine)
        entry.scroll_to(x=entry.max_scroll_x, animate=False, force=True)

    def close(self) -> None:
        self.display = False

    def show_status(self, words: str) -> None:
        """How it goes, at the right end."""
        self.query_one(".pane-prompt--status", Label).update(printable(words))

    def action_leave(self) -> None:
        self.close()
        self.post_message(self.Left(self.purpose))

    @on(Input.Changed)
    def _tell(self, event: Input.Changed) -> None:
        event.stop()
        self._typed[self.purpose, self._offered] = event.value
        self.query_one(PathLine).follow()
        self.post_message(self.Changed(self.purpose, event.value))

    @on(Input.Submitted)
    def _answer(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Answered(self.purpose, event.value))

    @on(PathLine.NothingFound)
    def _tell_of_nothing(self, event: PathLine.NothingFound) -> None:
        event.stop()
        self.show_status(event.why)

    def on_completion_list_accepted(self, event: CompletionList.Accepted) -> None:
        event.stop()
        self.query_one(PathLine).accept(event.candidate)

"""The line below a table in which a filter is typed; gone while there is none."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.geometry import Size
from textual.message import Message
from textual.reactive import Reactive
from textual.widgets import Input, Label


class _Line(Input):
    """Textual would lay out all of the screen anew at every key (5 ms), as a text might need more room."""

    virtual_size = Reactive(Size(0, 0))


class FilterLine(Horizontal):
    """Tells of every key; Enter keeps the filter, Escape clears it, Up brings back one that was cleared."""

    DEFAULT_CSS = """
    FilterLine { height: 1; width: 100%; display: none; padding: 0 1; }
    FilterLine > Label { width: auto; }
    FilterLine > Input { width: 1fr; height: 1; border: none; padding: 0; background: transparent; }
    FilterLine > Input:focus { border: none; background-tint: transparent; }
    FilterLine > .filter-line--found { width: 18; padding: 0 0 0 2; text-align: right; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear", "clear", show=False, id="filter.clear"),
        Binding("up", "bring_back", "as before", show=False, id="filter.bring_back"),
    ]

    class Changed(Message):
        """text: of the filter as it is now."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The filter is kept or cleared; whoever asked for it gets the focus back."""

    def __init__(self, placeholder: str = "", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._placeholder = placeholder
        self._found = ""
        self._cleared = ""  # the filter that Up brings back

    def compose(self) -> ComposeResult:
        yield Label("/ ", classes="filter-line--mark")
        yield _Line(placeholder=self._placeholder, select_on_focus=False)
        yield Label("", classes="filter-line--found", markup=False)

    @property
    def text(self) -> str:
        return self.query_one(Input).value

    def open(self) -> None:
        """Let somebody type. One that was cleared is offered, and filters nothing before Up is pressed."""
        self.display = True
        self._offer()
        self.screen.set_focus(self.query_one(Input))  # now: what is typed next is for this line

    def clear(self) -> None:
        """No filter any more; the line goes."""
        entry = self.query_one(Input)
        self.display = False
        if entry.value:
            self._cleared = entry.value
            with self.prevent(Input.Changed):
                entry.value = ""
            self.post_message(self.Changed(""))

    def show_found(self, words: str) -> None:
        """How much the filter leaves, at the right end."""
        if words != self._found:
            self._found = words
            self.query_one(".filter-line--found", Label).update(words, layout=False)

    def action_clear(self) -> None:
        self.clear()
        self.post_message(self.Left())

    def action_bring_back(self) -> None:
        entry = self.query_one(Input)
        if self._cleared and not entry.value:
            entry.value = self._cleared
            entry.cursor_position = len(entry.value)

    def _offer(self) -> None:
        """Show what Up brings back, else what can be typed."""
        again = f"{self._cleared}  up: as before" if self._cleared else ""
        self.query_one(Input).placeholder = again or self._placeholder

    @on(Input.Changed)
    def _tell(self, event: Input.Changed) -> None:
        event.stop()
        if not event.value:  # emptied by hand
            self._cleared = ""
            self._offer()
        self.post_message(self.Changed(event.value))

    @on(Input.Submitted)
    def _keep(self, event: Input.Submitted) -> None:
        event.stop()
        self.display = bool(event.value.strip())
        self.post_message(self.Left())

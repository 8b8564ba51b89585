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
    """Tells of every key; Enter keeps the filter, Escape clears it."""

    DEFAULT_CSS = """
    FilterLine { height: 1; width: 100%; display: none; padding: 0 1; }
    FilterLine > Label { width: auto; }
    FilterLine > Input { width: 1fr; height: 1; border: none; padding: 0; background: transparent; }
    FilterLine > Input:focus { border: none; background-tint: transparent; }
    FilterLine > .filter-line--found { width: 18; padding: 0 0 0 2; text-align: right; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear", "clear", show=False, id="filter.clear"),
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
        self._cleared = ""  # the filter that stands there again when the line is opened

    def compose(self) -> ComposeResult:
        yield Label("/ ", classes="filter-line--mark")
        yield _Line(placeholder=self._placeholder, select_on_focus=False)
        yield Label("", classes="filter-line--found", markup=False)

    @property
    def text(self) -> str:
        return self.query_one(Input).value

    def open(self) -> None:
        """Let somebody type. A filter that was cleared is there again, and goes with the first letter."""
        self.display = True
        entry = self.query_one(Input)
        self.screen.set_focus(entry)  # now: what is typed next is for this line
        if not entry.value and self._cleared:
            entry.value = self._cleared
            entry.select_all()

    def clear(self) -> None:
        """No filter any more; the line goes."""
        entry = self.query_one(Input)
        self._cleared = entry.value or self._cleared
        entry.value = ""
        self.display = False

    def show_found(self, words: str) -> None:
        """How much the filter leaves, at the right end."""
        if words != self._found:
            self._found = words
            self.query_one(".filter-line--found", Label).update(words, layout=False)

    def action_clear(self) -> None:
        self.clear()
        self.post_message(self.Left())

    @on(Input.Changed)
    def _tell(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(event.value))

    @on(Input.Submitted)
    def _keep(self, event: Input.Submitted) -> None:
        event.stop()
        self.display = bool(event.value.strip())
        self.post_message(self.Left())

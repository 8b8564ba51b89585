"""An input for a path of this machine: Tab completes it, and what is wrong with it stands below."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, Static

from tui.model.printable import printable_lines
from tui.widgets.completion_list import CompletionList
from tui.widgets.path_line import PathLine


class PathInput(Vertical):
    """Ends with Input.Submitted, as an input does. value: to begin with, where nothing else was typed before
    over the same. typed: what was, by dialog, to be kept here. suffix: of files that are offered; folders are
    offered always."""

    DEFAULT_CSS = """
    PathInput { height: auto; }
    PathInput > Static { height: auto; padding: 0 3; }
    """
    HINT = "tab completes"

    def __init__(
        self, typed: dict[str, str], value: str = "", placeholder: str = "", *, suffix: str = ""
    ) -> None:
        super().__init__()
        self._typed = typed
        self._list = CompletionList()
        self._line = PathLine(value, placeholder, self._list, suffix=suffix)
        self._below = Static(self.HINT, classes="muted", markup=False)
        self._wrong_value: str | None = None  # while what is wrong with it is told
        self._kept_as = f"{placeholder}\n{value}"

    def compose(self) -> ComposeResult:
        yield self._line
        yield self._below
        yield self._list

    def on_mount(self) -> None:
        self._line.value = self._typed.get(self._kept_as, self._line.value)
        self._line.cursor_position = len(self._line.value)

    def forget(self) -> None:
        """It was what was wanted: the next time it begins anew."""
        self._typed.pop(self._kept_as, None)

    def show_wrong(self, reason: str) -> None:
        """What is wrong with the path that stands there, until it is changed."""
        self._wrong_value = self._line.value
        self._tell("\n".join(printable_lines(reason)), is_wrong=True)

    def _tell(self, words: str, *, is_wrong: bool) -> None:
        self._below.update(words)
        self._below.set_class(is_wrong, "wrong")
        self._below.set_class(not is_wrong, "muted")

    @on(Input.Changed)
    def _follow(self, event: Input.Changed) -> None:
        event.stop()
        self._typed[self._kept_as] = event.value
        if self._wrong_value not in (None, event.value):
            self._wrong_value = None
            self._tell(self.HINT, is_wrong=False)
        self._line.follow()

    @on(PathLine.NothingFound)
    def _tell_of_nothing(self, event: PathLine.NothingFound) -> None:
        event.stop()
        self.show_wrong(event.why)

    def on_completion_list_accepted(self, event: CompletionList.Accepted) -> None:
        event.stop()
        self._line.accept(event.candidate)

"""The text of a job being edited: colours, marks at what is wrong, a list of what can stand at the cursor."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer
from textual.widgets import TextArea
from textual.widgets.text_area import LanguageDoesNotExist, TextAreaTheme

from tui.model.job_text.completion import Candidate, Completion
from tui.model.job_text.problems import TextProblem
from tui.model.job_text.scan import is_in_quotes
from tui.widgets.completion_list import CompletionList

Completer = Callable[[str, int, int], Completion | None]
"""Gives what can stand at a line and a column of a text."""

ERROR_MARK, WARNING_MARK = "✗", "!"
QUIET_SECONDS = 0.15
"""A change is told of when no key has followed it for so long: whoever types waits for no check."""

_MARK_COLUMNS = 2
_PLACEHOLDER = re.compile(r"""[\[\s]*["'](<[^<>"']*>)["']""")
_SYNTAX = {
    "toml.type": "name", "string": "string", "number": "value", "float": "value", "boolean": "value",
    "toml.datetime": "value", "comment": "comment", "operator": "comment",
    "punctuation.bracket": "comment", "punctuation.delimiter": "comment",
}  # fmt: skip


class JobTextArea(TextArea):
    """The text itself. It asks for completion, and leaves it to its editor to open and lead the list."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "job-text--name",
        "job-text--string",
        "job-text--value",
        "job-text--comment",
        "job-text--error",
        "job-text--warning",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+space,ctrl+@", "complete", "complete", id="editor.complete"),
        # Else it would delete a word, as alt+backspace does.
        Binding("ctrl+w", "screen.write_file", "save as", id="editor.save", show=False),
    ]

    class CompletionWanted(Message):
        """Somebody asks what can stand at the cursor. may_indent: with the key that indents elsewhere."""

        def __init__(self, *, may_indent: bool = False) -> None:
            super().__init__()
            self.may_indent = may_indent

    class Left(Message):
        """Escape was pressed: the keys are no longer text."""

    def __init__(self, completions: CompletionList) -> None:
        super().__init__(show_line_numbers=True, tab_behavior="indent", compact=True, max_checkpoints=200)
        self._completions = completions
        self._problems: dict[int, list[TextProblem]] = {}
        self._marks: dict[int, str] = {}  # by row of the wrapped text

    def on_mount(self) -> None:
        try:
            self.language = "toml"
        except LanguageDoesNotExist:  # an installation without it shows the text all the same
            self.language = None
        self.indent_width = 2
        self._colour()
        self.post_message(JobEditor.Ready())
        self.app.theme_changed_signal.subscribe(self, lambda _: self.call_after_refresh(self._colour))

    def show_problems(self, problems: Sequence[TextProblem]) -> None:
        by_line: dict[int, list[TextProblem]] = {}
        for problem in problems:
            by_line.setdefault(problem.line, []).append(problem)
        if by_line != self._problems:
            self._problems = by_line
            self.notify_style_update()
            self.refresh()

    @property
    def gutter_width(self) -> int:
        """With room for a mark before the number."""
        return super().gutter_width + _MARK_COLUMNS

    def get_line(self, line_index: int) -> Text:
        line = super().get_line(line_index)
        for problem in self._problems.get(line_index, ()):
            line.stylize(Style(underline=True), problem.column, problem.end)
        return line

    def render_lines(self, crop: Region) -> list[Strip]:
        """Finds the rows of the marks once for all lines."""
        self._marks = {}
        for line, problems in self._problems.items():
            if line < self.document.line_count:
                is_warning = all(problem.is_warning for problem in problems)
                row = self.wrapped_document.location_to_offset((line, 0)).y
                self._marks[row] = WARNING_MARK if is_warning else ERROR_MARK
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        mark = self._marks.get(y + self.scroll_offset.y)
        if mark is None:
            return strip
        style = self.get_component_rich_style(f"job-text--{'warning' if mark == WARNING_MARK else 'error'}")
        return Strip.join([Strip([Segment(mark, style)], 1), strip.crop(1)])

    def on_key(self, event: events.Key) -> None:
        """Keys that lead the list while it is open; Tab, which opens it; Escape, which leaves the text."""
        if self._completions.take(event.key):
            self._keep(event)
        elif event.key == "tab" and not self._completions.is_open:
            self._keep(event)
            self.post_message(self.CompletionWanted(may_indent=True))
        elif event.key == "escape":
            self._keep(event)
            self.post_message(self.Left())

    def action_complete(self) -> None:
        self.post_message(self.CompletionWanted())

    def indent(self) -> None:
        """What Tab does where nothing can be chosen. Inside quotes blanks would be part of the text."""
        line, column = self.cursor_location
        if is_in_quotes(self.document.get_line(line), column):
            return
        self.insert(" " * (self.indent_width - column % self.indent_width))

    def _keep(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()

    def _colour(self) -> None:
        """Take the colours of the present theme."""
        styles = {
            name: Style(color=self.get_component_rich_style(f"job-text--{part}").color)
            for name, part in _SYNTAX.items()
        }
        self.register_theme(TextAreaTheme("pymr", syntax_styles=styles))
        self.theme = "pymr"
        self.notify_style_update()
        self.refresh()


class JobEditor(Container):
    """A text, and the list of candidates over it. completer: see Completer."""

    DEFAULT_CSS = """
    JobEditor { height: 1fr; width: 1fr; }
    JobTextArea { height: 1fr; width: 1fr; padding: 0; scrollbar-size-vertical: 1; }
    """

    class Changed(Message):
        """text: as it is now; told a moment after the last key."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class CursorMoved(Message):
        """line, column: from 0."""

        def __init__(self, line: int, column: int) -> None:
            super().__init__()
            self.line = line
            self.column = column

    class Left(Message):
        """The keys are no longer text."""

    class Ready(Message):
        """A text can be loaded."""

    def __init__(self, completer: Completer) -> None:
        super().__init__()
        self._completer = completer
        self._list = CompletionList()
        self.area = JobTextArea(self._list)
        self._quiet: Timer | None = None
        self._asked_at: tuple[int, int] | None = None  # where nothing has answered yet

    def compose(self) -> ComposeResult:
        yield self.area
        yield self._list

    @property
    def is_ready(self) -> bool:
        """Whether a text can be loaded; not before this widget and its parts are there."""
        return self.area.is_mounted

    @property
    def text(self) -> str:
        return self.area.text

    def load(self, text: str) -> None:
        """Begin with another text; what was done to the one before cannot be undone any more."""
        self._list.close()
        self.area.load_text(text)

    def go_to(self, problem: TextProblem) -> None:
        """Put the cursor where a problem is; a placeholder is selected, so that what is typed replaces it."""
        self.area.focus()
        # The text may have become shorter since it was checked.
        line = min(problem.line, self.area.document.line_count - 1)
        written = self.area.document.get_line(line)
        placeholder = _PLACEHOLDER.match(written, problem.column, problem.end)
        if placeholder is None:
            self.area.move_cursor((line, problem.column), center=True)
            return
        self.area.move_cursor((line, placeholder.start(1)), center=True)
        self.area.move_cursor((line, placeholder.end(1)), select=True)

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        event.stop()
        if self._quiet is not None:
            self._quiet.stop()
        self._quiet = self.set_timer(QUIET_SECONDS, self._tell)
        if self._list.is_open:
            self._asked_at = self.area.cursor_location
            self._narrow()

    def on_text_area_selection_changed(self, event: TextArea.SelectionChanged) -> None:
        event.stop()
        line, column = event.selection.end
        if (line, column) != self._asked_at:
            self._asked_at = None
        self.post_message(self.CursorMoved(line, column))
        completion = self._list.completion
        if completion is not None and not (
            completion.line == line and completion.start <= column <= completion.end + 1
        ):
            self._list.close()

    def on_job_text_area_completion_wanted(self, event: JobTextArea.CompletionWanted) -> None:
        event.stop()
        self._asked_at = self.area.cursor_location
        if not self._narrow() and event.may_indent:
            self.area.indent()

    def offer_again(self) -> None:
        """More is known of what can stand at the cursor: show it, where somebody still waits for it."""
        if self._list.is_open or (self._asked_at == self.area.cursor_location and self.area.has_focus):
            self._narrow()

    def on_completion_list_accepted(self, event: CompletionList.Accepted) -> None:
        event.stop()
        completion = self._list.completion
        self._list.close()
        self._asked_at = None
        if completion is None:
            return
        self._put(completion, event.candidate)

    def on_job_text_area_left(self, event: JobTextArea.Left) -> None:
        event.stop()
        self.post_message(self.Left())

    def on_descendant_blur(self) -> None:
        self._list.close()

    def _tell(self) -> None:
        self.post_message(self.Changed(self.area.text))

    def _narrow(self) -> bool:
        """Show what can stand at the cursor, or nothing; whether there is something."""
        line, column = self.area.cursor_location
        completion = self._completer(self.area.text, line, column)
        if completion is None:
            self._list.close()
            return False
        self._list.open_at(self.area.cursor_screen_offset, completion)
        return True

    def _put(self, completion: Completion, candidate: Candidate) -> None:
        start, end = (completion.line, completion.start), (completion.line, completion.end)
        result = self.area.replace(candidate.text, start, end, maintain_selection_offset=False)
        line, column = result.end_location
        # More of a path may follow, inside its quotes.
        self.area.move_cursor((line, column - 1) if candidate.leads_on else (line, column))
        if candidate.text.endswith("= "):
            self._narrow()

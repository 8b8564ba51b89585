"""What is wrong in a text, a line for each; Enter or a click leads there."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui.model.job_text.problems import TextProblem
from tui.model.printable import printable
from tui.render.styled_line import MUTED
from tui.widgets.choices import Choices
from tui.widgets.job.editor import ERROR_MARK, WARNING_MARK


class ProblemList(Choices):
    """As high as there are problems, up to a few; not there where there are none."""

    DEFAULT_CSS = """
    ProblemList {
        height: auto; max-height: 5; border: none; padding: 0; display: none; scrollbar-size-vertical: 1;
    }
    """

    class Chosen(Message):
        """problem: the one to go to."""

        def __init__(self, problem: TextProblem) -> None:
            super().__init__()
            self.problem = problem

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._problems: tuple[TextProblem, ...] = ()

    def show(self, problems: Sequence[TextProblem]) -> None:
        if tuple(problems) == self._problems:
            return
        chosen = self.highlighted
        self._problems = tuple(problems)
        self.display = bool(problems)
        self.clear_options()
        self.add_options([Option(self._line(problem)) for problem in problems])
        if chosen is not None and problems:
            self.highlighted = min(chosen, len(problems) - 1)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Chosen(self._problems[event.option_index]))

    def _line(self, problem: TextProblem) -> Content:
        mark = (f" {WARNING_MARK} ", "$warning") if problem.is_warning else (f" {ERROR_MARK} ", "$error")
        digits = len(str(self._problems[-1].line + 1))
        number = f"{problem.line + 1:>{digits}}  "
        words = f"{printable(problem.field)} ", "bold"
        return Content.assemble(mark, (number, MUTED), words, printable(problem.reason))

"""The detail of the selected job: sections below each other, in one pane that scrolls."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.selection import Selection
from textual.strip import Strip

from tui.model.job_rates import JobRates
from tui.model.job_table import name_of
from tui.render.styled_line import strip_of
from tui.widgets.job.detail_lines import Shown, detail_lines
from tui.widgets.lines_view import LinesView


class JobDetail(LinesView):
    """Shows what it is given, scrolled as it was while that is about the same job."""

    DEFAULT_CSS = """
    JobDetail:focus { scrollbar-color: $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "page_down", "page down", show=False, id="detail.page_down"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown = Shown()
        self._rates = JobRates()
        self._lines: list[Content] = []

    def show(self, shown: Shown, at: float) -> None:
        """at: when the view of it was got, by a clock that never goes back."""
        before, self._shown = self._shown, shown
        if shown.view is not None:
            self._rates.note(shown.view, at)
        if _subject(shown) != _subject(before):
            self.scroll_to(y=0, animate=False, force=True, immediate=True)
        if shown.row is not before.row or shown.view is not before.view or shown.jobs != before.jobs:
            self.show_anew()

    def show_anew(self) -> None:
        """Make the lines anew, as time has passed."""
        if not self.lines_width:
            return
        before = self._lines
        self._lines = detail_lines(self._shown, self._rates, self.lines_width)
        self.set_line_count(len(self._lines))
        seen = range(self.scroll_offset.y, self.scroll_offset.y + self.size.height)
        for y in seen:
            if not _is_same(_line(before, y), _line(self._lines, y)):
                self.refresh_line(y)

    def resized(self) -> None:
        self.show_anew()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width, place = self.lines_width, self.scroll_offset.y + y
        if place >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        line = self._lines[place]
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(place)) is not None:
            start, end = span
            style = self.screen.get_visual_style("screen--selection")
            line = line.stylize(style, start, None if end == -1 else end)
        return strip_of(self, line, width, self.visual_style).apply_offsets(0, place)

    # ---- text that is marked with the mouse

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        return selection.extract("\n".join(line.plain.rstrip() for line in self._lines)), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()


def _subject(shown: Shown) -> str:
    if shown.group is not None:
        return f"group {shown.group.name}"
    return "" if shown.row is None else f"job {name_of(shown.row)}"


def _line(lines: list[Content], y: int) -> Content | None:
    return lines[y] if y < len(lines) else None


def _is_same(one: Content | None, other: Content | None) -> bool:
    return one is other or (one is not None and other is not None and one.is_same(other))

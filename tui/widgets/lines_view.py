"""A view of lines that scrolls, whose number of lines may change often and at no cost."""

from __future__ import annotations

from textual.geometry import Size
from textual.scroll_view import ScrollView

from tui.widgets.sized import Sized


class LinesView(ScrollView, Sized, can_focus=True):
    """Draws lines of its own. The place of the scrollbar is always kept free: nothing moves sideways."""

    DEFAULT_CSS = """
    LinesView { overflow-x: hidden; overflow-y: scroll; scrollbar-size-vertical: 1;
        scrollbar-color: $border-blurred; scrollbar-background: $background;
        scrollbar-background-hover: $background; scrollbar-background-active: $background; }
    """

    @property
    def lines_width(self) -> int:
        """Columns left of the scrollbar."""
        return self.scrollable_content_region.width

    def set_line_count(self, count: int) -> None:
        """Textual would lay out the whole screen anew (10 to 15 ms); here only the scrollbar changes."""
        size = Size(self.lines_width, count)
        if size != self.virtual_size:
            self.set_reactive(LinesView.virtual_size, size)
            self._scroll_update(size)

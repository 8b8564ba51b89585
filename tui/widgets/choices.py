"""A list to choose from, which takes the keys of pages also before it has been laid out."""

from __future__ import annotations

from collections.abc import Callable

from textual.widgets import OptionList


class Choices(OptionList):
    """Textual's, for which a page was a fault while the list had no size: just opened, or hidden."""

    def action_page_up(self) -> None:
        page(self, super().action_page_up)

    def action_page_down(self) -> None:
        page(self, super().action_page_down)


def page(choices: OptionList, move: Callable[[], None]) -> None:
    """Move the bar of a list by a page, but of one without a size."""
    if choices.scrollable_content_region:
        move()

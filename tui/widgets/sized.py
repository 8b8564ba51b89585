"""A widget that is always told of its size."""

from __future__ import annotations

from textual.geometry import Size
from textual.screen import Screen
from textual.widget import Widget


class Sized(Widget):
    """Calls `resized` when its size has changed.

    Textual's Resize is not sent to a new widget when something asks for places on the screen between its
    mounting and the layout: the compositor then takes it for one that it has told already. So the size is
    looked at after each layout as well. To be named behind the class of Textual's that a widget extends,
    whose styles are those of its first base.
    """

    _size_told: Size = Size(0, 0)

    def resized(self) -> None:
        """Lay out anew what depends on the size."""
        raise NotImplementedError

    def on_mount(self) -> None:
        self.screen.screen_layout_refresh_signal.subscribe(self, self._look_at_size, immediate=True)

    def on_resize(self) -> None:  # the first layout of all has no signal
        self._look_at_size(self.screen)

    def _look_at_size(self, _screen: Screen[object]) -> None:
        if self.outer_size != self._size_told:
            self._size_told = self.outer_size
            self.call_next(self.resized)

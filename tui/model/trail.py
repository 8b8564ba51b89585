"""The way back: which screens were shown before the present one."""

from __future__ import annotations


class Trail:
    """Screens by their modes, the latest last. Each stands in it once, where it was left last, so it is never
    longer than there are screens, and going back always comes to its end."""

    def __init__(self) -> None:
        self._left: list[str] = []

    def go(self, here: str, there: str) -> None:
        """Another screen is shown from now on."""
        if here != there:
            self._left = [mode for mode in self._left if mode not in (here, there)] + [here]

    def back(self) -> str:
        """The screen to go back to, which leaves the trail; "" at its beginning."""
        return self._left.pop() if self._left else ""

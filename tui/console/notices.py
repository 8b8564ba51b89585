"""What is told in passing: a line in the place of the keys; what is long has more where there is room."""

from __future__ import annotations

import asyncio
import textwrap
from dataclasses import dataclass

from textual.content import Content
from textual.notifications import SeverityLevel
from textual.timer import Timer

from pymr.base.printable import printable_text
from tui.console.key_order import KeysInOrder
from tui.model.fault_log import log_notice

ROOMY_COLUMNS, ROOMY_LINES = 100, 30
"""In a smaller terminal a notice is one line, so that it covers neither problems nor what is typed."""

LINES_MAX = 3
"""Of one that is long, in a terminal that is not smaller."""

NOTICES_MAX = 9
"""That wait to be read; of more, the latest."""

BRIEF_SECONDS = 4.0
"""One is read so long at most while others wait."""

_EDGE = 3
"""Columns of the line that no text has: its border and padding."""


@dataclass(frozen=True, slots=True)
class _Notice:
    text: str
    severity: SeverityLevel
    seconds: float


class NoticingApp(KeysInOrder):
    """An app in which no notice is lost: each that another has taken the place of is shown when that has
    gone, and all of one that is too long is in the console's log."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[_Notice] = []  # the last is shown, or about to be
        self._shown: _Notice | None = None
        self._notice_timer: Timer | None = None
        self._is_notice_due = False

    @property
    def _lines_max(self) -> int:
        """Of a notice."""
        is_roomy = self.size.width >= ROOMY_COLUMNS and self.size.height >= ROOMY_LINES
        return LINES_MAX if is_roomy else 1

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """Whatever is told in passing comes this way, also from widgets, and controls no terminal."""
        message, title = printable_text(message), printable_text(title)
        plain = Content.from_markup(message).plain if markup else message
        text = f"{title}: {plain}".removeprefix(": ")
        if len(self._wrapped(f"(+{NOTICES_MAX}) {text}")) > self._lines_max:
            self.run_worker(asyncio.to_thread(log_notice, " ".join(text.split())))
        others = [one for one in self._waiting if one.text != text]
        seconds = self.NOTIFICATION_TIMEOUT if timeout is None else timeout
        self._waiting = [*others[1 - NOTICES_MAX :], _Notice(text, severity, seconds)]
        if not self._is_notice_due:  # of those that are told at once, the last is shown, once
            self._is_notice_due = True
            self.call_later(self._show_notice)

    def _show_notice(self) -> None:
        """The latest, with how many wait behind it."""
        self._is_notice_due = False
        if self._notice_timer is not None:
            self._notice_timer.stop()
        self.clear_notifications()
        self._shown = self._waiting[-1] if self._waiting else None
        if self._shown is None:
            return
        *others, notice = self._waiting
        text, seconds = notice.text, notice.seconds
        if others:
            text, seconds = f"(+{len(others)}) {text}", min(seconds, BRIEF_SECONDS)
        super().notify(self._fitted(text), severity=notice.severity, timeout=seconds, markup=False)
        self._notice_timer = self.set_timer(seconds, self._end_notice)

    def _fitted(self, text: str) -> str:
        """The lines that there is room for; where that is not all, the last ends in `…`."""
        lines, last = self._wrapped(text), self._lines_max - 1
        if len(lines) > self._lines_max:
            lines[last:] = [f"{' '.join(lines[last:])[: self.size.width - _EDGE - 1]}…"]
        return "\n".join(lines)

    def _wrapped(self, text: str) -> list[str]:
        """One line where it fits into one, or may have one only; else those that it has, broken where they
        are too long."""
        width, line = self.size.width - _EDGE, " ".join(text.split())
        lines = [line] if self._lines_max == 1 or len(line) < width else text.split("\n")
        return [piece for line in lines for piece in textwrap.wrap(line, max(width, 2) - 1)] or [""]

    def _end_notice(self) -> None:
        """The one that is shown has been there for its time; a later one may wait to be shown."""
        self._waiting = [one for one in self._waiting if one is not self._shown]
        self._show_notice()

"""How a status looks: a symbol and a word, so that it can be read without its colour too."""

from __future__ import annotations

from textual.content import Content

from pymr.wire.rows import RunStatus
from pymr.wire.wording import ShownStatus
from tui.render.styled_line import MUTED

STATUS_LOOKS: dict[ShownStatus | RunStatus, tuple[str, str]] = {
    "running": ("▶", "$primary"),
    "publishing": ("▶", "$primary"),
    "breakpoint": ("◆", "$warning"),
    "queued": ("·", MUTED),
    "succeeded": ("✓", "$success"),
    "failed": ("✗", "$error"),
    "skipped": ("○", MUTED),
    "deleted": ("○", MUTED),
    "replaced": ("○", MUTED),
    "outdated": ("○", MUTED),
}
"""(symbol, colour of the theme) by status."""


def status_words(status: ShownStatus | RunStatus) -> Content:
    """`✗ failed`."""
    symbol, colour = STATUS_LOOKS[status]
    return Content.styled(f"{symbol} {status}", colour)

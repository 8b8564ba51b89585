"""Bars of a share of something, in eighths of a character."""

from __future__ import annotations

from textual.content import Content

_EIGHTHS = " ▏▎▍▌▋▊▉"
_TRACK = "$foreground 10%"


def bar_text(share: float, width: int) -> str:
    """`█████▍    `: a share of 0 to 1, in `width` characters. What is begun is seen; only a whole is full."""
    if share >= 1:
        return "█" * width
    eighths = min(int(max(share, 0.0) * width * 8), width * 8 - 1)
    eighths = max(eighths, 1) if share > 0 else 0
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + _EIGHTHS[rest]).ljust(width)[:width]


def bar(share: float, width: int, colour: str = "$primary") -> Content:
    """The same on its track, in colours of the theme."""
    return Content.styled(bar_text(share, width), f"{colour} on {_TRACK}")

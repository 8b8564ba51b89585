"""The two themes of the console: calm, one accent, colour only where it means something."""

from __future__ import annotations

from textual.theme import BUILTIN_THEMES, Theme

from pymr.base.spelling import did_you_mean

DARK = Theme(
    name="dark",
    primary="#6cb6ff",
    secondary="#8b949e",
    accent="#6cb6ff",
    foreground="#d7dde4",
    background="#14171c",
    surface="#1a1e25",
    panel="#20252d",
    success="#7fc98b",
    warning="#e2b55a",
    error="#f0787a",
    dark=True,
    variables={
        "block-cursor-background": "#2d4a66",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-text-style": "none",
        "border": "#39424e",
        "border-blurred": "#2a313a",
        "input-selection-background": "#6cb6ff 35%",
        "footer-background": "#20252d",
        "scrollbar": "#39424e",
        "scrollbar-hover": "#56626f",
        "scrollbar-active": "#6cb6ff",
        "scrollbar-background": "#1a1e25",
        "scrollbar-background-hover": "#1a1e25",
        "scrollbar-background-active": "#1a1e25",
        "scrollbar-corner-color": "#1a1e25",
    },
)

LIGHT = Theme(
    name="light",
    primary="#0b5fb0",
    secondary="#57606a",
    accent="#0b5fb0",
    foreground="#1f2328",
    background="#fbfbfa",
    surface="#f3f4f4",
    panel="#e9ebed",
    success="#1a7f37",
    warning="#8a5a00",
    error="#c4262e",
    dark=False,
    variables={
        "block-cursor-background": "#cfe3f7",
        "block-cursor-foreground": "#0b2a4a",
        "block-cursor-text-style": "none",
        "border": "#c3c9cf",
        "border-blurred": "#d9dde1",
        "footer-background": "#e9ebed",
        "scrollbar": "#c3c9cf",
        "scrollbar-hover": "#9aa3ac",
        "scrollbar-active": "#0b5fb0",
        "scrollbar-background": "#f3f4f4",
        "scrollbar-background-hover": "#f3f4f4",
        "scrollbar-background-active": "#f3f4f4",
        "scrollbar-corner-color": "#f3f4f4",
    },
)

THEMES = (DARK, LIGHT)


def wrong_theme(name: str) -> str:
    """What is wrong with the name of a theme; "" where nothing is, or none is named."""
    known = {*BUILTIN_THEMES, *(theme.name for theme in THEMES)}
    if not name or name in known:
        return ""
    return f"theme = {name!r}: there is none of that name{did_you_mean(name, known)}"

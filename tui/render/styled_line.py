"""Content to lines of the screen, for widgets that draw their lines themselves. Never reads markup."""

from __future__ import annotations

from rich.segment import Segment
from rich.text import Text
from textual.content import Content
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

from tui.model.printable import printable

Cell = str | Text | Content
"""What a cell may be. The styles of a Content may name colours of the theme: `$error`."""

MUTED = "$foreground-muted"


def content_of(cell: Cell) -> Content:
    """A cell as content of one line that moves no cursor."""
    if isinstance(cell, Content):
        content = cell
    elif isinstance(cell, Text):
        content = Content.from_rich_text(cell)
    else:
        return Content(printable(cell))
    if content.plain.isprintable():
        return content
    return Content("".join(c if c.isprintable() else "?" for c in content.plain), list(content.spans))


def fitted(content: Content, width: int, align: str = "left") -> Content:
    """Exactly `width` columns of it: cut with an ellipsis, or filled with blanks."""
    lacks = width - content.cell_length
    if lacks > 0 and align == "right":
        return content.pad_left(lacks)
    return content.truncate(width, ellipsis=True, pad=True)


def segments_of(widget: Widget, content: Content, base: Style) -> list[Segment]:
    """Pieces of text in the colours of the theme, over `base`."""
    parse = widget.app.stylesheet.parse_style
    pieces = content.render(base, end="", parse_style=parse)
    return [Segment(text, style.rich_style) for text, style in pieces]


def strip_of(widget: Widget, content: Content, width: int, base: Style) -> Strip:
    """A line of exactly `width` columns."""
    return Strip(segments_of(widget, fitted(content, width), base), width)

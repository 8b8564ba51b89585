"""Text from functions, files and other machines as people may be shown it: nothing in it moves the cursor,
sets colours, or turns a line around. Each face shows its texts by this; they themselves stay as they are."""

from __future__ import annotations

import logging

_BIDI = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_LINE_ENDS = (0x2028, 0x2029)
_ESCAPED = {number: f"\\x{number:02x}" for number in range(0x20) if chr(number) not in "\t\n"}
# In the form that JSON has for them too, so that JSON which is shown stays the same JSON.
_ESCAPED |= {number: f"\\u{number:04x}" for number in (*range(0x7F, 0xA0), *_BIDI, *_LINE_ENDS)}
_BUT_FOR_ESC = {number: shown for number, shown in _ESCAPED.items() if number != 0x1B}


def printable(text: str) -> str:
    """A text on one line: unprintable characters and line breaks become `?`, tabs become blanks."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text.expandtabs())


def printable_lines(text: str) -> list[str]:
    """A text of several lines; blank ones at its end are left out."""
    return [printable(line) for line in text.rstrip().replace("\r\n", "\n").split("\n")]


def printable_text(text: str, *, keeps_escapes: bool = False) -> str:
    """A text as it is, tabs and line breaks too, in which characters of control are written out: `\\x1b`.

    keeps_escapes: keep ESC, for callers that read colours from the text.
    """
    if text.isprintable():
        return text
    return text.replace("\r\n", "\n").translate(_BUT_FOR_ESC if keeps_escapes else _ESCAPED)


def keep_log_printable() -> None:
    """Have the handlers of this process's log write what `printable_text` makes of their lines."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_PrintableFormatter(handler.formatter))


class _PrintableFormatter(logging.Formatter):
    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        return printable_text(self._inner.format(record))

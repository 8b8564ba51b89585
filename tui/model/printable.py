"""Text from jobs as it may be shown: nothing in it moves the cursor or turns the line around."""

from __future__ import annotations


def printable(text: str) -> str:
    """A text for one line: what is no character to be seen, line breaks too, becomes `?`; tabs are blanks."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text.expandtabs())


def printable_lines(text: str) -> list[str]:
    """A text of several lines; blank ones at its end are left out."""
    return [printable(line) for line in text.rstrip().replace("\r\n", "\n").split("\n")]

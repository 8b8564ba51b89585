"""Keys of the console as the bytes that a terminal sends for them."""

from __future__ import annotations

_NAMED = {
    "enter": b"\r", "tab": b"\t", "shift+tab": b"\x1b[Z", "escape": b"\x1b", "backspace": b"\x7f",
    "delete": b"\x1b[3~", "insert": b"\x1b[2~", "up": b"\x1b[A", "down": b"\x1b[B", "right": b"\x1b[C",
    "left": b"\x1b[D", "home": b"\x1b[H", "end": b"\x1b[F", "pageup": b"\x1b[5~", "pagedown": b"\x1b[6~",
    "ctrl+up": b"\x1b[1;5A", "ctrl+down": b"\x1b[1;5B", "ctrl+right": b"\x1b[1;5C", "ctrl+left": b"\x1b[1;5D",
    "ctrl+space": b"\x00", "ctrl+@": b"\x00", "ctrl+backslash": b"\x1c",
    "ctrl+right_square_bracket": b"\x1d", "ctrl+circumflex_accent": b"\x1e", "ctrl+underscore": b"\x1f",
    "ctrl+h": b"\x08", "ctrl+i": b"\t", "ctrl+j": b"\n", "ctrl+m": b"\r", "space": b" ",
    "f1": b"\x1bOP", "f2": b"\x1bOQ", "f3": b"\x1bOR", "f4": b"\x1bOS", "f5": b"\x1b[15~",
    "f6": b"\x1b[17~", "f7": b"\x1b[18~", "f8": b"\x1b[19~", "f9": b"\x1b[20~", "f10": b"\x1b[21~",
    "f11": b"\x1b[23~", "f12": b"\x1b[24~",
}  # fmt: skip

PREFIX_KEY, DETACH_KEY = "ctrl+a", "d"
"""As in `pymr attach` and screen: both one after the other let go of the keyboard."""

LEAVE_KEY = "ctrl+right_square_bracket"
"""Releases the input lock automatically."""


def bytes_of_key(key: str, character: str | None) -> bytes:
    """What a worker is sent for a key, by its name and character as Textual tells them; b"" for no key of a
    terminal."""
    if key in _NAMED:
        return _NAMED[key]
    if key.startswith("alt+") and len(key) > len("alt+"):
        rest = bytes_of_key(key.removeprefix("alt+"), character)
        return b"\x1b" + rest if rest else b""
    letter = key.removeprefix("ctrl+")
    if key.startswith("ctrl+") and len(letter) == 1 and letter.isascii() and letter.isalpha():
        return bytes([ord(letter.lower()) & 0x1F])
    if character and character.isprintable():
        return character.encode()
    return letter.encode() if key == letter and len(letter) == 1 else b""


def bytes_of_paste(text: str) -> bytes:
    """Pasted text as it would be typed: a line ends with Enter."""
    return text.replace("\r\n", "\r").replace("\n", "\r").encode()


class AttachedKeys:
    """Sorts keys: bytes for the worker, and what lets go of its keyboard."""

    def __init__(self) -> None:
        self._has_prefix = False
        self.is_detached = False

    def take(self, key: str, character: str | None) -> bytes:
        """What the worker gets. Ctrl-a d, and Ctrl-], set `is_detached`; Ctrl-a a is a Ctrl-a for it."""
        if self._has_prefix:
            self._has_prefix = False
            if key == DETACH_KEY:
                self.is_detached = True
                return b""
            return b"\x01" if key == "a" else b"\x01" + bytes_of_key(key, character)
        if key == PREFIX_KEY:
            self._has_prefix = True
            return b""
        if key == LEAVE_KEY:
            self.is_detached = True
            return b""
        return bytes_of_key(key, character)

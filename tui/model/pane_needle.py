"""What is searched for in a pane: a regular expression, compiled once, or why it is none."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from functools import lru_cache

NEEDLE_CHARACTERS_MAX = 200
"""Of a plain text so many are looked for in the bytes of a pane; what is found is compared whole."""

ENDLESS = "a group that is repeated and repeats something itself could be searched for without an end"

_COLOURS_BETWEEN = rb"(?:\x1b\[[0-9;:]*[mK])*"
_SPECIAL = re.compile(r"[.^$*+?{}\[\]|()\\]")
_ESCAPED = re.compile(r"\\.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Needle:
    """text: as it was typed; matched as it stands where it has a capital letter, else in any case."""

    text: str

    @property
    def is_exact(self) -> bool:
        letters = _ESCAPED.sub("", self.text)  # \S is no capital letter
        return letters != letters.lower()

    @property
    def is_plain(self) -> bool:
        """Whether it matches itself alone."""
        return not _SPECIAL.search(self.text)

    @property
    def problem(self) -> str:
        """Why it cannot be searched for, for a person; "" where it can."""
        found = _compiled(self.text, self.is_exact)
        return found if isinstance(found, str) else ""

    def in_text(self) -> re.Pattern[str]:
        """To be found in lines as they are shown. Raises ValueError where there is a problem."""
        found = _compiled(self.text, self.is_exact)
        if isinstance(found, str):
            raise ValueError(found)
        return found

    def in_bytes(self) -> re.Pattern[bytes]:
        """A plain one, to be found in what was put out, with colours between its letters. Finds more than is
        shown: what was written over, too."""
        letters = []
        for letter in self.text[:NEEDLE_CHARACTERS_MAX]:
            forms = {letter} if self.is_exact else {letter, letter.lower(), letter.upper()}
            letters.append(b"(?:" + b"|".join(re.escape(form.encode()) for form in sorted(forms)) + b")")
        return re.compile(_COLOURS_BETWEEN.join(letters))


def first_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """The first match that is not empty."""
    return next((match for match in pattern.finditer(text) if match[0]), None)


def length_of(pattern: re.Pattern[str]) -> int | None:
    """The characters of every match, where the expression is a plain text; None where it is not."""
    return None if _SPECIAL.search(pattern.pattern) else len(pattern.pattern)


@lru_cache(16)
def _compiled(text: str, is_exact: bool) -> re.Pattern[str] | str:
    """The expression, or why it is none."""
    if _is_endless(text):
        return ENDLESS
    try:
        with warnings.catch_warnings():  # of what another version of Python may read otherwise
            warnings.simplefilter("ignore")
            return re.compile(text, 0 if is_exact else re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        return str(error)


def _is_endless(text: str) -> bool:
    """Whether a group is repeated that repeats something itself, such as (a+)+, for which `re` may take time
    that doubles with every character; it cannot be interrupted then."""
    repeats = [False]  # by open groups
    was_group = in_class = False
    for character in _ESCAPED.sub("x", text):
        if in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
        elif character == "(":
            repeats.append(False)
        elif character == ")" and len(repeats) > 1:
            inner = repeats.pop()
            repeats[-1] |= inner
            was_group = inner
            continue
        elif character in "*+{":
            if was_group:
                return True
            repeats[-1] = True
        was_group = False
    return False

"""What is searched for in a pane: a regular expression, compiled once, or why it is none."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from tui.model.pane.expression_cost import characters_max

NEEDLE_CHARACTERS_MAX = 200
"""Of a plain text so many are looked for in the bytes of a pane; what is found is compared whole."""

EXPRESSION_CHARACTERS_MAX = 1_000
TOO_LONG = f"longer than {EXPRESSION_CHARACTERS_MAX:,} characters"
TOO_SLOW = "too slow: it could try the same characters in endlessly many ways"

_COLOURS_BETWEEN = rb"(?:\x1b\[[0-9;:]*[mK])*"
_SPECIAL = re.compile(r"[.^$*+?{}\[\]|()\\]")
_ESCAPED = re.compile(r"\\.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LineMatcher:
    """Finds an expression in lines as they are shown.

    characters_max: of a line so many are looked at, so that none takes longer than some 0.2 s, whatever it
    holds; None for all. length: of every match, where it is known."""

    pattern: re.Pattern[str]
    characters_max: int | None = None
    length: int | None = None

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """(start, stop) of each match that is not empty, ascending."""
        stop = len(text) if self.characters_max is None else self.characters_max
        return (match.span() for match in self.pattern.finditer(text, 0, stop) if match[0])

    def spans_near(self, text: str, start: int, stop: int) -> list[tuple[int, int]]:
        """Those with a character from `start` to before `stop`. Cost: of that part, where the length of every
        match is known."""
        if self.length is None:
            return [span for span in self.spans(text) if span[0] < stop and span[1] > start]
        matches = self.pattern.finditer(text, max(0, start - self.length), stop + self.length)
        return [match.span() for match in matches if match[0]]

    def first(self, text: str) -> tuple[int, int] | None:
        """(start, stop) of the first match that is not empty."""
        return next(self.spans(text), None)


@dataclass(frozen=True, slots=True)
class Needle:
    """text: as it was typed; matched exactly if it has a capital letter, else in any case."""

    text: str

    @property
    def is_exact(self) -> bool:
        letters = _ESCAPED.sub("", self.text)  # \S is not a capital letter
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

    def in_text(self) -> LineMatcher:
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


@lru_cache(16)
def _compiled(text: str, is_exact: bool) -> LineMatcher | str:
    """What finds the expression, or why there is nothing."""
    if len(text) > EXPRESSION_CHARACTERS_MAX:
        return TOO_LONG
    is_plain = not _SPECIAL.search(text)
    try:
        with warnings.catch_warnings():  # of what another version of Python may read otherwise
            warnings.simplefilter("ignore")
            looked_at = None if is_plain else characters_max(text)
            if looked_at == 0:
                return TOO_SLOW
            pattern = re.compile(text, 0 if is_exact else re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        return f"not a valid regular expression: {error}"
    return LineMatcher(pattern, looked_at, len(text) if is_plain else None)

"""Typing errors: the name that somebody most likely meant, for the end of an error message."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

# A longer name is nobody's typing error, and difflib's time grows with the square of the length.
_COMPARED_CHARACTERS_MAX = 100
_SIMILARITY_MIN = 0.5


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`; did you mean X?` for the closest of `names`, or nothing when none is near."""
    closest = closest_name(name, names)
    return f"; did you mean {closest}?" if closest else ""


def closest_name(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that is most like `name`, whatever their case; None when none is near."""
    by_lower_case = {known.lower(): known for known in names}
    compared = name[:_COMPARED_CHARACTERS_MAX].lower()
    matches = get_close_matches(compared, by_lower_case, n=1, cutoff=_SIMILARITY_MIN)
    return by_lower_case[matches[0]] if matches else None

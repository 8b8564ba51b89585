"""The styles of a console: parsed once, however often Textual sets the theme that they were parsed for."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet

_THEMES_KEPT = 4


class ParsedStyles(Stylesheet):
    """A stylesheet that parses each source once for a set of variables.

    Textual's parses all of them when it is started, again when the theme is set, as it is right after each
    start, and again for the next class of widgets: 60 ms each.
    """

    def __init__(self, *, variables: dict[str, str] | None = None) -> None:
        super().__init__(variables=variables)
        self._given = variables or {}
        self._parsed = _parsed_for(frozenset(self._given.items()))

    def copy(self) -> ParsedStyles:
        stylesheet = ParsedStyles(variables=self._given.copy())
        stylesheet.source = self.source.copy()
        return stylesheet

    def set_variables(self, variables: dict[str, str]) -> None:
        super().set_variables(variables)
        self._given = variables
        self._parsed = _parsed_for(frozenset(variables.items()))

    def reparse(self) -> None:
        self.parse()  # which leaves the rules as they were where one is wrong

    def _parse_rules(self, *place: Any, **options: Any) -> list[RuleSet]:
        key = (place, tuple(options.items()))
        if key not in self._parsed:
            self._parsed[key] = super()._parse_rules(*place, **options)
        return self._parsed[key]


@lru_cache(_THEMES_KEPT)
def _parsed_for(variables: frozenset[tuple[str, str]]) -> dict[Any, list[RuleSet]]:
    """What was parsed with these variables, to be added to."""
    return {}

"""The styles of a console, of which each is parsed once for a theme."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from asked_console import asked_console
from textual.css import stylesheet
from textual.css.errors import StylesheetError
from waiting import until

from tui import parsed_styles
from tui.parsed_styles import ParsedStyles
from tui.settings.themes import DARK, LIGHT

Style = tuple[str, str, int]


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[Style]]:
    """How often each style has been parsed since the test began; one of another rank is another one."""
    counted, parse = Counter[Style](), stylesheet.parse

    def count(scope: str, css: str, *place: Any, **options: Any) -> Any:
        counted[scope, css, options["tie_breaker"]] += 1
        return parse(scope, css, *place, **options)

    monkeypatch.setattr(stylesheet, "parse", count)
    monkeypatch.setattr("textual.app.Stylesheet", stylesheet.Stylesheet)  # the console has its own
    parsed_styles._parsed_for.cache_clear()
    yield counted
    parsed_styles._parsed_for.cache_clear()


async def test_a_style_is_parsed_once_for_a_theme(parsed: Counter[Style]) -> None:
    async with asked_console() as (app, pilot):
        for mode in ("peers", "events"):
            await app.action_show(mode)
            await until(pilot, lambda: app.shown_screen.is_mounted, "the screen")
        of_one_theme, dark = dict(parsed), app.styles.background
        await pilot.press("ctrl+t")
        await until(pilot, lambda: app.theme == LIGHT.name and app.styles.background != dark, "light colours")
        await pilot.press("ctrl+t")
        await until(pilot, lambda: app.theme == DARK.name and app.styles.background == dark, "dark colours")

    assert len(of_one_theme) > 20
    assert set(of_one_theme.values()) == {1}
    assert max(parsed.values()) == 2


def test_styles_that_are_wrong_leave_the_rules_as_they_were() -> None:
    styles = ParsedStyles(variables={"wide": "20"})
    styles.add_source("Static { width: $wide; }", ("right", ""))
    rules = styles.rules
    styles.set_variables({"wide": "much"})
    with pytest.raises(StylesheetError):
        styles.reparse()

    assert styles._rules == rules
    assert styles.copy().source == styles.source

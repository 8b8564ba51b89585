"""Filters: what the words that an operator types let through."""

from __future__ import annotations

import pytest
from growth import growth

from tui.model.filters import FIELD_BREAK, Filter, parse_filter

FIELDS = {"job": "nightly_import", "group": "Billing", "type": "mapreduce", "status": "failed"}
HAYSTACK = FIELD_BREAK.join([*FIELDS.values(), "ann@desk"])


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", True),
        ("   ", True),
        ("import", True),
        ("nimp", True),
        ("NIMP", False),
        ("billing", True),
        ("Billing", True),
        ("bILLING", False),
        ("import failed", True),
        ("import queued", False),
        ("pmi", False),
        ("tmap", False),
        ("'import", True),
        ("'nimp", False),
        ("!queued", True),
        ("!failed", False),
        ("!nimp", True),
        ("status:fail", True),
        ("status:import", False),
        ("STATUS:fail", True),
        ("status:!failed", False),
        ("!status:failed", False),
        ("!status:queued", True),
        ("job:'import group:billing", True),
        ("peer:alpha", False),
        ("http://x", False),
        ("!", True),
        ("'", True),
        ("status:", True),
        ("!status:'", True),
        ("[", False),
        ("a.*n", False),
        ("ann@", True),
    ],
)
def test_what_passes_a_filter(text: str, passes: bool) -> None:
    assert parse_filter(text).matches(HAYSTACK, FIELDS) is passes


def test_a_filter_without_words_is_none() -> None:
    assert not parse_filter("  ")
    assert parse_filter("  ") == Filter()


def test_a_long_text_that_nearly_passes_takes_no_longer_than_its_length() -> None:
    wanted = parse_filter("a" * 30 + "b")

    assert not wanted.matches("a" * 100_000, {})
    assert growth(lambda size: wanted.matches("a" * size, {}), 10_000, 100_000) < 40  # a square: 100

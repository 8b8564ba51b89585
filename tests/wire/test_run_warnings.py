"""Warnings of a run: bounded in number and length, and joined in order."""

from __future__ import annotations

from pymr.wire.run_warnings import (
    WARNING_CHARACTERS_MAX,
    WARNINGS_MAX,
    RunWarnings,
    WarningCollector,
    joined,
)


def test_warnings_are_few_and_the_others_are_counted() -> None:
    collector = WarningCollector()
    for number in range(WARNINGS_MAX + 7):
        collector.add(f"warning {number}")
        collector.add("warning 0")
    warnings = collector.result()

    assert warnings.texts == tuple(f"warning {number}" for number in range(WARNINGS_MAX))
    assert warnings.lines()[-1] == "7 more warnings are not listed"


def test_a_warning_is_short_and_of_one_line_of_utf8() -> None:
    collector = WarningCollector()
    collector.add("x" * 10_000)
    collector.add("two\nlines \udcff")

    assert [len(text) <= WARNING_CHARACTERS_MAX for text in collector.result().texts] == [True, True]
    assert collector.result().texts[1] == "two lines \\udcff"


def test_warnings_of_several_parts_are_joined_within_the_bound() -> None:
    full = RunWarnings(tuple(f"a{number}" for number in range(WARNINGS_MAX)), 5)
    whole = joined([full, RunWarnings(("a1", "b"), 1)])

    assert whole == RunWarnings(full.texts, 7)
    assert joined([]).lines() == ()

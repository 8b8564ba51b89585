"""Warnings of a run: what its user should know although it succeeds, few and short."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

WARNINGS_MAX = 20
"""Most warnings that a run names; of others it tells the number."""

WARNING_CHARACTERS_MAX = 500
"""Longest text of a warning; of a longer one the middle is left out."""

ABSENT_WAY_OUT = "make it there (an empty folder will do), or take it out of input_dirs"
"""What to do about an entry of input_dirs that no machine has."""


class RunWarnings(msgspec.Struct, frozen=True):
    """At most WARNINGS_MAX different texts in the order of their discovery, and how many more there were."""

    texts: tuple[str, ...] = ()
    more: int = 0

    def lines(self) -> tuple[str, ...]:
        """The texts, and at their end a line about those that are not listed."""
        if not self.more:
            return self.texts
        noun = "warning is" if self.more == 1 else "warnings are"
        return (*self.texts, f"{self.more:,} more {noun} not listed")


class WarningCollector:
    """Gathers warnings, however many there are, in bounded memory."""

    def __init__(self) -> None:
        self._texts: dict[str, None] = {}
        self._more = 0

    def add(self, text: str) -> None:
        """Note a warning. A text that is listed already counts once."""
        shown = _shown(text)
        if shown in self._texts:
            return
        if len(self._texts) < WARNINGS_MAX:
            self._texts[shown] = None
        else:
            self._more += 1

    def result(self) -> RunWarnings:
        """All that was noted."""
        return RunWarnings(tuple(self._texts), self._more)


def joined(parts: Iterable[RunWarnings]) -> RunWarnings:
    """The warnings of all parts as those of one run, in their order."""
    collector = WarningCollector()
    more = 0
    for part in parts:
        more += part.more
        for text in part.texts:
            collector.add(text)
    result = collector.result()
    return RunWarnings(result.texts, result.more + more)


def empty_input(bytes_read: int, downsample: object, *, adds: bool) -> str:
    """The warning of a run that has no records, of input of so many bytes. downsample: of its job. adds:
    whether it adds to the output."""
    effect = "nothing was added to the output" if adds else "the output is empty"
    return f"{_no_records(bytes_read, downsample)}: {effect}"


def empty_input_refused(bytes_read: int, downsample: object, input_dirs: Iterable[str]) -> str:
    """Why such a run fails where its job does not allow that."""
    names = _shown(", ".join(input_dirs))
    return (
        f"{_no_records(bytes_read, downsample)} (input_dirs: {names}), which allow_empty = false refuses; "
        "the output stays as it is"
    )


def _no_records(bytes_read: int, downsample: object) -> str:
    is_sampled = isinstance(downsample, float) and downsample < 1 and bytes_read > 0
    return (
        f"downsample = {downsample} left no records of the input"
        if is_sampled
        else "the input has no records"
    )


def first_of(warnings: Sequence[str]) -> str:
    """The first of some warnings, and whether there are others."""
    more = "" if len(warnings) == 1 else " (and other warnings, which `pymr show` lists)"
    return f"{warnings[0]}{more}"


def _shown(text: str) -> str:
    """As it may travel: in UTF-8, on one line, and not too long."""
    line = " ".join(text.encode("utf-8", "backslashreplace").decode().split("\n"))
    if len(line) <= WARNING_CHARACTERS_MAX:
        return line
    half = (WARNING_CHARACTERS_MAX - 5) // 2
    return f"{line[:half]} ... {line[-half:]}"

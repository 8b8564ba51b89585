"""What the Python API gives back: plain lists and dicts that show as a table, also in a notebook."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from html import escape
from itertools import chain, islice
from typing import Any

from pymr.cli.tables import TextTable
from pymr.client.output import Listing
from pymr.wire.wording import amount, count_of

_ITEMS_SHOWN = 10
_ITEM_CHARACTERS_MAX = 200


class Rows(list[dict[str, Any]]):
    """The rows of a listing, with the keys of `--json`. make_table: of them, when they are shown. heading: a
    line above the table; "" for none."""

    def __init__(
        self, rows: Iterable[dict[str, Any]], make_table: Callable[[], TextTable], heading: str = ""
    ) -> None:
        super().__init__(rows)
        self._make_table = make_table
        self._heading = heading

    def __repr__(self) -> str:
        lines = self._make_table().lines() if self else ["none"]
        return "\n".join([self._heading] * bool(self._heading) + lines)

    def _repr_html_(self) -> str:
        heading = f"<p>{escape(self._heading)}</p>" if self._heading else ""
        return heading + (self._make_table().html() if self else "<p>none</p>")


class Details(dict[str, Any]):
    """One thing, with the keys of `--json`; it shows as these lines."""

    def __init__(self, values: dict[str, Any], lines: list[str]) -> None:
        super().__init__(values)
        self._lines = lines

    def __repr__(self) -> str:
        return "\n".join(self._lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"


class OutputItems:
    """The items of a job's output, `(key, value)` each, in the order of its files; read when iterated over.

    Its length is their number. A key that was a tuple is one again. missing: why they are not all; "" if they
    are.
    """

    def __init__(self, listing: Listing, read_lines: Callable[[Listing], Iterator[bytes]]) -> None:
        self.job_name = listing.job_name
        self.run_id = listing.run_id
        self.parts = listing.parts
        self.missing = listing.missing
        self._listing = listing
        self._read_lines = read_lines

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        from pymr.projects.project import identity

        return chain.from_iterable(identity(line.decode(), None) for line in self._read_lines(self._listing))

    def __len__(self) -> int:
        return sum(part.items for part in self.parts)

    def __repr__(self) -> str:
        items, files = count_of(len(self), "item"), count_of(len(self.parts), "file")
        size = amount(sum(part.length for part in self.parts))
        return f"<output of {self.job_name}: {items} in {files} ({size}), run {self.run_id}>"

    def _repr_html_(self) -> str:
        """With its first items."""
        shown = [(_short(key), _short(value)) for key, value in islice(self, _ITEMS_SHOWN)]
        table = TextTable(("key", "value"), shown).html() if shown else ""
        return f"<p>{escape(repr(self)[1:-1])}</p>{table}"


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _ITEM_CHARACTERS_MAX else text[: _ITEM_CHARACTERS_MAX - 1] + "…"

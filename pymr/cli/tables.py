"""How listings look in a terminal: aligned columns of plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pymr.base.printable import printable, printable_text
from pymr.wire.wording import percent

_CELL_CHARACTERS_MAX = 100
_GAP = "  "
_BAR_CHARACTERS = 12


class TextTable(NamedTuple):
    """Rows of cells under their headers. A header that begins with `>` is right-aligned, with its column."""

    headers: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def lines(self, width: int = 0) -> list[str]:
        return table_lines(self.headers, self.rows, width=width)

    def html(self) -> str:
        """For a notebook; all text is escaped."""
        from html import escape

        def line(tag: str, cells: Sequence[str]) -> str:
            aligned = zip(cells, self.headers, strict=True)
            return "".join(
                f'<{tag} style="text-align:{"right" if header.startswith(">") else "left"}">'
                f"{escape(printable(cell))}</{tag}>"
                for cell, header in aligned
            )

        head = line("th", [header.removeprefix(">") for header in self.headers])
        body = "".join(f"<tr>{line('td', row)}</tr>" for row in self.rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def without_empty_columns(self) -> TextTable:
        """Only the columns in which some row says something."""
        kept = [
            index
            for index in range(len(self.headers))
            if any(row[index] not in ("", "-") for row in self.rows)
        ]
        return TextTable(
            tuple(self.headers[index] for index in kept),
            [tuple(row[index] for index in kept) for row in self.rows],
        )


def table_lines(headers: Sequence[str], rows: Sequence[Sequence[str]], *, width: int = 0) -> list[str]:
    """Rows of cells under their headers. A header that begins with `>` is right-aligned, with its column.

    width: columns of the terminal, beyond which lines are cut; 0 for no bound.
    A character that would move the cursor is shown as `?`, so that no text from a job can disturb the table.
    """
    titles = [header.removeprefix(">") for header in headers]
    cells = [titles, *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(titles))]
    lines = []
    for row in cells:
        aligned = [
            cell.rjust(size) if header.startswith(">") else cell.ljust(size)
            for cell, size, header in zip(row, widths, headers, strict=True)
        ]
        line = _GAP.join(aligned).rstrip()
        lines.append(line if not width or len(line) <= width else line[: width - 1] + "…")
    return lines


def field_lines(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Names and values below each other; further lines of a value are aligned under its first. A value
    extends to the end of its line, so control characters are written out, as `say` does everywhere."""
    size = max((len(name) for name, _ in pairs), default=0)
    lines = []
    for name, value in pairs:
        first, *others = printable_text(value.expandtabs()).split("\n")
        lines.append(f"{name.ljust(size)}{_GAP}{first}".rstrip())
        lines += [f"{' ' * size}{_GAP}{line}".rstrip() for line in others]
    return lines


def one_line(text: str) -> str:
    """The first line of a text that says something, cut to what a cell holds."""
    if text.isprintable() and len(text) <= _CELL_CHARACTERS_MAX:
        return text.strip()
    lines = [line for line in text.splitlines() if line.strip()]
    shown = printable(lines[0].strip()) if lines else ""
    return shown if len(shown) <= _CELL_CHARACTERS_MAX else shown[: _CELL_CHARACTERS_MAX - 1] + "…"


def bar(share: float) -> str:
    """A share of 0 to 1 as a bar: `#####.......  42%`."""
    filled = int(min(max(share, 0.0), 1.0) * _BAR_CHARACTERS)
    return f"{'#' * filled}{'.' * (_BAR_CHARACTERS - filled)} {percent(share):>4}"

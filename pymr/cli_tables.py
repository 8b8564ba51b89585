"""How listings look in a terminal: aligned columns of plain text, times and amounts for people."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

_CELL_CHARACTERS_MAX = 100
_GAP = "  "
_BAR_CHARACTERS = 12


class Table(NamedTuple):
    """Rows of cells under their headers. One that begins with `>` stands, as its column, to the right."""

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
                f"{escape(_printable(cell))}</{tag}>"
                for cell, header in aligned
            )

        head = line("th", [header.removeprefix(">") for header in self.headers])
        body = "".join(f"<tr>{line('td', row)}</tr>" for row in self.rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def without_empty_columns(self) -> Table:
        """Only the columns in which some row says something."""
        kept = [
            index
            for index in range(len(self.headers))
            if any(row[index] not in ("", "-") for row in self.rows)
        ]
        return Table(
            tuple(self.headers[index] for index in kept),
            [tuple(row[index] for index in kept) for row in self.rows],
        )


def table_lines(headers: Sequence[str], rows: Sequence[Sequence[str]], *, width: int = 0) -> list[str]:
    """Rows of cells under their headers. A header that begins with `>` stands, as its column, to the right.

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
    """Names and values below each other; the further lines of a value stand under its first."""
    size = max((len(name) for name, _ in pairs), default=0)
    lines = []
    for name, value in pairs:
        first, *others = value.split("\n")
        lines.append(f"{name.ljust(size)}{_GAP}{_printable(first)}".rstrip())
        lines += [f"{' ' * size}{_GAP}{_printable(line)}".rstrip() for line in others]
    return lines


def one_line(text: str) -> str:
    """The last line of a text that says something (of a traceback, the error), cut to what a cell holds."""
    if text.isprintable() and len(text) <= _CELL_CHARACTERS_MAX:
        return text.strip()
    lines = [line for line in text.splitlines() if line.strip()]
    shown = _printable(lines[-1].strip()) if lines else ""
    return shown if len(shown) <= _CELL_CHARACTERS_MAX else shown[: _CELL_CHARACTERS_MAX - 1] + "…"


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text.expandtabs())


def moment(seconds: float | None, now: float | None = None) -> str:
    """A time of Unix as the local clock shows it: only the time of a moment today, else with its date."""
    if seconds is None:
        return "-"
    local, today = time.localtime(seconds), time.localtime(now)
    is_today = local[:3] == today[:3]
    return time.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M", local)


def span(seconds: float | None) -> str:
    """A length of time: `0.4 s`, `12 s`, `3:05`, `1:02:03`."""
    if seconds is None:
        return "-"
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def from_now(moment: float | None, now: float | None = None) -> str:
    """How far away a time of Unix is: `now`, `in 34 s`, `in 2 min`, `5 h ago`, `just now`."""
    if moment is None:
        return "-"
    seconds = moment - (time.time() if now is None else now)
    size = abs(seconds)
    if size < 0.95:
        return "now" if seconds >= 0 else "just now"
    if size < 90:
        told = f"{size:.0f} s"
    elif size < 90 * 60:
        told = f"{size / 60:.0f} min"
    elif size < 36 * 3_600:
        told = f"{size / 3_600:.0f} h"
    else:
        told = f"{size / 86_400:.0f} days"
    return f"in {told}" if seconds > 0 else f"{told} ago"


def bar(share: float) -> str:
    """A share of 0 to 1 as a bar: `#####.......  42%`."""
    filled = int(min(max(share, 0.0), 1.0) * _BAR_CHARACTERS)
    return f"{'#' * filled}{'.' * (_BAR_CHARACTERS - filled)} {percent(share):>4}"


def amount(count_bytes: float) -> str:
    """Bytes in decimal units, as disks are sold: `12.3 MB`."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count_bytes >= size:
            return f"{count_bytes / size:,.1f} {unit}"
    return f"{count_bytes:.0f} B"


def percent(share: float) -> str:
    """A share of 0 to 1; 100% only when it is whole."""
    return "100%" if share >= 1 else f"{min(int(share * 100), 99)}%"


def count_of(number: int, noun: str) -> str:
    """`1 file`, `2,000 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"

"""How listings look in a terminal: aligned columns of plain text, times and amounts for people."""

from __future__ import annotations

import time
from collections.abc import Sequence

_CELL_CHARACTERS_MAX = 100
_GAP = "  "


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
    lines = [line for line in text.splitlines() if line.strip()]
    shown = _printable(lines[-1].strip()) if lines else ""
    return shown if len(shown) <= _CELL_CHARACTERS_MAX else shown[: _CELL_CHARACTERS_MAX - 1] + "…"


def _printable(text: str) -> str:
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

"""What `pymr run` shows: bars on a terminal, plain lines elsewhere, and a summary at the end."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from pymr.base.interruption import uninterrupted
from pymr.base.printable import printable_text
from pymr.base.standard_streams import put
from pymr.runs.info import RunSummary
from pymr.runs.phases import Phase

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_PLAIN_SECONDS = 5.0
"""Between two plain lines of one phase."""

_WIDE_COLUMNS, _NARROW_COLUMNS = 100, 76
_SEPARATOR = "│"
_WHAT = {"map": "records", "shuffle": "segments", "reduce": "groups"}


class PlainDisplay:
    """One line when a phase begins and ends, and every few seconds between; for pipes, files and logs."""

    def __init__(self, job_name: str, stream: TextIO) -> None:
        self._job_name = job_name
        self._stream = stream
        self._shown_at = 0.0
        self._phase_name = ""

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        put("", self._stream)

    def on_phase(self, phase: Phase) -> None:
        now = time.monotonic()
        begins = phase.name != self._phase_name
        if begins or phase.ended_at is not None or now - self._shown_at >= _PLAIN_SECONDS:
            self._phase_name, self._shown_at = phase.name, now
            self._line(f"{self._job_name}: {phase.name}: {describe_phase(phase)}")

    def on_output(self, worker: str, lines: list[str]) -> None:
        self._line("\n".join(f"{worker} {_SEPARATOR} {line}" for line in lines))

    def on_notice(self, text: str) -> None:
        self._line(printable_text(f"{self._job_name}: {text}"))

    def _line(self, text: str) -> None:
        put(text + "\n", self._stream)  # a closed output does not fail a run


class LiveDisplay:
    """A row per phase that moves in place; what workers print scrolls above it.

    An interruption waits until what is being drawn is drawn: in the midst of it, rich would keep all that
    follows to itself, the cursor that is to be shown again as well.
    """

    def __init__(self, job_name: str, stream: TextIO) -> None:
        self._job_name = job_name
        self._stream = stream
        self._phases: dict[str, Phase] = {}
        self._started_at = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> LiveDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            with uninterrupted():
                self._live.stop()

    def on_phase(self, phase: Phase) -> None:
        self._phases[phase.name] = phase
        with uninterrupted():
            self._start().update(self._render(), refresh=True)

    def on_output(self, worker: str, lines: list[str]) -> None:
        from rich.text import Text

        shown = [Text.from_ansi(printable_text(line, keeps_escapes=True)) for line in lines]
        told = [Text.assemble((f"{worker} {_SEPARATOR} ", "dim"), line) for line in shown]
        with uninterrupted():
            self._console().print(Text("\n").join(told))

    def on_notice(self, text: str) -> None:
        from rich.text import Text

        with uninterrupted():
            self._console().print(Text(printable_text(text), "yellow"))

    def _console(self) -> Console:
        return self._start().console

    def _start(self) -> Live:
        """The live region, from the first use on: while the cluster starts, nothing waits for the import of
        rich (60 ms)."""
        if self._live is None:
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._stream, highlight=False)
            self._live = Live(console=console, auto_refresh=False, transient=False)
            self._live.start()
        return self._live

    def _render(self) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        width = self._console().width
        is_narrow, is_wide = width < _NARROW_COLUMNS, width >= _WIDE_COLUMNS
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(width=7)
        table.add_column(ratio=1, min_width=4)
        for _ in range(1 if is_narrow else 4):
            table.add_column(justify="right", no_wrap=True)
        for phase in self._phases.values():
            first, share, what = phase.units[0], phase.share, _WHAT[phase.name]
            row: list[RenderableType] = [Text(phase.name, "bold"), ProgressBar(total=1.0, completed=share)]
            if is_narrow:
                row.append(Text(f"{share:.0%}"))
            else:
                amounts = f" tasks  {first:,} {what}" if is_wide else ""
                texts = (_amount(phase, share), f"{phase.done}/{phase.total}{amounts}")
                row += map(Text, (*texts, f"{_rate(phase)} {what}/s", _time(phase)))
            table.add_row(*row)
        return table


def _amount(phase: Phase, share: float) -> str:
    if phase.name != "map":
        return f"{share:.0%}"
    return f"{megabytes(phase.units[1])} of {megabytes(phase.total_units)}"


def _rate(phase: Phase) -> str:
    return f"{phase.units[0] / max(phase.seconds, 0.05):,.0f}"


def _time(phase: Phase) -> str:
    if phase.ended_at is not None:
        return f"in {duration(phase.seconds)}"
    left = phase.seconds_left
    return "" if left is None else f"{duration(left)} left"


def describe_phase(phase: Phase) -> str:
    """A phase in a line of plain text."""
    return f"{phase.done} of {phase.total} tasks, {describe_units(phase)}"


def describe_units(phase: Phase) -> str:
    """How much of a phase is done, how fast, and how long it took or what is left of it."""
    first, second = phase.units
    rate = f" ({first / phase.seconds:,.0f}/s)" if phase.seconds >= 0.05 and first else ""
    if phase.name == "map":
        amounts = f"{first:,} records{rate}, {megabytes(second)} of {megabytes(phase.total_units)}"
    elif phase.name == "shuffle":
        amounts = f"{first:,} segments{rate}, {megabytes(second)}"
    else:
        total = f" of {phase.total_units:,}" if phase.total_units else ""
        amounts = f"{first:,} groups{rate}, {second:,}{total} items"
    if phase.ended_at is not None:
        return f"{amounts}, {duration(phase.seconds)}"
    left = phase.seconds_left
    return amounts if left is None else f"{amounts}, {duration(left)} left"


def summary_lines(summary: RunSummary) -> list[str]:
    """The closing summary of a run that succeeded."""
    took = {name: duration(seconds) for name, seconds in summary.phase_seconds.items()}
    phases = ", ".join(f"{name} {text}" for name, text in took.items() if text != duration(0.0))
    size = sum(part.length for part in summary.parts)
    rows = [
        ("records in", f"{summary.records:,} ({megabytes(summary.bytes)} in {_files(summary.files)})"),
        ("items shuffled", f"{summary.values:,}"),
        ("groups", f"{summary.groups:,}"),
        ("items out", f"{summary.items_out:,} ({_files(len(summary.parts))} there, {megabytes(size)})"),
        ("time", phases or duration(0.0)),
    ]
    rows += [("bad records", f"{summary.bad_records:,}, listed in _bad_records.jsonl")] * bool(
        summary.bad_records
    )
    rows += [("counter", f"{name} = {number:,}") for name, number in summary.counters.items()]
    rows += [("warning", warning) for warning in summary.warnings]
    rows += [("note", note) for note in summary.notes]
    rows.append(("output", summary.output_dir))
    return [
        f"{summary.job_name}: success in {duration(summary.seconds)}",
        *(f"  {name:<15} {text}" for name, text in rows),
    ]


def megabytes(count: int) -> str:
    """Bytes for a reader: decimal units, as disks are sold."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} B"


def duration(seconds: float) -> str:
    """Seconds for a reader: `0.4 s`, `12 s`, `3:05`, `1:02:03`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"

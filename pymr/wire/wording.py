"""How figures, times and results are written for people, in every console."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pymr.wire.rows import JobRow, JobStatus, PeerRow, PhaseRow, RunRow

ShownStatus = JobStatus | Literal["breakpoint"]
"""A job at a breakpoint runs, for programs; people are told apart what waits for them."""

_TRACEBACK = "Traceback (most recent call last):"
_BEGINS_TRACEBACK = re.compile(rf"{re.escape(_TRACEBACK)}$|  File \"")
_OF_FUNCTION = re.compile(r"(?:map|combine|reduce) function \S+ raised (?!on )(.+)")
_PROBLEMS = re.compile(r": \d+ problems?$")


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


def heard_ago(row: PeerRow) -> str:
    """How long ago a peer was heard: `0.4 s`; `>3:05` of one that was not since the leader took over, so long
    ago; `-` where nobody knows."""
    if row.heard is not None:
        return span(row.heard)
    if row.unheard is None:
        return "-"
    is_long = row.unheard >= 100 * 3_600
    return f">{row.unheard / 86_400:.0f} days" if is_long else f">{span(row.unheard)}"


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


def no_progress(worker: str, task: str, timeout_s: float) -> str:
    """What is told of a task that its worker was ended for."""
    return (
        f"{worker} made no progress on {task} for {timeout_s:g} s (task_timeout_seconds): an endless loop in "
        "a function, or one record that takes so long"
    )


def kind_of(fields: dict[str, Any]) -> str:
    """The type of a job; of a file_transfer, that of the transfer."""
    return str(fields.get("transfer_type") or fields.get("job_type") or "-")


def status_of(row: JobRow) -> ShownStatus:
    """How a job stands, in a word. Of one that runs, whether it goes on or stands at a breakpoint."""
    return "breakpoint" if row.status == "running" and row.breakpoints else row.status


def reason_of(exception: str | None) -> str:
    """A reason in one line: of an exception its type and the first line of its message, of a script how it
    ended, of several problems the first."""
    lines = [line.rstrip() for line in (exception or "").splitlines() if line.strip()]
    if not lines:
        return ""
    first = _raised_in(lines).strip()
    if _PROBLEMS.search(first) and lines[1:]:
        return f"{first}: {lines[1].strip().removeprefix('- ')}"
    called = _OF_FUNCTION.match(first)
    return called[1] if called else first.removeprefix("unexpected: ")


def without_traceback(error: str) -> str:
    """What was raised, where, and how often, of an error whose traceback its reader has seen; one that has
    none as it is."""
    lines = error.splitlines()
    begin = next((number for number, line in enumerate(lines) if _BEGINS_TRACEBACK.match(line)), 0)
    if not begin:
        return error
    places = [line for line in lines[1:begin] if line.startswith("  at ")]
    return "\n".join([lines[0], *places[-1:], *(line for line in lines[-1:] if line.startswith("(task "))])


def _raised_in(lines: Sequence[str]) -> str:
    """The line that says what was raised: the first, but where it only announces a traceback."""
    if not lines[0].endswith(_TRACEBACK):
        return lines[0]
    last = max(number for number, line in enumerate(lines) if line.endswith(_TRACEBACK))
    return next((line for line in lines[last + 1 :] if not line.startswith(" ")), lines[0])


def result_of(run: RunRow) -> str:
    """What a run has done, in a few words."""
    if run.job_type == "script":
        return "-" if run.exit_status is None else f"exit status {run.exit_status}"
    if run.status == "skipped":
        return f"no new input, {count_of(len(run.warnings), 'warning')}" if run.warnings else "no new input"
    if run.job_type == "file_transfer":
        skipped = f", {run.skipped:,} skipped" if run.skipped else ""
        return f"{count_of(run.files, 'file')} ({amount(run.bytes)}){skipped}"
    bad = f", {run.bad_records:,} bad" if run.bad_records else ""
    warned = f", {count_of(len(run.warnings), 'warning')}" if run.warnings else ""
    return f"{count_of(run.records, 'record')}{bad}, {count_of(run.items, 'item')} out{warned}"


def phase_share(phase: PhaseRow) -> float:
    """How much of a phase is done, 0 to 1: by its tasks, and where it is known by bytes or values."""
    if phase.is_over or (phase.total and phase.done >= phase.total):
        return 1.0
    by_tasks = phase.done / phase.total if phase.total else 0.0
    by_units = phase.units[1] / phase.total_units if phase.total_units else 0.0
    return min(max(by_tasks, by_units), 0.999)


def version_warning(versions: Mapping[str, str]) -> str:
    """What to do where not all peers run the same version; "" where they do. versions: by peer, of those that
    are alive; "" where it is not known."""
    names: dict[str, list[str]] = {}
    for name, version in versions.items():
        if version:
            names.setdefault(version, []).append(name)
    if len(names) < 2:
        return ""
    few = [f"{version} ({_some(names[version])})" for version in sorted(names)]
    return f"the peers run different versions: {', '.join(few)}; install the same one everywhere"


def _some(names: list[str]) -> str:
    """The first names, and how many others there are."""
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} others" if len(names) > 4 else ", ".join(names)

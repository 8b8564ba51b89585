"""The job table: which jobs that the cluster reported are shown, and in what order. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, NamedTuple

from pymr.wire.rows import JobRow, JobStatus, RunRow
from pymr.wire.wording import ShownStatus, kind_of, status_of
from tui.model.filters import FIELD_BREAK, Filter, Haystack, parse_filter
from tui.model.sort_order import SortOrder, sorted_rows

_STATUS_ORDER: dict[ShownStatus, int] = {
    "failed": 0, "breakpoint": 1, "running": 2, "queued": 3, "skipped": 4, "succeeded": 5,
}  # fmt: skip
"""From what an operator has to see first to what can wait."""

_JOBS_OF_GROUP_MIN = 2
_GROUP_KEY = "\n"
"""What the key of a group's line begins with; no job can be called so."""


@dataclass(frozen=True, slots=True)
class GroupLine:
    """The line above the jobs of a group. counts: of those that pass the filter, the worst first."""

    name: str
    counts: tuple[tuple[ShownStatus, int], ...]
    is_folded: bool

    @property
    def jobs(self) -> int:
        return sum(count for _, count in self.counts)

    @property
    def worst(self) -> ShownStatus:
        return self.counts[0][0]


Line = JobRow | GroupLine


def name_of(row: JobRow) -> str:
    return str(row.fields.get("job_name") or "")


def group_of(row: JobRow) -> str:
    return row.fields.get("group_name") or ""


def submitter_of(row: JobRow) -> str:
    return str(row.fields.get("job_submitter") or "")


def has_left(row: JobRow) -> bool:
    """Whether a job is in the queue no more; only its last run is known then (see `rows_of_runs`)."""
    return not row.submitted_at


def waits_for_a_person(row: JobRow) -> bool:
    """Whether a job of the queue has failed or is at a breakpoint."""
    return status_of(row) in ("failed", "breakpoint") and not has_left(row)


def line_key(line: Line) -> str:
    """What tells a line from others, in every list of lines."""
    return _GROUP_KEY + line.name if isinstance(line, GroupLine) else name_of(line)


class _Searched(NamedTuple):
    """What the filter looks at. It changes with the version and the status of a job only."""

    version: int
    status: ShownStatus
    haystack: Haystack


class JobTable:
    """Lines of the jobs table: `lines` follows from what was set before, and is made only when it is read.

    In the order of the queue (no sort column): what runs, what waits, what failed, then what has ended, the
    latest first. The jobs of a group of two or more are listed together, below a group line, at the
    place of the first of them.
    Cost: about 1 µs for a job in the order of the queue, 2 µs with a filter and a sort column.
    """

    def __init__(self) -> None:
        self.order = SortOrder()
        self.filter_text = ""
        self.folded: frozenset[str] = frozenset()
        self._rows: Sequence[JobRow] = ()
        self._filter = Filter()
        self._lines: list[Line] | None = None
        self._big_groups: frozenset[str] = frozenset()
        self._members: dict[str, list[JobRow]] = {}
        self._searched: dict[str, _Searched] = {}
        self._haystacks: list[Haystack] | None = None
        self._passed = 0

    @property
    def rows(self) -> Sequence[JobRow]:
        return self._rows

    @property
    def lines(self) -> list[Line]:
        if self._lines is None:
            self._lines = list(self._lines_of(self._in_order()))
        return self._lines

    @property
    def passed(self) -> int:
        """How many jobs pass the filter, those of folded groups too."""
        return self._passed if self.lines else 0

    @property
    def groups(self) -> frozenset[str]:
        """Those that have a line of their own."""
        return self._big_groups

    # ---- what it depends on

    def set_rows(self, rows: Sequence[JobRow]) -> None:
        """rows: in the order of the queue, then those of `rows_of_runs`."""
        if rows is self._rows:
            return
        self._rows, self._lines, self._haystacks = rows, None, None
        counts: dict[str, int] = {}
        for row in rows:
            if group := row.fields.get("group_name"):
                counts[group] = counts.get(group, 0) + 1
        self._big_groups = frozenset(group for group, count in counts.items() if count >= _JOBS_OF_GROUP_MIN)
        if len(self._searched) > 2 * len(rows):
            self._searched.clear()

    def set_filter(self, text: str) -> None:
        self.filter_text, self._filter, self._lines = text, parse_filter(text), None

    def sort(self, order: SortOrder) -> None:
        """By one of SORT_COLUMNS, or in the order of the queue."""
        self.order, self._lines = order, None

    def sort_next(self, columns: Sequence[str]) -> None:
        """By the column after the present one, of those given; after the last, in the order of the queue."""
        self.sort(self.order.next(column for column in columns if column in _SORT_KEYS))

    def fold(self, group: str) -> None:
        """Hide the jobs of a group, or show them again."""
        self.folded, self._lines = self.folded ^ {group}, None

    def fold_all(self) -> None:
        """Hide the jobs of all groups; where they are hidden, show them."""
        are_folded = self._big_groups <= self.folded
        self.folded, self._lines = frozenset() if are_folded else self._big_groups, None

    def unfold_of(self, row: JobRow) -> None:
        """Let a job be seen."""
        if (group := group_of(row)) in self.folded:
            self.fold(group)

    # ---- what is asked of it

    def members(self, group: str) -> tuple[JobRow, ...]:
        """The jobs of a group that pass the filter, in the order of the lines, folded or not."""
        return tuple(self._members.get(group, ())) if self.lines else ()

    def find(self, job_name: str) -> JobRow | None:
        return next((row for row in self._rows if row.fields.get("job_name") == job_name), None)

    def waiting_after(self, key: str) -> JobRow | None:
        """The next job below a line that waits for a person, as it has failed or is at a breakpoint,
        going on from the top; folded ones too. None where none does."""
        waiting = [row for row in self._unfolded() if waits_for_a_person(row)]
        keys = [line_key(line) for line in self.lines]
        if not waiting or key not in keys:
            return waiting[0] if waiting else None
        places = {one: place for place, one in enumerate(keys)}
        here = places[key]
        below = (row for row in waiting if self._place_of(row, places) > here)
        return next(below, waiting[0])

    def _unfolded(self) -> Iterator[JobRow]:
        """The jobs in the order of the lines, those of folded groups too."""
        for line in self.lines:
            if not isinstance(line, GroupLine):
                yield line
            elif line.is_folded:
                yield from self._members[line.name]

    def _place_of(self, row: JobRow, places: dict[str, int]) -> float:
        """A folded job is right below the line of its group."""
        place = places.get(name_of(row))
        return places[_GROUP_KEY + group_of(row)] + 0.5 if place is None else place

    # ---- making the lines

    def _in_order(self) -> list[JobRow]:
        rows = self._queue_order(self._passing())
        self._passed = len(rows)
        column, is_reverse = self.order
        return sorted_rows(rows, _SORT_KEYS[column], is_reverse) if column else rows

    def _passing(self) -> Iterable[JobRow]:
        if not self._filter:
            return self._rows
        if self._haystacks is None:
            self._haystacks = [self._haystack_of(row) for row in self._rows]
        return compress(self._rows, self._filter.which(self._haystacks))

    def _haystack_of(self, row: JobRow) -> Haystack:
        name = row.fields["job_name"]
        known, status = self._searched.get(name), status_of(row)
        if known is not None and known.version == row.version and known.status == status:
            return known.haystack
        words = status if status == row.status else f"{row.status} {status}"
        fields = {"job": name, "group": group_of(row), "type": kind_of(row.fields), "status": words}
        haystack = Haystack.of(FIELD_BREAK.join([*fields.values(), submitter_of(row)]), fields)
        self._searched[name] = _Searched(row.version, status, haystack)
        return haystack

    @staticmethod
    def _queue_order(rows: Iterable[JobRow]) -> list[JobRow]:
        by_status: dict[str, list[JobRow]] = {"running": [], "queued": [], "failed": []}
        ended: list[JobRow] = []
        for row in rows:
            (by_status.get(row.status, ended) if row.submitted_at else ended).append(row)
        by_status["failed"].sort(key=_ended_at, reverse=True)
        ended.sort(key=_ended_at, reverse=True)
        return [*by_status["running"], *by_status["queued"], *by_status["failed"], *ended]

    def _lines_of(self, rows: list[JobRow]) -> Iterator[Line]:
        groups = self._big_groups
        if not groups:
            self._members = {}
            yield from rows
            return
        self._members = _members(rows, groups)
        for row in rows:
            group = row.fields.get("group_name")
            if group not in groups:
                yield row
            elif (jobs := self._members[group])[0] is row:
                is_folded = group in self.folded
                yield GroupLine(group, _counts(jobs), is_folded)
                if not is_folded:
                    yield from jobs


def rows_of_runs(
    runs: Iterable[RunRow], in_queue: Iterable[JobRow], hidden: Mapping[str, int] | None = None
) -> list[JobRow]:
    """A row for each job that has run and is in the queue no more, as one that ran once.

    runs: the latest first; those that were broken off tell of no result. hidden: by job,
    the version up to which its runs get no row, as it was deleted.
    """
    known = {row.fields["job_name"] for row in in_queue}
    hidden = hidden or {}
    rows = []
    for run in runs:
        if run.job_name in known or run.job_version <= hidden.get(run.job_name, -1):
            continue
        known.add(run.job_name)
        if run.status in ("succeeded", "failed", "skipped"):
            rows.append(_row_of_run(run, run.status))
    return rows


def _row_of_run(run: RunRow, status: JobStatus) -> JobRow:
    return JobRow(
        fields={"job_name": run.job_name, "job_type": run.job_type},
        status=status,
        version=run.job_version,
        submitted_at=0.0,
        run_id=run.run_id,
        start_time=run.start_time,
        end_time=run.end_time,
        exception=run.exception,
        last_seconds=None if run.end_time is None else run.end_time - run.start_time,
    )


def _members(rows: Iterable[JobRow], groups: frozenset[str]) -> dict[str, list[JobRow]]:
    members: dict[str, list[JobRow]] = {}
    for row in rows:
        group = row.fields.get("group_name")
        if group in groups:
            members.setdefault(group, []).append(row)
    return members


def _counts(rows: Iterable[JobRow]) -> tuple[tuple[ShownStatus, int], ...]:
    counts: dict[ShownStatus, int] = {}
    for row in rows:
        status = status_of(row)
        counts[status] = counts.get(status, 0) + 1
    return tuple(sorted(counts.items(), key=lambda one: _STATUS_ORDER[one[0]]))


def _ended_at(row: JobRow) -> float:
    return row.end_time or row.start_time or 0.0


def _when(row: JobRow) -> tuple[int, float] | None:
    """What ends soonest, then what begins soonest, then what ended last."""
    if row.status == "running":
        return (0, row.seconds_left) if row.seconds_left is not None else None
    if row.status == "queued":
        return (1, row.expected_start) if row.expected_start is not None else None
    return (2, -row.end_time) if row.end_time is not None else None


_SORT_KEYS: dict[str, Callable[[JobRow], Any]] = {
    "name": lambda row: name_of(row).lower(),
    "group": lambda row: group_of(row).lower() or None,
    "type": lambda row: kind_of(row.fields),
    "priority": lambda row: row.fields.get("job_priority"),
    "status": lambda row: _STATUS_ORDER[status_of(row)],
    "phase": lambda row: row.current_phase if row.status == "running" else None,
    "progress": lambda row: row.progress if row.status == "running" else None,
    "when": _when,
    "last": lambda row: row.last_seconds,
    "submitter": lambda row: submitter_of(row) or None,
}

SORT_COLUMNS = tuple(_SORT_KEYS)

"""Jobs, views and states as the cluster would tell them, for tests of the console that need no cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pymr.wire.requests import JobsView, JobView
from pymr.wire.rows import JobRow, RunRow, RunStatus
from tui.model.state import ClusterState

NOW = 1_700_000_000.0
ANSWERED_AT = 1e9
"""By time.monotonic(): in times to come, so that what is known never grows old, however slow the machine."""

TRACEBACK = """Traceback (most recent call last):
  File "reduce.py", line 41, in reduce_function
    total += amounts[currency]
KeyError: 'CHF'"""


def job(name: str, status: str = "queued", group: str | None = None, **info: Any) -> JobRow:
    """facts: of the row; `priority` and `submitter` of the definition."""
    fields = {
        "job_name": name,
        "job_type": "mapreduce",
        "group_name": group,
        "job_priority": info.pop("priority", 0),
        "job_submitter": info.pop("submitter", "ann@desk"),
    }
    info.setdefault("version", 1)
    return JobRow(fields=fields, status=status, submitted_at=NOW, **info)  # type: ignore[arg-type]


def run(number: int, status: RunStatus = "succeeded", seconds: float = 60.0, **info: Any) -> RunRow:
    begin = NOW + number * 1_000
    info.setdefault("job_name", "j")
    return RunRow(
        run_id=f"r{number}", job_version=1, status=status, start_time=begin,
        end_time=begin + seconds, **info,
    )  # fmt: skip


def view(row: JobRow, **info: Any) -> JobView:
    return JobView(id="v", row=row, **info)


def state(rows: Sequence[JobRow], *views: JobView) -> ClusterState:
    return ClusterState(
        jobs=JobsView(id="j", rows=tuple(rows), total=len(rows)),
        job_views={str(one.row.fields["job_name"]): one for one in views if one.row is not None},
        answered_at=ANSWERED_AT,
    )

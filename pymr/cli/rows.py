"""Rows of the listings, as tables for people and as objects for JSON."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pymr.cli.run_rows import partitions_line, slow_lines
from pymr.cli.tables import TextTable, bar, field_lines, table_lines
from pymr.wire.outcomes import comparable_error
from pymr.wire.protocol import MachineFigures
from pymr.wire.requests import JobsView, JobView
from pymr.wire.rows import FailedAttempt, JobRow, PeerRow, PhaseRow, RunRow, WorkerRow
from pymr.wire.wording import (
    amount,
    count_of,
    from_now,
    heard_ago,
    kind_of,
    moment,
    percent,
    phase_share,
    reason_of,
    result_of,
    span,
    status_of,
)

if TYPE_CHECKING:
    from pymr.ops.status import ClusterStatus

_RUNS_SHOWN = 10
_ATTEMPTS_SHOWN = 5
_OUTPUT_LINES_SHOWN = 15
_FAILURE_BYTES = 4 << 10  # of a worker's output before the end of a failure: its traceback is in there


def job_object(row: JobRow) -> dict[str, Any]:
    """The fields of a job's definition at the top level, and its status beside them."""
    standing = msgspec.structs.asdict(row)
    return {**standing.pop("fields"), **standing}


def job_view_object(
    job_name: str,
    view: JobView,
    runs: Sequence[RunRow],
    panes: Sequence[str] = (),
    is_output_kept: bool | None = None,
) -> dict[str, Any]:
    """A job with its phases and runs; of one that has left the queue only the runs. Its counters and bad
    records and warnings are those of the run that is under way, else of the last one. is_output_kept: whether
    the output with the last run's failure still exists; None if that is unknown."""
    ended = _ended_run(view, runs)
    row = {"job_name": job_name, "status": None} if view.row is None else job_object(view.row)
    return {
        **row,
        "phases": view.phases,
        "tasks": view.tasks,
        "partition_bytes": view.partition_bytes,
        "removed_peers": view.removed,
        "counters": view.counters if ended is None else ended.counters,
        "bad_records": ended.bad_records if ended is not None else None,
        "warnings": view.warnings if ended is None else ended.warnings,
        "failed_attempts": view.failed_attempts,
        "runs": runs,
        "panes": panes,
        "failure_output_kept": is_output_kept,
    }


def jobs_lines(view: JobsView, width: int, now: float | None = None) -> list[str]:
    now = time.time() if now is None else now
    headings = [heading] if (heading := queue_heading(view, now)) else []
    if not view.rows and view.problem:
        return [*headings, "no job is known while the cluster has the problem reported below"]
    if not view.rows:
        return [*headings, "no jobs; submit one with `pymr submit JOB.toml`"]
    notes = [(str(row.fields.get("job_name")), _note(row)) for row in view.rows if row.waiting_for]
    return headings + _with_whole_texts(jobs_table(view.rows, now).lines(width), notes)


def _with_whole_texts(table: list[str], texts: Sequence[tuple[str, str]]) -> list[str]:
    """A table, and below it those of the (name, text) that it had to cut: what is wrong, and where, has to be
    readable in a narrow terminal as well."""
    lines = [(name, text.partition("\n")[0]) for name, text in texts]
    return table + [f"{name}: {text}" for name, text in lines if not any(text in line for line in table)]


def queue_heading(view: JobsView, now: float) -> str:
    """Whether the queue is paused, the number of the cycle, and when the next one begins; "" if neither is
    worth a word."""
    texts = []
    if view.paused:
        texts.append("paused: no more runs are started until `pymr resume`")
    if view.cycle and any(not row.fields.get("run_once") for row in view.rows):
        following = ""
        if view.next_cycle_at is not None and not view.paused:
            is_over = view.next_cycle_at - now < 0.95
            when = (
                "when all jobs have run"
                if is_over
                else f"{from_now(view.next_cycle_at, now)} at the earliest"
            )
            following = f", the next one begins {when}"
        texts.append(f"cycle {view.cycle}{following}")
    return f"({'; '.join(texts)})" if texts else ""


def jobs_table(rows: Sequence[JobRow], now: float) -> TextTable:
    """The jobs of the queue. A column that says nothing of any of them is left out."""
    cells = [
        (
            str(row.fields.get("job_name")),
            str(row.fields.get("group_name") or "-"),
            kind_of(row.fields),
            str(row.fields.get("job_priority")),
            status_of(row),
            f"{row.current_phase or 'begins'} {percent(row.progress)}" if row.status == "running" else "-",
            _start(row, now),
            span(row.seconds_left) if row.status == "running" else "-",
            span(row.last_seconds),
            _note(row),
        )
        for row in rows
    ]
    headers = ("JOB", "GROUP", "TYPE", ">PRIORITY", "STATUS", "PHASE", "START", ">LEFT", ">TAKES", "NOTE")
    return TextTable(headers, cells).without_empty_columns()


def _ended_run(view: JobView, runs: Sequence[RunRow]) -> RunRow | None:
    """The last run; None while another is under way, and where there is none."""
    is_running = view.row is not None and view.row.status == "running"
    return runs[0] if runs and not is_running else None


def _start(row: JobRow, now: float) -> str:
    """When it is expected to begin, or did."""
    if row.status != "running" and row.expected_start is not None:
        return from_now(max(row.expected_start, now), now)
    return "-" if row.status == "queued" else from_now(row.start_time, now)


def _note(row: JobRow) -> str:
    if row.waiting_for:
        return f"waits for {row.waiting_for}"
    if row.breakpoints:
        return f"at a breakpoint: {', '.join(row.breakpoints)}"
    return reason_of(row.exception) if row.status == "failed" else ""


def job_view_lines(
    job_name: str,
    view: JobView,
    runs: Sequence[RunRow],
    width: int,
    panes: Sequence[str] = (),
    is_output_kept: bool | None = None,
) -> list[str]:
    lines = [f"{job_name} is not in the queue"] if view.row is None else _standing(view.row)
    if view.phases:
        lines += ["", *_phases_lines(view.phases, width)]
    if view.partition_bytes:
        lines += ["", partitions_line(view.partition_bytes)]
    if slow := slow_lines(view.tasks, width):
        lines += ["", *slow]
    if view.removed:
        text = (
            f"parts are with {', '.join(view.removed)}, no longer in cluster.toml: nobody reads what is left"
        )
        lines += ["", *field_lines([("output", text)])]
    ended = _ended_run(view, runs)
    if found := view.counters if ended is None else ended.counters:
        counters = [(name, f"{number:,}") for name, number in sorted(found.items())]
        lines += ["", *table_lines(("COUNTER", ">VALUE"), counters, width=width)]
    if ended is not None and ended.bad_records:
        count = count_of(ended.bad_records, "bad record")
        lines += ["", f"{count}: see `pymr bad-records {ended.run_id}`"]
    if warnings := view.warnings if ended is None else ended.warnings:
        lines += ["", *field_lines([("warning", warning) for warning in warnings])]
    for heading, error in failures_shown(view.failed_attempts)[:_ATTEMPTS_SHOWN]:
        lines += ["", heading, *field_lines([("", error.rstrip())])]
    if panes or (runs and (runs[0].exit_status is not None or runs[0].failed_at is not None)):
        lines += ["", *_output_lines(runs, panes, is_output_kept)]
    if runs:
        lines += ["", *history_lines(runs[:_RUNS_SHOWN], width)]
    return lines


def failures_shown(attempts: Sequence[FailedAttempt]) -> list[tuple[str, str]]:
    """Headings and errors of failed attempts, the latest first; those that failed alike once."""
    alike: dict[tuple[str, str], list[FailedAttempt]] = {}
    for attempt in attempts:
        alike.setdefault((attempt.task, comparable_error(attempt.error, attempt.worker)), []).append(attempt)
    shown = []
    for (task, _), same in alike.items():
        last = f"attempt {same[0].attempt} of {task} failed on {same[0].worker}"
        times = f"; {len(same)} attempts, the same each time:" if same[1:] else ":"
        shown.append((last + times, same[0].error))
    return shown


def _standing(row: JobRow) -> list[str]:
    """A job's status, then its definition."""
    now = time.time()
    pairs = [("job", str(row.fields.get("job_name"))), ("status", status_of(row))]
    if row.current_phase:
        left = f", {span(row.seconds_left)} left" if row.seconds_left is not None else ""
        pairs.append(("phase", f"{row.current_phase} ({percent(row.progress)} of the run{left})"))
    pairs += [("breakpoint", f"pymr attach {worker}") for worker in row.breakpoints]
    pairs += [("waits for", row.waiting_for)] * bool(row.waiting_for)
    pairs += [("run", row.run_id or "")] * bool(row.run_id)
    if row.status != "running" and row.expected_start is not None:
        expected = max(row.expected_start, now)
        pairs.append(("expected", f"{moment(expected)} ({from_now(expected, now)})"))
    pairs += [("takes", f"{span(row.last_seconds)} (its runs before)")] * (row.last_seconds is not None)
    pairs.append(("submitted", f"{moment(row.submitted_at)} (version {row.version})"))
    pairs += [("started", f"{moment(row.start_time)}{_in_cycle(row)}")] * (row.start_time is not None)
    pairs += [("ended", moment(row.end_time))] * (row.end_time is not None)
    pairs += [("exception", row.exception or "")] * bool(row.exception)
    definition = [
        (name, _value(value))
        for name, value in row.fields.items()
        if name != "job_name" and value not in (None, [], "")
    ]
    return [*field_lines(pairs), "", *field_lines(definition)]


def _in_cycle(row: JobRow) -> str:
    return f" (cycle {row.cycle})" if row.cycle else ""


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _output_lines(runs: Sequence[RunRow], panes: Sequence[str], is_output_kept: bool | None) -> list[str]:
    """How the latest run of a script ended, what it said last, and where all of it is; of any run that a
    worker has failed, where the failure is."""
    pairs = []
    if runs and runs[0].exit_status is not None:
        pairs.append(("exit status", str(runs[0].exit_status)))
        pairs += [("failed attempts", str(runs[0].attempts_failed))] * bool(runs[0].attempts_failed)
        said = runs[0].output.rstrip().split("\n")[-_OUTPUT_LINES_SHOWN:]
        pairs += [("last lines", "\n".join(said))] * bool(runs[0].output.strip())
    place = runs[0].failed_at if runs else None
    if place is not None and is_output_kept is False:
        where = f"that of {place.worker} is no longer kept (panes.keep_days, panes.keep_bytes)"
        pairs.append(("output", where))
    elif place is not None:
        start = max(0, place.offset - _FAILURE_BYTES)
        whole = f"{place.worker} --run {place.run_id}"
        panes = [whole + f" --from {start}" * (start > 0), *(pane for pane in panes if pane != whole)]
    pairs += [("output", f"pymr logs {pane}") for pane in panes]
    return field_lines(pairs)


_UNITS = {"map": "record", "shuffle": "segment", "sort": "group", "reduce": "group"}
_FILE_STEPS = ("list", "spread", "copy", "delete")


def _phases_lines(phases: Sequence[PhaseRow], width: int) -> list[str]:
    rows = [
        (
            phase.name,
            bar(phase_share(phase)),
            span(phase.seconds_left),
            f"{phase.done}/{phase.total}",
            str(phase.running),
            _units(phase),
            _amount(phase),
            span(phase.seconds),
        )
        for phase in phases
    ]
    headers = ("PHASE", "DONE", ">LEFT", ">TASKS", ">RUNNING", ">UNITS", ">AMOUNT", ">TIME")
    return table_lines(headers, rows, width=width)


def _units(phase: PhaseRow) -> str:
    noun = "file" if phase.name in _FILE_STEPS else _UNITS.get(phase.name)
    return count_of(phase.units[0], noun) if noun else ""


def _amount(phase: PhaseRow) -> str:
    done, total = phase.units[1], phase.total_units
    if phase.name in ("map", "shuffle", *_FILE_STEPS):
        return amount(done) + (f" of {amount(total)}" if total else "")
    known = f" of {total:,}" if total else ""
    return f"{done:,}{known} values" if phase.name in _UNITS else ""


def history_lines(runs: Sequence[RunRow], width: int) -> list[str]:
    return history_table(runs).lines(width) if runs else ["no runs yet"]


def history_table(runs: Sequence[RunRow]) -> TextTable:
    rows = [
        (
            run.run_id,
            run.job_name,
            run.job_type,
            run.status,
            moment(run.start_time),
            span(None if run.end_time is None else run.end_time - run.start_time),
            result_of(run),
            reason_of(run.exception),
        )
        for run in runs
    ]
    headers = ("RUN", "JOB", "TYPE", "STATUS", "STARTED", ">TIME", "RESULT", "EXCEPTION")
    return TextTable(headers, rows)


def peers_lines(peers: Sequence[PeerRow], width: int) -> list[str]:
    rows = []
    for peer in peers:
        rows.append(
            (
                peer.name + (" *" if peer.leader else ""),
                peer.address or "-",
                peer.state or ("alive" if peer.alive else "unknown"),
                str(peer.pid or "-"),
                str(peer.epoch or "-"),
                f"{peer.busy}/{peer.workers}" if peer.workers else "-",
                *_machine_cells(peer.machine),
                heard_ago(peer),
                peer.machine.disk_problem if peer.alive else "",
            )
        )
    headers = (
        "PEER", "ADDRESS", "STATE", ">PID", ">EPOCH", ">BUSY", ">CPU", ">MEMORY", ">DISK FREE", ">HEARD",
        "PROBLEM",
    )  # fmt: skip
    shown = len(headers) if any(row[-1] for row in rows) else len(headers) - 1
    leads = [] if any(peer.leader for peer in peers) else ["(no peer leads at the moment)"]
    table = table_lines(headers[:shown], [row[:shown] for row in rows], width=width)
    problems = [(peer.name, peer.machine.disk_problem) for peer in peers if peer.alive]
    removed = [
        f"{peer.name} is no longer in cluster.toml, and has parts of the output of {', '.join(peer.outputs)}"
        for peer in peers
        if peer.outputs
    ]
    return _with_whole_texts(table, problems) + leads + removed


def _machine_cells(machine: MachineFigures) -> tuple[str, str, str]:
    """Processor, memory and disk; dashes for a machine that nothing is known of."""
    if not machine.memory_bytes:
        return "-", "-", "-"
    memory = f"{amount(machine.memory_used_bytes)} of {amount(machine.memory_bytes)}"
    return f"{machine.cpu_percent:.0f}%", memory, amount(machine.disk_free_bytes)


def workers_lines(workers: Sequence[WorkerRow], width: int) -> list[str]:
    if not workers:
        return ["no workers: no peer is alive"]
    rows = []
    for worker in workers:
        rows.append(
            (
                worker.name,
                str(worker.pid or "-"),
                worker.state,
                worker.job_name or "-",
                worker.task or "-",
                worker.phase or "-",
                _done_by(worker),
                worker.holder,
            )
        )
    headers = ("WORKER", ">PID", "STATE", "JOB", "TASK", "PHASE", "DONE", "HOLDER")
    shown = len(headers) if any(worker.holder for worker in workers) else len(headers) - 1
    return table_lines(headers[:shown], [row[:shown] for row in rows], width=width)


def _done_by(worker: WorkerRow) -> str:
    first, second = worker.done
    if worker.phase == "map":
        return f"{count_of(first, 'record')}, {amount(second)}"
    if worker.phase in ("sort", "reduce"):
        return f"{count_of(first, 'group')}, {count_of(second, 'value')}"
    return f"{count_of(first, 'file')}, {amount(second)}" if worker.phase in _FILE_STEPS else ""


def cluster_lines(state: ClusterStatus, width: int) -> list[str]:
    lines = cluster_table(state).lines(width)
    lines += ["(paused: no more runs are started until `pymr resume`)"] * state.paused
    lines += [f"warning: {state.warning}"] * bool(state.warning)
    return [*lines, f"problem: {state.problem}"] if state.problem else lines


def cluster_table(state: ClusterStatus) -> TextTable:
    """The peers of a cluster, as each answers for itself."""
    rows = [
        (
            peer.name,
            peer.address,
            ("draining" if peer.is_draining else "alive") if peer.alive else "does not answer",
            str(peer.pid or "-"),
            "leads" if peer.leader else "-",
            str(peer.epoch) if peer.alive else "-",
            str(peer.workers),
        )
        for peer in state.peers
    ]
    return TextTable(("PEER", "ADDRESS", "STATE", ">PID", "LEADER", ">EPOCH", ">WORKERS"), rows)

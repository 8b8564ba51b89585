"""Rows of the listings, as tables for people and as objects for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pymr.cli_tables import amount, count_of, field_lines, moment, percent, span, table_lines
from pymr.requests import JobsView, JobView
from pymr.rows import JobRow, PeerRow, PhaseRow, RunRow, WorkerRow

_RUNS_SHOWN = 10
_ATTEMPTS_SHOWN = 5


def job_object(row: JobRow) -> dict[str, Any]:
    """The fields of a job's definition at the top level, and how it stands beside them."""
    standing = msgspec.structs.asdict(row)
    return {**standing.pop("fields"), **standing}


def job_view_object(job_name: str, view: JobView, runs: Sequence[RunRow]) -> dict[str, Any]:
    """A job with its phases and runs; of one that has left the queue only the runs."""
    row = {"job_name": job_name, "status": None} if view.row is None else job_object(view.row)
    return {
        **row,
        "phases": view.phases,
        "counters": view.counters,
        "failed_attempts": view.failed_attempts,
        "runs": runs,
    }


def jobs_lines(view: JobsView, width: int) -> list[str]:
    lines = ["(paused: no more runs are started until `pymr resume`)"] if view.paused else []
    if not view.rows:
        return [*lines, "no jobs; submit one with `pymr submit JOB.toml`"]
    rows = [
        (
            str(row.fields.get("job_name")),
            str(row.fields.get("group_name") or "-"),
            str(row.fields.get("job_priority")),
            row.status,
            row.current_phase or "-",
            percent(row.progress) if row.status == "running" else "-",
            span(row.seconds_left) if row.status == "running" else "-",
            moment(row.start_time or row.submitted_at),
            _note(row),
        )
        for row in view.rows
    ]
    headers = ("JOB", "GROUP", ">PRIORITY", "STATUS", "PHASE", ">DONE", ">LEFT", "SINCE", "NOTE")
    return lines + table_lines(headers, rows, width=width)


def _note(row: JobRow) -> str:
    if row.waiting_for:
        return f"waits for {row.waiting_for}"
    return row.exception or "" if row.status == "failed" else ""


def job_view_lines(job_name: str, view: JobView, runs: Sequence[RunRow], width: int) -> list[str]:
    lines = [f"{job_name} is not in the queue"] if view.row is None else _standing(view.row)
    if view.phases:
        lines += ["", *_phases_lines(view.phases, width)]
    if view.counters:
        counters = [(name, f"{number:,}") for name, number in sorted(view.counters.items())]
        lines += ["", *table_lines(("COUNTER", ">VALUE"), counters, width=width)]
    for attempt in view.failed_attempts[:_ATTEMPTS_SHOWN]:
        heading = f"attempt {attempt.attempt} of {attempt.task} failed on {attempt.worker}"
        lines += ["", *field_lines([(f"{heading}:", ""), ("", attempt.error.rstrip())])]
    if runs:
        lines += ["", *history_lines(runs[:_RUNS_SHOWN], width)]
    return lines


def _standing(row: JobRow) -> list[str]:
    """How a job stands, then its definition."""
    pairs = [("job", str(row.fields.get("job_name"))), ("status", row.status)]
    if row.current_phase:
        left = f", {span(row.seconds_left)} left" if row.seconds_left is not None else ""
        pairs.append(("phase", f"{row.current_phase} ({percent(row.progress)} of the run{left})"))
    pairs += [("waits for", row.waiting_for)] * bool(row.waiting_for)
    pairs += [("run", row.run_id or "")] * bool(row.run_id)
    pairs.append(("submitted", f"{moment(row.submitted_at)} (version {row.version})"))
    pairs += [("started", moment(row.start_time))] * (row.start_time is not None)
    pairs += [("ended", moment(row.end_time))] * (row.end_time is not None)
    pairs += [("exception", row.exception or "")] * bool(row.exception)
    definition = [
        (name, _value(value))
        for name, value in row.fields.items()
        if name != "job_name" and value not in (None, [], "")
    ]
    return [*field_lines(pairs), "", *field_lines(definition)]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


_UNITS = {"map": "record", "shuffle": "segment", "sort": "group", "reduce": "group"}


def _phases_lines(phases: Sequence[PhaseRow], width: int) -> list[str]:
    rows = [
        (
            phase.name,
            f"{phase.done}/{phase.total}",
            str(phase.running),
            count_of(phase.units[0], _UNITS[phase.name]) if phase.name in _UNITS else "",
            _amount(phase),
            span(phase.seconds),
        )
        for phase in phases
    ]
    return table_lines(("PHASE", ">TASKS", ">RUNNING", ">UNITS", ">AMOUNT", ">TIME"), rows, width=width)


def _amount(phase: PhaseRow) -> str:
    done, total = phase.units[1], phase.total_units
    if phase.name in ("map", "shuffle"):
        return amount(done) + (f" of {amount(total)}" if total else "")
    return f"{done:,} of {total:,} values" if phase.name in _UNITS else ""


def history_lines(runs: Sequence[RunRow], width: int) -> list[str]:
    if not runs:
        return ["no runs yet"]
    rows = [
        (
            run.run_id,
            run.job_name,
            run.status,
            moment(run.start_time),
            span(None if run.end_time is None else run.end_time - run.start_time),
            f"{run.records:,}",
            f"{run.items:,}",
            run.exception or "",
        )
        for run in runs
    ]
    headers = ("RUN", "JOB", "STATUS", "STARTED", ">TIME", ">RECORDS", ">ITEMS", "EXCEPTION")
    return table_lines(headers, rows, width=width)


def peers_lines(peers: Sequence[PeerRow], width: int) -> list[str]:
    rows = []
    for peer in peers:
        machine = peer.machine
        rows.append(
            (
                peer.name + (" *" if peer.leader else ""),
                peer.address,
                ("alive" if peer.alive else "gone") if peer.state in ("", "unknown") else peer.state,
                str(peer.pid or "-"),
                str(peer.epoch),
                f"{peer.busy}/{peer.workers}",
                f"{machine.cpu_percent:.0f}%",
                f"{amount(machine.memory_used_bytes)} of {amount(machine.memory_bytes)}",
                amount(machine.disk_free_bytes),
                "-" if peer.heard is None else span(peer.heard),
            )
        )
    headers = (
        "PEER", "ADDRESS", "STATE", ">PID", ">EPOCH", ">BUSY", ">CPU", ">MEMORY", ">DISK FREE", ">HEARD",
    )  # fmt: skip
    leads = [] if any(peer.leader for peer in peers) else ["(no peer leads at the moment)"]
    return table_lines(headers, rows, width=width) + leads


def workers_lines(workers: Sequence[WorkerRow], width: int) -> list[str]:
    if not workers:
        return ["no workers: no peer is alive"]
    rows = []
    for worker in workers:
        first, second = worker.done
        done = ""
        if worker.phase == "map":
            done = f"{count_of(first, 'record')}, {amount(second)}"
        elif worker.phase in ("sort", "reduce"):
            done = f"{count_of(first, 'group')}, {count_of(second, 'value')}"
        rows.append(
            (
                worker.name,
                str(worker.pid or "-"),
                worker.state,
                worker.job_name or "-",
                worker.task or "-",
                worker.phase or "-",
                done,
            )
        )
    return table_lines(("WORKER", ">PID", "STATE", "JOB", "TASK", "PHASE", "DONE"), rows, width=width)

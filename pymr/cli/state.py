"""Commands for the input consumed by jobs with `hold_state`, and for records that runs skipped."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from pymr.cli.console import (
    EXIT_FAILED,
    complete_jobs,
    config_option,
    fail,
    json_option,
    open_client,
    say,
    say_json,
    tell,
    terminal_width,
)

if TYPE_CHECKING:
    from pymr.client import Client
    from pymr.client.state import BadRecordListing, Consumed


@click.command()
@click.argument("job_name", shell_complete=complete_jobs)
@click.option(
    "--forget",
    "pattern",
    metavar="PATTERN",
    help="Forget the files whose path matches (* matches anything, including slashes); they are read again.",
)
@click.option("--peer", default="", metavar="PEER", help="With --forget: only on the machine of this peer.")
@json_option
@config_option
def state(job_name: str, pattern: str | None, peer: str, as_json: bool, config_path: str | None) -> None:
    """Show the input files that a job with hold_state has consumed, or forget some.

    The next run reads a forgotten file again, and its records count again. That is refused
    while the job runs. Exit status 1 if a machine did not answer; repeating the command is safe.
    """
    if peer and pattern is None:
        raise click.UsageError("--peer goes with --forget PATTERN")
    with open_client(config_path) as client:
        if pattern is None:
            consumed = client.state(job_name)
            if not consumed.run_id and not consumed.silent:
                _check_job(client, job_name)
            silent = _show(consumed, as_json)
        else:
            silent = _forget(client, job_name, pattern, peer, as_json)
    _end(silent)


@click.command(name="bad-records")
@click.argument("run_id", metavar="RUN")
@click.option("--traceback", "with_traceback", is_flag=True, help="Include the traceback of each.")
@json_option
@config_option
def bad_records(run_id: str, with_traceback: bool, as_json: bool, config_path: str | None) -> None:
    """Print the records that a run skipped: where they are, and what the map function raised.

    RUN is an id as `pymr history` shows it.
    """
    with open_client(config_path) as client:
        found = client.bad_records(run_id)
        if as_json:
            say_json(list(found))
            count = 0
        else:
            count = _print(found, with_traceback)
            if not count and not found.silent:
                _explain(found)
    if found.left_out:
        tell(f"{found.left_out:,} more were not kept")
    _end(found.silent)


def _check_job(client: Client, job_name: str) -> None:
    """End the command if neither the queue nor the history has a job of that name."""
    if client.job(job_name).row is None and not client.history(job_name, 1):
        fail(f"there is no job {job_name}: it is not in the queue and has never run")


def _show(consumed: Consumed, as_json: bool) -> Mapping[str, str]:
    from pymr.cli.tables import table_lines
    from pymr.wire.wording import amount, count_of, moment

    if as_json:
        rows = consumed.files
        say_json(
            {"job_name": consumed.job_name, "run_id": consumed.run_id, "files": rows, "total": len(rows)}
        )
    elif not consumed.run_id:
        say(f"{consumed.job_name} has consumed nothing: no run of it with hold_state has succeeded yet")
    else:
        rows = consumed.files
        cells = [(row.path, row.peer or "-", f"{row.size:,}", moment(row.mtime_ns / 1e9)) for row in rows]
        size = amount(sum(row.size for row in rows))
        lines = table_lines(("FILE", "PEER", ">BYTES", "CHANGED"), cells, width=terminal_width())
        total = f"{count_of(len(rows), 'file')} ({size}) up to {consumed.run_id}"
        say("\n".join([*(lines if rows else []), total]))
    return consumed.silent


def _forget(client: Client, job_name: str, pattern: str, peer: str, as_json: bool) -> Mapping[str, str]:
    from pymr.wire.wording import count_of

    forgotten = client.forget_state(job_name, pattern, peer)
    if as_json:
        say_json({"job_name": job_name, "forgotten": forgotten.files, "total": forgotten.total})
    elif forgotten.total or forgotten.silent:
        say(
            f"{job_name}: forgot {count_of(forgotten.total, 'file')}; the next run reads those that are there"
        )
    else:
        say(f"{job_name}: no file matches {pattern!r}, nothing was forgotten; see `pymr state {job_name}`")
    return forgotten.silent


def _print(found: Iterable[Mapping[str, Any]], with_traceback: bool) -> int:
    from pymr.cli.tables import field_lines

    count = 0
    for entry in found:
        count += 1
        pairs = [("line", repr(entry.get("line", ""))), ("error", str(entry.get("error", "")))]
        pairs += [("", str(entry.get("traceback", "")).rstrip())] * with_traceback
        heading = f"{entry['file']}:{entry.get('offset', 0)} on {entry['host']}"
        lines = [*field_lines([(heading, "")]), *(f"    {line}" for line in field_lines(pairs))]
        if not say("\n".join(lines)):
            break
    return count


def _explain(found: BadRecordListing) -> None:
    """Why nothing was printed."""
    run = found.run()
    if run is None:
        fail(
            f"there is no run {found.run_id} in the history, and no bad record of it (one that goes on has "
            "none so far); `pymr history` shows the runs"
        )
    if run.bad_records:
        text = "bad record" if run.bad_records == 1 else "bad records"
        fail(f"{run.run_id} had {run.bad_records:,} {text}, which are not kept any more")
    why = (run.exception or "").partition("\n")[0] if run.status == "failed" else ""
    say(f"{run.run_id} ({run.status}) had no bad records{f' that were passed over: {why}' if why else ''}")


def _end(silent: Mapping[str, str]) -> None:
    """Name the machines of which nothing is known; then the command has failed."""
    for host, reason in silent.items():
        tell(f"pymr: {host}: {reason}")
    if silent:
        sys.exit(EXIT_FAILED)

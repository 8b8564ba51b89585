"""Commands about the queue and those who work on it: submit, jobs, show, wait, history, peers..."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pymr.cli.console import (
    EXIT_FAILED,
    EXIT_OUT_OF_REACH,
    EXIT_TIMEOUT,
    EXIT_USAGE,
    INTEGER_MAX,
    Seconds,
    complete_deleted_jobs,
    complete_jobs,
    complete_jobs_and_groups,
    config_option,
    fail,
    json_option,
    open_client,
    open_config,
    open_listing,
    projects_dir_of,
    projects_option,
    say,
    say_listing,
    settings_option,
    split_setting,
    tell,
    terminal_width,
    warning_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymr.client import Client, Outcome
    from pymr.wire.requests import JobView
    from pymr.wire.rows import RunRow

_JOB_NAME = click.argument("job_name", shell_complete=complete_jobs)
_HISTORY_ROWS = 100


@click.command()
@click.argument("job_tomls", metavar="JOB.toml...", nargs=-1, required=True, type=click.Path(dir_okay=False))
@projects_option
@settings_option
@click.option(
    "--over-version",
    type=click.IntRange(0, INTEGER_MAX),
    metavar="N",
    help="Replace only this version of the job (0: none may be in the queue). `pymr show` shows it.",
)
@config_option
def submit(
    job_tomls: tuple[str, ...],
    projects: str | None,
    settings: tuple[str, ...],
    over_version: int | None,
    config_path: str | None,
) -> None:
    """Queue jobs, each replacing the job of its name. If one is invalid, none is submitted."""
    from pymr.client import Client, RefusedError
    from pymr.jobs.job import load_job

    if over_version is not None and len(job_tomls) > 1:
        raise click.UsageError("--over-version is of one job: submit them one by one")
    overrides = [split_setting(setting) for setting in settings]
    jobs = [load_job(job_toml, overrides) for job_toml in job_tomls]
    config = open_config(config_path)
    pairs = [
        (job, projects_dir_of(job_toml, job, projects, config.source))
        for job_toml, job in zip(job_tomls, jobs, strict=True)
    ]
    with Client(config) as client:
        try:
            for answer in client.submit_all(pairs, over_version):
                how = "submitted in place of the one before" if answer.replaced else "submitted"
                say(f"{answer.job_name}: {how}; `pymr wait {answer.job_name}` waits for its first run")
        except RefusedError as error:  # for what only a peer can tell of a definition
            if error.code != "invalid":
                raise
            fail(str(error), EXIT_USAGE)


@click.command()
@_JOB_NAME
@config_option
def delete(job_name: str, config_path: str | None) -> None:
    """Remove a job from the queue and stop its run. `pymr undelete` brings it back."""
    from pymr.wire.requests import UNDELETE_SECONDS

    with open_client(config_path) as client:
        detail = client.delete(job_name)
    within = f"within {UNDELETE_SECONDS / 60:g} minutes"
    say(f"{job_name}: deleted{_in_addition(detail)}; `pymr undelete {job_name}` {within} brings it back")


@click.command()
@click.argument("job_name", shell_complete=complete_deleted_jobs)
@config_option
def undelete(job_name: str, config_path: str | None) -> None:
    """Restore a job deleted in the last 10 minutes, with its project, as if it were submitted again."""
    with open_client(config_path) as client:
        client.undelete(job_name)
    say(f"{job_name}: back in the queue; `pymr wait {job_name}` waits for its first run")


@click.command()
@click.argument("name", metavar="GROUP_OR_JOB", shell_complete=complete_jobs_and_groups)
@config_option
def retry(name: str, config_path: str | None) -> None:
    """Queue a failed job again, with its whole group.

    All jobs of the group run again, including those that had succeeded.
    """
    with open_client(config_path) as client:
        detail = client.retry(name)
    say(f"{name}: {detail or 'queued'}; `pymr jobs` shows when")


@click.command()
@click.argument("name", metavar="JOB_NAME", shell_complete=complete_jobs)
@config_option
def force(name: str, config_path: str | None) -> None:
    """Let a job run again now, although it has run in this cycle."""
    with open_client(config_path) as client:
        client.force(name)
    say(f"{name}: runs again when its turn comes; `pymr jobs` shows when")


@click.command()
@config_option
def pause(config_path: str | None) -> None:
    """Start no more runs; those in progress continue."""
    with open_client(config_path) as client:
        client.pause()
    say("paused: no more runs are started until `pymr resume`")


@click.command()
@config_option
def resume(config_path: str | None) -> None:
    """Start runs again after `pymr pause`."""
    with open_client(config_path) as client:
        client.resume()
    say("resumed")


@click.command()
@json_option
@config_option
def jobs(as_json: bool, config_path: str | None) -> None:
    """List the jobs in the order of the queue."""
    from pymr.cli.rows import job_object, jobs_lines

    with open_listing(config_path) as client:
        view = client.jobs()
        say_listing(
            as_json,
            lambda: [job_object(row) for row in view.rows],
            lambda: jobs_lines(view, terminal_width()),
        )


@click.command()
@_JOB_NAME
@json_option
@config_option
def show(job_name: str, as_json: bool, config_path: str | None) -> None:
    """Show a job: its definition, status and latest runs."""
    from pymr.cli.rows import job_view_lines, job_view_object

    with open_listing(config_path) as client:
        view = client.job(job_name)
        runs = view.runs if view.runs or view.problem else client.history(job_name)
        panes = _panes(client, view, runs)
        place = runs[0].failed_at if runs else None
        is_kept = client.keeps_pane(place.worker, place.run_id) if place is not None else None
        if view.row is None and not runs:
            fail(
                f"nothing is known of {job_name} now: {view.problem}"
                if view.problem
                else f"there is no job {job_name}: it is not in the queue and has never run"
            )
        say_listing(
            as_json,
            lambda: {
                **job_view_object(job_name, view, runs, panes, is_kept),
                "cluster_warning": warning_of(client),
            },
            lambda: job_view_lines(job_name, view, runs, terminal_width(), panes, is_kept),
        )


@click.command()
@_JOB_NAME
@click.option("--timeout", "timeout_s", type=Seconds(), metavar="S", help="Seconds to wait.")
@config_option
def wait(job_name: str, timeout_s: float | None, config_path: str | None) -> None:
    """Wait for the first run begun after the job's last submission.

    Exit status: 0 it succeeded or was skipped, 1 it failed, 2 timed out, 3 the cluster is out of reach
    at the end of it.
    """
    from pymr.client.errors import UnreachableError

    seen = _Seen()
    with open_client(config_path, reported=seen.problems) as client:
        try:
            outcome = client.wait(job_name, timeout_s, seen.look)
        except UnreachableError as error:
            fail(str(error), EXIT_OUT_OF_REACH)
    if outcome is None:
        fail(f"{job_name}: has not ended after {timeout_s:g} s", EXIT_TIMEOUT)
    _tell_outcome(outcome, seen.job_type)


@click.command()
@click.option("--job", "job_name", default="", metavar="JOB_NAME", shell_complete=complete_jobs)
@click.option("--limit", type=click.IntRange(1, 100_000), default=_HISTORY_ROWS, show_default=True)
@json_option
@config_option
def history(job_name: str, limit: int, as_json: bool, config_path: str | None) -> None:
    """List the runs, latest first."""
    from pymr.cli.rows import history_lines

    with open_listing(config_path) as client:
        rows = client.history(job_name, limit)
        if job_name and not rows and client.job(job_name).row is None:
            fail(f"there is no job {job_name}: it is not in the queue and has never run")
        say_listing(as_json, lambda: rows, lambda: history_lines(rows, terminal_width()))


@click.command()
@json_option
@config_option
def peers(as_json: bool, config_path: str | None) -> None:
    """List the peers of the cluster and the state of their machines."""
    from pymr.cli.rows import peers_lines

    with open_listing(config_path) as client:
        rows = client.peers()
        say_listing(as_json, lambda: rows, lambda: peers_lines(rows, terminal_width()))


@click.command()
@json_option
@config_option
def workers(as_json: bool, config_path: str | None) -> None:
    """List the workers and what they are doing."""
    from pymr.cli.rows import workers_lines

    with open_listing(config_path) as client:
        rows = client.workers()
        say_listing(as_json, lambda: rows, lambda: workers_lines(rows, terminal_width()))


def _panes(client: Client, view: JobView, runs: Sequence[RunRow]) -> list[str]:
    """Workers, with the run, whose output is that of the latest run of a script."""
    job_type = view.row.fields.get("job_type") if view.row else runs[0].job_type if runs else ""
    run_id = (view.row.run_id if view.row else None) or (runs[0].run_id if runs else None)
    if job_type != "script" or not run_id:
        return []
    return [f"{worker} --run {run_id}" for worker in client.panes_of(run_id)]


def _tell_outcome(outcome: Outcome, job_type: str) -> None:
    from pymr.wire.wording import span

    for warning in outcome.warnings:
        tell(f"pymr: warning: {warning}")
    took = f" in {span(outcome.seconds)}" if outcome.seconds is not None else ""
    if not outcome.is_success:
        fail(f"{outcome.job_name}: {outcome.status}: {outcome.exception}", EXIT_FAILED)
    if outcome.status == "skipped":
        say(f"{outcome.job_name}: skipped, as there is no new input")
        return
    following = {
        "mapreduce": f"; `pymr output {outcome.job_name}` collects its output",
        "script": f"; `pymr show {outcome.job_name}` shows what it said",
    }
    say(f"{outcome.job_name}: succeeded{took}{following.get(job_type, '')}")


class _Seen:
    """What a wait has seen of a job. job_type: "" while it has not seen any of it. problems: the one of the
    cluster that was reported last, while it persists."""

    def __init__(self) -> None:
        self.job_type = ""
        self.problems: set[str] = set()

    def look(self, view: JobView) -> None:
        if view.problem and view.problem not in self.problems:
            tell(f"pymr: {view.problem}; waiting on")
        self.problems.clear()
        self.problems.add(view.problem)
        if view.row is not None:
            self.job_type = str(view.row.fields.get("job_type"))
        elif view.runs:
            self.job_type = view.runs[0].job_type


def _in_addition(detail: str) -> str:
    return f" ({detail})" if detail else ""

"""The command `preview`: what a job makes of the first lines of its input, before it is submitted."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pymr.cli.console import (
    EXIT_FAILED,
    EXIT_USAGE,
    INTEGER_MAX,
    complete_peers,
    config_option,
    fail,
    json_option,
    open_config,
    projects_dir_of,
    projects_option,
    say,
    say_json,
    tell,
    terminal_width,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymr.wire.requests import PreviewView

_LINES = 100


@click.command()
@click.argument("job_toml", metavar="JOB.toml", type=click.Path(dir_okay=False))
@projects_option
@click.option("--lines", type=click.IntRange(1, INTEGER_MAX), default=_LINES, show_default=True, metavar="N")
@click.option(
    "--peer",
    default="",
    metavar="PEER",
    shell_complete=complete_peers,
    help="On the machine of this peer. [default: the first that has input]",
)
@json_option
@config_option
def preview(
    job_toml: str, projects: str | None, lines: int, peer: str, as_json: bool, config_path: str | None
) -> None:
    """Try a mapreduce job on the first lines of its input, and show the result within 2 seconds.

    Nothing is queued or kept. Exit status 1 if a function fails or takes too long.
    """
    from pymr.client import Client, RefusedError
    from pymr.jobs.job import load_job

    job = load_job(job_toml)
    if job.job_type != "mapreduce":
        fail(f"only mapreduce jobs can be previewed; {job_toml} is a {job.job_type} job", EXIT_USAGE)
    config = open_config(config_path)
    folder = projects_dir_of(job_toml, job, projects, config.source)
    with Client(config) as client:
        try:
            view = client.preview(job, folder, lines, peer)
        except RefusedError as error:
            if error.code != "invalid":
                raise
            fail(str(error), EXIT_USAGE)
    if as_json:
        _say_json(view)
    else:
        _say_view(view)
    if view.error:
        sys.exit(EXIT_FAILED)


def _say_json(view: PreviewView) -> None:
    import msgspec

    say_json({name: value for name, value in msgspec.structs.asdict(view).items() if name != "id"})


def _say_view(view: PreviewView) -> None:
    from pymr.wire.wording import span

    if view.path:
        say(f"{view.peer}: {view.path}, the first {view.lines:,} lines, in {span(view.seconds)}")
    elif not view.error:
        say(f"{view.peer}: there is no input in the input_dirs of the job")
    _say_lines("ITEMS", view.items, view.items_total)
    _say_lines("OUTPUT", view.output, view.output_total)
    if view.printed:
        say(f"\nPRINTED\n{view.printed.rstrip()}")
    if view.error:
        tell(f"\npymr: {view.error}")


def _say_lines(heading: str, lines: Sequence[str], total: int) -> None:
    if not lines:
        return
    width = terminal_width()
    shown = [line if not width or len(line) <= width else line[: width - 1] + "…" for line in lines]
    count = f"the first {len(lines):,} of {total:,}" if len(lines) < total else f"{total:,}"
    say("\n".join([f"\n{heading} ({count})", *shown]))

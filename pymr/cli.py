"""The command `pymr`. Each command imports what it needs when it is called, so that help comes at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from pymr import __version__
from pymr.errors import DefinitionError, PymrError

if TYPE_CHECKING:
    from pymr.embedded import RunRequest
    from pymr.jobs import MapReduceJob

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

_FOLDER = click.Path(exists=True, file_okay=False)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 success, 1 the job failed, 2 a wrong command or job definition, 130 interrupted.",
)
@click.version_option(__version__, prog_name="pymr")
def main() -> None:
    """MapReduce in Python, on your own machines, from a terminal."""


@main.command()
@click.argument("job_toml", metavar="JOB.toml", type=click.Path(dir_okay=False))
@click.option(
    "--projects", type=_FOLDER, help="Folder of projects. [default: found from JOB.toml, or ./projects]"
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    type=click.Path(),
    metavar="DIR",
    help="Read this folder instead of the job's input_dirs; may be repeated.",
)
@click.option("--output", type=click.Path(), metavar="DIR", help="[default: output/JOB_NAME]")
@click.option("--workers", type=click.IntRange(1, 1024), metavar="N", help="[default: the number of cores]")
@click.option("--inline", is_flag=True, help="All in one process, so that breakpoint() works in a function.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Override a field of the job, or a setting such as engine.split_bytes=1MiB; may be repeated.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False),
    envvar="PYMR_CONFIG",
    help="Take the [engine] settings from this file. [default: $PYMR_CONFIG, then ./cluster.toml]",
)
def run(
    job_toml: str,
    projects: str | None,
    inputs: tuple[str, ...],
    output: str | None,
    workers: int | None,
    inline: bool,
    settings: tuple[str, ...],
    config: str | None,
) -> None:
    """Run a job on this machine and write its output as JSON lines into a folder."""
    try:
        request = _run_request(job_toml, projects, inputs, output, workers, inline, settings, config)
    except DefinitionError as error:
        _fail(str(error), EXIT_USAGE)
    _run(request)


@main.command()
@click.argument("job_type", type=click.Choice(["mapreduce", "script", "file_transfer"]))
def template(job_type: str) -> None:
    """Print a commented job template of a type."""
    from pymr.jobs import template_toml

    click.echo(template_toml(job_type), nl=False)


def _run_request(
    job_toml: str,
    projects: str | None,
    inputs: Sequence[str],
    output: str | None,
    workers: int | None,
    inline: bool,
    settings: Sequence[str],
    config: str | None,
) -> RunRequest:
    """What was asked for, from the command line, the job file and the configuration."""
    from pymr.config import load_config
    from pymr.embedded import RunRequest
    from pymr.jobs import MapReduceJob, load_job

    pairs = [_split_setting(setting) for setting in settings]
    job = load_job(job_toml, [(name, value) for name, value in pairs if "." not in name])
    if not isinstance(job, MapReduceJob):
        raise click.UsageError(
            f"{job_toml} is a {job.job_type} job; without a cluster only mapreduce jobs run"
        )
    if config is None and os.path.exists("cluster.toml"):
        config = "cluster.toml"
    overrides = {name: value for name, value in pairs if "." in name}
    engine = load_config(config, overrides).engine
    data_dir = str(Path(job_toml).absolute().parent)
    return RunRequest(
        job=job,
        input_dirs=tuple(os.path.abspath(os.path.join(data_dir, name)) for name in job.input_dirs)
        if not inputs
        else tuple(map(os.path.abspath, inputs)),
        projects_dir=projects or _find_projects(Path(job_toml), job),
        data_dir=data_dir,
        output_dir=os.path.abspath(output or os.path.join("output", job.job_name)),
        workers=workers or len(os.sched_getaffinity(0)),
        engine=engine,
        inline=inline,
    )


def _split_setting(setting: str) -> tuple[str, str]:
    name, equals, value = setting.partition("=")
    if not equals or not name:
        raise click.UsageError(f"--set {setting}: give FIELD=VALUE, such as --set partitions=4")
    return name.strip(), value.strip()


def _find_projects(job_toml: Path, job: MapReduceJob) -> str:
    """The folder of projects when none is named: that of the job file, or `projects` beside it or
    in the current folder."""
    folder = job_toml.absolute().parent
    if folder.name == job.project_name:
        return str(folder.parent)
    for candidate in (folder / "projects", folder, Path("projects").absolute()):
        if (candidate / job.project_name).is_dir():
            return str(candidate)
    return str(folder / "projects")


def _run(request: RunRequest) -> None:
    """Run with a display; exit with the documented status."""
    from pymr.embedded import run_job
    from pymr.run_display import LiveDisplay, PlainDisplay, summary_lines

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    # A debugger and a live region cannot share a terminal.
    is_live = sys.stdout.isatty() and not request.inline
    display = (LiveDisplay if is_live else PlainDisplay)(request.job.job_name, sys.stdout)
    try:
        with display:
            summary = run_job(request, display)
    except KeyboardInterrupt:
        _fail(f"{request.job.job_name}: stopped\n{_untouched(request)}", EXIT_INTERRUPTED)
    except PymrError as error:
        _fail(f"{request.job.job_name}: failed: {error}\n{_untouched(request)}", EXIT_FAILED)
    click.echo("\n".join(summary_lines(summary)))


def _untouched(request: RunRequest) -> str:
    state = "is as it was before" if os.path.exists(request.output_dir) else "was not made"
    return f"the output folder {request.output_dir} {state}"


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """The first interruption ends the run in order; while that goes on, further ones change nothing."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _fail(message: str, status: int) -> NoReturn:
    click.echo(f"pymr: {message}", err=True)
    sys.exit(status)

"""The command `pymr`. Each command imports what it needs when it is called, so that help comes at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TextIO

import click

from pymr import __version__
from pymr.errors import DefinitionError, Interrupted, PymrError
from pymr.local.interruption import INTERRUPTING_SIGNALS

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
def commands() -> None:
    """MapReduce in Python, on your own machines, from a terminal."""


def main() -> NoReturn:
    """The entry point: the commands, with the documented exit status also when they are interrupted."""
    _take_signals()
    _mend_streams()
    try:
        status = commands.main(prog_name="pymr", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped", EXIT_INTERRUPTED)
    for number in INTERRUPTING_SIGNALS:  # what was to be done is done; only the interpreter ends
        signal.signal(number, signal.SIG_IGN)
    sys.exit(status if isinstance(status, int) else 0)


@commands.command()
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


@commands.command()
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
            f"{job_toml} is a {job.job_type} job, which needs a cluster; `pymr run` runs mapreduce jobs"
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
        workers=workers or _cores(),
        engine=engine,
        inline=inline,
    )


def _split_setting(setting: str) -> tuple[str, str]:
    name, equals, value = setting.partition("=")
    if not equals or not name:
        raise click.UsageError(f"--set {setting}: give FIELD=VALUE, such as --set partitions=4")
    return name.strip(), value.strip()


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _find_projects(job_toml: Path, job: MapReduceJob) -> str:
    """The folder of projects when none is named: `projects` beside the job file, the folder that the project
    with the job file in it lies in, the job file's own, or `projects` in the current folder."""
    folder = job_toml.absolute().parent
    candidates = [folder / "projects", folder, Path("projects").absolute()]
    if folder.name == job.project_name:
        candidates.insert(1, folder.parent)
    for candidate in candidates:
        if (candidate / job.project_name / "reduce_functions.py").is_file():
            return str(candidate)
    return str(folder / "projects")


def _run(request: RunRequest) -> None:
    """Run with a display; exit with the documented status."""
    from pymr.embedded import run_job
    from pymr.run_display import LiveDisplay, PlainDisplay, summary_lines

    # A debugger and a live region cannot share a terminal.
    is_live = sys.stdout.isatty() and not request.inline
    display: LiveDisplay | PlainDisplay = (LiveDisplay if is_live else PlainDisplay)(
        request.job.job_name, sys.stdout
    )
    try:
        with display:
            summary = run_job(request, display)
    except KeyboardInterrupt:
        _fail(f"{request.job.job_name}: stopped\n{_state_of_output(request)}", EXIT_INTERRUPTED)
    except PymrError as error:
        _fail(f"{request.job.job_name}: failed: {error}\n{_state_of_output(request)}", EXIT_FAILED)
    _say("\n".join(summary_lines(summary)), sys.stdout)


def _state_of_output(request: RunRequest) -> str:
    state = "is as it was before" if os.path.exists(request.output_dir) else "was not made"
    return f"the output folder {request.output_dir} {state}"


def _take_signals() -> None:
    """Let the first SIGINT, SIGTERM or SIGHUP end the command in order. One that this process was told to
    ignore, as a shell does with SIGINT for a job in the background, stays ignored."""
    for number in INTERRUPTING_SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    for number in INTERRUPTING_SIGNALS:
        signal.signal(number, lambda *_: None)  # further ones change nothing while the first is followed
    raise Interrupted


def _mend_streams() -> None:
    """Have somewhere to write to, and no character that cannot be written, whatever stdout and stderr are."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _say(text: str, stream: TextIO) -> None:
    """Write, if anybody still reads."""
    try:
        stream.write(text + "\n")
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # or the exit would try once more


def _fail(message: str, status: int) -> NoReturn:
    _say(f"pymr: {message}", sys.stderr)
    sys.exit(status)

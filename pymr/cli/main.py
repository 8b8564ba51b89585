"""The command `pymr`. Each command imports what it needs when it is called, so that help comes at once."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from pymr import __version__
from pymr.base.errors import DefinitionError, PymrError
from pymr.base.interruption import INTERRUPTING_SIGNALS, interrupt, was_interrupted
from pymr.base.standard_streams import check_streams, finish_streams, is_one_place, put
from pymr.cli.console import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    CommandGroup,
    exit_status_of,
    fail,
    projects_option,
    say,
    split_setting,
    tell,
)
from pymr.cli.engines import engine_choice, engine_options

if TYPE_CHECKING:
    from pymr.local.run import RunRequest

__all__ = ["EXIT_FAILED", "EXIT_INTERRUPTED", "EXIT_USAGE", "commands", "main"]

DEBUG_VARIABLE = "PYMR_DEBUG"
"""In the environment: an error of pymr itself is shown with its traceback."""

_ELSEWHERE = {
    "pymr.cli.cluster": ("init", "cluster", "keys"),
    "pymr.cli.queue": (
        "submit", "delete", "undelete", "jobs", "show", "wait", "retry", "force", "pause", "resume",
        "history", "peers", "workers",
    ),
    "pymr.cli.transfers": ("upload", "download", "auxiliary"),
    "pymr.cli.panes": ("logs", "attach"),
    "pymr.cli.output": ("output",),
    "pymr.cli.preview": ("preview",),
    "pymr.cli.state": ("state", "bad-records"),
}  # fmt: skip
_MODULES = {name: module for module, names in _ELSEWHERE.items() for name in names}


class _Commands(CommandGroup):
    """A group whose commands are looked for in their modules when they are called, or help lists them."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return ["run", *_MODULES, "template"]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _MODULES:
            return super().get_command(context, name)
        command = getattr(import_module(_MODULES[name]), name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 success, 1 failed or not found, 2 invalid command, configuration, key, job "
    "definition or function (`wait`: timed out), 3 unreachable (`wait`), 130 interrupted. "
    'Shell completion: eval "$(_PYMR_COMPLETE=bash_source pymr)", or zsh_source, fish_source.',
)
@click.version_option(__version__, prog_name="pymr")
def commands() -> None:
    """MapReduce in Python, on your own machines, from a terminal."""


def main() -> NoReturn:
    """The entry point: the commands, with the documented exit status also when they are interrupted, or what
    they print cannot be written."""
    _take_signals()
    check_streams()
    try:
        status = _status()
    except SystemExit as ended:
        if ended.code is not None and not isinstance(ended.code, int):
            raise
        status = ended.code or 0
    sys.exit(finish_streams("pymr", status))


def _status() -> int:
    try:
        status = commands.main(prog_name="pymr", standalone_mode=False)
    except click.ClickException as error:
        words = io.StringIO()
        error.show(words)
        tell(words.getvalue().rstrip("\n"))
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        fail("stopped", EXIT_INTERRUPTED)
    except PymrError as error:
        fail(str(error), exit_status_of(error))
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        if was_interrupted():
            fail("stopped", EXIT_INTERRUPTED)
        fail(_in_words(error), EXIT_FAILED)
    for number in INTERRUPTING_SIGNALS:  # what was to be done is done; only the interpreter ends
        signal.signal(number, signal.SIG_IGN)
    return status if isinstance(status, int) else 0


def _in_words(error: Exception) -> str:
    """An error that no part of pymr expected."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return (
        f"an error of pymr itself, please report it: {type(error).__name__}: {error} "
        f"(with {DEBUG_VARIABLE}=1 in the environment it shows where)"
    )


@commands.command(short_help="Run a job on this machine.")
@click.argument("job_toml", metavar="JOB.toml", type=click.Path(dir_okay=False))
@projects_option
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
@click.option("--inline", is_flag=True, help="Run in one process, so that breakpoint() works in a function.")
@click.option("--partitions", type=click.IntRange(min=1), metavar="N", help="As --set partitions=N.")
@engine_options
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
def run(**options: Any) -> None:
    """Run a job, on this machine or an external engine, and write its output as JSON lines into a folder."""
    try:
        request = _run_request(**options)
    except DefinitionError as error:
        fail(str(error), EXIT_USAGE)
    _run(request)


@commands.command()
@click.argument("job_type", type=click.Choice(["mapreduce", "script", "file_transfer"]))
def template(job_type: str) -> None:
    """Print a commented job template of a type."""
    from pymr.jobs.job import template_toml

    put(template_toml(job_type))


def _run_request(
    job_toml: str,
    projects: str | None,
    inputs: Sequence[str],
    output: str | None,
    workers: int | None,
    inline: bool,
    settings: Sequence[str],
    config: str | None,
    partitions: int | None,
    engine: str | None,
    engine_address: str | None,
    engine_settings: Sequence[str],
) -> RunRequest:
    """What was asked for, from the command line, the job file and the configuration."""
    from pymr.config.cluster import load_config
    from pymr.jobs.job import MapReduceJob, load_job
    from pymr.runs.request import config_path, request_for

    backend = engine_choice(engine, engine_address, engine_settings, inline=inline)
    pairs = [split_setting(setting) for setting in settings]
    pairs += [("partitions", str(partitions))] * (partitions is not None)
    job = load_job(job_toml, [(name, value) for name, value in pairs if "." not in name])
    if not isinstance(job, MapReduceJob):
        raise click.UsageError(
            f"{job_toml} is a {job.job_type} job, which needs a cluster; `pymr run` runs mapreduce jobs"
        )
    overrides = {name: value for name, value in pairs if "." in name}
    return request_for(
        job,
        Path(job_toml),
        load_config(config_path(config), overrides),
        projects=projects,
        inputs=inputs,
        output=output,
        workers=workers,
        inline=inline,
        backend=backend,
    )


def _run(request: RunRequest) -> None:
    """Run with a display; exit with the documented status."""
    from pymr.local.run import run_job
    from pymr.runs.display import LiveDisplay, PlainDisplay, summary_lines

    # A debugger and a live region cannot share a terminal.
    is_live = sys.stdout.isatty() and not request.inline
    display: LiveDisplay | PlainDisplay = (LiveDisplay if is_live else PlainDisplay)(
        request.job.job_name, sys.stdout
    )
    try:
        with display:
            summary = run_job(request, display)
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt) or was_interrupted():  # which something else failed for
            fail(f"{request.job.job_name}: stopped\n{_state_of_output(request)}", EXIT_INTERRUPTED)
        if not isinstance(error, PymrError):
            raise
        text = f"{request.job.job_name}: failed: {_not_shown_yet(error)}"
        fail(f"{text}\n{_state_of_output(request)}", exit_status_of(error))
    say("\n".join(summary_lines(summary)))


def _not_shown_yet(error: PymrError) -> str:
    """Why the run failed; without a traceback that the worker's lines already show, if stdout and stderr
    are the same place: a terminal, or a file that takes both."""
    from pymr.base.errors import RunFailedError
    from pymr.wire.wording import without_traceback

    text = str(error)
    if not isinstance(error, RunFailedError) or not error.shown_by or not is_one_place():
        return text
    brief = without_traceback(text)
    return (
        brief if brief == text else f"{brief}\n(its traceback is above, among the lines of {error.shown_by})"
    )


def _state_of_output(request: RunRequest) -> str:
    state = "is as it was before" if os.path.exists(request.output_dir) else "was not made"
    return f"the output folder {request.output_dir} {state}"


def _take_signals() -> None:
    """Let the first SIGINT, SIGTERM or SIGHUP end the command in order. An ignored signal stays ignored, as
    SIGINT is for a shell's background jobs."""
    for number in INTERRUPTING_SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)

"""What every command that asks a cluster has in common: its configuration, its client, its exit status."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from pymr.base.errors import DefinitionError, JobError, ProjectError, PymrError, RunFailedError
from pymr.base.printable import printable_text
from pymr.base.standard_streams import put

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from pymr.client import Client
    from pymr.config.cluster import ClusterConfig
    from pymr.jobs.job import Job

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_TIMEOUT = 2
EXIT_OUT_OF_REACH = 3
EXIT_INTERRUPTED = 130

CONFIG_NAME = "cluster.toml"
_COMPLETION_SECONDS = 1.0
_KINDS_OF_USAGE = (ProjectError.__name__, JobError.__name__)  # of failures that a worker has met

Command = Callable[..., Any]


def config_option(command: Command) -> Command:
    """`--config`, which every command takes that works on a cluster."""
    return click.option(
        "--config",
        "config_path",
        type=click.Path(dir_okay=False),
        envvar="PYMR_CONFIG",
        help=f"The cluster's configuration. [default: $PYMR_CONFIG, then ./{CONFIG_NAME}]",
    )(command)


def projects_option(command: Command) -> Command:
    """`--projects`, which every command takes that works on a JOB.toml; see `projects_dir_of`."""
    return click.option(
        "--projects",
        type=click.Path(exists=True, file_okay=False),
        metavar="DIR",
        help="Folder of projects. [default: the one that holds the project in which JOB.toml lies, else "
        "`projects` beside JOB.toml, else `projects` beside the cluster.toml]",
    )(command)


def projects_dir_of(job_toml: str, job: Job, projects: str | None, cluster_toml: str | None) -> Path:
    """The folder of a job's projects: the one that was named, else as `find_projects_dir` finds it."""
    import msgspec

    from pymr.jobs.required_project import find_projects_dir

    if projects is not None:
        return Path(projects).absolute()
    return find_projects_dir(Path(job_toml), msgspec.structs.asdict(job), Path(cluster_toml or CONFIG_NAME))


def settings_option(command: Command) -> Command:
    """`--set`, of which `split_setting` takes the values apart."""
    return click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="FIELD=VALUE",
        help="Override a field of the job; may be repeated.",
    )(command)


def split_setting(setting: str) -> tuple[str, str]:
    name, equals, value = setting.partition("=")
    if not equals or not name:
        raise click.UsageError(f"--set {setting}: give FIELD=VALUE, such as --set partitions=4")
    return name.strip(), value.strip()


SECONDS_MAX = 1e9


class Seconds(click.FloatRange):
    """A time to wait for: a number of seconds, 0 or more; SECONDS_MAX means no limit."""

    name = "seconds"

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        seconds = float(super().convert(value, param, context))
        if seconds != seconds:
            self.fail(f"{value!r} is not a number of seconds", param, context)
        return min(seconds, SECONDS_MAX)


INTEGER_MAX = 2**63 - 1
"""The largest integer that a request can carry."""


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)


def open_config(config_path: str | None) -> ClusterConfig:
    """The configuration of the cluster that is meant; ends the command where there is none, or a bad one."""
    from pymr.config.cluster import load_config

    path = config_path or CONFIG_NAME
    if not os.path.isfile(path):
        where = f"{path} does not exist" if config_path else f"there is no {CONFIG_NAME} in this folder"
        fail(
            f"{where}: make a cluster with `pymr init DIR`, or name its {CONFIG_NAME} with --config or in "
            "$PYMR_CONFIG",
            EXIT_USAGE,
        )
    config = load_config(path)
    if not config.peers:
        fail(f"{path} has no peers: add a section [[peers]] for each, or make one by `pymr init`", EXIT_USAGE)
    return config


@contextmanager
def open_client(config_path: str | None, reported: Collection[str] = ()) -> Iterator[Client]:
    """A client of the configured cluster. A problem that its last answer reports is printed on stderr.

    reported: problems that the command prints itself.
    """
    from pymr.client import Client

    with Client(open_config(config_path)) as client:
        yield client
        if client.problem and client.problem not in reported:
            tell(f"pymr: {client.problem}")


@contextmanager
def open_listing(config_path: str | None) -> Iterator[Client]:
    """A client for a command that prints a listing in this context. A problem of the cluster is then
    printed on stderr and the command fails, since the listing may be stale or incomplete; a warning is
    printed on stderr, too."""
    with open_client(config_path) as client:
        yield client
        if client.problem:
            fail(client.problem)
        if warning := warning_of(client):
            tell(f"pymr: warning: {warning}")


def complete_from_cluster(
    names: Callable[[Client], Sequence[str]],
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """A completion of the shell from what a client says; nothing where that takes long or cannot be had."""

    def complete(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from pymr.client import Client
        from pymr.config.cluster import load_config

        try:
            config = load_config(context.params.get("config_path") or CONFIG_NAME)
            with Client(config, timeout_s=_COMPLETION_SECONDS) as client:
                return [CompletionItem(name) for name in names(client) if name.startswith(begun)]
        except Exception:  # a shell that is completing a line can show no error
            return []

    return complete


def _names_of_jobs(client: Client) -> list[str]:
    return sorted(str(row.fields["job_name"]) for row in client.jobs().rows)


def _names_of_jobs_and_groups(client: Client) -> list[str]:
    rows = client.jobs().rows
    groups = {str(name) for row in rows if (name := row.fields.get("group_name"))}
    return sorted(groups | {str(row.fields["job_name"]) for row in rows})


def _names_of_deleted_jobs(client: Client) -> list[str]:
    """Those that have run and are not in the queue: no peer tells which ones somebody has deleted."""
    return sorted({run.job_name for run in client.history()} - set(_names_of_jobs(client)))


def _names_of_workers(client: Client) -> list[str]:
    return [row.name for row in client.workers()]


def _names_of_peers(client: Client) -> list[str]:
    return [peer.name for peer in client.config.peers]


complete_jobs = complete_from_cluster(_names_of_jobs)
complete_deleted_jobs = complete_from_cluster(_names_of_deleted_jobs)
complete_jobs_and_groups = complete_from_cluster(_names_of_jobs_and_groups)
complete_workers = complete_from_cluster(_names_of_workers)
complete_peers = complete_from_cluster(_names_of_peers)


def warning_of(client: Client) -> str:
    """What is not right in the cluster, though it works: that its peers run different versions; "" for
    nothing, and where they cannot be asked, which the listing itself tells."""
    from pymr.client.errors import ClientError
    from pymr.wire.wording import version_warning

    try:
        return version_warning({row.name: row.version for row in client.peers() if row.alive})
    except ClientError:
        return ""


def say_json(value: object) -> None:
    """Print a value of msgspec structs, dicts and lists as indented JSON."""
    import msgspec

    say(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


class CommandGroup(click.Group):
    """A group that names the command which is refused: peers know what they are asked, not for what."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except PymrError as error:
            if getattr(error, "code", "") != "denied":
                raise
            fail(f"`{context.command_path} {context.invoked_subcommand}`: {error}")


def say_listing(as_json: bool, value: Callable[[], object], lines: Callable[[], Iterable[str]]) -> None:
    """Print what a command lists: as JSON, or in lines for people."""
    if as_json:
        say_json(value())
    else:
        say("\n".join(lines()))


def terminal_width() -> int:
    """How wide a table may be: the terminal's columns, 0 (as wide as it is) for a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def say(text: str, stream: TextIO | None = None) -> bool:
    """Write a text and an end of line. Returns whether there is any use in writing more.

    Whatever a command says goes through here, and has no character that controls a terminal.
    """
    return put(printable_text(text) + "\n", stream)


def tell(text: str) -> None:
    """Something beside the output of the command, on stderr."""
    say(text, sys.stderr)


def fail(message: str, status: int = EXIT_FAILED) -> NoReturn:
    say(f"pymr: {message}", sys.stderr)
    sys.exit(status)


def exit_status_of(error: Exception) -> int:
    """EXIT_USAGE for what is wrong in a definition, and would be on any cluster: in a job, the project and
    the functions that it names, a configuration, a key file."""
    if isinstance(error, RunFailedError):
        return EXIT_USAGE if error.kind in _KINDS_OF_USAGE else EXIT_FAILED
    return EXIT_USAGE if isinstance(error, DefinitionError | ProjectError) else EXIT_FAILED

"""`pymr-tui`: from its options to the console, or to the same console in a browser."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, NoReturn

import click

from pymr.base.errors import ConfigError
from pymr.base.printable import printable_text
from pymr.base.standard_streams import check_streams, finish_streams, put
from pymr.config.choice import CONFIG_NAME, CONFIG_VARIABLE, choose_config
from tui.model.fault_log import log_fault
from tui.settings.options import Options
from tui.settings.settings import Settings, load_settings, settings_path

if TYPE_CHECKING:
    from pymr.config.cluster import ClusterConfig

EXIT_USAGE = 2
EXIT_FAILED = 1
RESTARTS_MAX = 3
RESTARTS_SECONDS = 30.0
"""A console that fails by a fault of its own is restarted at most RESTARTS_MAX times within this time."""

SERVER_LOOK_SECONDS = 1.0
"""How often a console in a browser checks that its server exists."""

COLLECT_AFTER = (50_000, 20, 100)
"""Of Python's garbage collector. Lower: a queue of 10,000 jobs, read again, keeps it scanning all of them
while a key waits. Higher: more memory."""

DEFAULT_PORT = 8_765


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False),
    envvar=CONFIG_VARIABLE,
    help=f"The cluster's configuration. [default: ${CONFIG_VARIABLE}, then ./{CONFIG_NAME}]",
)
@click.option("--key", "key_name", default="operator", help="Whose key to use. [default: operator]")
@click.option("--read-only", is_flag=True, help="Look, and change nothing.")
@click.option(
    "--projects", "projects_dir", default="", help="Where projects lie. [default: beside the config]"
)
@click.option("--theme", default="", help="dark, light, or another of Textual's. [default: dark]")
@click.option(
    "--serve",
    "port",
    is_flag=False,
    flag_value=DEFAULT_PORT,
    type=click.IntRange(1, 65_535),
    metavar="[PORT]",
    help=f"Serve the console to a browser on this machine. [default port: {DEFAULT_PORT}]",
)
@click.option("--keys", "is_for_keys", is_flag=True, help="Print all keys, as lines for the settings file.")
def main(
    config_path: str | None,
    key_name: str,
    read_only: bool,
    projects_dir: str,
    theme: str,
    port: int | None,
    is_for_keys: bool,
) -> None:
    """The operator's console: the queue, the workers and their output, the machines; keys are under `?`."""
    if is_for_keys:
        from tui.settings.keys import keys_toml

        check_streams()
        put(keys_toml())
        sys.exit(finish_streams("pymr-tui", 0))
    is_with_terminal = is_in_browser() or (sys.stdin.isatty() and sys.stdout.isatty())
    if port is None and not is_with_terminal:
        _fail(
            "it needs a terminal; `pymr jobs` lists the queue without one, and --serve shows it in a browser"
        )
    from tui.settings.themes import wrong_theme

    try:
        settings = load_settings(settings_path())
    except ConfigError as error:
        _fail(str(error))
    theme = theme or settings.theme
    if wrong := wrong_theme(theme):
        _fail(wrong)
    config, why_not = _config(config_path)
    if port is not None:  # errors in settings are reported here, not on a page
        from tui.serving import serve

        sys.exit(serve(port, _arguments(config_path, key_name, read_only, projects_dir, theme)))
    options = Options(key_name, read_only, projects_dir, theme)
    sys.exit(_run(options, config, why_not, settings))


def is_in_browser() -> bool:
    """Whether this console draws on a page of `tui.serving`, and not on a terminal."""
    return os.environ.get("TEXTUAL_DRIVER", "").endswith(":WebDriver")


def _end_with(server: int) -> None:
    """End this process when that of the server has ended, in whatever way: nobody sees it any more."""
    while os.getppid() == server:
        time.sleep(SERVER_LOOK_SECONDS)
    os._exit(EXIT_FAILED)


def _arguments(
    config_path: str | None, key_name: str, read_only: bool, projects_dir: str, theme: str
) -> list[str]:
    """The options by which another process shows the same console."""
    given = {"--config": config_path, "--key": key_name, "--projects": projects_dir, "--theme": theme}
    arguments = [f"{option}={value}" for option, value in given.items() if value]
    return [*arguments, "--read-only"] if read_only else arguments


def _config(path: str | None) -> tuple[ClusterConfig | None, str]:
    """The cluster that is meant; or why there is none, where the console can offer one. A file that is wrong
    ends the command: it has to be put right."""
    if path is None and not os.path.isfile(CONFIG_NAME):
        return None, (
            f"There is no {CONFIG_NAME} in {os.getcwd()}, ${CONFIG_VARIABLE} is not set, and there was no "
            "--config."
        )
    if path is not None and not os.path.isfile(path):
        return None, f"{path} does not exist (--config, or ${CONFIG_VARIABLE})."
    try:
        return choose_config(path), ""
    except ConfigError as error:
        _fail(str(error))


def _run(options: Options, config: ClusterConfig | None, why_not: str, settings: Settings) -> int:
    """Show the console until the operator leaves it. Returns the exit status."""
    from tui.app import ConsoleApp

    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    if is_in_browser():
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    failed_at: list[float] = []
    app: ConsoleApp | None = None
    while True:
        app = ConsoleApp(options, config, why_not, settings, after=app)
        app.run()
        if app.unexpected is None:
            return app.return_code or 0
        path = log_fault("the console failed", app.unexpected)
        now = time.monotonic()
        failed_at = [at for at in failed_at if now - at < RESTARTS_SECONDS] + [now]
        config, why_not = app.config, app.why_no_config
        if is_in_browser():  # where a page starts a new console
            return EXIT_FAILED
        if len(failed_at) > RESTARTS_MAX:
            click.echo(f"pymr-tui: it fails again and again; what happened is in {path}", err=True)
            return EXIT_FAILED


def _fail(message: str) -> NoReturn:
    click.echo(printable_text(f"pymr-tui: {message}"), err=True)
    sys.exit(EXIT_USAGE)

"""The options of `pymr run` that choose an external engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from pymr.config.kinds import split_at_equals

if TYPE_CHECKING:
    from pymr.runs.info import Backend

Command = Callable[..., Any]


def engine_options(command: Command) -> Command:
    """`--engine` and what belongs to it; see `engine_choice`."""
    for option in (
        click.option(
            "--engine-option",
            "engine_settings",
            multiple=True,
            metavar="KEY=VALUE",
            help="An option of the engine itself; may be repeated.",
        ),
        click.option(
            "--engine-address",
            metavar="URL",
            help="Address of that engine. [default: [engine_NAME] in the configuration, else one of this "
            "machine for the run]",
        ),
        click.option(
            "--engine",
            metavar="NAME",
            help="Run the tasks on an external engine, with the same result: dask, ray or spark. "
            "[default: `engine` of the job]",
        ),
    ):
        command = option(command)
    return command


def engine_choice(
    name: str | None, address: str | None, settings: Sequence[str], *, inline: bool
) -> Backend | None:
    """What the options say; None where they choose none. Raises click.UsageError."""
    from pymr.base.spelling import did_you_mean
    from pymr.jobs.external_engines import OWN_ENGINE
    from pymr.runs.info import BACKENDS, Backend

    if name is None:
        if address or settings:
            raise click.UsageError("--engine-address and --engine-option need --engine NAME")
        return None
    if name == OWN_ENGINE:
        raise click.UsageError(
            f"--engine names an external engine; for a run on pymr's own workers: --set engine={name}"
        )
    if name not in BACKENDS:
        raise click.UsageError(
            f"--engine {name}: there is {', '.join(BACKENDS)}{did_you_mean(name, BACKENDS)}"
        )
    if inline:
        raise click.UsageError("--inline and --engine exclude each other")
    options = []
    for setting in settings:
        try:
            options.append(split_at_equals(setting))
        except ValueError as error:
            raise click.UsageError(f"--engine-option {setting}: {error}") from None
    return Backend(name, address, tuple(options))

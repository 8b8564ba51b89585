"""Commands about the cluster as a whole: making one, starting and ending its daemons, and their status."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pymr.cli.console import (
    EXIT_FAILED,
    EXIT_USAGE,
    CommandGroup,
    Seconds,
    config_option,
    fail,
    json_option,
    open_client,
    open_config,
    say,
    say_json,
    tell,
    terminal_width,
)

if TYPE_CHECKING:
    from pymr.ops.manage_cluster import ClusterManager
    from pymr.ops.status import ClusterStatus
    from pymr.wire.requests import Role

_PEERS_MAX = 100


@click.command(short_help="Make a cluster on this machine.")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False))
@click.option("--peers", type=click.IntRange(1, _PEERS_MAX), default=3, show_default=True, metavar="N")
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Workers of each peer. [default: the cores of this machine, shared by the peers]",
)
def init(folder: str, peers: int, workers: int | None) -> None:
    """Make a cluster on this machine: a cluster.toml, keys, folders and a first job in DIR."""
    from pymr.base.errors import FatalError
    from pymr.ops.init import init_cluster, next_steps

    try:
        cluster = init_cluster(Path(folder), peers=peers, workers=workers or max(1, _cores() // peers))
    except FatalError as error:
        fail(str(error), EXIT_USAGE)
    count = "1 peer" if peers == 1 else f"{peers} peers"
    say(f"{folder}: a cluster of {count}, with a Redis of its own. What to type next:\n")
    say("\n".join(f"    {step}" for step in next_steps(cluster)))


@click.command(short_help="Make a key for somebody, and admit it.")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["operator", "viewer", "peer"]),
    default="operator",
    show_default=True,
    help="A viewer may look; an operator may also make changes.",
)
@config_option
def keys(name: str, role: Role, config_path: str | None) -> None:
    """Make a key for NAME and admit it, in the cluster's folder of keys.

    Its user sets $PYMR_KEY to the path of NAME.secret.
    """
    from pymr.ops.init import add_key

    path = add_key(open_config(config_path), name, role)
    say(
        f"{name}: {path} is the secret key, for its owner only ($PYMR_KEY names it); where peers run on "
        f"other machines, copy {path.parent / 'authorized.toml'} to them"
    )


@click.group(cls=CommandGroup)
def cluster() -> None:
    """Start, stop and inspect the daemons of a cluster."""


@cluster.command()
@json_option
@config_option
def start(as_json: bool, config_path: str | None) -> None:
    """Start what is not running, and wait until the peers answer and one of them leads."""
    manager = _manager(config_path, quiet=as_json)
    state = manager.start_cluster()
    if as_json:
        say_json(_state_object(state))


@cluster.command()
@json_option
@click.option(
    "--timeout",
    "timeout_s",
    type=Seconds(),
    default=60.0,
    show_default=True,
    metavar="S",
    help="Seconds that peers may take to finish their work; the rest is done after the next start.",
)
@config_option
def stop(as_json: bool, timeout_s: float, config_path: str | None) -> None:
    """Stop all daemons, each after it has finished its current work."""
    manager = _manager(config_path, quiet=as_json)
    _say_ended(manager.stop_cluster(timeout_s), as_json)


@cluster.command()
@json_option
@config_option
def kill(as_json: bool, config_path: str | None) -> None:
    """Kill all daemons at once. Nothing is lost: `pymr cluster start` resumes the work."""
    manager = _manager(config_path, quiet=as_json)
    _say_ended(manager.kill_cluster(), as_json)


@cluster.command()
@json_option
@config_option
def status(as_json: bool, config_path: str | None) -> None:
    """Report how each peer answers.

    Exit status: 0 when all answer, one leads and nothing is in the way, else 1.
    """
    from pymr.cli.rows import cluster_lines

    state = _manager(config_path, quiet=True).status()
    if as_json:
        say_json(_state_object(state))
    else:
        say("\n".join(cluster_lines(state, terminal_width())))
    if not state.is_well:
        raise SystemExit(EXIT_FAILED)


@cluster.command()
@click.option("--yes", is_flag=True, help="Do not ask for confirmation, as at a terminal.")
@json_option
@config_option
def recover(yes: bool, as_json: bool, config_path: str | None) -> None:
    """Restore the jobs of a Redis that has lost them, from what the peers remember.

    Peers do not remember the history of runs: only what Redis still has is kept.
    """
    config = open_config(config_path)
    if not yes and sys.stdin is not None and sys.stdin.isatty():
        click.confirm(
            f"Put the jobs that the peers of {config.name} remember into its Redis, under a new incarnation? "
            "Runs in progress start over, and the part of the history that Redis has lost stays lost",
            abort=True,
            err=True,
        )
    with open_client(config_path) as client:
        detail = client.recover()
    if as_json:
        say_json({**_state_object(_manager(config_path, quiet=True).status()), "detail": detail})
    else:
        say("recovered" + (f": {detail}" if detail else ""))


def _manager(config_path: str | None, *, quiet: bool) -> ClusterManager:
    """quiet: stdout is for JSON, so progress is reported on stderr."""
    from pymr.ops.manage_cluster import ClusterManager

    return ClusterManager(open_config(config_path), tell if quiet else say)


def _say_ended(state: ClusterStatus, as_json: bool) -> None:
    if as_json:
        say_json(_state_object(state))
    else:
        say(f"{state.name}: no daemon is running on this machine")


def _state_object(state: ClusterStatus) -> dict[str, Any]:
    keys = ("name", "host", "address", "pid", "alive", "leader", "epoch", "workers", "problem")
    return {
        "name": state.name,
        "leader": state.leader,
        "epoch": state.epoch,
        "problem": state.problem,
        "warning": state.warning,
        "paused": state.paused,
        "ok": state.is_well,
        "peers": [
            {**{key: getattr(peer, key) for key in keys}, "version": peer.view.version if peer.view else ""}
            for peer in state.peers
        ],
    }


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

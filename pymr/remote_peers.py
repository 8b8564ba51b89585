"""Peers of other machines, started and ended over the command in `launch.ssh_command`."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess

from pymr.config import ClusterConfig, PeerConfig
from pymr.errors import FatalError
from pymr.peer_processes import LOG_NAME, PEER_COMMAND

LAUNCH_SECONDS = 30.0
"""Longest time for a command to be run on another machine."""


def start_remote(config: ClusterConfig, peer: PeerConfig) -> None:
    """Start a peer on its machine, detached from the connection. Raises FatalError with what it said."""
    state = os.path.join(remote_data_dir(config, peer), "state")
    log = shlex.quote(os.path.join(state, LOG_NAME))
    command = shlex.join(
        [
            *shlex.split(config.launch.remote_command),
            "--config",
            remote_config(config),
            "--name",
            peer.name,
        ]
    )
    _run(
        config,
        peer,
        f"mkdir -p {shlex.quote(state)} && {{ setsid {command} </dev/null >>{log} 2>&1 & }}",
    )


def signal_remote(config: ClusterConfig, peer: PeerConfig, number: signal.Signals) -> None:
    """Signal a peer on its machine: the process that its data folder names, if that is this peer. A peer that
    does not run is passed over."""
    lock = shlex.quote(os.path.join(remote_data_dir(config, peer), "state", "lock"))
    pattern = shlex.quote(f"{PEER_COMMAND} .*--name {re.escape(peer.name)} ")
    _run(
        config,
        peer,
        f'pid=$(cat {lock} 2>/dev/null) || exit 0; if tr "\\0" " " <"/proc/$pid/cmdline" 2>/dev/null | '
        f'grep -q -e {pattern}; then kill -{number.value} "$pid"; fi',
    )


def remote_config(config: ClusterConfig) -> str:
    """Where the cluster.toml is on the other machines."""
    return config.launch.remote_config or os.path.abspath(config.source or "cluster.toml")


def remote_data_dir(config: ClusterConfig, peer: PeerConfig) -> str:
    """A peer's data folder on its machine: one below the folder of the cluster.toml here is so there."""
    here = os.path.dirname(os.path.abspath(config.source or "cluster.toml"))
    if os.path.commonpath([here, peer.data_dir]) != here:
        return peer.data_dir
    there = os.path.dirname(remote_config(config))
    return os.path.normpath(os.path.join(there, os.path.relpath(peer.data_dir, here)))


def _run(config: ClusterConfig, peer: PeerConfig, command: str) -> None:
    words = [word.replace("{host}", peer.host) for word in shlex.split(config.launch.ssh_command)]
    try:
        finished = subprocess.run(
            [*words, command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LAUNCH_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FatalError(f"{peer.name}: `{shlex.join(words)}` cannot be run: {error}") from error
    if finished.returncode != 0:
        said = finished.stderr.decode("utf-8", "replace").strip() or "it said nothing"
        raise FatalError(
            f"{peer.name}: `{shlex.join(words)}` ended with status {finished.returncode}: {said}; look at "
            "launch.ssh_command and launch.remote_command in the cluster.toml"
        )

"""Peers of other machines, started and ended over the command in `launch.ssh_command`."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from dataclasses import dataclass

from pymr.base.errors import FatalError
from pymr.config.cluster import ClusterConfig, PeerConfig
from pymr.ops.processes import LOG_NAME, LOG_TAIL_LINES, PEER_COMMAND

LAUNCH_SECONDS = 30.0
"""Longest time for a command to be run on another machine."""

_STARTED, _RUNS, _ENDED = "pymr-started", "pymr-runs", "pymr-ended"
_SILENT = "(it has written nothing to its log)"


@dataclass(frozen=True, slots=True)
class RemoteStart:
    """What was started. pid: on its machine, 0 where that is not known. log_begin: where its log began."""

    pid: int
    log_begin: int


def start_remote(config: ClusterConfig, peer: PeerConfig) -> RemoteStart:
    """Start a peer on its machine, detached from the connection. Raises FatalError with what was said."""
    state = os.path.join(remote_data_dir(config, peer), "state")
    log = shlex.quote(remote_log_path(config, peer))
    command = shlex.join(
        [
            *shlex.split(config.launch.remote_command),
            "--config",
            remote_config(config),
            "--name",
            peer.name,
        ]
    )
    said = _run(
        config,
        peer,
        f"mkdir -p {shlex.quote(state)} && : >>{log} && {{ begin=$(wc -c <{log}); "
        f"setsid {command} </dev/null >>{log} 2>&1 & echo {_STARTED} $! $((begin)); }}",
    )
    found = re.search(rf"^{_STARTED} (\d+) (\d+)$", said, re.MULTILINE)  # a login may say something, too
    return RemoteStart(int(found[1]), int(found[2])) if found else RemoteStart(0, 0)


def remote_end(config: ClusterConfig, peer: PeerConfig, started: RemoteStart) -> str | None:
    """The last lines of the log of a peer whose process has ended since it was started; None while it runs.
    Raises FatalError where the machine cannot be asked."""
    log = shlex.quote(remote_log_path(config, peer))
    said = _run(
        config,
        peer,
        f"if kill -0 {started.pid} 2>/dev/null && "
        f"! grep -q '^State:.*Z' /proc/{started.pid}/status 2>/dev/null; "
        f"then echo {_RUNS}; else echo {_ENDED}; {_tail(log, started)}; fi",
    )
    _, ended, lines = said.partition(f"{_ENDED}\n")
    return (lines.rstrip() or _SILENT) if ended else None


def remote_log_tail(config: ClusterConfig, peer: PeerConfig, started: RemoteStart) -> str:
    """The last lines that a peer has written to its log since it was started, or why they are not known."""
    log = shlex.quote(remote_log_path(config, peer))
    try:
        return _run(config, peer, _tail(log, started)).rstrip() or _SILENT
    except FatalError as error:
        return f"(it cannot be read: {error})"


def _tail(log: str, started: RemoteStart) -> str:
    return f"tail -c +{started.log_begin + 1} {log} 2>/dev/null | tail -n {LOG_TAIL_LINES}"


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


def remote_log_path(config: ClusterConfig, peer: PeerConfig) -> str:
    """Where the log of a peer is on its machine."""
    return os.path.join(remote_data_dir(config, peer), "state", LOG_NAME)


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


def _run(config: ClusterConfig, peer: PeerConfig, command: str) -> str:
    """What a command says on the machine of a peer."""
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
    return finished.stdout.decode("utf-8", "replace")

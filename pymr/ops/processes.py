"""The daemons of a cluster on this machine as processes: which they are, and starting and ending them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from pymr.base.errors import FatalError, disk_error
from pymr.config.cluster import PeerConfig

PEER_COMMAND = "pymr-peer"
LOG_NAME = "daemon.log"
LOG_TAIL_LINES = 15

_LOG_TAIL_BYTES = 16 << 10
_POLL_SECONDS = 0.05


def peer_arguments(config_path: str, name: str) -> list[str]:
    """What follows the command that starts a peer."""
    return ["--config", os.path.abspath(config_path), "--name", name]


def start_process(config_path: str, peer: PeerConfig) -> subprocess.Popen[bytes]:
    """Start a peer in a session of its own; what it says goes to its log. Raises DiskError, FatalError."""
    log = log_path(peer)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            return subprocess.Popen(
                [*peer_command(), *peer_arguments(config_path, peer.name)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,
            )
    except OSError as error:
        raise disk_error("starting a peer with its log at", str(log), error) from error


def log_path(peer: PeerConfig) -> Path:
    return Path(peer.data_dir) / "state" / LOG_NAME


def log_tail(peer: PeerConfig, begin: int = 0) -> str:
    """The last lines of a peer's log, of what was written to it from a byte on."""
    try:
        with open(log_path(peer), "rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(begin, end - _LOG_TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError as error:
        return f"(its log {log_path(peer)} cannot be read: {error.strerror})"
    return "\n".join(lines[-LOG_TAIL_LINES:]) or "(it has written nothing to its log)"


def log_size(peer: PeerConfig) -> int:
    try:
        return log_path(peer).stat().st_size
    except OSError:
        return 0


def find_daemons(config_path: str, names: Iterable[str]) -> dict[str, psutil.Process]:
    """The running daemons of these peers, by name; their own child processes are not among them."""
    wanted = {name: peer_arguments(config_path, name) for name in names}
    found: dict[str, psutil.Process] = {}
    for name, processes in _find_processes(wanted).items():
        pids = {process.pid for process in processes}
        for process in processes:
            with suppress(psutil.Error):
                if process.ppid() not in pids:
                    found[name] = process
    return found


def find_processes(config_path: str, names: Iterable[str]) -> list[psutil.Process]:
    """Every process of these peers: the daemons, and what they have forked under their own command line."""
    wanted = {name: peer_arguments(config_path, name) for name in names}
    return [process for processes in _find_processes(wanted).values() for process in processes]


def _find_processes(wanted: dict[str, list[str]]) -> dict[str, list[psutil.Process]]:
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            name = _peer_of(process, wanted)
            if name is not None and process.status() != psutil.STATUS_ZOMBIE:
                found.setdefault(name, []).append(process)
    return found


def _peer_of(process: psutil.Process, wanted: dict[str, list[str]]) -> str | None:
    """Which of the peers a process is, by its command line: pymr-peer with that name and configuration."""
    words = process.cmdline()
    if not any(os.path.basename(word) == PEER_COMMAND for word in words[:2]):
        return None
    name, path = _option(words, "--name"), _option(words, "--config")
    if name not in wanted or not path:
        return None
    path = path if os.path.isabs(path) else os.path.join(process.cwd(), path)
    return name if os.path.realpath(path) == os.path.realpath(wanted[name][1]) else None


def _option(words: Sequence[str], option: str) -> str:
    for position, word in enumerate(words):
        if word == option and position + 1 < len(words):
            return words[position + 1]
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return ""


def send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send a signal; a process that is gone, or whose id is another's by now, gets none."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def wait_gone(processes: Sequence[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait for processes, children or not, to end; return those that have not."""
    deadline = time.monotonic() + timeout_s
    left = list(processes)
    while True:
        left = [process for process in left if _is_running(process)]
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(_POLL_SECONDS)


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def peer_command() -> list[str]:
    """The command pymr-peer: of the environment that this process runs in, else the one on the PATH."""
    beside = Path(sys.executable).with_name(PEER_COMMAND)
    if beside.is_file():
        return [str(beside)]
    found = shutil.which(PEER_COMMAND)
    if found is None:
        raise FatalError(f"there is no command {PEER_COMMAND}: install pymr into the environment in use")
    return [found]

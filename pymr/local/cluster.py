"""A cluster for one run: a private Redis and one peer that only this user can talk to; they end with it."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

import msgspec

from pymr.base.errors import FatalError, StartError, disk_error
from pymr.base.interruption import check_interruption, uninterrupted
from pymr.base.process_trees import children_of, end_tree
from pymr.base.scratch_folder import ScratchFolder
from pymr.config.cluster import ClusterConfig, load_config
from pymr.config.toml_text import toml_value
from pymr.ops.private_redis import PrivateRedis
from pymr.ops.processes import log_path, log_tail, peer_command
from pymr.peer.disk.paths import PeerPaths
from pymr.runs.info import RunRequest
from pymr.wire.keys import write_authorized, write_key
from pymr.wire.requests import Role
from pymr.wire.sockets import make_keypair

PEER = "local"
START_SECONDS = 40.0
"""How long the peer may take until it listens."""

END_SECONDS_MAX = 5.0

_CONTROL_PREFIX = "pymr-run-"
_STATE_FOLDERS = ("state", "projects", "panes")
_POLL_SECONDS = 0.003
_TEMPORARY_PATH_BYTES_MAX = 60
_PR_SET_CHILD_SUBREAPER = 36


class EmbeddedCluster:
    """A context in which the cluster runs. The peer's data folder is `scratch`: beside the output, so that it
    is published by renaming.

    All but the run's own files lie below the folder for temporary files: a disk that the job fills does not
    stop Redis, and its socket has a short path. Raises StartError, DiskError.
    """

    def __init__(self, request: RunRequest, scratch: str) -> None:
        self._request = request
        self._scratch = scratch
        self._control = ""
        self._at_the_end = ExitStack()
        self._daemon: subprocess.Popen[bytes] | None = None
        self._redis: PrivateRedis | None = None
        self._others = frozenset(children_of(os.getpid()))
        self.config = ClusterConfig()
        self.began_at = time.monotonic()

    def __enter__(self) -> EmbeddedCluster:
        try:
            with uninterrupted():  # what was held back is raised at its end
                self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with uninterrupted():
            self._end()

    @property
    def config_path(self) -> str:
        """The argument for `pymr attach --config`."""
        assert self.config.source is not None
        return self.config.source

    @property
    def paths(self) -> PeerPaths:
        return PeerPaths(self.config.peers[0].data_dir)

    def readable_path(self, path: str, name: str) -> str:
        """The path itself, or, where it is no UTF-8 and so cannot travel, a link to it of that name."""
        try:
            path.encode()
        except UnicodeEncodeError:
            link = os.path.join(self._control, name)
            with suppress(FileExistsError):
                os.symlink(path, link)
            return link
        return path

    def wait_until_listening(self) -> None:
        """Until the peer takes connections. Raises StartError."""
        address = "127.0.0.1", self.config.peers[0].control_port
        deadline = time.monotonic() + START_SECONDS
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(address) == 0:
                    return
            check_interruption()
            self.check()
            if time.monotonic() > deadline:
                raise StartError(f"the peer of this run does not listen after {START_SECONDS:g} s")
            time.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Raise FatalError if the peer or its Redis have ended."""
        assert self._daemon is not None and self._redis is not None
        if self._daemon.poll() is not None:
            how = _how_it_ended(self._daemon.returncode)
            tail = log_tail(self.config.peers[0])
            raise FatalError(f"the peer of this run {how}; run the job again. The end of its log:\n{tail}")
        pid = self._redis.pid
        if pid is not None and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            raise FatalError("the Redis of this run has ended, or was ended; run the job again")

    def _start(self) -> None:
        _adopt_orphans()
        temporary = _temporary_folder()
        try:
            control = ScratchFolder(temporary, _CONTROL_PREFIX)
            self._control = self._at_the_end.enter_context(control).path
            config_path = self._write_files()
        except OSError as error:
            raise disk_error("preparing a cluster below", temporary, error) from error
        self.config = load_config(config_path)
        self._redis = PrivateRedis(self.config.redis.directory)
        self._start_daemon()  # first, as it takes longer
        self._redis.start()

    def _write_files(self) -> str:
        """Everything that the two need; the path of the configuration."""
        for name in _STATE_FOLDERS:
            os.mkdir(os.path.join(self._control, name))
            os.symlink(os.path.join(self._control, name), os.path.join(self._scratch, name))
        os.symlink(
            os.path.join(self._request.data_dir, "auxiliary"), os.path.join(self._scratch, "auxiliary")
        )
        keys = Path(self._control, "keys")
        admitted: dict[str, tuple[Role, bytes]] = {}
        roles: tuple[tuple[str, Role], ...] = (("operator", "operator"), (PEER, "peer"))
        for name, role in roles:
            public, secret = make_keypair()
            write_key(keys, name, public, secret)
            admitted[name] = (role, public)
        write_authorized(keys, admitted)
        path = os.path.join(self._control, "cluster.toml")
        with open(path, "x", encoding="utf-8") as file:
            file.write(self._toml())
        return path

    def _toml(self) -> str:
        control_port, data_port = self._reserve_port(), self._reserve_port()
        tables: dict[str, dict[str, object]] = {
            "[redis]": {"managed": True, "directory": "redis"},
            "[security]": {"keys_dir": "keys"},
            "[engine]": msgspec.structs.asdict(self._request.engine),
            "[[peers]]": {
                "name": PEER,
                "control_port": control_port,
                "data_port": data_port,
                "workers": self._request.workers,
                "data_dir": self.readable_path(self._scratch, "data"),
            },
        }
        lines = ["# The cluster of one `pymr run`; gone with it."]
        for heading, values in tables.items():
            lines += ["", heading]
            lines += [f"{name} = {toml_value(value)}" for name, value in values.items() if value is not None]
        return "\n".join([*lines, ""])

    def _reserve_port(self) -> int:
        """A free loopback port that nobody else is given while this run lasts; the peer can listen on it."""
        holder = socket.socket()
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port = int(holder.getsockname()[1])
        if sys.platform == "linux":
            self._at_the_end.enter_context(holder)
        else:  # nobody could listen while it is bound
            holder.close()
        return port

    def _start_daemon(self) -> None:
        peer = self.config.peers[0]
        log = log_path(peer)
        arguments = ["--config", self.config_path, "--name", PEER, "--until-stdin-closes"]
        try:
            with open(log, "ab") as output:
                self._daemon = subprocess.Popen(
                    [*peer_command(), *arguments],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # Ctrl-C is for this process
                )
        except OSError as error:
            raise StartError(f"the peer of this run cannot be started: {error.strerror}") from error

    def _end(self) -> None:
        """End all processes, at once: nothing of theirs is needed any more."""
        if self._daemon is not None:
            self._daemon.kill()  # its fork server sees that, and ends the workers with all they have started
            self._daemon.wait()
            if self._daemon.stdin is not None:
                self._daemon.stdin.close()
        if self._redis is not None:
            self._redis.kill()
        if self._daemon is not None:
            _end_orphans(self._others)
        self._at_the_end.close()


def _temporary_folder() -> str:
    """Where the cluster's own files go. A socket has to have a short path."""
    chosen = tempfile.gettempdir()
    is_long = len(os.fsencode(chosen)) > _TEMPORARY_PATH_BYTES_MAX
    return "/tmp" if is_long and os.access("/tmp", os.W_OK | os.X_OK) else chosen


def _adopt_orphans() -> None:
    """Become the parent of what the peer leaves when it is killed, so that its end can be waited for."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_orphans(others: Iterable[int]) -> None:
    """Wait until the fork server, which is this process's child by now, has ended, and its children with it.

    others: children that this process had before.
    """
    deadline = time.monotonic() + END_SECONDS_MAX
    while left := [pid for pid in children_of(os.getpid()) if pid not in others]:
        for pid in left:
            if time.monotonic() > deadline:
                end_tree(pid)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(_POLL_SECONDS)


def _how_it_ended(status: int) -> str:
    if status >= 0:
        return f"has ended with status {status}"
    return f"was ended by {signal.Signals(-status).name}"

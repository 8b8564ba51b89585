"""A Redis of one's own: a redis-server on a Unix socket in a folder; each write is on disk before its answer.

For embedded clusters and tests. It is asked over its socket by hand: a command that starts one is quick.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import psutil

from pymr.base.errors import StartError
from pymr.ops.redis_server import RedisServer, fitting_servers, note_writer

START_SECONDS = 20.0
"""How long a server may take to answer; the time in which it reads its data back is not counted."""

LOAD_SECONDS = 300.0
"""How long it may take to read its data back."""

STOP_SECONDS = 5.0
"""How long a server may take to end after SIGTERM, before it is killed."""

LOCK_SECONDS = 2.0
"""How long the folder's lock may still be held by a server that is ending, or by one that is beginning."""

_POLL_SECONDS = 0.002
_SOCKET_PATH_BYTES_MAX = 100
_LOG_LINES = 10
_PR_SET_PDEATHSIG = 1

_SETTINGS = """\
# Written by pymr at every start.
port 0
unixsocket {socket}
unixsocketperm 700
dir {directory}
pidfile {pid_file}
logfile {log_file}
daemonize {daemonize}
databases 1
save ""
appendonly yes
appendfsync always
maxmemory-policy noeviction
hz 50
"""


class PrivateRedis:
    """A redis-server whose data, log and process id are in `directory`, which becomes of mode 0700.

    At most one server runs in a folder: each holds a lock on it for life.
    daemonised: it outlives this process; otherwise, with dies_with_parent, it is killed when the thread that
    called start() ends (Linux), so that should be one that lives long.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        password: str | None = None,
        daemonised: bool = False,
        dies_with_parent: bool = True,
    ) -> None:
        self.directory = Path(directory).absolute()
        self._password = password
        self._daemonised = daemonised
        self._dies_with_parent = dies_with_parent and not daemonised and sys.platform == "linux"
        self._process: subprocess.Popen[bytes] | None = None
        self.pid: int | None = None

    @property
    def socket_path(self) -> Path:
        """In the folder; where that makes it too long for a socket, below the folder for temporary files."""
        path = self.directory / "redis.sock"
        if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES_MAX:
            return path
        name = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        return Path(tempfile.gettempdir(), f"pymr-{os.getuid()}-{name}", "redis.sock")

    @property
    def url(self) -> str:
        """For `redis.url` of a configuration."""
        return f"unix://{quote(str(self.socket_path))}"

    def start(self) -> None:
        """Start it, with the data it had, and return when it answers. A daemonised one may run already.

        Raises StartError, with what the server logged.
        """
        *servers, last = fitting_servers(self.directory)
        _make_private(self.directory)
        if self.socket_path.parent != self.directory:
            _make_private(self.socket_path.parent, is_shared_place=True)
        for server in servers:
            with contextlib.suppress(StartError):  # an older one may read the data
                self._start(server)
                return
        self._start(last)

    def stop(self) -> None:
        """End it, and wait until it has; what it holds stays on disk."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def _start(self, server: RedisServer) -> None:
        with _locked(self.directory) as lock:
            if lock is not None:
                self._launch(server, lock)
            elif self._daemonised and (pid := running_pid(self.directory)):
                self.pid = pid
                return
            else:
                raise StartError(f"another Redis runs in {self.directory}: stop it, or name another folder")
        try:
            self._wait_until_ready()
            note_writer(self.directory, server)  # not before it has read what is there
        except BaseException:
            self.kill()
            raise

    def _launch(self, server: RedisServer, lock: int) -> None:
        settings = _SETTINGS.format(
            socket=_quoted(str(self.socket_path)),
            directory=_quoted(str(self.directory)),
            pid_file=_quoted(str(self.directory / "redis.pid")),
            log_file=_quoted(str(self.directory / "redis.log")),
            daemonize="yes" if self._daemonised else "no",
        )
        if self._password is not None:
            settings += f"requirepass {_quoted(self._password)}\n"
        path = self.directory / "redis.conf"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(settings)
        for name in ("redis.log", "redis.pid"):
            (self.directory / name).unlink(missing_ok=True)
        try:
            self._process = subprocess.Popen(
                [server.path, str(path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(lock,),  # the server holds the lock until it ends
                start_new_session=True,  # Ctrl-C is for the process that started it
                preexec_fn=_die_with(os.getpid()) if self._dies_with_parent else None,  # noqa: PLW1509  # two calls
            )
        except OSError as error:
            raise StartError(f"{server.path} cannot be started: {error.strerror or error}") from error

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        load_deadline = time.monotonic() + LOAD_SECONDS
        while (answer := _ping(self.socket_path, self._password)) != b"+PONG":
            now = time.monotonic()
            if answer.startswith(b"-LOADING") and now < load_deadline:
                deadline = now + START_SECONDS
            elif answer.startswith(b"-"):
                raise StartError(
                    f"the Redis in {self.directory} answers: {answer[1:].decode(errors='replace')}"
                )
            status = self._process.poll()
            if status is not None and not (self._daemonised and status == 0):
                raise StartError(
                    f"the Redis in {self.directory} ended with status {status}{self._last_lines()}"
                )
            if now > deadline:
                raise StartError(f"the Redis in {self.directory} does not answer{self._last_lines()}")
            time.sleep(_POLL_SECONDS)
        self.pid = self._process.pid
        if self._daemonised:
            self._process.wait()
            self.pid = running_pid(self.directory)

    def _end(self, number: signal.Signals) -> None:
        child = None if self._daemonised else self._process
        pid = child.pid if child else running_pid(self.directory)
        if pid is not None:
            end_server(pid, number, child)
        self._process = self.pid = None
        self.socket_path.unlink(missing_ok=True)
        if self.socket_path.parent != self.directory:
            with contextlib.suppress(OSError):
                self.socket_path.parent.rmdir()

    def _last_lines(self) -> str:
        """What the server logged last, to follow a message."""
        try:
            lines = (self.directory / "redis.log").read_text(errors="replace").splitlines()
        except OSError:
            return f"; it wrote no log in {self.directory}"
        return "; it logged last:\n" + "\n".join(f"  {line}" for line in lines[-_LOG_LINES:])


def running_pid(directory: str | os.PathLike[str]) -> int | None:
    """The process of the Redis that runs in this folder; None if none does."""
    folder = Path(directory).absolute()
    try:
        pid = int((folder / "redis.pid").read_text())
        process = psutil.Process(pid)
        is_server = any(word in process.exe() for word in ("redis", "valkey"))
        if is_server and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            return pid if os.path.samefile(process.cwd(), folder) else None
    except (OSError, ValueError, psutil.Error):
        pass
    return None


def end_server(
    pid: int, number: signal.Signals = signal.SIGTERM, child: subprocess.Popen[bytes] | None = None
) -> None:
    """Send a signal to a server, and kill it where it has not ended after STOP_SECONDS.

    child: the process that started it, to be waited for.
    """
    for signal_number in (number, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal_number)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            if (child.poll() is not None) if child else not _is_alive(pid):
                return
            time.sleep(_POLL_SECONDS)


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _ping(path: Path, password: str | None) -> bytes:
    """The server's answer to PING, "" where there is none (yet)."""
    commands = b"*1\r\n$4\r\nPING\r\n"
    if password is not None:
        secret = password.encode()
        commands = b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n" % (len(secret), secret) + commands
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(str(path))
            connection.sendall(commands)
            answers = b""
            while answers.count(b"\r\n") < commands.count(b"\r\n*") + 1:
                if not (received := connection.recv(4096)):
                    return b""
                answers += received
    except OSError:
        return b""
    return answers.split(b"\r\n")[-2]


def _make_private(directory: Path, *, is_shared_place: bool = False) -> None:
    """Make a folder that only this user can enter. is_shared_place: others may have made one of its name."""
    try:
        directory.mkdir(mode=0o700, parents=not is_shared_place, exist_ok=True)
        found = directory.lstat()
        if is_shared_place and (not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid()):
            raise StartError(f"{directory} is not this user's folder: remove it")
        directory.chmod(0o700)
    except OSError as error:
        raise StartError(f"{directory} cannot be made a private folder: {error.strerror}") from error


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[int | None]:
    """The lock of a folder, held while this block lasts and as long as any child has it; None: another's."""
    descriptor = os.open(directory / "redis.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor if _lock(descriptor, directory) else None
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> bool:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if running_pid(directory) is not None or time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)


def _die_with(parent: int) -> Callable[[], None]:
    """What a child does before it becomes the server: ask to be killed with its parent."""
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has died already
            os._exit(1)

    return ask


def _quoted(text: str) -> str:
    """A value of the configuration file, whatever it holds."""
    is_plain = set(range(32, 127)) - set(b'"\\')
    kept = (chr(byte) if byte in is_plain else f"\\x{byte:02x}" for byte in os.fsencode(text))
    return f'"{"".join(kept)}"'

"""The data service: a process beside the daemon that serves and fetches bulk bytes, which so delay nothing.

`DataService` is the daemon's side of it. The process is a fork that `prepare_data_service` has made, or, in
the place of one that has died, `python -m pymr.peer.data_service`.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from queue import SimpleQueue
from typing import TYPE_CHECKING, NoReturn

from pymr.base.errors import ConfigError
from pymr.base.printable import keep_log_printable
from pymr.config.cluster import ClusterConfig
from pymr.data.orders import (
    CancelFetches,
    Channel,
    Fetched,
    FetchFailed,
    FetchOrder,
    Order,
    Serving,
    Setup,
)

if TYPE_CHECKING:
    from pymr.data.sockets import Context, ServerSocket
    from pymr.wire.keys import Security

__all__ = ["DataService", "FetchOrder", "prepare_data_service"]

CLOSE_SECONDS_MAX = 2.0
BIND_SECONDS_MAX = 5.0
"""How long the port may still be in use, by the service of a daemon that has just been killed."""

BIND_RETRY_SECONDS = 0.1

KEPT_MEMORY_BYTES = 256 << 20
_DESCRIPTORS_MAX = 1 << 20
_POLL_SECONDS = 0.005
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_IGNORED_SIGNALS = frozenset({signal.SIGINT, signal.SIGHUP})
"""They are for the daemon, which ends the data service in its own time."""

_NEEDED = (
    "pymr.base.memory", "pymr.wire.keys", "pymr.data.fetcher", "pymr.data.server", "pymr.data.sockets",
    "pymr.peer.disk.resources", "pymr.peer.disk.uploads", "pymr.wire.sockets",
)  # fmt: skip
_prepared: list[tuple[_ForkedProcess, socket.socket]] = []
"""The process that waits to be the data service of this daemon; at most one, as a daemon has one."""

_log = logging.getLogger("pymr")


class DataService:
    """The data service of a daemon. Nothing here waits but `close`.

    on_fetched, on_lost: called by `on_ready`. port: where it listens; 0 until it does.
    has_died: it has ended by itself; all orders are forgotten, and another one is to be started.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes] | _ForkedProcess,
        channel: Channel,
        on_fetched: Callable[[Fetched], object],
        on_lost: Callable[[FetchFailed], object],
    ) -> None:
        self.pid = process.pid
        self.port = 0
        self._process = process
        self._channel = channel
        self._on_fetched = on_fetched
        self._on_lost = on_lost

    @classmethod
    def start(
        cls,
        config: ClusterConfig,
        peer_name: str,
        *,
        on_fetched: Callable[[Fetched], object],
        on_lost: Callable[[FetchFailed], object],
    ) -> DataService:
        """Take the prepared process, or start one, from the daemon's main thread: it dies with the thread
        that starts it.

        Keys are read from `security.keys_dir` by the process itself.
        """
        process, ours = _prepared.pop() if _prepared else _start_program()
        channel = Channel(ours)
        channel.send(Setup(config, peer_name))
        channel.flush()
        return cls(process, channel, on_fetched, on_lost)

    @property
    def has_died(self) -> bool:
        return self._channel.is_closed or self._process.poll() is not None

    def fileno(self) -> int:
        """Readable when `on_ready` has something to do."""
        return self._channel.fileno()

    def on_ready(self) -> None:
        """Call back for what has come."""
        for notice in self._channel.notices():
            if isinstance(notice, Fetched):
                self._on_fetched(notice)
            elif isinstance(notice, FetchFailed):
                self._on_lost(notice)
            elif isinstance(notice, Serving):
                self.port = notice.port
        self._channel.flush()

    def fetch(self, order: FetchOrder) -> None:
        """Answered by a call of on_fetched or on_lost, or, while no owner can be reached, by none."""
        self.add(order)
        self.flush()

    def add(self, order: FetchOrder) -> None:
        """As `fetch`, with the next `flush`."""
        self._channel.send(order)

    def flush(self) -> None:
        """Send what was added, as far as there is room; the rest follows by itself."""
        self._channel.flush()

    def cancel(self, run_id: str, key: str = "") -> None:
        """Forget the orders of a run, or one of them. What was on its way may still be told of."""
        self._channel.send(CancelFetches(run_id, key))
        self._channel.flush()

    def close(self) -> None:
        """End it."""
        self._channel.close()
        try:
            self._process.wait(CLOSE_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def prepare_data_service() -> None:
    """Fork the process that the next `DataService.start` takes: it need not load what the daemon has loaded.

    To be called while the daemon has neither threads nor sockets but those of its fork server, and after that
    was forked, which else would hold this one's end of the pair. It dies with the thread that calls this.
    """
    for name in _NEEDED:
        import_module(name)
    ours, theirs = socket.socketpair()
    daemon = os.getpid()
    held_back = signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED_SIGNALS)  # until they are ignored
    try:
        pid = os.fork()
        if pid == 0:
            try:
                ours.close()
                _leave_daemon(theirs.fileno())
                main(theirs.detach(), daemon)
            except BaseException:  # told before the process ends, which its parent sees
                traceback.print_exc()
            finally:
                os._exit(1)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
    theirs.close()
    _prepared.append((_ForkedProcess(pid), ours))


class _ForkedProcess:
    """A child that was forked here: what `subprocess.Popen` is to one that runs a program."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._has_ended = False

    def poll(self) -> int | None:
        """Not None once it has ended."""
        if not self._has_ended:
            self._has_ended = os.waitpid(self.pid, os.WNOHANG)[0] != 0
        return 0 if self._has_ended else None

    def wait(self, timeout_s: float = float("inf")) -> None:
        """Until it has ended. Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout_s
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired([], timeout_s)
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def _start_program() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The process as a program of its own: a daemon that has threads can no longer fork it."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", "pymr.peer.data_service", str(theirs.fileno()), str(os.getpid())]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]), ours


def main(descriptor: int, daemon_pid: int) -> NoReturn:
    """The life of the process; ends with the daemon, or when the daemon closes its end."""
    _die_with(daemon_pid)
    logging.basicConfig(
        format="%(asctime)s data service: %(levelname)s %(message)s", level=logging.INFO, force=True
    )
    keep_log_printable()
    status = 1
    try:
        channel = Channel(socket.socket(fileno=descriptor))
        orders = _first_orders(channel)
        if orders and isinstance(orders[0], Setup):
            _serve_and_fetch(orders[0], orders[1:], channel)
        status = 0
    except Exception:  # the top of a process
        _log.exception("the data service failed")
    finally:
        os._exit(status)  # nothing is worth waiting for, sockets least of all


def _leave_daemon(keep: int) -> None:
    """Have no descriptor of the daemon's but the one to keep, and where errors go."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.closerange(3, keep)
    os.closerange(keep + 1, max(min(os.sysconf("SC_OPEN_MAX"), _DESCRIPTORS_MAX), keep + 1))
    gc.freeze()  # what is shared with the daemon stays shared: the collector never writes to it


def _die_with(daemon_pid: int) -> None:
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _IGNORED_SIGNALS)
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        library.prctl(_PR_SET_NAME, b"pymr-data")
    if os.getppid() != daemon_pid:  # it ended before that took effect
        os._exit(1)


def _first_orders(channel: Channel) -> list[Order]:
    """What the daemon sends first; none where it has gone."""
    orders: list[Order] = []
    while not orders and not channel.is_closed:
        _wait_for(channel)
        orders += channel.orders()
    return orders


def _wait_for(channel: Channel) -> None:
    """Until there is something to read; unlike select() also with a descriptor above 1,023."""
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.poll()


def _serve_and_fetch(setup: Setup, orders: Sequence[Order], channel: Channel) -> None:
    # What the daemon's side need not load.
    from pymr.base.memory import keep_freed_memory
    from pymr.data.fetcher import Fetcher
    from pymr.data.sockets import make_context
    from pymr.wire.keys import load_security

    keep_freed_memory(KEPT_MEMORY_BYTES)
    security = load_security(setup.config, setup.peer)
    ports: SimpleQueue[int] = SimpleQueue()
    threading.Thread(target=_serve, args=(setup, security, ports), name="serve", daemon=True).start()
    channel.send(Serving(ports.get()))
    Fetcher(make_context(), channel, security).run(orders)


def _serve(setup: Setup, security: Security, ports: SimpleQueue[int]) -> None:
    """The serving thread; where it cannot go on, neither does the process."""
    from pymr.data.server import DataServer
    from pymr.data.sockets import make_context
    from pymr.peer.disk.resources import Resources
    from pymr.peer.disk.uploads import Uploads
    from pymr.wire.sockets import Authenticator

    try:
        context = make_context()
        authenticator = Authenticator(context, security)
        server = _bind(context, setup, security)
        ports.put(server.port)
        resources, uploads = Resources(setup.config, setup.peer), Uploads(setup.config, setup.peer)
        DataServer(server, resources, uploads, security).serve()
        authenticator.close()
    except ConfigError as error:
        _log.error("%s", error)
    except BaseException:  # the top of a thread
        _log.exception("serving failed")
    os._exit(1)


def _bind(context: Context, setup: Setup, security: Security) -> ServerSocket:
    from pymr.data.sockets import ServerSocket

    peer = next(peer for peer in setup.config.peers if peer.name == setup.peer)
    deadline = time.monotonic() + BIND_SECONDS_MAX
    while True:
        try:
            return ServerSocket(context, peer.host, peer.data_port, security)
        except ConfigError:
            if time.monotonic() > deadline:
                raise
            time.sleep(BIND_RETRY_SECONDS)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

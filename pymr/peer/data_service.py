"""The data service: a process beside the daemon that serves and fetches bulk bytes, which so delay nothing.

`DataService` is the daemon's side of it; `python -m pymr.peer.data_service` the process.
"""

from __future__ import annotations

import ctypes
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, NoReturn

from pymr.config import ClusterConfig
from pymr.errors import ConfigError
from pymr.peer.data_orders import (
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
    from pymr.keys import Security
    from pymr.peer.data_sockets import Context, ServerSocket

__all__ = ["DataService", "FetchOrder"]

CLOSE_SECONDS_MAX = 2.0
BIND_SECONDS_MAX = 5.0
"""How long the port may still be in use, by the service of a daemon that has just been killed."""

BIND_RETRY_SECONDS = 0.1

KEPT_MEMORY_BYTES = 256 << 20
_PR_SET_PDEATHSIG = 1
_log = logging.getLogger("pymr")


class DataService:
    """The data service of a daemon. Nothing here waits but `close`.

    on_fetched, on_lost: called by `on_ready`. port: where it listens; 0 until it does.
    has_died: it has ended by itself; all orders are forgotten, and another one is to be started.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
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
        """Start the process, from the daemon's main thread: it dies with the thread that starts it.

        Keys are read from `security.keys_dir` by the process itself.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "pymr.peer.data_service", str(theirs.fileno()), str(os.getpid())]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
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
        self._channel.send(order)
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


def main(descriptor: int, daemon_pid: int) -> NoReturn:
    """The life of the process; ends with the daemon, or when the daemon closes its end."""
    _die_with(daemon_pid)
    logging.basicConfig(format="%(asctime)s data service: %(levelname)s %(message)s", level=logging.INFO)
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


def _die_with(daemon_pid: int) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):  # for the daemon, which ends us in its own time
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
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
    from pymr.engine.memory import keep_freed_memory
    from pymr.keys import load_security
    from pymr.peer.data_fetcher import Fetcher
    from pymr.peer.data_sockets import make_context

    keep_freed_memory(KEPT_MEMORY_BYTES)
    security = load_security(setup.config, setup.peer)
    ports: SimpleQueue[int] = SimpleQueue()
    threading.Thread(target=_serve, args=(setup, security, ports), name="serve", daemon=True).start()
    channel.send(Serving(ports.get()))
    Fetcher(make_context(), channel, security).run(orders)


def _serve(setup: Setup, security: Security, ports: SimpleQueue[int]) -> None:
    """The serving thread; where it cannot go on, neither does the process."""
    from pymr.peer.data_server import DataServer
    from pymr.peer.data_sockets import make_context
    from pymr.peer.transport import Gatekeeper

    try:
        context = make_context()
        gatekeeper = Gatekeeper(context, security)
        server = _bind(context, setup, security)
        ports.put(server.port)
        DataServer(server, setup.config, setup.peer, security).serve()
        gatekeeper.close()
    except ConfigError as error:
        _log.error("%s", error)
    except BaseException:  # the top of a thread
        _log.exception("serving failed")
    os._exit(1)


def _bind(context: Context, setup: Setup, security: Security) -> ServerSocket:
    from pymr.peer.data_sockets import ServerSocket

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

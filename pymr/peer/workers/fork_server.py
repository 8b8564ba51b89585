"""The fork server as the daemon sees it: a process beside it that starts workers and ends what they leave.

Started before the daemon has threads or sockets, as a fork of either would be no fit parent of workers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
import traceback
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pymr.peer.workers.fork_server_protocol import (
    MESSAGE_BYTES_MAX,
    SOCKET_KIND,
    TERMINAL_COLUMNS,
    TERMINAL_ROWS,
    Exited,
    ForkWorker,
    KillWorker,
    Started,
    StartFailed,
    ToNursery,
    decode_from_nursery,
    encode,
)

if TYPE_CHECKING:
    from pymr.peer.worker.worker import TaskFunctions

EVENTS_MAX = 64
"""Most that `receive` returns at once."""

CLOSE_SECONDS_MAX = 5.0
"""How long `close` waits for the last of the workers' processes to be gone."""

_DESCRIPTORS = 2


@dataclass(frozen=True, slots=True)
class StartedWorker:
    """A worker runs. terminal: the master of its terminal. pipe: to talk to it. Both are to be closed."""

    id: int
    pid: int
    terminal: int
    pipe: int


@dataclass(frozen=True, slots=True)
class ForkServerLost:
    """The fork server has ended, and its workers with it. Told once; a daemon cannot start another, and
    ends."""


ForkServerEvent = StartedWorker | StartFailed | Exited | ForkServerLost


class ForkServer:
    """Starts and kills workers; tells what became of them. Nothing here blocks but `start` and `close`."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self._channel = channel
        self._unsent: deque[bytes] = deque()
        self._is_lost = False

    @classmethod
    def start(cls, tasks: TaskFunctions | None = None) -> ForkServer:
        """Fork the fork server; the first act of a daemon. tasks: what workers do; None for the tasks of
        pymr."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, SOCKET_KIND)
        daemon = os.getpid()
        held_back = signal.pthread_sigmask(
            signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        )  # until the fork server ignores them
        try:
            pid = os.fork()
            if pid == 0:
                try:
                    from pymr.peer.workers.fork_server_process import (
                        fork_server_main,  # what workers need, not the daemon
                    )

                    ours.close()
                    fork_server_main(theirs, daemon, tasks)
                except BaseException:  # told before the process ends, which its parent sees
                    traceback.print_exc()
                finally:
                    os._exit(1)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
        theirs.close()
        ours.setblocking(False)
        return cls(pid, ours)

    def fileno(self) -> int:
        """Readable when `receive` has something."""
        return self._channel.fileno()

    def start_worker(
        self, worker_id: int, columns: int = TERMINAL_COLUMNS, rows: int = TERMINAL_ROWS
    ) -> None:
        """Ask for a worker. worker_id: not used before. Answered by StartedWorker or StartFailed."""
        self._send(ForkWorker(worker_id, columns, rows))

    def kill_worker(self, worker_id: int) -> None:
        """End a worker at once, with all it has started. Of no effect where it has ended."""
        self._send(KillWorker(worker_id))

    def receive(self) -> list[ForkServerEvent]:
        """What has happened since, without waiting. More may be there when it is EVENTS_MAX."""
        events: list[ForkServerEvent] = []
        while len(events) < EVENTS_MAX and not self._is_lost:
            try:
                packet, descriptors, _, _ = socket.recv_fds(
                    self._channel, MESSAGE_BYTES_MAX, _DESCRIPTORS, getattr(socket, "MSG_CMSG_CLOEXEC", 0)
                )
            except BlockingIOError:
                break
            except ConnectionError:
                packet, descriptors = b"", []
            events.append(self._event_of(packet, descriptors))
        self.flush()
        return events

    def flush(self) -> None:
        """Send what could not be sent at once; to be called now and then."""
        while self._unsent and not self._is_lost:
            try:
                self._channel.send(self._unsent[0])
            except BlockingIOError:
                return
            except ConnectionError:
                self._unsent.clear()  # `receive` tells of it
                return
            self._unsent.popleft()

    def close(self) -> None:
        """End every worker with all it has started, and the fork server."""
        self._channel.close()
        self._is_lost = True
        deadline = time.monotonic() + CLOSE_SECONDS_MAX
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                if time.monotonic() > deadline:  # a process that no signal ends, such as one on a dead disk
                    os.kill(self.pid, signal.SIGKILL)
                time.sleep(0.002)

    def _event_of(self, packet: bytes, descriptors: list[int]) -> ForkServerEvent:
        if not packet:
            self._is_lost = True
            return ForkServerLost()
        message = decode_from_nursery(packet)
        if not isinstance(message, Started):
            return message
        if len(descriptors) < _DESCRIPTORS:  # the daemon may open no more files
            for descriptor in descriptors:
                os.close(descriptor)
            self.kill_worker(message.id)
            return StartFailed(message.id, "the daemon has too many open files")
        return StartedWorker(message.id, message.pid, *descriptors)

    def _send(self, message: ToNursery) -> None:
        self._unsent.append(encode(message))
        self.flush()

"""The fork server's own life: forks workers when the daemon asks, tells of their ends, ends what outlives
them.

It has one thread and imports what a worker needs beforehand, so that a fork of it is a worker at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import os
import select
import signal
import socket
import struct
import sys
import termios
import time
import traceback
from typing import NoReturn

from pymr.base.process_trees import OWNER_VARIABLE, OwnerMark, children_of, end_group, end_tree
from pymr.peer.worker.worker import TaskFunctions, warm_up, worker_main
from pymr.peer.workers.fork_server_protocol import (
    MESSAGE_BYTES_MAX,
    Exited,
    ForkWorker,
    FromNursery,
    Started,
    StartFailed,
    decode_to_nursery,
    encode,
)

PARENT_LOOK_SECONDS = 0.5
"""How often the fork server looks after its parent where the kernel does not tell of its end (macOS)."""

WORKER_OOM_SCORE = 500
"""Added to a worker's badness: short of memory, the kernel ends a worker before a daemon."""

_IGNORED_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})

# Where the kernel has no call to close a range (before Linux 5.9), they are closed one by one.
_DESCRIPTORS_MAX = 1 << 20
_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36
_C_LIBRARY = ctypes.CDLL(None)


def fork_server_main(channel: socket.socket, daemon: int, tasks: TaskFunctions | None) -> NoReturn:
    """The life of the fork server, from the fork on. daemon: the process id of its parent."""
    try:
        _leave_daemon(channel)
        fork_server = _NurseryProcess(channel, daemon, tasks)
        try:
            fork_server.run()
        finally:
            fork_server.end_everything()
    except BaseException:  # the last boundary of a process: told where the daemon's errors go
        traceback.print_exc()
    finally:
        os._exit(0)


def _leave_daemon(channel: socket.socket) -> None:
    """A session of its own, parent to what its descendants leave behind; errors go where the daemon's go."""
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.setsid()
    _control_process(_PR_SET_CHILD_SUBREAPER, 1)
    _control_process(_PR_SET_NAME, b"pymr-forkserver")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    _close_descriptors_above(2, keep=channel.fileno())
    warm_up()
    # What all workers share stays shared: the collector never writes to these pages.
    gc.collect()
    gc.freeze()


class _NurseryProcess:
    """Workers by process id, and orphans: children that are no workers, come from processes that have ended.

    An orphan may live as long as one of the workers that can have started it: its own one where that can be
    told (its session, its marks), otherwise all that lived when it was first seen.
    """

    def __init__(self, channel: socket.socket, daemon: int, tasks: TaskFunctions | None) -> None:
        self._channel = channel
        self._daemon = daemon
        self._tasks = tasks
        self._pid = os.getpid()
        self._workers: dict[int, int] = {}  # process id -> id
        self._orphans: dict[int, set[int]] = {}  # process id -> ids of workers
        self._wake, wake_up = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake_up, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_up, warn_on_full_buffer=False)

    def run(self) -> None:
        """Serve until the daemon ends or closes its socket."""
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        daemon_end, timeout_ms = -1, PARENT_LOOK_SECONDS * 1_000
        # Not only the socket tells: a process that the daemon has forked may hold the daemon's end of it.
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                daemon_end = os.pidfd_open(self._daemon)
                poll.register(daemon_end, select.POLLIN)
                timeout_ms = -1
        self._reap()
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(timeout_ms)}
            if daemon_end in ready or os.getppid() != self._daemon:
                return
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                self._reap()
            if self._channel.fileno() in ready and not self._serve():
                return

    def _serve(self) -> bool:
        """Do what the daemon asks for. False when it has gone."""
        try:
            packet = self._channel.recv(MESSAGE_BYTES_MAX)
        except ConnectionError:
            return False
        if not packet:
            return False
        order = decode_to_nursery(packet)
        if isinstance(order, ForkWorker):
            self._start(order)
        else:
            for pid, worker_id in self._workers.items():
                if worker_id == order.id:
                    end_tree(pid)
        return True

    def _start(self, order: ForkWorker) -> None:
        self._note_orphans()  # what is there already cannot be of this worker
        descriptors: list[int] = []
        try:
            descriptors += os.openpty()
            descriptors += (end.detach() for end in socket.socketpair())
            master, terminal, daemon_pipe, worker_pipe = descriptors
            _set_up_terminal(terminal, order.columns, order.rows)
            pid = os.fork()
            if pid == 0:
                _become_worker(OwnerMark(self._pid, order.id), terminal, worker_pipe, self._tasks)
            self._workers[pid] = order.id
            self._tell(Started(order.id, pid), [master, daemon_pipe])
        except OSError as error:
            self._tell(StartFailed(order.id, error.strerror or str(error)))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _tell(self, message: FromNursery, descriptors: list[int] | None = None) -> None:
        with contextlib.suppress(ConnectionError):  # the daemon has gone, which `run` sees next
            socket.send_fds(self._channel, [encode(message)], descriptors or [])

    def _reap(self) -> None:
        """Take note of every child that has ended."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            pid = ended.si_pid
            worker_id = self._workers.get(pid)
            if worker_id is not None:
                self._end_what_is_left(pid, worker_id)
            self._orphans.pop(pid, None)
            _, status = os.waitpid(pid, 0)  # only now can its id become another's
            if worker_id is not None:
                self._tell(Exited(worker_id, pid, os.waitstatus_to_exitcode(status)))

    def _end_what_is_left(self, pid: int, worker_id: int) -> None:
        """End what a worker that has ended had started; its children are the fork server's by now."""
        end_group(pid)
        self._note_orphans()
        del self._workers[pid]
        for orphan, owners in list(self._orphans.items()):
            owners.discard(worker_id)
            if not owners:
                end_tree(orphan)

    def _note_orphans(self) -> None:
        for pid in children_of(self._pid):
            if pid not in self._workers and pid not in self._orphans:
                self._orphans[pid] = self._owners_of(pid)
                if not self._orphans[pid]:
                    end_tree(pid)

    def _owners_of(self, orphan: int) -> set[int]:
        """Ids of the workers one of which started it."""
        session = -1
        with contextlib.suppress(OSError):
            session = os.getsid(orphan)
        if session in self._workers:
            return {self._workers[session]}
        for worker_id in self._workers.values():
            if OwnerMark(self._pid, worker_id).is_on(orphan):
                return {worker_id}
        return set(self._workers.values())

    def end_everything(self) -> None:
        """Kill all below this process, over and over until nothing is left: what is killed leaves orphans."""
        pause_s = 0.002
        while True:
            for pid in {*children_of(self._pid), *self._workers}:
                end_tree(pid)
            try:
                while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                    self._workers.pop(pid, None)
            except ChildProcessError:
                return
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.1)


def _set_up_terminal(terminal: int, columns: int, rows: int) -> None:
    """A size; and no Ctrl-S, with which whoever types could stop a worker's output without knowing."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    attributes = termios.tcgetattr(terminal)
    attributes[0] &= ~(termios.IXON | termios.IXOFF)
    attributes[0] |= getattr(termios, "IUTF8", 0o40000 if sys.platform == "linux" else 0)
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)


def _become_worker(mark: OwnerMark, terminal: int, pipe: int, tasks: TaskFunctions | None) -> NoReturn:
    """From the fork on: a session with a terminal, which dies with the fork server; then the worker's
    code."""
    try:
        signal.set_wakeup_fd(-1)
        for number in {*_IGNORED_SIGNALS, signal.SIGCHLD}:
            signal.signal(number, signal.SIG_DFL)
        os.login_tty(terminal)
        _control_process(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != mark.fork_server:
            os._exit(1)
        _control_process(_PR_SET_NAME, mark.process_name.encode())
        os.environ[OWNER_VARIABLE] = mark.value
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(WORKER_OOM_SCORE))
        _close_descriptors_above(2, keep=pipe)
        worker_main(pipe, tasks)
    finally:
        os._exit(1)


def _control_process(option: int, value: int | bytes) -> None:
    """prctl, which only Linux has."""
    if sys.platform == "linux":
        argument = ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.c_ulong(value)
        _C_LIBRARY.prctl(option, argument, 0, 0, 0)


def _close_descriptors_above(lowest: int, keep: int) -> None:
    """Close what was inherited. Closing all of them costs one system call, however many there may be."""
    highest = max(min(os.sysconf("SC_OPEN_MAX"), _DESCRIPTORS_MAX), keep + 1)
    os.closerange(lowest + 1, keep)
    os.closerange(keep + 1, highest)

"""The pool: forks worker processes, hands them tasks, notices their deaths, passes on what they print."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait

from pymr.engine.tasks import JobContext
from pymr.errors import StartError, WorkerDiedError
from pymr.local.guard import Guard
from pymr.local.interruption import uninterrupted
from pymr.local.process import (
    PIPE_CLOSED_STATUS,
    Assignment,
    Done,
    Progress,
    Ready,
    worker_main,
)

OUTPUT_BYTES_MAX = 64 << 10
"""Most of a worker's output taken at once; a line longer than this is shown in pieces."""

_OWN_END_SECONDS_MAX = 0.5
"""How long a worker whose pipe has closed may take to end, before it counts as one that closed its files."""

_KILLED_SECONDS_MAX = 5.0

_SIGNAL_HINTS: dict[int, str] = {
    signal.SIGSEGV: "a crash in C code that a function uses, or a recursion too deep for it",
    signal.SIGABRT: "an abort in C code that a function uses",
    signal.SIGKILL: "killed from outside, or the machine is out of memory",
}


@dataclass(eq=False, slots=True)
class Worker:
    """A worker process as the parent sees it. progress_at: when it last moved (monotonic seconds)."""

    name: str
    pid: int
    connection: Connection
    output: int
    is_ready: bool = False
    assignment: Assignment | None = None
    progress: tuple[int, int] = (0, 0)
    progress_at: float = field(default_factory=time.monotonic)
    pidfd: int | None = None  # readable once the process has ended, whoever else holds its pipes
    pending_output: bytes = b""
    has_closed_output: bool = False
    has_ended: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """Something a worker did: it got ready, ended a task (`outcome`), or died while it had one."""

    worker: Worker
    outcome: Done | None = None


class Pool:
    """Up to `size` workers.

    on_output: called with a worker's name and lines that it printed.
    Single-threaded, as it forks: all happens in `wait`. `close` ends every process, with its children.
    """

    def __init__(
        self,
        size: int,
        load_context: Callable[[], JobContext],
        on_output: Callable[[str, list[str]], None],
    ) -> None:
        self._load_context = load_context
        self._on_output = on_output
        self.workers: list[Worker] = []
        with uninterrupted():
            self._guard = Guard()
            try:
                for number in range(size):
                    self.workers.append(self._fork(f"worker/{number}"))
            except BaseException:
                self.close()
                raise

    def idle(self) -> Worker | None:
        """A worker that is ready and has nothing to do."""
        return next((one for one in self.workers if one.is_ready and one.assignment is None), None)

    def assign(self, worker: Worker, assignment: Assignment) -> None:
        """Give an idle worker a task. If it has died, the next `wait` says so."""
        worker.assignment = assignment
        worker.progress = (0, 0)
        worker.progress_at = time.monotonic()
        with contextlib.suppress(OSError):
            worker.connection.send(assignment)

    def wait(self, timeout_s: float) -> list[Event]:
        """What happened until the first news, or until `timeout_s` have passed without any."""
        by_handle: dict[Connection | int, Worker] = {}
        for worker in self.workers:
            handles = (worker.connection, worker.pidfd, None if worker.has_closed_output else worker.output)
            by_handle.update((handle, worker) for handle in handles if handle is not None)
        events: list[Event] = []
        for handle in wait(list(by_handle), timeout_s):
            worker = by_handle[handle]  # type: ignore[index]
            if handle == worker.output:
                self._read_output(worker)
            elif handle == worker.connection:
                events += self._receive(worker)
            elif not worker.has_ended and not worker.connection.poll():
                events.append(Event(worker, Done(None, self._death_of(worker))))
        return events

    def kill(self, worker: Worker) -> None:
        """End a worker's process, with all that it started. `replace` puts another in its place."""
        with uninterrupted():
            self._end_process(worker, patience_s=0.0)

    def replace(self, worker: Worker) -> None:
        """Fork another worker in the place of one, which is ended if it has not."""
        with uninterrupted():
            place = self.workers.index(worker)
            del self.workers[place]
            self._end(worker)
            self.workers.insert(place, self._fork(worker.name))

    def close(self) -> None:
        """End every worker. What they printed last is still passed on."""
        with uninterrupted():
            while self.workers:
                self._end(self.workers.pop())
            self._guard.close()

    def _fork(self, name: str) -> Worker:
        try:
            ours, theirs = Pipe()
            read_end, write_end = os.pipe()
            pid = os.fork()
        except OSError as error:
            raise StartError(
                f"{name} cannot be started: {error.strerror}; use fewer --workers, or raise ulimit"
            ) from error
        if pid == 0:
            worker_main(theirs, write_end, self._guard.token, self._load_context)
        theirs.close()
        os.close(write_end)
        os.set_blocking(read_end, False)
        self._guard.watch(pid)
        pidfd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        return Worker(name, pid, ours, read_end, pidfd=pidfd)

    def _receive(self, worker: Worker) -> Iterator[Event]:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            yield Event(worker, Done(None, self._death_of(worker)))
            return
        if isinstance(message, Progress):
            worker.progress, worker.progress_at = message.done, time.monotonic()
        elif isinstance(message, Ready):
            worker.is_ready = True
            yield Event(worker)
        else:
            yield Event(worker, message)

    def _death_of(self, worker: Worker) -> WorkerDiedError:
        """How a worker whose pipe has closed came to its end."""
        ended = self._end_process(worker, patience_s=_OWN_END_SECONDS_MAX)
        if ended is None or (ended.si_code, ended.si_status) == (os.CLD_EXITED, PIPE_CLOSED_STATUS):
            return WorkerDiedError(
                f"{worker.name} closed its pipe to pymr (a function that closes all files?)"
            )
        if ended.si_code == os.CLD_EXITED:
            return WorkerDiedError(
                f"{worker.name} exited with status {ended.si_status} in the middle of its work "
                "(a function that calls os._exit, or C code that does)"
            )
        name = signal.Signals(ended.si_status).name
        hint = _SIGNAL_HINTS.get(ended.si_status, "see what it printed last")
        return WorkerDiedError(f"{worker.name} was ended by {name}: {hint}")

    def _end(self, worker: Worker) -> None:
        self._end_process(worker, patience_s=0.0)
        self._read_output(worker)
        if worker.pending_output:
            self._on_output(worker.name, [_text(worker.pending_output)])
        worker.connection.close()
        os.close(worker.output)
        if worker.pidfd is not None:
            os.close(worker.pidfd)

    def _end_process(self, worker: Worker, patience_s: float) -> os.waitid_result | None:
        """Kill a worker and all of its session. Returns how it ended if it did so by itself in time.

        Until it is reaped here its id cannot be another process's, so that no other is ever signalled.
        """
        if worker.has_ended:
            return None
        ended = _wait_for_end(worker.pid, patience_s)
        for send in (os.killpg, os.kill):  # before its setsid() it is in no group of its own
            with contextlib.suppress(ProcessLookupError, PermissionError):
                send(worker.pid, signal.SIGKILL)
        _wait_for_end(worker.pid, _KILLED_SECONDS_MAX)
        os.waitpid(worker.pid, os.WNOHANG)
        worker.has_ended = True
        self._guard.forget(worker.pid)
        return ended

    def _read_output(self, worker: Worker) -> None:
        """Pass on whole lines of what a worker printed; hold back the beginning of the next one."""
        try:
            data = os.read(worker.output, OUTPUT_BYTES_MAX)
        except BlockingIOError:
            return
        worker.has_closed_output = not data
        *lines, rest = (worker.pending_output + data).split(b"\n")
        if len(rest) > OUTPUT_BYTES_MAX:
            lines.append(rest)
            rest = b""
        worker.pending_output = rest
        if lines:
            self._on_output(worker.name, list(map(_text, lines)))


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def _wait_for_end(pid: int, seconds_max: float) -> os.waitid_result | None:
    """How a child ended, which is left to be reaped; None while it has not."""
    deadline = time.monotonic() + seconds_max
    while True:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None or time.monotonic() >= deadline:
            return ended
        time.sleep(0.001)

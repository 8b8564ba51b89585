"""The guard: a process that ends the workers, and what they started, when pymr itself is killed."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from secrets import token_hex

from pymr.local.interruption import INTERRUPTING_SIGNALS

RUN_VARIABLE = "PYMR_RUN"
"""In the environment of workers, and so of what functions start: a token of the run."""

_NOTE_BYTES = 8


class Guard:
    """Holds the read end of a pipe whose other end only this process has; its end is this process's death.

    A worker that dies with its parent (PR_SET_PDEATHSIG) cannot take along what a function has started, so
    the guard does. Told of every worker by `watch`, and of its end by `forget`, as its id may then become
    another's; `close` ends the guard without any effect.
    """

    def __init__(self) -> None:
        self.token = token_hex(8)
        read_end, self._write_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _guard(read_end, self._write_end, self.token)
        os.close(read_end)

    def watch(self, pid: int) -> None:
        """Note a worker, which leads a session of its own."""
        self._note(pid)

    def forget(self, pid: int) -> None:
        """Strike a worker that has been ended."""
        self._note(-pid)

    def _note(self, number: int) -> None:
        with contextlib.suppress(OSError):  # the guard was killed; workers still die with their parent
            os.write(self._write_end, number.to_bytes(_NOTE_BYTES, "little", signed=True))

    def close(self) -> None:
        """End the guard, after the workers have been ended, and what they left behind."""
        end_marked(self.token)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._write_end)


def _guard(read_end: int, write_end: int, token: str) -> None:
    """The life of the guard; never returns."""
    try:
        os.setsid()
        for number in INTERRUPTING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        nothing = os.open(os.devnull, os.O_RDWR)
        for target in (0, 1, 2):
            os.dup2(nothing, target)
        os.closerange(3, read_end)
        os.closerange(read_end + 1, max(write_end, nothing) + 1)
        watched: set[int] = set()
        while note := os.read(read_end, _NOTE_BYTES):  # written, and so read, in one piece
            pid = int.from_bytes(note, "little", signed=True)
            (watched.add if pid > 0 else watched.discard)(abs(pid))
        for pid in watched:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        end_marked(token)
    finally:
        os._exit(0)


def end_marked(token: str) -> None:
    """End what a run's functions have started: every process whose environment has its token (Linux).

    That finds those in sessions of their own as well, but not a fork that never called exec.
    """
    mark = f"{RUN_VARIABLE}={token}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)

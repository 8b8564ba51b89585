"""A script on a terminal of its own, between it and the worker's: what it writes is copied to the worker's,
whose pane shows it; what is typed goes the other way. When it ends, so does all it started.

The terminal in between lets the last of the output be kept, and makes a Ctrl-C one for the script.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pymr.base.process_trees import children_of, end_group, end_tree, tree_of

TERM_GRACE_SECONDS = 2.0
"""A script that takes too long is asked to end, and ended when it has not after this time."""

LEFT_GRACE_SECONDS = 1.0
"""What a script has left running may end by itself for so long, such as a `tee` that it wrote through."""

END_SECONDS_MAX = 5.0
"""How long killed processes are waited for: one on a dead disk may not end, and is left to the fork
server."""

KEPT_BYTES = 64 << 10
"""Of the end of the output so much is kept, for its last lines."""

_LEFT_NOTE = b"\r\n[pymr: ended what the script had left running]\r\n"
_TICK_SECONDS = 0.1
_READ_BYTES = 64 << 10
_TYPED_BYTES = 4 << 10
_LAST_READS_MAX = 256  # the kernel holds far less than so many readings
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_C_LIBRARY = ctypes.CDLL(None)
_IS_LINUX = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class ScriptEnd:
    """How a script ended. status: of exit, negative for a signal. is_late: it had to be ended in the end.

    output: the last that it wrote, up to KEPT_BYTES.
    """

    status: int
    is_late: bool
    output: bytes


class NotStarted(Exception):  # noqa: N818  (what it is, not what went wrong with it)
    """A command cannot be started; the cause says why."""


def run_on_terminal(
    command: Sequence[str], environment: Mapping[str, str], folder: str, timeout_s: float | None
) -> ScriptEnd:
    """Run a command in a folder, in front of this process's terminal, until it and all it started has ended.

    timeout_s: from its start; None for as long as it takes. This process has no other children meanwhile.
    Raises NotStarted, whose cause is the OSError, or the ValueError for a NUL in an argument; OSError where
    this process has no terminal (any more), or there is none for the script.
    """
    with _adopting(), _terminal() as (master, terminal):
        process = _start(command, environment, folder, terminal)
        script = _Script(process, master)
        try:
            with _handing_on(master):
                is_late = script.wait(timeout_s)
                status = script.finish(is_late)
        finally:
            script.close()
        return ScriptEnd(status, is_late, bytes(script.output[-KEPT_BYTES:]))


def _start(
    command: Sequence[str], environment: Mapping[str, str], folder: str, terminal: int
) -> subprocess.Popen[bytes]:
    worker = os.getpid()

    def begin() -> None:
        """In the new process, a session of its own: nothing here may need a lock that a thread had."""
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        # The end of a session's first process would end a `tee` behind it before that has written all.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if _IS_LINUX:
            _C_LIBRARY.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
            if os.getppid() != worker:
                os._exit(1)

    try:
        return subprocess.Popen(
            command,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
            preexec_fn=begin,  # noqa: PLW1509  (the other thread of a worker only reports what the first does)
        )
    except (OSError, ValueError) as error:
        raise NotStarted(str(error)) from error


class _Script:
    """A running script, and the copying in both directions. output: at least the last KEPT_BYTES of it."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.output = bytearray()
        self._process = process
        self._master = master
        self._typed = b""
        self._is_typing = True
        self._end = -1
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._end = os.pidfd_open(process.pid)

    def close(self) -> None:
        """Also where something failed on the way: nothing of it is left."""
        self._close_end()
        _end_all(time.monotonic() + END_SECONDS_MAX)

    def wait(self, timeout_s: float | None) -> bool:
        """Copy until the script has ended. Whether it took too long, and had to be asked to."""
        late_at = time.monotonic() + timeout_s if timeout_s is not None else None
        kill_at: float | None = None
        while not self._has_ended():
            now = time.monotonic()
            if kill_at is not None and now >= kill_at:
                end_tree(self._process.pid)
                if now >= kill_at + END_SECONDS_MAX:
                    break
            elif kill_at is None and late_at is not None and now >= late_at:
                _ask_to_end()
                kill_at = now + TERM_GRACE_SECONDS
            self._copy(_TICK_SECONDS)
        return kill_at is not None

    def finish(self, is_late: bool) -> int:
        """End what it has left, and take the last of its output. The status of the script."""
        if not _IS_LINUX:  # what it has left is no child of this process
            end_group(self._process.pid)
        self._close_end()
        status = self._process.poll()
        deadline = time.monotonic() + (0 if is_late else LEFT_GRACE_SECONDS)
        while _reap() and time.monotonic() < deadline:
            self._copy(_TICK_SECONDS / 10)
        was_left = _end_all(time.monotonic() + END_SECONDS_MAX)
        for _ in range(_LAST_READS_MAX):
            if not self._read_output():
                break
        if was_left and not is_late:
            os.write(1, _LEFT_NOTE)
        return -signal.SIGKILL if status is None else status

    def _close_end(self) -> None:
        if self._end >= 0:
            os.close(self._end)
            self._end = -1

    def _has_ended(self) -> bool:
        """Whether the script waits to be reaped; its orphans that do are reaped."""
        while True:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid == self._process.pid:
                return ended is not None
            os.waitpid(ended.si_pid, 0)

    def _copy(self, timeout_s: float) -> None:
        """Wait for what there is to copy, and copy it. What is typed waits until the script takes it."""
        poll = select.poll()
        poll.register(self._master, select.POLLIN | (select.POLLOUT if self._typed else 0))
        if self._end >= 0:
            poll.register(self._end, select.POLLIN)
        if self._is_typing and not self._typed:
            poll.register(0, select.POLLIN)
        ready = dict(poll.poll(timeout_s * 1_000))
        if 0 in ready:
            self._typed = os.read(0, _TYPED_BYTES)
            self._is_typing = bool(self._typed)
        if self._typed:
            with contextlib.suppress(BlockingIOError):
                self._typed = self._typed[os.write(self._master, self._typed) :]
        if ready.get(self._master, 0) & select.POLLIN:
            self._read_output()

    def _read_output(self) -> bool:
        """Take some output on. Whether there was any."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            while len(data) < _READ_BYTES:  # it gives 4 KiB at once
                data += os.read(self._master, _READ_BYTES)
        self.output += data
        if len(self.output) > 2 * KEPT_BYTES:
            del self.output[:-KEPT_BYTES]
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(1, rest) :]
        return bool(data)


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """Be the parent of whatever is left below this process, meanwhile: what hides ends with the rest."""
    if not _IS_LINUX:
        yield
        return
    _C_LIBRARY.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)
    try:
        yield
    finally:
        _C_LIBRARY.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(0), 0, 0, 0)


@contextlib.contextmanager
def _terminal() -> Iterator[tuple[int, int]]:
    """A terminal: its master, and itself, which stays open so that the master always can be read."""
    master, terminal = os.openpty()
    try:
        os.set_blocking(master, False)
        attributes = termios.tcgetattr(terminal)
        attributes[0] &= ~(termios.IXON | termios.IXOFF)  # no Ctrl-S, which would hold up the script unseen
        attributes[0] |= getattr(termios, "IUTF8", 0o40000 if _IS_LINUX else 0)
        termios.tcsetattr(terminal, termios.TCSANOW, attributes)
        _hand_on_size(master)  # before the script can look
        yield master, terminal
    finally:
        os.close(master)
        os.close(terminal)


@contextlib.contextmanager
def _handing_on(master: int) -> Iterator[None]:
    """Let this process's terminal change nothing on the way, and hand on its size whenever that changes."""
    before = termios.tcgetattr(0)
    handler = signal.signal(signal.SIGWINCH, lambda *_: _hand_on_size(master))
    try:
        tty.setraw(0, termios.TCSANOW)
        _hand_on_size(master)
        yield
    finally:
        signal.signal(signal.SIGWINCH, handler)
        termios.tcsetattr(0, termios.TCSANOW, before)


def _hand_on_size(master: int) -> None:
    """Give a terminal the size of this process's."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))


def _ask_to_end() -> None:
    """SIGTERM to all below this process. One that is stopped goes on, so that it can follow."""
    for pid in (process for child in children_of(os.getpid()) for process in tree_of(child)):
        for number in (signal.SIGTERM, signal.SIGCONT):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def _reap() -> bool:
    """Reap those children that have ended. Whether there are others."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _end_all(deadline: float) -> bool:
    """Kill all below this process, over and over until nothing is left: what is killed leaves orphans.
    Whether there was anything."""
    pause_s, was_left = 0.002, False
    while _reap() and time.monotonic() < deadline:
        was_left = True
        for pid in children_of(os.getpid()):
            end_tree(pid)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.1)
    return was_left

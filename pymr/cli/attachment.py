"""A terminal attached to a worker: keys go to it, what it puts out is shown. Used by `pymr attach`."""

from __future__ import annotations

import fcntl
import getpass
import os
import select
import signal
import struct
import sys
import termios
import time
import tty
from contextlib import suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from pymr.client.errors import RefusedError
from pymr.wire.requests import ATTACH_SECONDS, TYPED_BYTES_MAX

if TYPE_CHECKING:
    from pymr.client import Client

RENEW_SECONDS = ATTACH_SECONDS * 0.3
SHOWN_FIRST_BYTES = 4 << 10
"""So much of what the worker put out before is shown at first."""

_POLL_SECONDS = 0.05
_PIECES_AT_ONCE = 4
_TYPED_BYTES = 4 << 10
_PREFIX, _DETACH, _LITERAL = b"\x01", b"d", b"a"  # Ctrl-a d, Ctrl-a a


class Keys:
    """Sorts what is typed: bytes for the worker, and Ctrl-a with what follows it for pymr."""

    def __init__(self) -> None:
        self._has_prefix = False
        self.is_detached = False

    def take(self, typed: bytes) -> bytes:
        """What of it the worker gets. Ctrl-a d sets `is_detached`; Ctrl-a a is a Ctrl-a for the worker."""
        passed = bytearray()
        for position in range(len(typed)):
            key = typed[position : position + 1]
            if not self._has_prefix:
                self._has_prefix = key == _PREFIX
                passed += b"" if self._has_prefix else key
                continue
            self._has_prefix = False
            if key == _DETACH:
                self.is_detached = True
                break
            passed += _PREFIX if key == _LITERAL else _PREFIX + key
        return bytes(passed)


class Attachment:
    """A context in which the terminal of this process is that of a worker; it is as it was before at the end.

    Raises RefusedError where another holds the worker's keyboard.
    """

    def __init__(self, client: Client, worker: str, run_id: str) -> None:
        self._client = client
        self._worker = worker
        self._run_id = run_id
        self._holder = f"{_user()}@{os.uname().nodename}:{os.getpid()}"
        self._keys = Keys()
        self._offset = -SHOWN_FIRST_BYTES
        self._terminal: list[Any] = []
        self._previous: Any = None
        self._wants_size = True
        self._renewed_at = 0.0
        self._waiting = bytearray()  # typed, and not taken by the worker yet
        self._left_out = 0  # bytes of which there were too many

    def __enter__(self) -> Attachment:
        self._renew()
        self._previous = signal.signal(signal.SIGWINCH, self._resized)
        self._terminal = termios.tcgetattr(sys.stdin)
        tty.setraw(sys.stdin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, self._terminal)
        signal.signal(signal.SIGWINCH, self._previous)
        with suppress(Exception):  # it is released anyway after ATTACH_SECONDS
            self._client.detach(self._worker, self._holder)

    def run(self) -> str:
        """Pass keys and output on until one side ends it; how it ended, in words."""
        while not self._keys.is_detached:
            if self._wants_size or time.monotonic() - self._renewed_at >= RENEW_SECONDS:
                self._renew()
                if self._client.worker(self._worker).run_id != self._run_id:
                    self._show_new()
                    return "its process has ended"
            self._show_new()
            self._send()
            readable, _, _ = select.select([sys.stdin], [], [], _POLL_SECONDS)
            if not readable:
                continue
            typed = os.read(sys.stdin.fileno(), _TYPED_BYTES)
            if not typed:
                return "the terminal has been closed"
            self._type(self._keys.take(typed))
        lost = len(self._waiting) + self._left_out
        return f"detached; {lost:,} bytes that were typed were not read" if lost else "detached"

    def _type(self, passed: bytes) -> None:
        if len(self._waiting) + len(passed) > TYPED_BYTES_MAX:
            self._left_out += len(passed)
            sys.stdout.buffer.write(b"\a")  # as a terminal that takes no more
        else:
            self._waiting += passed
            self._send()

    def _send(self) -> None:
        """Type what waits; what the worker does not take is tried again with the next look at its output."""
        while self._waiting:
            piece = bytes(self._waiting[:_TYPED_BYTES])
            try:
                self._client.type_into(self._worker, self._holder, piece)
            except RefusedError as error:
                if error.code != "unavailable":
                    raise
                return
            del self._waiting[: len(piece)]

    def _show_new(self) -> None:
        """Show what has come; of a worker that never pauses a part, so that keys are still looked at."""
        for _ in range(_PIECES_AT_ONCE):
            piece = self._client.read_pane(self._worker, self._run_id, self._offset)
            self._offset = piece.next
            sys.stdout.buffer.write(piece.data)
            sys.stdout.buffer.flush()
            if not piece.data:
                return

    def _renew(self) -> None:
        columns, rows = _terminal_size() if self._wants_size else (0, 0)
        self._wants_size = False
        self._client.attach(self._worker, self._holder, columns, rows)
        self._renewed_at = time.monotonic()

    def _resized(self, _number: int, _frame: FrameType | None) -> None:
        self._wants_size = True


def _terminal_size() -> tuple[int, int]:
    rows, columns, _, _ = struct.unpack(
        "HHHH", fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, bytes(8))
    )
    return columns, rows


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user id without a name, as containers have them
        return f"uid{os.getuid()}"

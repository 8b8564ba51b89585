"""A worker process as the daemon holds it: its pipe, its terminal and its pane. Nothing here blocks or raises
for what the process does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from typing import Protocol, cast

from pymr.peer.attempts.worker_protocol import (
    FROM_WORKER,
    READ_BYTES_MAX,
    BadMessage,
    DriverOrder,
    FromWorker,
    MessageReader,
    ReduceOrder,
    TaskOrder,
)
from pymr.wire.outcomes import EnginePhase
from pymr.wire.protocol import WorkerState
from pymr.wire.requests import TYPED_BYTES_MAX

LAST_OUTPUT_BYTES_MAX = 256 << 10
"""Most that is still read of a worker's terminal when it or its task ends; the kernel holds no more than
this."""

Watch = Callable[[int, Callable[[], None]], None]


class OutputSink(Protocol):
    """Where what a worker prints goes: a pane, or what a preview keeps of it."""

    @property
    def end(self) -> int:
        """How much there was."""

    @property
    def is_full(self) -> bool:
        """Whether the process should wait, as what it prints is not taken at the moment."""

    def append(self, data: bytes) -> None: ...
    def close(self) -> None: ...


class WorkerLink:
    """One worker process. pid: 0 until it is started. on_message: called with what it says.

    on_closed: called once when nothing can come any more: None where the pipe has closed, otherwise what came
    over it and is no message.
    """

    def __init__(
        self,
        worker_id: int,
        slot: int,
        run_id: str,
        pane: OutputSink,
        on_message: Callable[[WorkerLink, FromWorker], None],
        on_closed: Callable[[WorkerLink, str | None], None],
    ) -> None:
        self.id = worker_id
        self.slot = slot
        self.run_id = run_id
        self.pid = 0
        self.order: TaskOrder | None = None
        self.is_ready = False
        self.is_paused = False
        self.done = (0, 0)
        self.phase: EnginePhase | None = None
        self.moved_at = 0.0
        self.pipe_closed_at: float | None = None
        self._pane = pane
        self._on_message = on_message
        self._on_closed = on_closed
        self._pipe: int | None = None
        self._terminal: int | None = None
        self._is_watching_terminal = False
        self._size: tuple[int, int] | None = None
        self._reader: MessageReader[FromWorker] = MessageReader(FROM_WORKER)
        self._unsent = bytearray()
        self._untyped = bytearray()
        self._unwatch: Callable[[int], None] = lambda _: None
        self._watch: Watch = lambda *_: None

    @property
    def state(self) -> WorkerState:
        """A reduce task sorts until its first group is complete; a step is in the state of its name, a driver
        in that of its engine."""
        if self.is_paused:
            return "breakpoint"
        if not self.is_ready:
            return "starting"
        if self.order is None:
            return "idle"
        if isinstance(self.order, DriverOrder):
            return self.phase.name if self.phase is not None else "starting"
        if not isinstance(self.order, ReduceOrder):
            return cast(WorkerState, self.order.id.kind)  # whose name is that of the state
        return "reduce" if self.done[0] else "sort"

    def open(self, pid: int, terminal: int, pipe: int, watch: Watch, unwatch: Callable[[int], None]) -> None:
        """The process runs; the descriptors are now this object's."""
        self.pid, self._terminal, self._pipe = pid, terminal, pipe
        self._watch, self._unwatch = watch, unwatch
        os.set_blocking(pipe, False)
        os.set_blocking(terminal, False)
        watch(pipe, self._on_pipe)
        watch(terminal, self._on_terminal)
        self._is_watching_terminal = True
        if self._size is not None:
            self.resize(*self._size)
        self.flush()

    def send(self, data: bytes) -> None:
        """Framed messages, at once or when the pipe takes them. No more than two are ever under way."""
        self._unsent += data
        self.flush()

    def type(self, data: bytes) -> bool:
        """Bytes for its terminal. False where it has taken too few of those before, and these are dropped."""
        if len(self._untyped) + len(data) > TYPED_BYTES_MAX:
            return False
        self._untyped += data
        self.flush()
        return True

    def resize(self, columns: int, rows: int) -> None:
        """The size of its terminal."""
        self._size = columns, rows
        if self._terminal is not None:
            with contextlib.suppress(OSError, struct.error):
                fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def flush(self) -> None:
        """Write what could not be written at once; to be called now and then."""
        self._write(self._pipe, self._unsent)
        self._write(self._terminal, self._untyped)
        if self._terminal is not None and not self._is_watching_terminal:
            self._on_terminal()  # its pane was full; or its files closed, and it may open its terminal anew

    def note(self, text: str) -> None:
        """A line of pymr's own in the pane."""
        self._pane.append(f"\r\n[pymr: {text}]\r\n".encode("utf-8", "replace"))

    @property
    def pane_end(self) -> int:
        """How long its pane is, also when it was let go of."""
        return self._pane.end

    def drain(self) -> None:
        """Take to the pane what the process has written so far."""
        read = 0
        while read < LAST_OUTPUT_BYTES_MAX and (size := self._read_terminal()):
            read += size

    def read_last_messages(self) -> None:
        """Take what the process said before it ended."""
        while self._pipe is not None and self._read_pipe():
            pass

    def close(self, last_words: str | None = None) -> None:
        """Let go of it, after the last of its output. last_words: what its pane says of its end."""
        self.drain()
        if last_words is not None:
            self.note(last_words)
        self._close_pipe()
        self._stop_watching_terminal()
        if self._terminal is not None:
            os.close(self._terminal)
            self._terminal = None
        self._pane.close()

    def _on_pipe(self) -> None:
        if self._pipe is not None:  # a ready event from before it was closed
            self._read_pipe()

    def _read_pipe(self) -> bool:
        """Whether there was something, and may be more."""
        assert self._pipe is not None
        try:
            data = os.read(self._pipe, READ_BYTES_MAX)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._close_pipe()
            self._on_closed(self, None)
            return False
        try:
            messages = self._reader.feed(data)
        except BadMessage as error:
            self._close_pipe()
            self._on_closed(self, str(error))
            return False
        for message in messages:
            self._on_message(self, message)
        return True

    def _on_terminal(self) -> None:
        if self._pane.is_full:
            self._stop_watching_terminal()  # `flush` looks again: the process waits meanwhile, and not we
            return
        size = self._read_terminal()
        if size is None:
            self._stop_watching_terminal()
        elif size and not self._is_watching_terminal and self._terminal is not None:
            self._watch(self._terminal, self._on_terminal)
            self._is_watching_terminal = True

    def _read_terminal(self) -> int | None:
        """Take some output to the pane. Returns how much; None when no process has the terminal open."""
        pieces: list[bytes] = []
        size: int | None = 0
        while self._terminal is not None and sum(map(len, pieces)) < READ_BYTES_MAX:  # it gives 4 KiB at once
            try:
                piece = os.read(self._terminal, READ_BYTES_MAX)
            except BlockingIOError:
                break
            except OSError:
                size = None
                break
            if not piece:
                size = None
                break
            pieces.append(piece)
        if pieces:
            data = b"".join(pieces)
            self._pane.append(data)
            size = len(data)
        return size

    def _write(self, descriptor: int | None, unsent: bytearray) -> None:
        if descriptor is None or not unsent:
            return
        try:
            del unsent[: os.write(descriptor, unsent)]
        except BlockingIOError:
            return
        except OSError:  # it has gone, which reading tells
            unsent.clear()

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            self._unwatch(self._pipe)
            os.close(self._pipe)
            self._pipe = None

    def _stop_watching_terminal(self) -> None:
        if self._is_watching_terminal and self._terminal is not None:
            self._unwatch(self._terminal)
        self._is_watching_terminal = False

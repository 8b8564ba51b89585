"""Standard streams: what a command prints is there as a whole, or the command fails and says how much is."""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import sys
from contextlib import suppress
from typing import TextIO

_NAMES = ("stdout", "stderr")


class CheckedFile(io.RawIOBase):
    """Writes to a file descriptor until that fails, and remembers why; what comes after that is discarded.

    A reader that has gone (EPIPE) is not a failure: nobody needs the rest. Writing never raises, so that no
    library has to cope with it; a caller that writes much checks `is_in_use` in between.

    written: the bytes that the system has taken. error: why it took no more; None where it took all.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.written = 0
        self.error: OSError | None = None
        self.is_in_use = True

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        if not self.is_in_use:
            return len(view)
        try:
            count = _write(self._descriptor, view)
        except OSError as error:
            self.is_in_use = False
            if error.errno != errno.EPIPE:
                self.error = error
            return len(view)
        self.written += count
        return count

    def finish(self) -> None:
        """Learn of what the system only tells when a file is closed, as a network file system does."""
        if not self.is_in_use:
            return
        try:
            os.close(os.dup(self._descriptor))
        except OSError as error:
            self.is_in_use, self.error = False, error

    def problem(self, name: str) -> str:
        """What to tell of the error, in words. name: of the stream."""
        assert self.error is not None
        return (
            f"{_path_of(self._descriptor) or name} could not be written to: {self.error.strerror}; "
            f"only the first {self.written:,} bytes of the output are there"
        )


def is_one_place() -> bool:
    """Whether stdout and stderr go to the same terminal or file, so that who reads one of them sees both."""
    try:
        return os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())
    except (OSError, ValueError):  # closed, or none of the system's
        return False


def check_streams() -> None:
    """Have stdout and stderr written through a CheckedFile each, and no character that cannot be written.

    One that is closed is replaced by one that discards everything.
    """
    for name in _NAMES:
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
            continue
        try:
            descriptor = stream.fileno()
        except (OSError, AttributeError):  # it is not a file of the system
            continue
        stream.flush()
        is_terminal = os.isatty(descriptor)
        checked = io.TextIOWrapper(
            io.BufferedWriter(CheckedFile(descriptor)),
            encoding=stream.encoding,
            errors="backslashreplace",
            line_buffering=is_terminal or name == "stderr",
        )
        setattr(sys, name, checked)


def finish_streams(program: str, status: int) -> int:
    """Write what is left. Returns the exit status: `status`, or 1 in place of 0 where some output is missing,
    of which stderr is told."""
    for name in _NAMES:
        stream = getattr(sys, name)
        put("", stream)
        file = checked_file(stream)
        if file is not None:
            file.finish()
        if file is not None and file.error is not None:
            status = status or 1
            put(f"{program}: {file.problem(f'the {name}')}\n", sys.stderr)
    return status


def checked_file(stream: TextIO) -> CheckedFile | None:
    """What is below a stream; None where it is not a checked one."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, CheckedFile) else None


def put(data: bytes | str, stream: TextIO | None = None, *, flush: bool = True) -> bool:
    """Write to a stream (stdout). Returns whether there is any use in writing more: False where nobody reads
    any more, or nothing more can be written."""
    stream = stream or sys.stdout
    try:
        if isinstance(data, str):
            stream.write(data)
        else:
            stream.buffer.write(data)
        if flush:
            stream.flush()
    except OSError:  # not a checked one: its owner sees to it
        return False
    file = checked_file(stream)
    return file is None or file.is_in_use


def _write(descriptor: int, view: memoryview) -> int:
    """As os.write; waits where somebody has set the descriptor, which may be shared, not to block."""
    while True:
        try:
            return os.write(descriptor, view)
        except BlockingIOError:
            select.select((), (descriptor,), ())


def _path_of(descriptor: int) -> str:
    """The file or device that a descriptor is, where the system tells; "" else, and for pipes."""
    with suppress(OSError):
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode) or stat.S_ISCHR(mode):
            return os.readlink(f"/proc/self/fd/{descriptor}")
    return ""

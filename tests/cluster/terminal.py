"""A pseudo-terminal of 80 x 24 with a run in it, as a person at a keyboard has one."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from .running import DEADLINE_S, Place, kill_session, plain

COLUMNS, LINES = 80, 24


class Terminal:
    """A context in which a command runs on a terminal of its own; what it shows is in `shown`."""

    def __init__(
        self,
        place: Place,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        columns: int = COLUMNS,
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
        self._columns = columns
        environment = place.environment({"TERM": "xterm-256color"} | dict(env or {}))
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            command,
            cwd=place.folder,
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - no threads here
        )
        os.close(slave)
        self.raw = b""
        self._is_open = True

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            kill_session(self.process)
            self.process.wait()
        self.hang_up()

    @property
    def shown(self) -> str:
        """All that was written to the terminal so far, without control sequences."""
        return plain(self.raw.decode("utf-8", "replace"))

    @property
    def screen(self) -> list[str]:
        """The lines as they stand now, those included that have scrolled away."""
        return screen_of(self.raw.decode("utf-8", "replace"), self._columns)

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def interrupt(self) -> None:
        """Ctrl-C: the terminal sends SIGINT to its foreground process group."""
        self.press("\x03")

    def hang_up(self) -> None:
        """Close the window."""
        if self._is_open:
            os.close(self._master)
            self._is_open = False

    def wait_for(self, pattern: str, timeout_s: float = DEADLINE_S) -> None:
        """Read until something that the regular expression matches has been shown."""
        deadline = time.monotonic() + timeout_s
        while not re.search(pattern, self.shown):
            left = deadline - time.monotonic()
            assert left > 0 and self._read(left), (
                f"{pattern!r} was not shown within {timeout_s} s:\n{self.shown}"
            )

    def finish(self, timeout_s: float = DEADLINE_S) -> int:
        """Read to the end; the exit status."""
        deadline = time.monotonic() + timeout_s
        while self._read(max(0.0, deadline - time.monotonic())):
            assert time.monotonic() < deadline, f"the run did not end within {timeout_s} s:\n{self.shown}"
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, timeout_s: float) -> bool:
        """Take what comes within the time; False at the end, or when nothing came."""
        ready, _, _ = select.select([self._master], [], [], timeout_s)
        if not ready:
            return False
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # how Linux tells that nobody has the other side open any more
            return False
        self.raw += data
        return bool(data)


def screen_of(sent: str, columns: int) -> list[str]:
    """What stands on a terminal after these characters: as much of its language as a live display uses."""
    lines = [""]
    row = column = 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\s\S]", sent):
        if token == "\n":
            row += 1
        elif token == "\r":
            column = 0
        elif token.startswith("\x1b["):
            number = int(token[2:-1]) if token[2:-1].isdigit() else 1
            if token[-1] == "A":
                row = max(0, row - number)
            elif token[-1] == "K" and token[2:-1] == "2":
                lines[row] = ""
        else:
            if column == columns:
                row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
            lines[row] = lines[row].ljust(column)[:column] + token + lines[row][column + 1 :]
            column += 1
        lines += [""] * (row + 1 - len(lines))
    return [line.rstrip() for line in lines]


def _take_terminal() -> None:
    """In the child before it becomes pymr: its stdin becomes its controlling terminal, for Ctrl-C."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)

"""A window of a real tmux with a shell in it: what is typed into it, and what it then shows."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

PYMR_TUI = Path(sys.executable).with_name("pymr-tui")
DEADLINE_S = 60.0
"""For everything that is waited for: the machine may be busy."""

_PAUSE_S = 0.03
_TERM = "screen-256color"
PROMPT = "shell>"


class Window:
    """env: of the shell, which stands in `folder`. term: what tmux says to be."""

    def __init__(
        self, folder: Path, env: Mapping[str, str], columns: int, rows: int, term: str = _TERM
    ) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="pymr-tmux-"))  # short, as the paths of sockets have to be
        self._name = uuid.uuid4().hex[:8]
        self._env = {
            **{name: value for name, value in env.items() if name not in ("TMUX", "COLUMNS", "LINES")},
            "TMUX_TMPDIR": str(self._home), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8",
            "CONSOLE": str(PYMR_TUI),
        }  # fmt: skip
        (self._home / "tmux.conf").write_text(f"set -g default-terminal {term}\n")
        self._tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", str(folder), "sh")
        self._server = psutil.Process(int(self._asked("#{pid}")))

    def await_shell(self) -> None:
        """Until it takes commands."""
        name, rest = PROMPT[:2], PROMPT[2:]
        self.type(f"PS1='{name}''{rest} '; clear")
        self.press("Enter")
        self.until_shown(PROMPT)

    def close(self) -> list[psutil.Process]:
        """End the tmux with all that is in it; the processes that did not end with it."""
        started = [self._server, *self._server.children(recursive=True)]
        self._tmux("kill-server")
        _, left = psutil.wait_procs(started, DEADLINE_S)
        for process in left:
            process.kill()
        shutil.rmtree(self._home)
        return left

    # ---- typing

    def type(self, text: str) -> None:
        """Text as it stands, without an end of the line."""
        self._tmux("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """Keys by tmux's names, such as `Enter` and `C-c`."""
        self._tmux("send-keys", *keys)

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def open_console(self, *arguments: str) -> None:
        """`pymr-tui`, then its exit status as `left with 0`, and whether the terminal is as it was."""
        command = " ".join(['"$CONSOLE"', *arguments])
        self.type(f'T=$(stty -g); {command}; echo "left with $?"; [ "$T" = "$(stty -g)" ] && echo "same tty"')
        self.press("Enter")

    # ---- looking

    @property
    def text(self) -> str:
        """What it shows, as lines."""
        return self._tmux("capture-pane", "-p")

    @property
    def drawn(self) -> list[str]:
        """The lines with the control sequences of their styles."""
        return self._tmux("capture-pane", "-p", "-e").split("\n")

    @property
    def modes(self) -> str:
        """What a program has switched: `cursor alternate mouse`, 0 or 1 each; a shell has `1 0 0`."""
        return self._asked("#{cursor_flag} #{alternate_on} #{mouse_any_flag}")

    def until(self, condition: Callable[[str], object], what: str, timeout_s: float = DEADLINE_S) -> str:
        """The text for which the condition holds. Fails with it at the deadline."""
        deadline = time.monotonic() + timeout_s
        while not condition(text := self.text):
            assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for {what}; the window:\n{text}"
            time.sleep(_PAUSE_S)
        return text

    def until_shown(self, *words: str) -> str:
        return self.until(lambda text: all(word in text for word in words), " and ".join(words))

    # ---- tmux

    def _asked(self, format: str) -> str:
        return self._tmux("display-message", "-p", format).strip()

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-u", "-L", self._name, "-f", str(self._home / "tmux.conf"), *arguments]
        done = subprocess.run(
            command, env=self._env, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
        assert done.returncode == 0, f"tmux {' '.join(arguments)}: {done.stderr}"
        return done.stdout


@contextmanager
def window(
    folder: Path, env: Mapping[str, str], columns: int = 80, rows: int = 24, term: str = _TERM
) -> Iterator[Window]:
    """A window for a test. No process of it may be left, however the test ends."""
    opened = Window(folder, env, columns, rows, term)
    left: list[psutil.Process] = []
    try:
        opened.await_shell()
        yield opened
    finally:
        left = opened.close()

    assert left == []

"""A real `pymr-tui --serve` for tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from cluster.ports import free_port

PYMR_TUI = Path(sys.executable).with_name("pymr-tui")
END_S = 20.0


class Serving:
    """A server, as soon as it has told its address."""

    def __init__(self, arguments: Sequence[str], environment: dict[str, str], port: int) -> None:
        self.port = port
        self.process = subprocess.Popen(
            [str(PYMR_TUI), *arguments, "--serve", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        found = re.search(r"http://\S+", self.line)
        self.url = found[0] if found else ""
        self.token = self.url.partition("token=")[2]
        self.root = f"http://127.0.0.1:{port}"

    def consoles(self) -> list[psutil.Process]:
        """The processes of its pages."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number: int = signal.SIGINT) -> str:
        """End it as Ctrl-C does; what else it has said."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.communicate(timeout=END_S)[0]


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[Serving]:
    """A server of the console on a port of its own. Whatever it leaves behind makes the test fail."""
    server = Serving(arguments, environment, free_port())
    consoles: list[psutil.Process] = []
    try:
        yield server
        consoles = server.consoles() if server.process.poll() is None else []
    finally:
        with suppress(subprocess.TimeoutExpired):
            server.end()
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()
    _, left = psutil.wait_procs(consoles, END_S)
    for process in left:
        process.kill()

    assert left == []

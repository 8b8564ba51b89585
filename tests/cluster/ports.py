"""Ports for what listens in a test, none of which another test of this machine has at the same time: a block
for each cluster, and single ones. No test asks the system for a free port and lets go of it again: the system
gives the same one to whoever asks next."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

BLOCK = 50
_FIRST, _LAST = 10_000, 32_000
"""Below the ports that Linux gives to outgoing connections: none takes that of a peer that is down."""


class PortBlock:
    """A block of ports of this test's own until `close`: a socket bound to its first one keeps others out."""

    def __init__(self) -> None:
        starts = range(_FIRST, _LAST, BLOCK)
        begin = os.getpid() % len(starts)
        for start in [*starts[begin:], *starts[:begin]]:
            guard = socket.socket()
            with suppress(OSError):
                guard.bind(("127.0.0.1", start))
                if all(is_free(port) for port in range(start + 1, start + BLOCK)):
                    self._guard, self._next, self._end = guard, start + 1, start + BLOCK
                    return
            guard.close()
        raise RuntimeError(f"no block of {BLOCK} free ports between {_FIRST} and {_LAST}")

    def take(self) -> int:
        """The next port."""
        assert self.is_left, "a test takes more ports than a block has"
        self._next += 1
        return self._next - 1

    @property
    def is_left(self) -> bool:
        """Whether there is another one."""
        return self._next < self._end

    def close(self) -> None:
        self._guard.close()


_blocks: list[PortBlock] = []  # of this process, kept to its end


def free_port() -> int:
    """A port at which nothing listens, on any address of this machine, and that nobody else is given while
    this process lives."""
    if not _blocks or not _blocks[-1].is_left:
        _blocks.append(PortBlock())
    return _blocks[-1].take()


def is_free(port: int, host: str = "0.0.0.0") -> bool:
    """Whether a daemon could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the sockets of peers have it
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True

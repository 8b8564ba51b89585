"""Processes below a process: who they are, whose they were, and how to end them all. Used by the fork
server."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass

OWNER_VARIABLE = "PYMR_WORKER_PROCESS"
"""In the environment of a worker, and so of what it starts: tells whose an orphan is."""

_HAS_CHILDREN_FILES = os.path.exists("/proc/thread-self/children")


@dataclass(frozen=True, slots=True)
class OwnerMark:
    """What shows that a process comes from a worker: its own name, which a fork keeps, or after an exec its
    environment. Only children of the fork server are looked at, so the name need not be unique on the
    machine."""

    fork_server: int
    worker_id: int

    @property
    def process_name(self) -> str:
        """At most 15 characters, which is what the kernel keeps."""
        return f"pymr-{self.worker_id}"[:15]

    @property
    def value(self) -> str:
        """Of OWNER_VARIABLE."""
        return f"{self.fork_server}.{self.worker_id}"

    def is_on(self, pid: int) -> bool:
        """Whether a process has it."""
        with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", "rb") as file:
            if file.read().strip() == self.process_name.encode():
                return True
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            return f"{OWNER_VARIABLE}={self.value}".encode() in file.read().split(b"\0")
        return False


def children_of(pid: int) -> list[int]:
    """The children of a process, also those that have ended and wait to be reaped; none where it is gone."""
    if not _HAS_CHILDREN_FILES:
        return _children_by_search(pid)
    children: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                children += map(int, file.read().split())
    return children


def tree_of(root: int) -> list[int]:
    """A process and all that is below it now, from the top down."""
    found = [root]
    for pid in found:
        found += children_of(pid)
    return found


def end_tree(root: int) -> None:
    """Kill a child of this process, which has not reaped it yet, and all below it.

    They are stopped from the top down first: a process with a signal pending completes no fork, so that what
    is listed as its children then is all of them, and a stopped parent reaps none whose id could then become
    another's.
    """
    stopped: list[int] = []
    found = [root]
    while found:
        pid = found.pop()
        _send(pid, signal.SIGSTOP)
        stopped.append(pid)
        found += children_of(pid)
    for pid in stopped:
        _send(pid, signal.SIGKILL)
    end_group(root)


def end_group(root: int) -> None:
    """Kill the process group that a child leads or led, which has not been reaped yet."""
    with contextlib.suppress(OSError):
        if os.getpgid(root) == root:
            os.killpg(root, signal.SIGKILL)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _children_by_search(pid: int) -> list[int]:
    import psutil  # imported here: Linux has the files

    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []

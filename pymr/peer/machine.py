"""The machine's figures, for operators: how busy it is, and what of it is left."""

from __future__ import annotations

import logging
import os
import time

import psutil

from pymr.peer.loop.disk_threads import Disk
from pymr.wire.protocol import MachineFigures

DISK_FREE_BYTES_MIN = 256 << 10
"""A disk with less space left than this counts as full: hardly a task could write its output."""

_log = logging.getLogger("pymr")


class Machine:
    """Measures now and then. The rates are those since the measurement before."""

    def __init__(self, data_dir: str) -> None:
        self._data_dir = data_dir
        self._network = _network()
        self._measured_at = time.monotonic()
        psutil.cpu_percent()  # the first call only begins to count

    def measure(self) -> MachineFigures:
        """How the machine stands. Costs about a millisecond."""
        now, network = time.monotonic(), _network()
        seconds = max(now - self._measured_at, 0.001)
        received, sent = (
            (new - old) / seconds for new, old in zip(network, self._network, strict=True)
        )  # fmt: skip
        self._network, self._measured_at = network, now
        memory = psutil.virtual_memory()
        disk = os.statvfs(self._data_dir)
        return MachineFigures(
            cpu_percent=psutil.cpu_percent(),
            memory_bytes=memory.total,
            memory_used_bytes=memory.total - memory.available,
            disk_bytes=disk.f_blocks * disk.f_frsize,
            disk_free_bytes=disk.f_bavail * disk.f_frsize,
            network_received_per_second=received,
            network_sent_per_second=sent,
            load=os.getloadavg()[0],
            disk_problem=disk_problem(self._data_dir, disk),
        )


class Measurements:
    """Measures when it is told to, beside the loop. figures: the latest."""

    def __init__(self, data_dir: str, disk: Disk) -> None:
        self._machine = Machine(data_dir)
        self._disk = disk
        self._is_measuring = False
        self.figures = self._machine.measure()

    def measure(self) -> None:
        """Unless the last time is still under way: a file system that hangs holds this up, too."""
        if not self._is_measuring:
            self._is_measuring = True
            self._disk.do("short", self._machine.measure, self._take, self._fail)

    def _take(self, figures: MachineFigures) -> None:
        self.figures, self._is_measuring = figures, False

    def _fail(self, error: Exception) -> None:
        self._is_measuring = False
        _log.warning("the machine cannot be measured: %s", error)


def disk_problem(path: str, disk: os.statvfs_result) -> str:
    """Why nothing can be written to a folder, as far as its file system tells; "" where it can. A quota that
    is used up is not seen here."""
    if disk.f_flag & os.ST_RDONLY:
        return f"read-only disk: {path}"
    free_bytes = disk.f_bavail * disk.f_frsize
    if disk.f_blocks and free_bytes < DISK_FREE_BYTES_MIN:
        return f"disk full: {path} has {free_bytes:,} bytes free"
    if disk.f_files and not disk.f_favail:
        return f"disk full: {path} has no room for one more file (no free inodes)"
    return ""


def _network() -> tuple[int, int]:
    counters = psutil.net_io_counters()
    return (counters.bytes_recv, counters.bytes_sent) if counters else (0, 0)

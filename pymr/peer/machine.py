"""The machine's figures, for operators: how busy it is, and what of it is left."""

from __future__ import annotations

import os
import time

import psutil

from pymr.protocol import MachineFigures


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
        disk = psutil.disk_usage(self._data_dir)
        return MachineFigures(
            cpu_percent=psutil.cpu_percent(),
            memory_bytes=memory.total,
            memory_used_bytes=memory.total - memory.available,
            disk_bytes=disk.total,
            disk_free_bytes=disk.free,
            network_received_per_second=received,
            network_sent_per_second=sent,
            load=os.getloadavg()[0],
        )


def _network() -> tuple[int, int]:
    counters = psutil.net_io_counters()
    return (counters.bytes_recv, counters.bytes_sent) if counters else (0, 0)

"""Run one command from start to finish and tell what it cost; tell whether two outputs are the same."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil
import xxhash

# The kernel's own figure covers every process that was waited for; samples only add those that were not.
SAMPLE_INTERVAL_S = 0.5
# ru_maxrss is in KiB, on macOS in bytes.
MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024
# Of the wall time; and in seconds, below which the kernel's ticks cannot tell.
DISTURBANCE_SHARE, DISTURBANCE_S = 0.1, 0.1
DIGEST_BITS = 128
# Of psutil.cpu_times, where the system has them.
OTHER_TIMES = ("irq", "softirq", "steal")


@dataclass(frozen=True, slots=True)
class Measurement:
    """wall_s: start to exit; cpu_s: user and system, with all children that were waited for or seen;
    elsewhere_cpu_s: what the rest of the machine used meanwhile, about; peak_rss_bytes: of the largest
    single process."""

    wall_s: float
    cpu_s: float
    elsewhere_cpu_s: float
    peak_rss_bytes: int
    exit_status: int

    @property
    def is_disturbed(self) -> bool:
        """Something else took so much of the machine that the wall time says little."""
        return self.elsewhere_cpu_s > max(DISTURBANCE_S, DISTURBANCE_SHARE * self.wall_s)


@dataclass(frozen=True, slots=True)
class Digest:
    """Of a set of JSON lines in any order; equal for equal multisets of values, however they are spelled."""

    lines: int
    total: int


def run_command(command: Sequence[str], log_path: Path) -> Measurement:
    """Run `command` to its end; all it prints goes to `log_path`.

    The peak is never below this process's own size, which the kernel counts until the command is loaded.
    Cost: a sample of the process tree every half second, a few milliseconds each.
    """
    with log_path.open("wb") as log:
        busy_before_s = _machine_busy_s()
        start = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        sampler = _Sampler(process.pid)
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall_s = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            sampler.stop()
            if process.returncode is None:
                process.terminate()
                process.wait()
    cpu_s = max(usage.ru_utime + usage.ru_stime, sampler.cpu_s)
    return Measurement(
        wall_s=wall_s,
        cpu_s=cpu_s,
        elsewhere_cpu_s=max(0.0, _machine_busy_s() - busy_before_s - cpu_s),
        peak_rss_bytes=max(usage.ru_maxrss * MAXRSS_UNIT_BYTES, sampler.peak_rss_bytes),
        exit_status=process.returncode,
    )


def digest_of_lines(output_dir: Path) -> Digest:
    """The digest of all `part-*` files: each line is parsed, spelled in one way and hashed; hashes are added.

    Cost: about 2 seconds per million lines. In a process of its own: lines can be long (all documents of a
    word), and this process has to stay small, see run_command.
    """
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(_digest, (output_dir,))


def _digest(output_dir: Path) -> Digest:
    lines, total = 0, 0
    for path in sorted(output_dir.glob("part-*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                spelled = orjson.dumps(orjson.loads(line), option=orjson.OPT_SORT_KEYS)
                total += xxhash.xxh3_128_intdigest(spelled)
                lines += 1
    return Digest(lines, total % (1 << DIGEST_BITS))


def _machine_busy_s() -> float:
    """CPU seconds of all processors since the start, also those that a host took away from this machine."""
    times = psutil.cpu_times()
    # Linux counts the time of guests in user and nice already; idle processors wait for disks, too.
    return float(
        times.user + times.system + times.nice + sum(getattr(times, name, 0.0) for name in OTHER_TIMES)
    )


class _Sampler:
    """Watches a process and its descendants in a thread: the largest resident size, the CPU time of all."""

    def __init__(self, pid: int) -> None:
        self.peak_rss_bytes = 0
        self._cpu_s: dict[int, float] = {}
        self._pid = pid
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def cpu_s(self) -> float:
        """Of all processes, up to the last time that each was seen."""
        return sum(self._cpu_s.values())

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(SAMPLE_INTERVAL_S):
            try:
                root = psutil.Process(self._pid)
                processes = [root, *root.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            for process in processes:
                try:
                    self.peak_rss_bytes = max(self.peak_rss_bytes, process.memory_info().rss)
                    times = process.cpu_times()
                    self._cpu_s[process.pid] = times.user + times.system
                except psutil.NoSuchProcess:
                    continue

"""`python -m tests.bench.console`: how quick the console is, by driving the real one on a pseudo-terminal.

first: from the command to the first paint, less what loading Textual takes. keys: a key press until its
effect is written to the terminal, with 10,000 jobs in the queue. panes: the same while 16 workers print, how
old the newest line on the screen is, and how the console's memory grows. cost: how much longer a job takes
beside a console.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from cluster.clusters import Cluster  # noqa: E402  (of the tests, which are no package)

FIRST_BAR_S = 0.5
KEY_BAR_S, BUSY_KEY_BAR_S = 0.05, 0.1
TAIL_BAR_S = 1.0
MEMORY_BAR_BYTES = 200 * 10**6
COST_BAR = 1.03

JOBS = 10_000
PANES = 16
LINES_PER_SECOND = 100_000
SIZE = (50, 200)
CONSOLE = [sys.executable, "-m", "tui"]
LOAD_TEXTUAL = (
    "import textual.app, textual.screen, textual.widgets._label, textual.widgets._input; print('loaded')"
)

_STAMP = re.compile(rb"T(\d{10}\.\d{3})")
_PRINTER = """
    import time

    def words(line, auxiliary_data):
        rate, seconds = map(int, line.split())
        began, printed = time.time(), 0
        while (now := time.time()) < began + seconds:
            while printed < (now - began) * rate:
                printed += 1
                print(f"T{now:.3f} line {printed:9d} of what a worker has to say", flush=False)
            time.sleep(0.01)
        return [("lines", printed)]
"""
_COUNT = """
    def words(line, auxiliary_data):
        return [(word, 1) for word in line.split()]
"""
_TOTAL = """
    def total(group, auxiliary_data):
        return [(group.key, sum(group.values))]
"""


class Terminal:
    """The console on a pseudo-terminal of SIZE: what it writes, and when. A context; ends it at the end."""

    def __init__(self, command: Sequence[str], env: dict[str, str]) -> None:
        self.began = time.perf_counter()
        pid, self._descriptor = pty.fork()
        if pid == 0:
            os.execvpe(command[0], list(command), env | {"TERM": "xterm-256color", "COLORTERM": "truecolor"})
        self.pid = pid
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
        self._changed = threading.Condition()
        self._written: list[tuple[float, bytes]] = []
        self._on_data: Callable[[float, bytes], object] = lambda when, data: None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + 5.0
        while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.02)
        os.close(self._descriptor)

    def watch(self, on_data: Callable[[float, bytes], object]) -> None:
        """Call this, in a thread, with all that is written from now on."""
        self._on_data = on_data

    def press(self, key: bytes, effect: bytes, timeout_s: float = 20.0) -> float:
        """Seconds from a key to when the terminal has been given `effect`."""
        with self._changed:
            self._written.clear()
        pressed = time.perf_counter()
        os.write(self._descriptor, key)
        return self.wait_for(effect, timeout_s) - pressed

    def wait_for(self, effect: bytes, timeout_s: float = 20.0) -> float:
        """When `effect` was written, by time.perf_counter()."""
        deadline = time.perf_counter() + timeout_s
        with self._changed:
            while True:
                text = b""
                for when, data in self._written:
                    text += data
                    if effect in text:
                        return when
                if not self._changed.wait(deadline - time.perf_counter()):
                    raise SystemExit(f"the console never wrote {effect!r}; at last: {text[-400:]!r}")

    def _read(self) -> None:
        while True:
            try:
                select.select([self._descriptor], [], [])
                data = os.read(self._descriptor, 1 << 16)
            except OSError:
                return
            when = time.perf_counter()
            self._on_data(when, data)
            with self._changed:
                self._written.append((when, data))
                del self._written[:-400]
                self._changed.notify_all()


def measure_first(folder: Path, arguments: argparse.Namespace) -> None:
    """The first paint, with a cluster that does not answer: nothing of it waits for one."""
    cluster = Cluster(folder, peers=3)
    env = _environment(cluster)
    loads, paints = [], []
    for _ in range(arguments.repeat):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", LOAD_TEXTUAL], env=env, check=True, capture_output=True)
        loads.append(time.perf_counter() - began)
        with Terminal(CONSOLE, env) as terminal:
            paints.append(terminal.wait_for(b"Workers") - terminal.began)
    cluster.end()
    both = f"{statistics.median(paints):.2f} s, of which loading Textual takes {statistics.median(loads):.2f}"
    _tell("first paint", statistics.median(paints) - statistics.median(loads), FIRST_BAR_S, f"s ({both})")


def measure_keys(folder: Path, arguments: argparse.Namespace) -> None:
    """The cursor moved by a line, by a page, and a filter typed, among 10,000 jobs."""
    cluster = _cluster(folder, peers=2, workers=1)
    try:
        cluster.client.pause()
        cluster.project(textwrap.dedent(_COUNT), textwrap.dedent(_TOTAL))
        for number in range(arguments.jobs):
            cluster.submit(job_name=f"job-{number:05d}", job_priority=1)
        with Terminal(CONSOLE, _environment(cluster)) as terminal:
            terminal.wait_for(b"job-00020", 60.0)
            time.sleep(2.0)
            downs = [terminal.press(b"\x1b[B", b"job-%05d" % number) for number in range(1, 30)]
            pages = []
            for _ in range(arguments.presses):
                pages.append(terminal.press(b"\x1b[6~", b"job-"))
                time.sleep(0.1)
            terminal.press(b"/", b"\x1b[")
            typed = []
            for key in (b"0", b"9", b"9", b"7", b"\x7f", b"\x7f", b"3"):
                time.sleep(0.3)
                typed.append(terminal.press(key, b"of 10,000" if arguments.jobs == JOBS else b" of "))
    finally:
        cluster.end()
    what = f"s ({arguments.jobs:,} jobs; 95th percentile; median"
    _tell("cursor down", _p95(downs), KEY_BAR_S, f"{what} {statistics.median(downs):.3f})")
    _tell("page down", _p95(pages), KEY_BAR_S, f"{what} {statistics.median(pages):.3f})")
    _tell("filter typed", max(typed), KEY_BAR_S, f"s (slowest of {len(typed)})")


def measure_panes(folder: Path, arguments: argparse.Namespace) -> None:
    """16 workers print 100,000 lines a second in total; the Workers screen shows them all."""
    cluster = _cluster(folder, peers=2, workers=PANES // 2)
    lags: list[float] = []
    printed_at_most = 0.0

    def note(_: float, data: bytes) -> None:
        nonlocal printed_at_most
        if stamps := _STAMP.findall(data):
            printed_at_most = max(printed_at_most, *map(float, stamps))

    try:
        cluster.project(textwrap.dedent(_PRINTER), textwrap.dedent(_TOTAL))
        rate = LINES_PER_SECOND // PANES
        for number in range(PANES):
            cluster.feed(cluster.names[number % 2], f"{number}.txt", f"{rate} {arguments.seconds + 10}")
        with Terminal(CONSOLE, _environment(cluster)) as terminal:
            terminal.wait_for(b"live")
            terminal.press(b"2", b"alpha/0")
            cluster.submit(job_name="printer")
            terminal.watch(note)
            cluster.wait_for(lambda: printed_at_most, what="the first lines on the screen")
            time.sleep(3.0)
            process = psutil.Process(terminal.pid)
            before, used = process.memory_info().rss, sum(process.cpu_times()[:2])
            presses, until = [], time.monotonic() + arguments.seconds
            keys = [b"\x1b[C", b"\x1b[D"]
            while time.monotonic() < until:
                time.sleep(0.35)
                presses.append(terminal.press(keys[len(presses) % 2], b"\x1b["))
                lags.append(time.time() - printed_at_most)
            grown = process.memory_info().rss - before
            busy = (sum(process.cpu_times()[:2]) - used) / arguments.seconds
        cluster.client.delete("printer")
    finally:
        cluster.end()
    _tell("key press, busy", _p95(presses), BUSY_KEY_BAR_S, f"s (95th percentile of {len(presses)})")
    _tell("tail behind", max(lags), TAIL_BAR_S, f"s (worst; median {statistics.median(lags):.2f})")
    _tell("memory grown", grown / 1e6, MEMORY_BAR_BYTES / 1e6, f"MB ({busy:.0%} of a processor meanwhile)")


def measure_cost(folder: Path, arguments: argparse.Namespace) -> None:
    """A word count alone, and with a console that shows the queue; in turns, the medians compared."""
    cluster = _cluster(folder, peers=2, workers=1)
    alone, beside = [], []
    try:
        cluster.project(textwrap.dedent(_COUNT), textwrap.dedent(_TOTAL))
        text = [
            " ".join(f"word{(line * 7 + place) % 5_003}" for place in range(12)) for line in range(60_000)
        ]
        for name in cluster.names:
            for number in range(arguments.files):
                cluster.feed(name, f"{number}.txt", *text)
        for number in range(arguments.rounds):
            alone.append(_seconds_of(cluster, f"alone{number}"))
            with Terminal(CONSOLE, _environment(cluster)) as terminal:
                terminal.wait_for(b"live")
                time.sleep(1.0)
                beside.append(_seconds_of(cluster, f"beside{number}"))
    finally:
        cluster.end()
    ratio = statistics.median(beside) / statistics.median(alone)
    detail = f"times ({statistics.median(alone):.2f} s alone, {statistics.median(beside):.2f} s beside it)"
    _tell("job beside it", ratio, COST_BAR, detail)


def _seconds_of(cluster: Cluster, job_name: str) -> float:
    cluster.submit(job_name=job_name)
    outcome = cluster.succeed(job_name, 600.0)
    assert outcome.seconds is not None
    return outcome.seconds


def _cluster(folder: Path, **arguments: Any) -> Cluster:
    settings = {"engine": {"split_bytes": 64 << 20}}
    return Cluster(folder, settings=settings, **arguments).start()


def _environment(cluster: Cluster) -> dict[str, str]:
    return cluster.environment() | {"PYMR_CONFIG": str(cluster.path), "PYTHONPATH": str(ROOT)}


def _p95(seconds: Sequence[float]) -> float:
    return sorted(seconds)[max(0, -(-95 * len(seconds) // 100) - 1)]


def _tell(what: str, value: float, bar: float, unit: str) -> None:
    print(
        f"{what:16} {value:7.3f} {unit}; the bar is {bar:g}{'' if value <= bar else ': MISSED'}", flush=True
    )


_MEASURES = {
    "first": measure_first, "keys": measure_keys, "panes": measure_panes, "cost": measure_cost,
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.console", description=__doc__)
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=list(_MEASURES), metavar="NAME,..."
    )
    parser.add_argument("--repeat", type=int, default=7, help="of the first paint (%(default)s)")
    parser.add_argument("--jobs", type=int, default=JOBS, help="in the queue (%(default)s)")
    parser.add_argument("--presses", type=int, default=100, help="of a key (%(default)s)")
    parser.add_argument("--seconds", type=int, default=60, help="that workers print for (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of the job, alone and beside (%(default)s)")
    parser.add_argument(
        "--files", type=int, default=12, help="of 5 MB that the job reads per peer (%(default)s)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pymr-bench-") as folder:
        for name in arguments.only:
            place = Path(folder, name)
            place.mkdir()
            _MEASURES[name](place, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())

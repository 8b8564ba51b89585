"""Shows that a worker keeps within its memory bound: `python -m tests.cluster.memory_check --megabytes 1400`.

Runs jobs on generated text and samples the peak of each worker's resident set (VmHWM) as long as it lives.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from pymr.base.process_trees import children_of

from .running import PYMR, Place

BOUND_MIB = 64
LONG_BOUND_MIB = 128
"""Of the cases with long lines: eight times engine.line_bytes_max."""

LONG_LINE_BYTES = 15_000_000
_SAMPLE_SECONDS = 0.01

MAP = """
    def words(line, auxiliary_data):
        return [(word, 1) for word in line.split()]

    def one_key(line, auxiliary_data):
        return [("key", len(word)) for word in line.split()]

    def one_key_of_lines(line, auxiliary_data):
        return [("key", line)]

    def lines(line, auxiliary_data):
        return [(line, None)]

    def lines_by_length(line, auxiliary_data):
        return [(len(line), line)]
"""
REDUCE = """
    def total(group, auxiliary_data):
        return [(group.key, sum(group.values))]

    def length(group, auxiliary_data):
        return [(group.key, len(group))]

    def characters(group, auxiliary_data):
        return [(group.key, sum(len(value) for _, value in group))]

    def last(group, auxiliary_data):
        return [(group.key, group.values[-1])]

    def each(group, auxiliary_data):
        return group
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A job of the check; fields: what it has over those of a word count."""

    name: str
    fields: dict[str, object]


CASES = (
    Case("word count", {"map_function_name": "words", "reduce_function_name": "total"}),
    Case(
        "word count, combined",
        {
            "map_function_name": "words",
            "reduce_function_name": "total",
            "combine_function_name": "total",
        },
    ),
    Case("distinct keys", {"map_function_name": "lines", "reduce_function_name": "length"}),
    Case("one key, sum", {"map_function_name": "one_key", "reduce_function_name": "total"}),
    Case(
        "one key, disk_based_input",
        {"map_function_name": "one_key", "reduce_function_name": "total", "disk_based_input": True},
    ),
    Case("one key of lines", {"map_function_name": "one_key_of_lines", "reduce_function_name": "characters"}),
    Case(
        "one key of lines, sorted",
        {"map_function_name": "one_key_of_lines", "reduce_function_name": "last", "sort_values": True},
    ),
)


LONG_CASES = (
    Case("long lines as keys", {"map_function_name": "lines", "reduce_function_name": "each"}),
    Case("long lines as values", {"map_function_name": "lines_by_length", "reduce_function_name": "each"}),
)
"""On long lines among short ones: what is read, spilled, merged and written is one line at a time."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a case took. peak_bytes: of the workers, by process id."""

    seconds: float
    peak_bytes: dict[int, int]

    @property
    def highest_mib(self) -> float:
        return max(self.peak_bytes.values()) / 2**20


def generate_text(path: Path, megabytes: float, seed: int = 1) -> None:
    """Lines of ten words out of 200,000, of a fixed seed."""
    source = random.Random(seed)
    words = [f"w{source.getrandbits(40):x}" for _ in range(200_000)]
    fives = [" ".join(words[begin : begin + 5]) for begin in range(0, len(words), 5)]
    with path.open("w") as file:
        while file.tell() < megabytes * 10**6:
            file.writelines(" ".join(source.choices(fives, k=2)) + "\n" for _ in range(5_000))


def generate_long_lines(path: Path, lines: int) -> None:
    """Lines of about LONG_LINE_BYTES, no two alike, each behind a thousand short ones, of a fixed seed."""
    source = random.Random(2)
    with path.open("w") as file:
        for number in range(lines):
            file.writelines(f"{source.getrandbits(40):x}\n" for _ in range(1_000))
            word = f"{source.getrandbits(320):x}"
            file.write(word * ((LONG_LINE_BYTES - number * 1_000) // len(word)) + "\n")


def measure(place: Place, case: Case, workers: int = 2, bound_mib: int = BOUND_MIB) -> Measured:
    """Run a case in a place that has its input. Raises CalledProcessError where the run fails."""
    place.functions(MAP, REDUCE)
    place.job(**{"partitions": workers, **case.fields})
    bound = f"engine.memory_bytes_per_worker={bound_mib << 20}"
    with tempfile.TemporaryFile("w+") as log:
        began = time.monotonic()
        process = place.start("--workers", workers, "--set", bound, stdout=log, stderr=log)
        peaks: dict[int, int] = {}
        fork_server = None
        while process.poll() is None:
            fork_server = fork_server or _nursery_of(process.pid)
            for pid in children_of(fork_server) if fork_server else ():
                peaks[pid] = max(peaks.get(pid, 0), _peak_bytes(pid))
            time.sleep(_SAMPLE_SECONDS)
        seconds = time.monotonic() - began
        if process.returncode != 0:
            log.seek(0)
            raise subprocess.CalledProcessError(process.returncode, str(PYMR), log.read())
    return Measured(seconds, peaks)


def _nursery_of(pid: int) -> int | None:
    """The parent of the workers of a run."""
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children(recursive=True):
            if process.name() == "pymr-forkserver":
                return process.pid
    return None


def _peak_bytes(pid: int) -> int:
    """The highest resident set that a process has had, 0 where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def table(megabytes: float, workers: int, cases: Sequence[Case] = CASES) -> Iterator[str]:
    """A line for each case as soon as it is measured."""
    with tempfile.TemporaryDirectory(prefix="pymr-memory-") as folder:
        place = Place(Path(folder))
        generate_text(place.input / "text.txt", megabytes)
        size = (place.input / "text.txt").stat().st_size
        times = size / (BOUND_MIB << 20)
        yield f"{size / 10**6:,.0f} MB of input, {times:.1f} times the bound of {BOUND_MIB} MiB"
        for case in cases:
            bound_mib = BOUND_MIB
            if case in LONG_CASES:
                bound_mib = LONG_BOUND_MIB
                generate_long_lines(place.input / "text.txt", round(megabytes * 10**6 / LONG_LINE_BYTES))
            try:
                measured = measure(place, case, workers, bound_mib)
            except subprocess.CalledProcessError as error:
                yield f"{case.name:<28} failed: {error.output[-500:]}"
                continue
            peaks = ", ".join(f"{peak / 2**20:.1f}" for peak in measured.peak_bytes.values())
            yield f"{case.name:<28} {measured.seconds:7.1f} s   peak MiB per worker: {peaks}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=1400.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES + LONG_CASES])
    arguments = parser.parse_args()
    cases = [case for case in CASES + LONG_CASES if arguments.case is None or case.name in arguments.case]
    for line in table(arguments.megabytes, arguments.workers, cases):
        print(line, flush=True)


if __name__ == "__main__":
    main()

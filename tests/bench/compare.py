"""One workload, several ways, interleaved: each way is a whole process from start to finish."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import Digest, Measurement, digest_of_lines, run_command
from tests.bench.workloads import Workload

READ_BYTES = 1 << 20
LOG_TAIL_CHARACTERS = 2_000
GNU_TOOLS = ("sort", "uniq", "tr", "cat")


class BenchmarkError(Exception):
    """A way ended with an error or did not run at all; the message holds the end of what it printed."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """measurements: way -> its quickest run; the ways are pymr, floor, pool, gnu, as far as they exist.

    same_output: pymr's lines and the pool's are equal as multisets; none where there is no pool.
    """

    workload: Workload
    measurements: dict[str, Measurement]
    same_output: bool | None

    @property
    def is_disturbed(self) -> bool:
        return any(measurement.is_disturbed for measurement in self.measurements.values())

    def ratio_to(self, way: str) -> float | None:
        """pymr's wall time over that of `way`."""
        if way not in self.measurements:
            return None
        return self.measurements["pymr"].wall_s / self.measurements[way].wall_s


def compare(
    workload: Workload,
    input_dir: Path,
    work_dir: Path,
    *,
    workers: int,
    repeat: int,
    report: Callable[[str], None],
) -> Comparison:
    """Run every way of a workload `repeat` times, in turns, so that all of them meet the same weather.

    report: gets a line per run. Raises BenchmarkError.
    """
    measurements: dict[str, Measurement] = {}
    digests: dict[str, Digest] = {}
    for turn in range(repeat):
        for way, command in _commands(workload, input_dir, work_dir, workers).items():
            output_dir = work_dir / way
            _prepare(way, input_dir, output_dir)
            measurement = run_command(command, work_dir / "log")
            report(_summary(workload, way, measurement))
            if measurement.exit_status != 0:
                raise BenchmarkError(failure(workload.name, way, measurement, work_dir / "log"))
            if turn == 0 and way in ("pymr", "pool"):
                digests[way] = digest_of_lines(output_dir)
            if way not in measurements or measurement.wall_s < measurements[way].wall_s:
                measurements[way] = measurement
            shutil.rmtree(output_dir, ignore_errors=True)
    same_output = digests["pymr"] == digests["pool"] if "pool" in digests else None
    return Comparison(workload, measurements, same_output)


def _commands(workload: Workload, input_dir: Path, work_dir: Path, workers: int) -> dict[str, Sequence[str]]:
    def arguments(way: str) -> list[str]:
        places = [f"--projects={workload.projects}", f"--input={input_dir}", f"--output={work_dir / way}"]
        return [str(workload.job), *places, f"--workers={workers}"]

    commands: dict[str, Sequence[str]] = {"pymr": [*pymr_command(), "run", *arguments("pymr")]}
    if workload.pool is not None:
        baselines = [sys.executable, "-m", "tests.bench.baselines"]
        commands["floor"] = [*baselines, "floor", *arguments("floor")]
        commands["pool"] = [*baselines, workload.pool, *arguments("pool")]
    if workload.gnu is not None and _gnu_is_installed():
        places = {"input": input_dir, "output": work_dir / "gnu", "temporary": work_dir, "workers": workers}
        quoted = {name: shlex.quote(str(place)) for name, place in places.items()}
        commands["gnu"] = ["/bin/sh", "-c", "export LC_ALL=C; " + workload.gnu.format_map(quoted)]
    return commands


def pymr_command() -> list[str]:
    """The installed command, as a user types it; a virtual environment has it beside its interpreter."""
    script = Path(sys.executable).with_name("pymr")
    return [str(script)] if script.exists() else [sys.executable, "-m", "pymr.cli.main"]


def _gnu_is_installed() -> bool:
    # The sort of other systems does not know --parallel, so it has to be the one of the GNU coreutils.
    if not all(map(shutil.which, GNU_TOOLS)):
        return False
    return (
        subprocess.run(["sort", "--parallel=2", os.devnull], capture_output=True, check=False).returncode == 0
    )


def _prepare(way: str, input_dir: Path, output_dir: Path) -> None:
    """Put every way before the same disk."""
    shutil.rmtree(output_dir, ignore_errors=True)
    if way != "pymr":
        output_dir.mkdir(parents=True)
    page_in(input_dir)


def page_in(input_dir: Path) -> None:
    """Have the input in the page cache, and nothing left to be written to the disk."""
    for path in input_dir.iterdir():
        with path.open("rb") as file:
            while file.read(READ_BYTES):
                pass
    os.sync()


def _summary(workload: Workload, way: str, measurement: Measurement) -> str:
    """A line for the reader, who has to know when the machine was busy with something else."""
    summary = f"{workload.name}: {way} {measurement.wall_s:.2f} s, CPU {measurement.cpu_s:.2f} s"
    if measurement.is_disturbed:
        return f"{summary}; DISTURBED: others used {measurement.elsewhere_cpu_s:.2f} s of CPU meanwhile"
    return summary


def failure(name: str, way: str, measurement: Measurement, log_path: Path) -> str:
    """What is told of a way that has failed, with the end of what it printed."""
    tail = log_path.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:].strip()
    return f"{name}: {way} ended with exit status {measurement.exit_status}\n{tail}"

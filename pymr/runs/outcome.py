"""What every way of running a job's tasks has in common: how its input is cut, what is checked, what is
added up. Used inline and by external engines; a cluster's leader has a view of its own."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import orjson

from pymr.base.counters import finite
from pymr.base.errors import InputError, InputOutdatedError, UserFunctionError
from pymr.engine.input.files import InputFile
from pymr.engine.tasks import MapOutput, ReduceOutput
from pymr.jobs.job import MapReduceJob
from pymr.runs.info import RunRequest, RunResult
from pymr.runs.phases import Observer
from pymr.wire.run_warnings import WarningCollector, empty_input, empty_input_refused

_TASK_BYTES_MIN = 1 << 20
"""Input is not cut into smaller tasks than this for the sake of giving every worker one."""


def planned_anew(
    job: MapReduceJob, scratch: str, observer: Observer, run_once: Callable[[str], RunResult]
) -> RunResult:
    """Run a job, planned again when input that was read has been replaced meanwhile: `max_attempts` times at
    most. run_once: does all of it in a new folder below `scratch`."""
    for attempt in range(1, job.max_attempts + 1):
        folder = os.path.join(scratch, f"attempt-{attempt}")
        os.mkdir(folder)
        try:
            return run_once(folder)
        except InputOutdatedError as error:
            if attempt == job.max_attempts:
                raise
            shutil.rmtree(folder)
            observer.on_notice(f"planned again: {error}")
    raise AssertionError("max_attempts is at least 1")


def task_bytes(files: Sequence[InputFile], split_bytes: int, workers: int) -> int:
    """How much input a map task gets: at most a split, and the same number of tasks for each worker.

    Larger tasks are better: a key that recurs is sorted and written once in each of them.
    """
    total = sum(file.size for file in files)
    rounds = -(-total // (workers * split_bytes)) or 1
    share = -(-total // (workers * rounds))
    return min(split_bytes, max(share, _TASK_BYTES_MIN))


def check_bad_records(job: MapReduceJob, mapped: Iterable[MapOutput]) -> None:
    """Raise UserFunctionError, showing the first one, where there are more than max_bad_records."""
    listed = [output for output in mapped if output.bad_records]
    bad_records = sum(output.bad_records for output in listed)
    if bad_records > job.max_bad_records:
        with open(str(listed[0].bad_records_path), "rb") as file:
            first = orjson.loads(file.readline())
        raise UserFunctionError(
            f"the map function {job.map_function_name!r} raised on {bad_records:,} records, "
            f"max_bad_records = {job.max_bad_records:,}; the first one: {first['error']}\n"
            f"  at {first['file']}, byte {first['offset']:,}: {first['line']!r}"
        )


def check_empty(request: RunRequest, mapped: Iterable[MapOutput], warnings: WarningCollector) -> None:
    """Warn of an input without records; InputError where the job does not allow one."""
    outputs, job = list(mapped), request.job
    if any(output.records for output in outputs):
        return
    bytes_read = sum(output.bytes for output in outputs)
    if not job.allow_empty:
        raise InputError(empty_input_refused(bytes_read, job.downsample, request.input_dirs))
    warnings.add(empty_input(bytes_read, job.downsample, adds=not job.delete_job_data))


def result_of(
    files: int,
    mapped: Sequence[MapOutput],
    reduced: Sequence[ReduceOutput],
    phase_seconds: Mapping[str, float],
    warnings: tuple[str, ...],
) -> RunResult:
    """The sums of a run. mapped, reduced: of its tasks, each once, in their order."""
    counters: dict[str, float] = {}
    for counts in [output.counters for output in mapped] + [output.counters for output in reduced]:
        for name, number in counts.items():
            counters[name] = counters.get(name, 0) + number
    return RunResult(
        files=files,
        records=sum(output.records for output in mapped),
        bytes=sum(output.bytes for output in mapped),
        values=sum(output.values for output in reduced),
        groups=sum(output.groups for output in reduced),
        bad_records=sum(output.bad_records for output in mapped),
        counters={
            name: finite(number) if isinstance(number, float) else number
            for name, number in sorted(counters.items())
        },
        outputs=[(output.directory, output.parts) for output in reduced],
        bad_records_paths=[output.bad_records_path for output in mapped if output.bad_records_path],
        phase_seconds=dict(phase_seconds),
        warnings=warnings,
    )


class Stopwatch:
    """Seconds between laps, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """Note the time since the last lap under this name."""
        now = time.monotonic()
        self.seconds[name] = now - self._last
        self._last = now

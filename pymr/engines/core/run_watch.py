"""The driver's view of a run: its phases, what its functions print, and how attempts at its tasks fail."""

from __future__ import annotations

import codecs
import os
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from pymr.base.errors import (
    InputOutdatedError,
    PymrError,
    RetryableError,
    RunFailedError,
    TaskTimeoutError,
)
from pymr.base.interruption import check_interruption
from pymr.engine.tasks import MapOutput, ReduceOutput
from pymr.engines.core.attempts import OUTPUT_BYTES_MAX, UNFINISHED, AttemptFailedError, AttemptFailure
from pymr.engines.core.setup import FAILURES, OUTPUT
from pymr.runs.outcome import Stopwatch
from pymr.runs.phases import Observer, Phase
from pymr.wire.protocol import cut_text, first_line

LOOK_SECONDS = 0.1
"""Between two looks at how a run is."""

_READ_BYTES_MAX = 1 << 20
_FAILURES_TOLD_MAX = 5
_ERROR_LINES_MAX = 20
_NOTES_MAX, _NOTE_CHARACTERS_MAX = 20, 300


class RunWatch:
    """Tells an observer how a run on an engine goes.

    max_attempts: so many failures of one task end the run, however often the engine would try. clock: takes
    the time of each phase.
    """

    def __init__(self, run_dir: str, max_attempts: int, observer: Observer, clock: Stopwatch) -> None:
        self.observer = observer
        self._clock = clock
        self._run_dir = run_dir
        self._max_attempts = max_attempts
        self._failures: dict[str, list[AttemptFailure]] = {}
        self._last_failure: AttemptFailure | None = None
        self._seen: set[str] = set()
        self._told = 0
        self._printed: dict[str, _PrintedLines] = {}
        self._phase: Phase | None = None
        self._notes: deque[str] = deque(maxlen=_NOTES_MAX)

    def begin(self, name: str, tasks: int, units: int = 0) -> None:
        """A phase of so many tasks begins. units: bytes of map input, values to reduce; 0: not known."""
        self._phase = Phase(name, tasks, units)
        self.observer.on_phase(self._phase)

    def move(self, done: int, units: tuple[int, int]) -> None:
        """How far the phase is: tasks, and its units (see Phase)."""
        assert self._phase is not None
        self._phase.done, self._phase.units = done, units
        self.observer.on_phase(self._phase)

    def mapped(self, outputs: Sequence[MapOutput]) -> None:
        """These map tasks are done."""
        self.move(len(outputs), (sum(one.records for one in outputs), sum(one.bytes for one in outputs)))

    def reduced(self, outputs: Sequence[ReduceOutput]) -> None:
        """These reduce tasks are done."""
        self.move(len(outputs), (sum(one.groups for one in outputs), sum(one.values for one in outputs)))

    def end(self) -> None:
        """The phase is over."""
        assert self._phase is not None
        self._phase.done, self._phase.ended_at = self._phase.total, time.monotonic()
        self.observer.on_phase(self._phase)
        self._clock.lap(self._phase.name)

    def note(self, text: str) -> None:
        """Something that the engine says, for the observer. Of any thread."""
        self._notes.append(cut_text(text, _NOTE_CHARACTERS_MAX))

    def look(self) -> None:
        """Show what is new. Raises a PymrError where a task has failed for good, Interrupted."""
        check_interruption()
        while self._notes:
            self.observer.on_notice(self._notes.popleft())
        self._show_output()
        with suppress(FileNotFoundError):
            for name in sorted(os.listdir(os.path.join(self._run_dir, FAILURES))):
                if name not in self._seen and not name.endswith(UNFINISHED):
                    self._seen.add(name)
                    self._on_failure(name)

    def give_up(self, error: BaseException) -> None:
        """The engine has raised this. Raises as `look`; and the failure of an attempt, where it tells of one
        that is not made again."""
        self.look()
        last = self._last_failure
        if last is not None and AttemptFailedError.__name__ in f"{type(error).__name__} {error}":
            raise _error_of(last, self._failures[last.task])
        if last is not None and last.kind == TaskTimeoutError.__name__:  # it saw processes that were killed
            raise _error_of(last, self._failures[last.task], "and the engine gives it up")

    def finish(self) -> None:
        """Show the last of what was printed."""
        self._show_output(is_last=True)

    def _on_failure(self, name: str) -> None:
        with open(os.path.join(self._run_dir, FAILURES, name), "rb") as file:
            failure = msgspec.msgpack.decode(file.read(), type=AttemptFailure)
        failed = self._failures.setdefault(failure.task, [])
        failed += [failure] * failure.is_counted
        self._last_failure = failure
        if failure.is_final or len(failed) >= self._max_attempts:
            self._show_output(is_last=True)
            raise _error_of(failure, failed)
        if self._told < _FAILURES_TOLD_MAX:
            self._told += 1
            count = f"attempt {len(failed)} of {self._max_attempts}" if failure.is_counted else "an attempt"
            where = f"{failure.task} failed on {failure.worker}"
            self.observer.on_notice(f"{count} of {where}, trying again: {first_line(failure.error)}")

    def _show_output(self, *, is_last: bool = False) -> None:
        folder = os.path.join(self._run_dir, OUTPUT)
        with suppress(FileNotFoundError):
            for name in sorted(os.listdir(folder)):
                lines = self._printed.setdefault(name, _PrintedLines(os.path.join(folder, name)))
                if new := lines.read(is_last=is_last):
                    self.observer.on_output(name.replace("+", "/"), new)


class _PrintedLines:
    """The lines of one worker process, as they come."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = ""

    def read(self, *, is_last: bool) -> list[str]:
        """What is new: at most _READ_BYTES_MAX, but for the last time."""
        lines: list[str] = []
        with open(self._path, "rb", buffering=0) as file:
            file.seek(self._offset)
            while data := file.read(_READ_BYTES_MAX):
                self._offset += len(data)
                *whole, self._begun = (self._begun + self._decoder.decode(data)).split("\n")
                lines += whole
                if self._offset >= OUTPUT_BYTES_MAX:
                    lines.append(f"[pymr: more than {OUTPUT_BYTES_MAX:,} bytes of output are not kept]")
                if not is_last:
                    break
        if is_last and self._begun:
            lines.append(self._begun)
            self._begun = ""
        return lines


def _error_of(
    failure: AttemptFailure, failed: Sequence[AttemptFailure], why: str = "which is max_attempts"
) -> PymrError:
    """What the run fails with."""
    if failure.kind == InputOutdatedError.__name__:
        return InputOutdatedError(failure.error)
    times = ""
    if not failure.is_final and len(failed) > 1:
        if len({one.digest for one in failed}) == 1:
            times = f"\n(task {failure.task}: {len(failed)} attempts, the same each time)"
        else:
            times = f"\n(task {failure.task} failed {len(failed)} times, {why})"
    return RunFailedError(failure.error + times, kind=failure.kind)


def error_of_engine(error: BaseException, engine: str) -> PymrError:
    """An error that the engine raised itself, or out of what pymr does outside of its attempts. It may pass,
    as when machines are lost: a job of the queue tries again."""
    if isinstance(error, PymrError):
        return error
    text = str(error).partition("\n\n")[0]
    text = "\n".join(text.splitlines()[:_ERROR_LINES_MAX])
    return RetryableError(f"{engine}: {type(error).__name__}: {text}")

"""Attempts: the boundary of a task in a worker of an engine. One is done at a time in a process.

How an attempt fails is written into the run's folder, from which the driver takes it: each engine has a form
of its own for errors, and loses their fields.
"""

from __future__ import annotations

import gc
import io
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import lru_cache
from typing import IO, Any, NoReturn
from uuid import uuid4

import msgspec

from pymr.base.durable import write_file
from pymr.base.errors import FatalError, RetryableError, TaskTimeoutError, disk_error
from pymr.base.memory import keep_freed_memory, resident_bytes_reader
from pymr.base.scratch_folder import ScratchFolder
from pymr.engine.failures import kind_and_text
from pymr.engine.tasks import JobContext, TaskWatch
from pymr.engines.core.opened import environment
from pymr.engines.core.setup import FAILURES, LOCAL, OUTPUT, RunSetup, load_setup, worker_name
from pymr.engines.core.timeouts import ended_without_progress
from pymr.wire.outcomes import error_digest
from pymr.wire.protocol import cut_text
from pymr.wire.wording import no_progress

RUN_VARIABLE, ATTEMPT_VARIABLE = "PYMR_RUN", "PYMR_ATTEMPT"
OUTPUT_BYTES_MAX = 8 << 20
"""Most that a worker process prints in a run and is shown."""

_LOCAL_PREFIX = "pymr-task-"
_FINAL, _COUNTED, _UNCOUNTED = "final", "counted", "uncounted"
UNFINISHED = ".unfinished"
"""Ends the name of a file in the run's folder that is being written."""
_one_at_a_time = threading.RLock()  # functions, counters and sys.path are those of the process


class AttemptFailure(msgspec.Struct, frozen=True):
    """How an attempt failed. kind: the name of its class of error. digest: equal for equal errors.

    is_final: trying again is of no use. is_counted: against max_attempts.
    """

    task: str
    worker: str
    kind: str
    error: str
    digest: str
    is_final: bool
    is_counted: bool

    @property
    def name(self) -> str:
        """Of its file in the run's folder."""
        weight = _FINAL if self.is_final else _COUNTED if self.is_counted else _UNCOUNTED
        return f"{self.task}-{weight}-{uuid4().hex}"


class AttemptFailedError(Exception):
    """Reports a failed attempt to an engine, so that the engine retries it."""


class TaskGivenUpError(AttemptFailedError):
    """An attempt that is not begun."""


class StuckError(FatalError):
    """A task makes no progress, and its process cannot be ended."""


class BreakpointRefusedError(FatalError):
    """A function has called breakpoint(), where no terminal is."""


@contextmanager
def attempt(run_dir: str, task: str) -> Iterator[tuple[RunSetup, JobContext, TaskWatch]]:
    """Do a task in here, and show its progress in the watch: without any for `task_timeout_seconds` it fails,
    and this process ends. The context's memory bound is that of this process with what it already holds.

    Raises AttemptFailedError for whatever is raised in here, which is in the run's folder by then; and where
    the task has failed for good already, as the engine may try it again before the driver has seen that.
    """
    with _one_at_a_time, _output_shown(run_dir), _without_collector():
        _refuse_given_up(run_dir, task, _FINAL, 1)
        try:
            with _environment(run_dir, task):
                setup, context = _load(run_dir)
                _refuse_given_up(run_dir, task, _COUNTED, context.job.max_attempts)
                held_bytes = resident_bytes_reader()()
                watch = TaskWatch()
                with _timeout(run_dir, task, setup, context, watch):
                    yield setup, replace(context, memory_bytes=context.memory_bytes + held_bytes), watch
        except TaskGivenUpError:
            raise
        except BaseException as error:
            raise AttemptFailedError(_tell(run_dir, task, error)) from None


def _timeout(
    run_dir: str, task: str, setup: RunSetup, context: JobContext, watch: TaskWatch
) -> AbstractContextManager[None]:
    """Of a process that is not an engine's the run fails, as nobody can end the task."""
    timeout_s, may_end = context.job.task_timeout_seconds, worker_name() != setup.driver
    text = no_progress(worker_name(), task, timeout_s)
    kind = TaskTimeoutError if may_end else StuckError

    return ended_without_progress(
        watch,
        timeout_s,
        lambda: _tell(run_dir, task, kind(text)),
        may_end=may_end,
        is_wanted=lambda: _is_there(run_dir),
    )


def _is_there(run_dir: str) -> bool:
    """Whether the run is in progress, that is, its folder exists. True if the folder cannot be reached."""
    try:
        os.stat(os.path.join(run_dir, FAILURES))
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True


def _refuse_given_up(run_dir: str, task: str, weight: str, failures_max: int) -> None:
    """Raise TaskGivenUpError where the run's folder shows so many failures of a task, of this weight."""
    try:
        names = os.listdir(os.path.join(run_dir, FAILURES))
    except OSError:  # the attempt itself tells what is wrong with the folder
        return
    told = [name for name in names if name.startswith(f"{task}-{weight}-") and not name.endswith(UNFINISHED)]
    if len(told) >= failures_max:
        raise TaskGivenUpError(f"{task} has failed for good: it is not begun again")


@contextmanager
def local_folder(run_dir: str, setup: RunSetup) -> Iterator[str]:
    """A folder on this machine for a task, gone at the end; what killed processes left is removed.

    Raises DiskError.
    """
    parent = os.path.join(run_dir, LOCAL) if setup.is_local else tempfile.gettempdir()
    with ExitStack() as at_the_end:
        try:
            folder = at_the_end.enter_context(ScratchFolder(parent, _LOCAL_PREFIX))
        except OSError as error:
            raise disk_error("preparing", parent, error) from error
        yield folder.path


@lru_cache(maxsize=1)  # a process works for one run after another, and its folders have names of their own
def _load(run_dir: str) -> tuple[RunSetup, JobContext]:
    setup, context = load_setup(run_dir)
    keep_freed_memory(context.memory_bytes)
    return setup, context


def _tell(run_dir: str, task: str, error: BaseException) -> str:
    """Write down how an attempt failed; the error in short."""
    kind, text = kind_and_text(error)
    text = cut_text(text.encode("utf-8", "backslashreplace").decode())
    is_refused = isinstance(error, BreakpointRefusedError | KeyboardInterrupt) or isinstance(
        error.__cause__, BreakpointRefusedError
    )
    failure = AttemptFailure(
        task=task,
        worker=worker_name(),
        kind=kind.__name__,
        error=text,
        digest=error_digest(text),
        is_final=is_refused or not issubclass(kind, RetryableError),
        is_counted=getattr(error, "is_counted", True) is not False,
    )
    path = os.path.join(run_dir, FAILURES, failure.name)
    try:
        write_file(path + UNFINISHED, msgspec.msgpack.encode(failure))
        os.rename(path + UNFINISHED, path)
    except OSError:
        pass  # the run's folder is gone, or cannot be reached: the engine has the text
    return f"{task} on {failure.worker}: {text}"


@contextmanager
def _environment(run_dir: str, task: str) -> Iterator[None]:
    """As in a worker of pymr: the run and the task in the environment, and no debugger."""
    values = {RUN_VARIABLE: os.path.basename(os.path.dirname(run_dir)), ATTEMPT_VARIABLE: task}
    hook, sys.breakpointhook = sys.breakpointhook, _refuse_breakpoint
    try:
        with environment(values):
            yield
    finally:
        sys.breakpointhook = hook


def _refuse_breakpoint(*_: Any, **__: Any) -> NoReturn:
    raise BreakpointRefusedError(
        "breakpoint() has no terminal on an external engine: run the job with `pymr run --inline`, or on pymr"
    )


@contextmanager
def _without_collector() -> Iterator[None]:
    """Items are many and form no cycles; the memory budget collects at every spill."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _output_shown(run_dir: str) -> Iterator[None]:
    """What functions print goes into a file of the run's folder, which the driver shows."""
    path = os.path.join(run_dir, OUTPUT, worker_name().replace("/", "+"))
    try:
        stream = _open_output(path)
    except OSError:  # the attempt itself tells what is wrong with the folder
        yield
        return
    with stream, redirect_stdout(stream), redirect_stderr(stream):
        yield


def _open_output(path: str) -> IO[str]:
    raw = _BoundedFile(path, "ab")
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )


class _BoundedFile(io.FileIO):
    """A file that takes OUTPUT_BYTES_MAX and drops the rest."""

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if self.tell() < OUTPUT_BYTES_MAX:
            super().write(data)
        return size

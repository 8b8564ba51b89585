"""A worker process: does the tasks it is sent until its pipe closes. The other end is `local.pool`."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from pymr.engine.memory import keep_freed_memory
from pymr.engine.tasks import (
    JobContext,
    MapOutput,
    MapTask,
    ReduceOutput,
    ReduceTask,
    TaskWatch,
    run_map_task,
    run_reduce_task,
)
from pymr.errors import DefinitionError, PymrError, RetryableError
from pymr.local.guard import RUN_VARIABLE
from pymr.local.interruption import INTERRUPTING_SIGNALS

REPORT_SECONDS = 0.1
"""How often a worker tells its progress. Lower: a livelier display; each report costs some 20 us."""

PIPE_CLOSED_STATUS = 74
"""With which a worker ends whose pipe to the parent is no longer open on its own side."""

_PR_SET_PDEATHSIG = 1
_IOLBF = 1  # of stdio.h


@dataclass(frozen=True, slots=True)
class Assignment:
    """A task to be done, in a folder made for this attempt."""

    task: MapTask | ReduceTask
    directory: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has loaded the project's functions."""


@dataclass(frozen=True, slots=True)
class Progress:
    """(records, bytes) of a map task, (groups, values) of a reduce task, so far."""

    done: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Done:
    """The task's outcome: its output, or the error that ended it."""

    output: MapOutput | ReduceOutput | None
    error: PymrError | None = None


def worker_main(
    connection: Connection, output_descriptor: int, token: str, load_context: Callable[[], JobContext]
) -> NoReturn:
    """The life of a worker, from the fork on; never returns into the parent's code.

    output_descriptor: where what it prints goes. token: see `local.guard`. load_context: imports the project
    and reads auxiliary data, here and not in the parent, as that runs code of the user's.
    """
    status = 1
    try:
        _leave_parent(connection, output_descriptor)
        os.environ[RUN_VARIABLE] = token
        _serve(connection, load_context)
        status = 0
    except (EOFError, BrokenPipeError, ConnectionError):
        pass  # the parent has gone, and so does its worker
    except OSError:
        status = PIPE_CLOSED_STATUS
    except BaseException:  # the last boundary of a process: told, and its status says the rest
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _leave_parent(connection: Connection, output_descriptor: int) -> None:
    """Become a session of its own that dies with its parent, prints into its pipe and reads from nothing."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in INTERRUPTING_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTING_SIGNALS)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output_descriptor, 1), (output_descriptor, 2)):
        os.dup2(source, target)
    _close_other_descriptors(keep=connection.fileno())
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = open(descriptor, "w", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115
        setattr(sys, name, stream)
    _buffer_lines_in_c()
    sys.breakpointhook = _refuse_breakpoint


def _buffer_lines_in_c() -> None:
    """Let C code print line by line as well, which the C library does on its own only on a terminal."""
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        library.setvbuf(ctypes.c_void_p.in_dll(library, "stdout"), None, _IOLBF, ctypes.c_size_t(0))


def _close_other_descriptors(keep: int) -> None:
    """Close what was inherited: the pipes of other workers, above all."""
    highest = os.sysconf("SC_OPEN_MAX")
    os.closerange(3, keep)
    os.closerange(keep + 1, min(highest, 65_536))


def _refuse_breakpoint(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("breakpoint() needs a terminal of its own: run the job with --inline")


def _serve(connection: Connection, load_context: Callable[[], JobContext]) -> None:
    try:
        context = load_context()
    except BaseException as error:
        connection.send(Done(None, _as_pymr_error(error)))
        return
    # Items are many and form no cycles; the collector would walk them again and again. The memory budget
    # collects at every spill instead, which is also where the user's own cycles go.
    gc.freeze()
    gc.disable()
    keep_freed_memory(context.memory_bytes)
    pid = os.getpid()
    lock = threading.Lock()
    watch = TaskWatch()
    with lock:
        connection.send(Ready())
    stop = threading.Event()
    threading.Thread(target=_report, args=(connection, lock, watch, stop), daemon=True).start()
    while True:
        assignment: Assignment = connection.recv()
        outcome = _do(context, assignment, watch)
        if os.getpid() != pid:  # a fork() of the user's that was not ended by its own code
            os._exit(0)
        with lock:
            watch.records = watch.groups = None
            connection.send(outcome)
        if outcome.error is not None:
            del outcome
            gc.collect()  # what the failed attempt gathered hangs on its traceback


def _do(context: JobContext, assignment: Assignment, watch: TaskWatch) -> Done:
    task = assignment.task
    try:
        if isinstance(task, MapTask):
            return Done(run_map_task(context, task, assignment.directory, watch))
        return Done(run_reduce_task(context, task, assignment.directory, watch))
    except BaseException as error:  # the boundary of a task: whatever it was, the parent decides
        return Done(None, _as_pymr_error(error))
    finally:
        with contextlib.suppress(Exception):  # what was printed without a line end
            sys.stdout.flush()
            sys.stderr.flush()


def _as_pymr_error(error: BaseException) -> PymrError:
    """The error in a form that survives a pipe: of one of our own types, without its cause."""
    if isinstance(error, DefinitionError):
        return error
    for kind in type(error).__mro__:
        if kind.__module__ == PymrError.__module__ and issubclass(kind, PymrError):
            return kind(str(error))
    return RetryableError("unexpected: " + "".join(traceback.format_exception(error)))


def _report(connection: Connection, lock: Any, watch: TaskWatch, stop: threading.Event) -> None:
    """Send the progress of the running task whenever it has moved."""
    last: tuple[tuple[int, int], int] = ((0, 0), 0)
    while not stop.wait(REPORT_SECONDS):
        with lock:
            now = watch.progress(), watch.ticks
            if now != last:
                try:
                    connection.send(Progress(now[0]))
                except OSError:
                    return
                last = now

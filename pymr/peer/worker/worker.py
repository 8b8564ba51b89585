"""A worker process: does the tasks of one run in one slot, until its pipe closes. `peer.workers.pool` is at
the other end of the pipe and of the terminal; `peer.workers.fork_server_process` has forked it."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import msgspec

from pymr.base.errors import DiskError, FatalError, RetryableError, RunFailedError, ScriptError
from pymr.base.memory import keep_freed_memory
from pymr.config.sections import EngineConfig
from pymr.engine.failures import kind_and_text
from pymr.engine.tasks import JobContext, TaskWatch, load_auxiliary
from pymr.jobs.external_engines import OWN_ENGINE
from pymr.jobs.job import MapReduceJob, parse_job, template
from pymr.jobs.job_types import FileTransferJob, ScriptJob
from pymr.peer.attempts.worker_protocol import (
    PIPE_CLOSED_STATUS,
    READ_BYTES_MAX,
    TO_WORKER,
    BadMessage,
    DriverOrder,
    Failed,
    FromWorker,
    MapOrder,
    MessageReader,
    Paused,
    PreviewSetup,
    Progress,
    Ready,
    ReduceOrder,
    Resumed,
    StepOrder,
    TaskDone,
    TaskOrder,
    ToWorker,
    WorkerSetup,
    frame,
)
from pymr.peer.worker.breakpoints import break_on_terminal
from pymr.peer.worker.line_editing import LineEditing
from pymr.peer.worker.python_defaults import restore_python_defaults
from pymr.projects.project import load_functions
from pymr.wire.outcomes import (
    AttemptId,
    DriverOutcome,
    Failure,
    MapOutcome,
    Outcome,
    ReduceOutcome,
    StepOutcome,
    error_digest,
)
from pymr.wire.protocol import cut_text, first_line

if TYPE_CHECKING:
    from pymr.peer.attempts.steps import StepContext
    from pymr.peer.worker.driver import DriverContext

    Context = JobContext | StepContext | DriverContext

REPORT_SECONDS = 0.1
"""How often a worker tells its progress. Lower: a livelier display; each report costs some 20 us."""

RUN_VARIABLE, ATTEMPT_VARIABLE = "PYMR_RUN", "PYMR_ATTEMPT"
"""In the environment of functions: the run, and the attempt (`map-00012-7.1`) that is being made."""

_IOLBF = 1  # of stdio.h

MapFunction = Callable[[JobContext, AttemptId, str, int, str, TaskWatch], MapOutcome | Failure]
ReduceFunction = Callable[[JobContext, AttemptId, int, str, str, TaskWatch], ReduceOutcome | Failure]
StepFunction = Callable[["StepContext", StepOrder, str, TaskWatch], StepOutcome | Failure]
DriverFunction = Callable[["DriverContext", DriverOrder, str, TaskWatch], DriverOutcome | Failure]


def _do_step(context: StepContext, order: StepOrder, run_dir: str, watch: TaskWatch) -> StepOutcome:
    from pymr.peer.worker.steps import do_step  # what workers of mapreduce runs do not need

    return do_step(context, order, run_dir, watch)


def _drive(context: DriverContext, order: DriverOrder, run_dir: str, watch: TaskWatch) -> DriverOutcome:
    from pymr.peer.worker.driver import drive

    return drive(context, order, run_dir, watch)


@dataclass(frozen=True, slots=True)
class TaskFunctions:
    """What does the tasks; outside of tests those of `peer.attempts` and `driver`."""

    do_map: MapFunction
    do_reduce: ReduceFunction
    do_step: StepFunction = field(default=_do_step)
    drive: DriverFunction = field(default=_drive)


def worker_main(pipe: int, tasks: TaskFunctions | None = None) -> NoReturn:
    """The life of a worker, once it is a session with a terminal on 0, 1 and 2. Never returns."""
    status = 1
    try:
        restore_python_defaults()
        _open_streams()
        _Worker(_Pipe(pipe), tasks).serve()
        status = 0
    except (EOFError, BrokenPipeError, ConnectionError):
        pass  # the daemon has gone, and so does its worker
    except (OSError, BadMessage):
        status = PIPE_CLOSED_STATUS
    except BaseException:  # the last boundary of a process: told, and its status says the rest
        traceback.print_exc()
    finally:
        _flush()
        os._exit(status)


def warm_up() -> None:
    """Do once, in the process that forks workers, what each would do: 13 ms to a ready one become 8."""
    with contextlib.suppress(ImportError):
        _tasks_of_pymr()
    template("mapreduce")  # reads what is declared of its fields, once
    msgspec.convert({}, EngineConfig)


def _open_streams() -> None:
    """Python's and C's streams on the terminal, line by line, of a plain kind: panes are read as text."""
    os.environ["TERM"] = "dumb"
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", errors="replace", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = open(  # noqa: SIM115
            descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        library.setvbuf(ctypes.c_void_p.in_dll(library, "stdout"), None, _IOLBF, ctypes.c_size_t(0))
    faulthandler.enable(all_threads=False)  # a crash in C code shows the Python line that called it


class _Pipe:
    """The worker's end of the pipe. Its descriptor is user code's to close or to write to: see BadMessage."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._reader: MessageReader[ToWorker] = MessageReader(TO_WORKER)
        self._received: list[ToWorker] = []

    def send(self, message: FromWorker) -> None:
        data = memoryview(frame(message))
        while data:
            data = data[os.write(self._descriptor, data) :]

    def receive(self) -> ToWorker:
        """The next message. Raises EOFError when the daemon has closed its end."""
        while not self._received:
            data = os.read(self._descriptor, READ_BYTES_MAX)
            if not data:
                raise EOFError
            self._received += self._reader.feed(data)
        return self._received.pop(0)


class _Worker:
    """lock: held by whoever sends, the main thread or that of the reports."""

    def __init__(self, pipe: _Pipe, tasks: TaskFunctions | None) -> None:
        self._pipe = pipe
        self._tasks = tasks
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._watch = TaskWatch()
        self._may_interrupt = False
        # Ctrl-C of whoever is attached interrupts a function, never what stands around it.
        signal.signal(signal.SIGINT, self._interrupt)
        break_on_terminal(self._pause, self._resume, LineEditing())

    def serve(self) -> None:
        setup = self._pipe.receive()
        if isinstance(setup, PreviewSetup):
            from pymr.peer.worker.preview import run_preview  # what workers of runs do not need

            run_preview(setup, self._pipe.send)
            return
        if not isinstance(setup, WorkerSetup):
            raise BadMessage(f"{type(setup).__name__} before the setup")
        os.environ[RUN_VARIABLE] = setup.run_id
        context = self._load(setup)
        if context is None:
            return
        if isinstance(context, JobContext):
            _prepare_memory(context)
        self._pipe.send(Ready())
        threading.Thread(target=self._report, daemon=True).start()
        run_dir = os.path.join(setup.runs_dir, setup.run_id)
        while True:
            order = self._pipe.receive()
            if isinstance(order, WorkerSetup | PreviewSetup):
                raise BadMessage("a second setup")
            outcome = self._do(context, order, run_dir)
            if os.getpid() != self._pid:  # a fork() of the user's that was not ended by its own code
                os._exit(0)
            self._finish(order.id, outcome)

    def _load(self, setup: WorkerSetup) -> Context | None:
        """The job's functions and data. None where that fails, which the daemon has been told then."""
        try:
            self._may_interrupt = True
            try:
                return _load_context(setup)
            finally:
                self._may_interrupt = False
        except BaseException as error:
            failure = _failure_of(error)
            _show(f"{setup.worker} cannot load the job's functions:\n{failure.error}")
            self._pipe.send(Failed(failure))
            return None
        finally:
            _flush()

    def _do(self, context: Context, order: TaskOrder, run_dir: str) -> Outcome:
        is_step = isinstance(order, StepOrder)
        os.environ[ATTEMPT_VARIABLE] = str(order.id.try_number) if is_step else order.id.folder
        try:
            tasks = self._tasks or _tasks_of_pymr()
            self._may_interrupt = order.id.kind != "script"  # which has the terminal, and so its Ctrl-C
            try:
                return self._do_one(tasks, context, order, run_dir)
            finally:
                self._may_interrupt = False
        except BaseException as error:  # the boundary of a task: whatever it was, the leader decides
            failure = _failure_of(error)
            _show_failure(order, failure, error)
            return failure
        finally:
            _flush()

    def _do_one(
        self,
        tasks: TaskFunctions,
        context: Context,
        order: TaskOrder,
        run_dir: str,
    ) -> Outcome:
        match order:
            case MapOrder(id, path, index) if isinstance(context, JobContext):
                return tasks.do_map(context, id, path, index, run_dir, self._watch)
            case ReduceOrder(id, partition, path) if isinstance(context, JobContext):
                return tasks.do_reduce(context, id, partition, path, run_dir, self._watch)
            case DriverOrder() if isinstance(context.job, MapReduceJob) and not isinstance(
                context, JobContext
            ):
                return tasks.drive(context, order, run_dir, self._watch)
            case StepOrder() if not isinstance(context.job, MapReduceJob):
                return tasks.do_step(context, order, run_dir, self._watch)
        raise FatalError(f"{order.id.task} is no task for a worker of a {context.job.job_type} run")

    def _finish(self, id: AttemptId, outcome: Outcome) -> None:
        with self._lock:
            self._watch.records = self._watch.groups = None
            self._watch.ticks = 0
            self._watch.moved, self._watch.phase = (0, 0), None
            try:
                self._pipe.send(TaskDone(id, _encodable(outcome)))
            except BadMessage as error:  # millions of counters
                failure = Failure("UserFunctionError", cut_text(f"the outcome of {id.task}: {error}"), True)
                self._pipe.send(TaskDone(id, failure))
        if isinstance(outcome, Failure):
            gc.collect()  # what the failed attempt gathered hung on its traceback

    def _report(self) -> None:
        """Send the progress of the running task whenever it has moved. A thread's whole life."""
        last = Progress((0, 0), 0)
        pause = threading.Event()
        while not pause.wait(REPORT_SECONDS):
            with self._lock:
                now = Progress(self._watch.progress(), self._watch.ticks, self._watch.phase)
                if now != last:
                    try:
                        self._pipe.send(now)
                    except OSError:
                        return
                    last = now

    def _pause(self, where: str) -> None:
        self._tell(Paused(cut_text(where)))

    def _resume(self) -> None:
        self._tell(Resumed())

    def _tell(self, message: FromWorker) -> None:
        """Send while a function runs; an interruption in the midst of that would leave half a message."""
        if os.getpid() != self._pid:
            return
        before, self._may_interrupt = self._may_interrupt, False
        try:
            with self._lock:
                self._pipe.send(message)
        finally:
            self._may_interrupt = before

    def _interrupt(self, number: int, stack: FrameType | None) -> None:
        if self._may_interrupt:
            raise KeyboardInterrupt


def _load_context(setup: WorkerSetup) -> Context:
    """Runs the modules of a mapreduce job's project. Raises JobError, ProjectError, InputError."""
    job = parse_job(setup.fields, f"job of run {setup.run_id}")
    engine = msgspec.convert(setup.engine, EngineConfig)
    if not isinstance(job, MapReduceJob):
        return _step_context(setup, job, engine)
    if job.engine != OWN_ENGINE:
        return _driver_context(setup, job)
    return JobContext(
        job,
        load_functions(Path(setup.projects_dir), job),
        engine,
        setup.memory_bytes,
        setup.partitions,
        load_auxiliary(setup.data_dir, job.auxiliary_data_name_mapper),
        load_auxiliary(setup.data_dir, job.auxiliary_data_name_reducer),
    )


def _step_context(setup: WorkerSetup, job: ScriptJob | FileTransferJob, engine: EngineConfig) -> StepContext:
    from pymr.peer.attempts.steps import StepContext

    if setup.cluster is None:
        raise FatalError(f"a worker of the {job.job_type} job {job.job_name} was not told of the cluster")
    return StepContext(
        job=job,
        config=setup.cluster,
        peer=setup.worker.rpartition("/")[0],
        data_dir=setup.data_dir,
        projects_dir=setup.projects_dir,
        run_id=setup.run_id,
        worker=setup.worker,
        engine=engine,
    )


def _driver_context(setup: WorkerSetup, job: MapReduceJob) -> DriverContext:
    """Of a run on an external engine, whose workers load the functions."""
    from pymr.peer.worker.driver import DriverContext

    if setup.cluster is None:
        raise FatalError(f"the driver of {job.job_name} was not told of the cluster")
    return DriverContext(
        job=job,
        config=setup.cluster,
        peer=setup.worker.rpartition("/")[0],
        data_dir=setup.data_dir,
        projects_dir=setup.projects_dir,
        partitions=setup.partitions,
    )


def _prepare_memory(context: JobContext) -> None:
    """Items are many and form no cycles; the collector would walk them again and again. The memory budget
    collects at every spill instead, which is also where the user's own cycles go."""
    gc.freeze()
    gc.disable()
    keep_freed_memory(context.memory_bytes)


def _tasks_of_pymr() -> TaskFunctions:
    from pymr.peer.attempts.attempts import do_map, do_reduce

    return TaskFunctions(do_map, do_reduce)


def _show(text: str) -> None:
    """Put a text of pymr's own into the pane, behind what was printed before."""
    _flush()
    with contextlib.suppress(Exception):  # the user's streams
        print(text, file=sys.stderr)


def _show_failure(order: TaskOrder, failure: Failure, error: BaseException) -> None:
    """Put it into the pane; where an earlier attempt has failed alike, in a line: its pane has the rest."""
    heading = f"{order.id.task}, attempt {order.id.attempt}, has failed"
    earlier = order.earlier
    if earlier is not None and earlier.digest == error_digest(failure.error):
        _show(f"{heading} as attempt {earlier.attempt} did on {earlier.worker}: {first_line(failure.error)}")
    else:  # the last lines of a script are there already
        _show(f"{heading}:\n{error.reason if isinstance(error, ScriptError) else failure.error}")


def _failure_of(error: BaseException) -> Failure:
    """The error in a form that travels: with the user's own part of the traceback."""
    kind, text = kind_and_text(error)
    text = cut_text(_utf8(text))
    script = error if isinstance(error, ScriptError) else None
    missing = getattr(error, "missing", None)
    return Failure(
        (error.kind if isinstance(error, RunFailedError) else "") or kind.__name__,
        text,
        is_final=not issubclass(kind, RetryableError),
        is_counted=getattr(error, "is_counted", True) is not False,
        missing=missing if isinstance(missing, AttemptId) else None,
        exit_status=script.exit_status if script is not None else None,
        output=script.output if script is not None else "",
        is_of_disk=isinstance(error, DiskError) and error.is_unwritable,
    )


def _encodable(outcome: Outcome) -> Outcome:
    if isinstance(outcome, Failure):
        return outcome
    counters = {_utf8(name): number for name, number in outcome.counters.items()}
    return msgspec.structs.replace(outcome, counters=counters)


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _flush() -> None:
    """Show what was printed without a line end."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()

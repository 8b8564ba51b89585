"""A preview in its worker process: the engine's map and reduce tasks over the first lines of a job's input.

What has come of it so far is told as it comes: the daemon (`peer.requests.previews`) shows that much if it
kills this.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import sys
import termios
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import orjson

from pymr.base.errors import FatalError, OutputError, PymrError, StoppedByOperatorError
from pymr.engine.disk.keys import show
from pymr.engine.failures import whole_traceback
from pymr.engine.input.files import InputFile, plan_splits
from pymr.engine.outputs import encode_lines
from pymr.engine.tasks import (
    JobContext,
    MapOutput,
    MapTask,
    ReduceOutput,
    TaskWatch,
    load_auxiliary,
    plan_reduce_tasks,
    run_map_task,
    run_reduce_task,
)
from pymr.jobs.job import MapReduceJob, parse_job
from pymr.peer.attempts.worker_protocol import FromWorker, PreviewNews, PreviewSetup, PreviewStage
from pymr.peer.input.host_plan import first_input_files
from pymr.projects.paths import shown_traceback
from pymr.projects.project import MapFunction, load_functions
from pymr.wire.protocol import cut_text

LINES_SHOWN_MAX = 100
LINE_CHARACTERS_MAX = 2_000
"""Of the items, and of the output, so many lines are shown, each cut to this."""

NEWS_SECONDS = 0.1
_WHERE_CHARACTERS_MAX = 4_000
_PR_SET_CHILD_SUBREAPER = 36
_NO_DEBUGGER = (
    "breakpoint() does nothing in a preview, into which nobody can type: submit the job, and attach to the "
    "worker of its run (`pymr attach WORKER`)"
)


def run_preview(setup: PreviewSetup, send: Callable[[FromWorker], None]) -> None:
    """Try the job, tell what came of it, and wait for the daemon, which then ends this process with all below
    it. Whatever the project's code does, nothing but OSError is raised, and that only where the daemon does
    not listen any more."""
    _be_alone()
    news = PreviewTeller(setup.projects_dir, send)
    threading.Thread(target=news.go_on_telling, daemon=True).start()
    try:
        output, output_total = try_job(setup, news)
    except BaseException as error:  # the boundary of the preview: told to whoever asked for it
        news.tell_last(error=_in_words(error))
    else:
        news.tell_last(output=output, output_total=output_total)
    _wait_for_end()


def try_job(setup: PreviewSetup, news: PreviewTeller) -> tuple[tuple[str, ...], int]:
    """Map and reduce the first lines. Returns the first lines of the output, and how many it has.

    All records are kept (no `downsample`), files are read although they were consumed (no `hold_state`), and
    there is one partition, so that the output is in the order of its keys.
    """
    job = parse_job(setup.fields, "the job")
    if not isinstance(job, MapReduceJob):
        raise FatalError("only mapreduce jobs can be previewed")
    job = msgspec.structs.replace(job, downsample=1.0, hold_state=False, compress=False)
    functions = load_functions(Path(setup.projects_dir), job)
    data_dir = next(peer.data_dir for peer in setup.cluster.peers if peer.name == setup.peer)
    context = JobContext(
        job,
        replace(functions, map=_Tap(functions.map, news)),
        setup.cluster.engine,
        setup.memory_bytes,
        1,
        load_auxiliary(data_dir, job.auxiliary_data_name_mapper),
        load_auxiliary(data_dir, job.auxiliary_data_name_reducer),
        setup.lines,
    )
    news.begin("find")
    files = first_input_files(job, setup.cluster, setup.peer, setup.lines, news.note_file, news.note_absent)
    mapped = _map(context, files, setup.scratch, news)
    return _reduce(context, mapped, setup.scratch, news)


def _map(context: JobContext, files: list[InputFile], scratch: str, news: PreviewTeller) -> MapOutput:
    news.begin("map", files[0].path if files else "")
    task = MapTask(0, tuple(plan_splits(files, max((file.size for file in files), default=1))))
    mapped = run_map_task(context, task, _folder(scratch, "map-00000"), news.watch)
    if not mapped.records:  # compressed files with nothing in them
        news.path = ""
    if mapped.bad_records_path is not None:
        with open(mapped.bad_records_path, "rb") as file:
            first = orjson.loads(file.readline())
        print(
            f"[pymr: bad records passed over, as max_bad_records allows: {mapped.bad_records:,}; the first: "
            f"{first['error']}, at {first['file']}, byte {first['offset']:,}: {first['line']!r}]",
            file=sys.stderr,
        )
    return mapped


def _reduce(
    context: JobContext, mapped: MapOutput, scratch: str, news: PreviewTeller
) -> tuple[tuple[str, ...], int]:
    tasks = plan_reduce_tasks([mapped])
    if not tasks:
        return (), 0
    news.begin("reduce", news.path)
    reduced = run_reduce_task(context, tasks[0], _folder(scratch, "reduce-00000"), news.watch)
    lines = islice(_lines_of(reduced), LINES_SHOWN_MAX)
    return tuple(map(cut_line, lines)), sum(part.items for part in reduced.parts)


def _lines_of(reduced: ReduceOutput) -> Iterator[str]:
    for part in reduced.parts:
        with open(os.path.join(reduced.directory, part.name), "rb") as file:
            yield from (line.decode().removesuffix("\n") for line in file)


def _folder(scratch: str, name: str) -> str:
    """A folder for a task, which the functions can tell from the environment as in a run."""
    os.environ["PYMR_RUN"], os.environ["PYMR_ATTEMPT"] = "preview", f"{name}-0.1"
    folder = os.path.join(scratch, name)
    os.makedirs(folder)
    return folder


class PreviewTeller:
    """What has come of a preview so far, and the way to whoever wants to know it.

    projects_dir: where the frames lie that are shown as the place where a function is.
    """

    def __init__(self, projects_dir: str, send: Callable[[FromWorker], None]) -> None:
        self.path = ""
        self.files = 0
        self.lines = 0
        self.watch = TaskWatch()
        self._stage: PreviewStage = "load"
        self._absent: tuple[str, ...] = ()
        self._projects_dir = projects_dir
        self._send = send
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._thread = threading.get_ident()
        self._items_total = 0
        self._items_kept = 0
        self._untold: list[str] = []
        self._has_told_last = threading.Event()

    def begin(self, stage: PreviewStage, path: str = "") -> None:
        self.path = path
        self._stage = stage
        self.watch = TaskWatch()
        self.tell()

    def note_file(self) -> None:
        """Count a file that was seen while the input is looked for."""
        self.files += 1

    def note_absent(self, name: str) -> None:
        """Note an entry of input_dirs that this host does not have."""
        self._absent = (*self._absent, name)

    def begins_line(self) -> bool:
        """Note that the function is given a line. False for one that it had before: the engine asks once more
        to find out what was wrong with an item."""
        number = self.watch.progress()[0]
        if number <= self.lines:
            return False
        self.lines = number
        if self._untold:  # before anything of this line can end the process
            self.tell()
        return True

    def add_item(self, item: object) -> None:
        """An item that the map function gave; it may be changed afterwards."""
        self._items_total += 1
        if self._items_kept < LINES_SHOWN_MAX:
            self._items_kept += 1
            line = item_line(item)
            with self._lock:
                self._untold.append(line)

    def tell(self, where: str = "", **last: Any) -> None:
        """Send what is new."""
        if os.getpid() != self._pid:  # a fork() of the user's that was not ended by its own code
            os._exit(0)
        with self._lock:
            items, self._untold = tuple(self._untold), []
            groups = self.watch.groups
            self._send(
                PreviewNews(
                    stage=self._stage,
                    path=self.path,
                    files=self.files,
                    lines=self.lines,
                    items=items,
                    items_total=self._items_total,
                    groups=groups.groups_read if groups is not None else 0,
                    where=where,
                    absent=self._absent,
                    **last,
                )
            )

    def tell_last(self, **last: Any) -> None:
        """Send how it ended, and nothing after it."""
        with contextlib.suppress(Exception):  # the user's streams
            sys.stdout.flush()
            sys.stderr.flush()
        self._has_told_last.set()
        self.tell(is_last=True, **last)

    def go_on_telling(self) -> None:
        """Send how far it is, again and again. A thread's whole life."""
        with contextlib.suppress(OSError):
            while not self._has_told_last.wait(NEWS_SECONDS):
                self.tell(self._where())

    def _where(self) -> str:
        """Where the main thread is, from the first frame of the project on."""
        frame = sys._current_frames().get(self._thread)
        frames = list(traceback.extract_stack(frame)) if frame is not None else []
        while frames and not frames[0].filename.startswith(self._projects_dir):
            del frames[0]
        text = shown_traceback("".join(traceback.StackSummary.from_list(frames).format()))
        return cut_text(_utf8(text.rstrip()), _WHERE_CHARACTERS_MAX)


class _Tap:
    """A map function whose items are seen on their way into the engine."""

    def __init__(self, function: MapFunction, news: PreviewTeller) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._news = news

    def __call__(self, line: str, auxiliary_data: Any) -> Any:
        is_new = self._news.begins_line()
        result: Any = self._function(line, auxiliary_data)
        if not is_new or isinstance(result, str | bytes) or not isinstance(result, Iterable):
            return result
        if not isinstance(result, list | tuple):
            return self._seen(result)
        for item in result:
            self._news.add_item(item)
        return result

    def _seen(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self._news.add_item(item)
            yield item


def item_line(item: object) -> str:
    """An item as a line of JSON, as one of the output; as Python shows it where it has no such form."""
    try:
        line = encode_lines([item]).decode().removesuffix("\n")
    except (OutputError, TypeError, ValueError, RecursionError):
        line = _utf8(show(item, LINE_CHARACTERS_MAX))
    return cut_line(line)


def cut_line(line: str) -> str:
    return line if len(line) <= LINE_CHARACTERS_MAX else line[: LINE_CHARACTERS_MAX - 1] + "…"


def _be_alone() -> None:
    """Nobody can type into a preview; what it prints comes as it is printed. It adopts what its descendants
    leave behind, so that all of that is below it when it is ended, whatever has been done to hide it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    with contextlib.suppress(OSError, termios.error):
        attributes = termios.tcgetattr(1)
        attributes[1] &= ~termios.OPOST
        termios.tcsetattr(1, termios.TCSANOW, attributes)
    sys.breakpointhook = _refuse_breakpoint


def _wait_for_end() -> NoReturn:
    """An end of its own would leave its children to the fork server, which could not tell whose they are."""
    while True:
        signal.pause()


def _refuse_breakpoint(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError(_NO_DEBUGGER)


def _in_words(error: BaseException) -> str:
    if isinstance(error, StoppedByOperatorError):  # by the end of an input that nobody types
        return _NO_DEBUGGER
    if isinstance(error, PymrError):
        return cut_text(_utf8(str(error)))
    return cut_text(_utf8(whole_traceback(error)))


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()

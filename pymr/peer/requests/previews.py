"""Previews: a job tried on the first lines of this host's input, for whoever is writing it. A worker in no
slot does it (`peer.worker.preview`), and is killed when its time is over; nothing of it is kept."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from pathlib import Path

from pymr.base.errors import FatalError, PymrError, StartError
from pymr.config.cluster import ClusterConfig, PeerConfig
from pymr.peer.attempts.worker_protocol import BadMessage, FromWorker, PreviewNews, PreviewSetup
from pymr.peer.disk.paths import PeerPaths, plain
from pymr.peer.disk.unpacked_projects import UnpackedProjects
from pymr.peer.input.host_plan import workers_memory_bytes
from pymr.peer.loop.disk_threads import Disk
from pymr.peer.loop.threads import Unavailable
from pymr.peer.requests.commands import Respond, refused
from pymr.peer.requests.submissions import CheckedSubmission, check_submission
from pymr.peer.store.thread import StoreThread
from pymr.peer.workers.link import WorkerLink
from pymr.peer.workers.pool import Workers
from pymr.projects.project import unpack_project
from pymr.wire.requests import (
    PREVIEW_LINES_MAX,
    PREVIEW_SECONDS,
    PreviewJob,
    PreviewView,
    Refused,
    Reply,
)

PREVIEWS_MAX = 2
"""Most previews at once. They are not counted among the workers: more would slow the runs down."""

PRINTED_BYTES_MAX = 64 << 10

_ANSWERS_KEPT = 8
_log = logging.getLogger("pymr")

CallLater = Callable[[float, Callable[[], object]], object]


class Previews:
    """Answers previews, each PREVIEW_SECONDS after its worker was started at the latest."""

    def __init__(
        self,
        config: ClusterConfig,
        me: PeerConfig,
        store: StoreThread,
        disk: Disk,
        projects: UnpackedProjects,
        workers: Workers,
        call_later: CallLater,
    ) -> None:
        self._config = config
        self._me = me
        self._paths = PeerPaths(me.data_dir)
        self._store = store
        self._disk = disk
        self._projects = projects
        self._workers = workers
        self._call_later = call_later
        self._numbers = count(1)
        self._under_way: dict[str, _Preview] = {}  # by request, until its processes have ended
        self._answered: OrderedDict[str, Reply] = OrderedDict()  # what a console repeats is not done again

    def answer(self, request: PreviewJob, respond: Respond) -> None:
        """Do a preview; `respond` is called once, later unless it is refused."""
        if request.id in self._answered:
            respond(self._answered[request.id])
            return
        if request.id in self._under_way:
            return  # it is answered to the first of them
        if len(self._under_way) >= PREVIEWS_MAX:
            reason = f"{self._me.name} is at {PREVIEWS_MAX} previews already; try again in a moment"
            respond(Refused(id=request.id, code="unavailable", reason=reason))
            return
        try:
            job = self._checked(request)
        except PymrError as error:
            respond(Refused(id=request.id, code="invalid", reason=str(error)))
            return
        preview = _Preview(request, job, self._paths.preview(f"{os.getpid()}-{next(self._numbers)}"), respond)
        self._under_way[request.id] = preview
        self._prepare(preview)

    def _checked(self, request: PreviewJob) -> CheckedSubmission:
        names = [peer.name for peer in self._config.peers]
        job = check_submission(request.fields, request.project_hash, peers=names, asked=self._me.name)
        if job.fields["job_type"] != "mapreduce":
            raise FatalError(f"only mapreduce jobs can be previewed; this is a {job.fields['job_type']} job")
        if not 1 <= request.lines <= PREVIEW_LINES_MAX:
            raise FatalError(f"lines = {request.lines}: a preview takes 1 to {PREVIEW_LINES_MAX:,} lines")
        plain(job.project_hash)
        return job

    def _prepare(self, preview: _Preview) -> None:
        """Have the project, and a folder to work in."""
        job = preview.job

        def look(is_unpacked: bool) -> None:
            if is_unpacked:  # by a run
                preview.projects_dir = self._paths.project(job.project_hash)
                self._make_folder(preview, None)
            else:
                self._store.ask(
                    lambda store: store.package(job.project_hash),
                    unpack,
                    lambda error: self._refuse(preview, error),
                    timeout_s=PREVIEW_SECONDS,
                )

        def unpack(package: bytes | None) -> None:
            if package is None:
                text = f"the package of project {job.project} is not in Redis: send it first"
                self._refuse(preview, PymrError(text))
                return
            preview.projects_dir = os.path.join(preview.scratch, "projects")
            self._make_folder(preview, package)

        self._projects.check(job.project_hash, job.project, look, lambda error: self._refuse(preview, error))

    def _make_folder(self, preview: _Preview, package: bytes | None) -> None:
        def work() -> None:
            os.makedirs(preview.scratch)
            if package is not None:
                folder = Path(preview.projects_dir, preview.job.project)
                folder.parent.mkdir()
                unpack_project(package, folder, preview.job.project_hash)

        def refuse(error: Exception) -> None:
            if isinstance(error, Unavailable):  # the thread was busy for too long
                error = Unavailable(f"the disk of {self._me.name} is busy; try again in a moment")
            self._refuse(preview, error)

        self._disk.do("project", work, lambda _: self._start(preview), refuse, timeout_s=PREVIEW_SECONDS)

    def _start(self, preview: _Preview) -> None:
        setup = PreviewSetup(
            cluster=self._config,
            peer=self._me.name,
            fields=preview.job.fields,
            projects_dir=preview.projects_dir,
            scratch=preview.scratch,
            memory_bytes=workers_memory_bytes(self._config, self._me.host),
            lines=preview.request.lines,
        )

        def on_message(message: FromWorker) -> None:
            if isinstance(message, PreviewNews):
                preview.take(message)
                if message.is_last:
                    self._end(preview, message.error)

        def on_end(how: str) -> None:
            self._end(preview, f"the worker of the preview {how}")
            if preview.link is not None:
                preview.link.close()  # not before: hung up on, it would end by itself, and leave its children
            self._forget(preview)

        try:
            preview.link = self._workers.start_guest(setup, preview.printed, on_message, on_end)
        except BadMessage as error:
            self._refuse(preview, FatalError(str(error)))
            return
        except StartError as error:
            self._refuse(preview, error)
            return
        self._call_later(PREVIEW_SECONDS, lambda: self._end(preview, given_up(preview.news, PREVIEW_SECONDS)))

    def _end(self, preview: _Preview, error: str) -> None:
        """Answer, if that is still to be done, and end the worker, with all it has started."""
        if preview.link is None or preview.is_answered:
            return
        preview.link.drain()  # what was printed, of which the pipe may have overtaken the last
        self._workers.end_guest(preview.link)
        self._respond(preview, preview.view(self._me.name, error))

    def _refuse(self, preview: _Preview, error: Exception) -> None:
        self._respond(preview, refused(preview.request, error))
        self._forget(preview)

    def _respond(self, preview: _Preview, reply: Reply) -> None:
        preview.is_answered = True
        self._answered[preview.request.id] = reply
        if len(self._answered) > _ANSWERS_KEPT:
            self._answered.popitem(last=False)
        preview.respond(reply)

    def _forget(self, preview: _Preview) -> None:
        """Make room for another: its processes have ended."""
        del self._under_way[preview.request.id]
        self._disk.do(
            "clean",
            lambda: shutil.rmtree(preview.scratch, ignore_errors=True),
            lambda _: None,
            lambda error: _log.warning("cleaning up failed: %s", error),
        )


class _Preview:
    """A preview under way."""

    def __init__(self, request: PreviewJob, job: CheckedSubmission, scratch: str, respond: Respond) -> None:
        self.request = request
        self.job = job
        self.scratch = scratch
        self.respond = respond
        self.projects_dir = ""
        self.printed = Printed()
        self.link: WorkerLink | None = None
        self.news = PreviewNews(stage="load")
        self.is_answered = False
        self._items: list[str] = []
        self._began = time.monotonic()

    def take(self, news: PreviewNews) -> None:
        self.news = news
        self._items += news.items

    def view(self, peer: str, error: str) -> PreviewView:
        news = self.news
        return PreviewView(
            id=self.request.id,
            peer=peer,
            path=news.path,
            lines=news.lines,
            items=tuple(self._items),
            items_total=news.items_total,
            output=news.output,
            output_total=news.output_total,
            printed=self.printed.text(),
            error=error,
            absent=news.absent,
            seconds=time.monotonic() - self._began,
        )


class Printed:
    """What the functions print: the first PRINTED_BYTES_MAX of it."""

    is_full = False

    def __init__(self) -> None:
        self.end = 0
        self._kept = bytearray()

    def append(self, data: bytes) -> None:
        self.end += len(data)
        self._kept += data[: PRINTED_BYTES_MAX - len(self._kept)]

    def close(self) -> None:
        """Nothing is open."""

    def text(self) -> str:
        text = self._kept.decode("utf-8", "replace")
        left_out = self.end - len(self._kept)
        return f"{text}\n... ({left_out:,} bytes more were printed)" if left_out else text


def given_up(news: PreviewNews, seconds: float) -> str:
    """What is told of a preview whose time is over. news: the last of it."""
    text = f"given up after {seconds:g} s: "
    if news.stage == "load":
        text += "the project was being loaded; no line was mapped"
    elif news.stage == "find":
        text += f"the input was being looked for; {_counted(news.files, 'file')} seen until then, "
        text += "and no line mapped"
    elif news.stage == "map":
        text += f"{_counted(news.lines - 1, 'line')} mapped until then"
    else:
        text += f"all {_counted(news.lines, 'line')} mapped, "
        text += f"and {_counted(news.groups - 1, 'group')} reduced until then"
    return f"{text}; the project's code was at\n{news.where}" if news.where else text


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun} was" if number == 1 else f"{max(number, 0):,} {noun}s were"

"""The queue of a cluster, for Python programs and notebooks. See docs/python-api.md."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from pymr.api.displays import Details, OutputItems, Rows
from pymr.cli.rows import (
    history_table,
    job_object,
    job_view_lines,
    job_view_object,
    jobs_table,
    queue_heading,
)
from pymr.client import Client, ClientError, Listing, Outcome, decompressed
from pymr.config.choice import choose_config
from pymr.config.cluster import ClusterConfig
from pymr.jobs.job import Job, template

HISTORY_ROWS = 100


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that is in the queue now. replaced: one of its name was there."""

    job_name: str
    version: int
    replaced: bool


class Scheduler:
    """The queue of a cluster; any of its peers answers.

    config: a cluster.toml, or what was read from one; None for $PYMR_CONFIG, then ./cluster.toml.
    projects_dir: the folder of projects; None for `projects` beside the cluster.toml.
    name: whose key is used, of those in security.keys_dir.

    Any thread may use it, and several at once. It prints nothing. A context that closes its connections;
    without one they are closed with the process.
    Methods raise ConfigError, JobError and ProjectError for what is wrong with a definition, UnreachableError
    when no peer answers, RefusedError when one says no: all of them are PymrError.
    """

    def __init__(
        self,
        config: ClusterConfig | str | os.PathLike[str] | None = None,
        projects_dir: str | os.PathLike[str] | None = None,
        *,
        name: str = "operator",
    ) -> None:
        self.config = choose_config(config)
        beside = Path(self.config.source or "cluster.toml").absolute().parent / "projects"
        self.projects_dir = Path(projects_dir).absolute() if projects_dir is not None else beside
        self._clients = _Clients(self.config, name)

    def __enter__(self) -> Scheduler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; no other thread may be using it."""
        self._clients.close()

    def __repr__(self) -> str:
        return f"<Scheduler of {self.config.name}: {self.config.source or 'no file'}>"

    # ---- templates

    def get_mapreduce_job_template(self) -> dict[str, Any]:
        """Every field of a mapreduce job with its default; those that have to be filled in are None."""
        return template("mapreduce")

    def get_script_template(self) -> dict[str, Any]:
        """Every field of a script job, likewise."""
        return template("script")

    def get_file_transfer_template(self) -> dict[str, Any]:
        """Every field of a file_transfer job, likewise."""
        return template("file_transfer")

    # ---- changing the queue

    def submit_job(self, job: Mapping[str, Any] | Job) -> Submission:
        """Put a job into the queue, its project packed from projects_dir; it replaces one of its name.

        job: its fields, as a template has them (None: left out), or a typed job.
        """
        answer = self._client().submit(job, self.projects_dir)
        return Submission(answer.job_name, answer.version, answer.replaced)

    def delete_job(self, job_name: str) -> None:
        """Take a job off the queue; a run of it ends."""
        self._client().delete(job_name)

    def undelete_job(self, job_name: str) -> Submission:
        """Restore a job deleted in the last 10 minutes, with its project, as if it were submitted again.

        Raises RefusedError with code `unknown` where there is none, `conflict` where one of its name is in
        the queue.
        """
        answer = self._client().undelete(job_name)
        return Submission(answer.job_name, answer.version, answer.replaced)

    def retry_job(self, name: str) -> None:
        """Queue a failed job once more, with all of its group. name: of a job, or of a group."""
        self._client().retry(name)

    def force_job(self, job_name: str) -> None:
        """Let a job run again now, although it has run in this cycle."""
        self._client().force(job_name)

    def pause(self) -> None:
        """Start no more runs; those that are running go on."""
        self._client().pause()

    def resume(self) -> None:
        """Start runs again."""
        self._client().resume()

    # ---- looking

    @property
    def problem(self) -> str:
        """What is wrong with the cluster, by its last answer to this thread, which may have been old then;
        "" if nothing."""
        return self._client().problem

    def jobs(self) -> Rows:
        """All jobs in the order of the queue: the fields and the status of each."""
        view, now = self._client().jobs(), time.time()
        rows = [job_object(row) for row in view.rows]  # which hold nothing but builtins
        heading = "\n".join(filter(None, [queue_heading(view, now), view.problem]))
        return Rows(rows, partial(jobs_table, view.rows, now), heading)

    def history(self, job_name: str = "", limit: int = HISTORY_ROWS) -> Rows:
        """The runs, the latest first. job_name: "" for those of all jobs."""
        runs = self._client().history(job_name, limit)
        return Rows([msgspec.to_builtins(run) for run in runs], partial(history_table, runs))

    def job(self, job_name: str) -> Details:
        """A job with its phases, counters, failed attempts and latest runs; of one that has left the queue
        its runs, and None as its status. Raises ClientError when there never was one."""
        client = self._client()
        view = client.job(job_name)
        runs = view.runs if view.runs or view.problem else client.history(job_name)
        if view.row is None and not runs and view.problem:
            raise ClientError(f"nothing is known of {job_name} now: {view.problem}")
        if view.row is None and not runs:
            raise ClientError(f"there is no job {job_name}: it is not in the queue and has never run")
        values = msgspec.to_builtins(job_view_object(job_name, view, runs))
        return Details(values, job_view_lines(job_name, view, runs, 0))

    def wait(self, job_name: str, timeout: float | None = None) -> Outcome:
        """Wait for the first run begun after the job's last submission; how it ended, be it failed.

        Raises TimeoutError after `timeout` seconds, ClientError when there is no such job.
        """
        outcome = self._client().wait(job_name, timeout)
        if outcome is None:
            raise TimeoutError(f"{job_name} has not ended after {timeout:g} s; it is still running")
        return outcome

    def output(self, job_name: str, *, partial: bool = False) -> OutputItems:
        """The items of a job's output on all peers. Raises ClientError where there is none, or some of it is
        not there; with `partial`, what is there is given, and `missing` tells what is not.

        What is iterated over is one run's output, or a ClientError tells that a new run has replaced it.
        """
        return OutputItems(self._client().output(job_name, partial=partial), self._read_lines)

    def _read_lines(self, listing: Listing) -> Iterator[bytes]:
        client = self._client()
        for part in listing.parts:
            yield from _lines(decompressed(client.read_part(listing.job_name, part), part.name))
        if client.output(listing.job_name, partial=bool(listing.missing)).run_id != listing.run_id:
            raise ClientError(
                f"a new run replaced the output of {listing.job_name} while it was read; read it again"
            )

    def _client(self) -> Client:
        return self._clients.of_this_thread()


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The lines of a file that comes in pieces."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    if rest:
        yield rest


class _Clients:
    """A client for each thread, to which its sockets belong. Those of threads that have ended are closed."""

    def __init__(self, config: ClusterConfig, name: str) -> None:
        self._config = config
        self._name = name
        self._lock = threading.Lock()
        self._by_thread: dict[threading.Thread, Client] = {}
        self._is_closed = False

    def of_this_thread(self) -> Client:
        thread = threading.current_thread()
        with self._lock:
            if self._is_closed:
                raise ClientError("this scheduler is closed: make another one")
            for ended in [other for other in self._by_thread if not other.is_alive()]:
                self._by_thread.pop(ended).close()
            if thread not in self._by_thread:
                self._by_thread[thread] = Client(self._config, self._name)
            return self._by_thread[thread]

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            while self._by_thread:
                self._by_thread.popitem()[1].close()

"""A run in a cluster of its own: submits the job, has it watched (`watch`), and takes its output."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable

import orjson
from msgspec.structs import replace

from pymr.base.errors import StartError, disk_error
from pymr.client import Client
from pymr.client.errors import RefusedError, UnreachableError
from pymr.engine.input.files import BAD_RECORDS_NAME, list_input_files
from pymr.engine.staged_output import listed_parts
from pymr.jobs.job import MapReduceJob
from pymr.local.cluster import START_SECONDS, EmbeddedCluster
from pymr.local.watch import RunWatcher
from pymr.runs.info import RunRequest, RunResult
from pymr.runs.phases import Observer

_POLL_SECONDS = 0.01


def run_in_cluster(request: RunRequest, cluster: EmbeddedCluster, observer: Observer) -> RunResult:
    """Run the job in a cluster that is starting; its output then lies in the data folder of the peer.

    Raises PymrError with what failed and where.
    """
    list_input_files(request.input_dirs)  # while the peer starts: problems are reported as inline
    cluster.wait_until_listening()
    with Client(cluster.config) as client:
        _wait_for_leader(client, cluster)
        client.submit(_submitted(request, cluster), request.projects_dir)
        started_s = time.monotonic() - cluster.began_at
        paths = _OwnPaths(request, cluster.paths.data_dir)
        run = RunWatcher(client, cluster, request.job.job_name, observer, paths).until_end()
    output = cluster.paths.output(request.job.job_name)
    bad_records = os.path.join(cluster.paths.data_dir, "bad-records.jsonl")
    if run.bad_records:
        _translate_bad_records(os.path.join(output, BAD_RECORDS_NAME), bad_records, paths)
    return RunResult(
        files=run.files,
        records=run.records,
        bytes=run.bytes,
        values=run.values,
        groups=run.groups,
        bad_records=run.bad_records,
        counters=run.counters,
        outputs=[(output, listed_parts(output))],
        bad_records_paths=[bad_records],
        phase_seconds={"start": started_s} | run.phase_seconds,
        warnings=tuple(map(paths, run.warnings)),
    )


def _wait_for_leader(client: Client, cluster: EmbeddedCluster) -> None:
    """Until jobs are taken. Raises StartError."""
    deadline = time.monotonic() + START_SECONDS
    why = ""
    while time.monotonic() < deadline:
        try:
            view = client.cluster(timeout_s=1.0)
            if view.leader:
                return
            why = view.problem
        except (UnreachableError, RefusedError) as error:
            why = str(error)
        cluster.check()
        time.sleep(_POLL_SECONDS)
    raise StartError(f"the cluster of this run did not come up within {START_SECONDS:g} s: {why}")


def _submitted(request: RunRequest, cluster: EmbeddedCluster) -> MapReduceJob:
    """The job as the cluster is to have it: with its folders as they are here, and to be run once."""
    folders = tuple(
        cluster.readable_path(path, f"input-{number}") for number, path in enumerate(request.input_dirs)
    )
    # The scratch folder holds no earlier output: what is added to the present one is added at the end.
    return replace(request.job, input_dirs=folders, run_once=True, hold_state=False, delete_job_data=True)


def _translate_bad_records(source_path: str, target_path: str, in_own_words: Callable[[str], str]) -> None:
    """Copy the list of bad records, with the user's paths in the tracebacks."""
    try:
        with open(source_path, "rb") as source, open(target_path, "wb") as target:
            for line in source:
                entry = orjson.loads(line)
                entry |= {name: in_own_words(entry[name]) for name in ("error", "traceback")}
                target.write(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise disk_error("writing", target_path, error) from error


class _OwnPaths:
    """Puts the user's own paths in the place of those that the peer has for the same things."""

    def __init__(self, request: RunRequest, data_dir: str) -> None:
        self._unpacked = re.compile(re.escape(os.path.join(data_dir, "projects")) + "/[0-9a-f]{16,}/")
        self._projects = os.path.join(os.path.abspath(request.projects_dir), "")
        self._linked = os.path.join(data_dir, "auxiliary", "")
        self._auxiliary = os.path.join(request.data_dir, "auxiliary", "")

    def __call__(self, text: str) -> str:
        return self._unpacked.sub(lambda _: self._projects, text).replace(self._linked, self._auxiliary)

"""Places whose jobs need no cluster of their own: run by one that lasts, or in the process of the tests.

What `pymr run` costs is nearly all the start of its cluster. Where only the engine decides what comes out, a
test loses nothing by doing without: the same project, the same job.toml, the same words at the end.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cluster.clusters import Cluster
from cluster.inline import request_of, run_here
from cluster.running import Finished, Place, lives, processes_of, wait_until
from msgspec.structs import replace

from pymr.base.errors import JobError
from pymr.client import ClientError
from pymr.local.output import PaneLines
from pymr.local.run import RunRequest
from pymr.peer.disk.paths import PeerPaths

PEER = "alpha"
END_S = 20.0
"""Within this time nothing may be left of a run that has ended."""

_numbers = count(1)


class SharedPlace(Place):
    """A place that takes the arguments of `pymr run`; in `cluster`, of one peer, goes all but `--inline`.

    Its workers are the cluster's; settings of the engine have to be the cluster's, or go with `--inline`.
    Of what `pymr run` prints, `out` has what the workers print. Paths are not put into the user's own words.
    """

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        super().__init__(folder)
        self._cluster = cluster
        self._standing = set(processes_of(cluster.marker))

    def run(
        self, *arguments: object, job: object = "job.toml", timeout_s: float = 60.0, **options: Any
    ) -> Finished:
        assert not options, f"{sorted(options)} need a process of its own: use `place`"
        request = request_of(self.folder, job, "--output", self.output, *arguments)
        if request.inline:
            out, error = "", run_here(request)
        else:
            out, error = self._run_in_cluster(request, timeout_s)
        told = f"pymr: {request.job.job_name}: failed: {error}\n" if error else ""
        return Finished(1 if error else 0, out, told)

    def left_processes(self) -> list[str]:
        found = set(processes_of(self._cluster.marker)) - self._standing
        return [f"{process.pid} {process.name()}" for process in found if lives(process)]

    def left_files(self) -> list[str]:
        return super().left_files() + self._cluster.left_runs()

    def _run_in_cluster(self, request: RunRequest, timeout_s: float) -> tuple[str, str]:
        """Run it in the cluster, and fetch its output as `pymr run` would. What the workers have printed, and
        what was wrong, if anything."""
        assert request.engine == self._cluster.config.engine, "a cluster has its own settings: use `place`"
        name = f"{request.job.job_name}-{next(_numbers)}"
        job = replace(request.job, job_name=name, input_dirs=request.input_dirs, run_once=True)
        client = self._cluster.client
        with self._auxiliary_data(Path(request.data_dir)):
            try:
                client.submit(job, request.projects_dir)
            except JobError as error:
                return "", str(error)
            outcome = self._cluster.finish(name, timeout_s)
        assert wait_until(lambda: not self._cluster.left_runs(), END_S), self._cluster.left_runs()
        printed = "".join(self._printed(outcome.run_id))
        if outcome.is_success:
            shutil.rmtree(request.output_dir, ignore_errors=True)
            shutil.copytree(self._cluster.data(PEER) / "jobs" / name / "reduce", request.output_dir)
            return printed, ""
        client.delete(name)
        with pytest.raises(ClientError, match="has no output"):
            client.output(name)
        return printed, outcome.exception

    def _printed(self, run_id: str) -> Iterator[str]:
        """What the workers of a run have printed, each line under the name of its worker."""
        peer = self._cluster.config.peers[0]
        for slot in range(peer.workers):
            lines: list[str] = []
            pane = PaneLines(Path(PeerPaths(peer.data_dir).panes), slot, run_id, lines.extend)
            while pane.look():
                continue
            pane.end()
            yield from (f"{PEER}/{slot} │ {line}\n" for line in lines)

    @contextmanager
    def _auxiliary_data(self, folder: Path) -> Iterator[None]:
        """Lay what lies beside the job where the peer looks for it."""
        ours, theirs = folder / "auxiliary", self._cluster.data(PEER) / "auxiliary"
        if ours.exists():
            shutil.copytree(ours, theirs)
        yield
        shutil.rmtree(theirs, ignore_errors=True)

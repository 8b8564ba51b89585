"""The harness of the cluster tests: a cluster of real daemons with a Redis of its own, in a test's folder."""

from __future__ import annotations

import json
import subprocess
import textwrap
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from cluster.daemons import DEADLINE_S, Daemons
from cluster.inline import request_of, run_here
from cluster.running import PYMR, Finished, finish, processes_of

from pymr.client import ClientError
from pymr.client.wait import Outcome
from pymr.wire.requests import GetJob, JobView

PROJECT = "p"


class Cluster(Daemons):
    """Daemons that a test asks, and gives jobs. job: the one that is meant where none is named."""

    job = "job"

    # -- asking

    def leader(self, timeout_s: float = DEADLINE_S) -> str:
        """The peer that leads, by its own word."""

        def ask() -> str:
            for name, process in self.processes.items():
                if process.poll() is None and process.pid not in self.paused:
                    view = self.view(name)
                    if view is not None and view.leader == name:
                        return name
            return ""

        found: str = self.wait_for(ask, timeout_s, "a leader")
        return found

    def view_leader(self, name: str) -> str:
        """Whom a peer takes for the leader."""
        view = self.view(name)
        return view.leader if view else ""

    def wait_for_other_leader(self, than: str, timeout_s: float = DEADLINE_S) -> str:
        found: str = self.wait_for(
            lambda: (leader := self.leader()) != than and leader, timeout_s, f"another leader than {than}"
        )
        return found

    def followers(self) -> list[str]:
        leader = self.leader()
        return [name for name in self.names if name != leader and self.processes[name].poll() is None]

    def epoch(self) -> int:
        return max((view.epoch for name in self.names if (view := self.view(name))), default=0)

    def job_view(self, job_name: str = "", peer: str = "") -> JobView | None:
        """A job as a peer, or any, tells of it; None where there is no answer."""
        with suppress(ClientError):
            if not peer:
                return self.client.job(job_name or self.job)
            request = GetJob(id=uuid.uuid4().hex, job_name=job_name or self.job)
            return self.client._ask(request, JobView, peer=peer, timeout_s=0.5)
        return None

    def phase(self, job_name: str = "") -> str:
        """The phase in which the run of a job is; "" where there is none."""
        view = self.job_view(job_name)
        return (view.row.current_phase or "") if view and view.row else ""

    def waiting_for(self, job_name: str = "") -> str:
        """What a run cannot go on without."""
        view = self.job_view(job_name)
        return view.row.waiting_for if view and view.row else ""

    def problem(self) -> str:
        """Why nothing is scheduled, as any peer has it."""
        views = [self.view(name) for name in self.names]
        return next((view.problem for view in views if view and "has forgotten" in view.problem), "")

    def remembered_jobs(self) -> set[int]:
        """How many jobs the peers keep in mind, without Redis."""
        memories = [self.client._memory_of(name) for name in self.names]
        return {memory.jobs if memory else -1 for memory in memories}

    def busy_workers(self) -> list[str]:
        """Workers that are doing something."""
        return [row.name for row in self.client.workers() if row.state != "idle"]

    def processes_named(self, name: str) -> list[psutil.Process]:
        """Processes of this cluster, whoever started them, by their name."""
        return [process for process in processes_of(self.marker) if process.name() == name]

    def wait_for_phase(self, phase: str, job_name: str = "") -> None:
        job_name = job_name or self.job
        self.wait_for(
            lambda: self.phase(job_name) == phase, what=f"the phase {phase} of {job_name or self.job}"
        )

    # -- jobs

    def project(self, map_source: str, reduce_source: str, name: str = PROJECT) -> None:
        """Write the modules of a project."""
        folder = self.folder / "projects" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "map_functions.py").write_text(textwrap.dedent(map_source))
        (folder / "reduce_functions.py").write_text(textwrap.dedent(reduce_source))

    def feed(self, peer: str, name: str, *lines: str) -> Path:
        """Write an input file of these lines into the data folder of a peer."""
        path = self.input_of(peer) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    def job_fields(self, **fields: Any) -> dict[str, Any]:
        """A word count of `input` in 3 partitions, with these fields over it."""
        values: dict[str, Any] = {
            "job_type": "mapreduce",
            "job_name": self.job,
            "job_priority": 1,
            "run_once": True,
            "project_name": PROJECT,
            "input_dirs": ["input"],
            "map_function_name": "words",
            "reduce_function_name": "total",
            "partitions": 3,
        }
        return {name: value for name, value in (values | fields).items() if value is not None}

    def submit(self, **fields: Any) -> str:
        """Submit a job; its name."""
        answer = self.client.submit(self.job_fields(**fields), self.folder / "projects")
        return answer.job_name

    def finish(self, job_name: str = "", timeout_s: float = DEADLINE_S) -> Outcome:
        """Wait for the end of the job's run, however that is."""
        job_name = job_name or self.job
        outcome = self.client.wait(job_name, timeout_s)
        assert outcome is not None, f"{job_name} has not ended after {timeout_s:.0f} s: {self.told(job_name)}"
        return outcome

    def succeed(self, job_name: str = "", timeout_s: float = DEADLINE_S) -> Outcome:
        outcome = self.finish(job_name, timeout_s)
        assert outcome.is_success, f"{outcome.job_name}: {outcome.status}: {outcome.exception}"
        return outcome

    def told(self, job_name: str) -> str:
        view = self.job_view(job_name)
        return "nobody answers" if view is None else f"{view.row} {view.phases} {view.failed_attempts}"

    def output(self, job_name: str = "") -> list[Any]:
        """All items of a job's output, read from the peers through the client, in the order of its files."""
        job_name = job_name or self.job
        listing = self.client.output(job_name)
        pieces = [b"".join(self.client.read_part(job_name, part)) for part in listing.parts]
        return [json.loads(line) for piece in pieces for line in piece.splitlines()]

    def reference(self, *folders: str | Path, **fields: Any) -> list[Any]:
        """The items that `pymr run --inline` would give for the same job. folders: its input, where it is not
        `input` of every peer."""
        name = uuid.uuid4().hex[:8]
        job, output = self.folder / f"reference-{name}.toml", self.folder / f"reference-{name}"
        values = self.job_fields(**fields)
        job.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
        inputs = [str(folder) for folder in folders] or [str(self.input_of(peer)) for peer in self.names]
        options = [word for folder in inputs for word in ("--input", folder)]
        projects = ["--projects", self.folder / "projects"]
        request = request_of(self.folder, job, *projects, *options, "--inline", "--output", output)
        assert run_here(request) == ""
        return [
            json.loads(line)
            for part in sorted(output.glob("part-*"))
            for line in part.read_text().splitlines()
        ]

    def start_pymr(self, *arguments: object, config: bool = True) -> subprocess.Popen[str]:
        """Start a command of `pymr` with this cluster's configuration."""
        where = {"PYMR_CONFIG": str(self.path)} if config else {}
        return subprocess.Popen(
            [str(PYMR), *map(str, arguments)],
            env=self.environment() | where,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def pymr(self, *arguments: object, config: bool = True) -> Finished:
        return finish(self.start_pymr(*arguments, config=config))


def ordered(items: Sequence[Any]) -> list[Any]:
    """Items in an order that does not depend on who reduced them."""
    return sorted(items, key=json.dumps)

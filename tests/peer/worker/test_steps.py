"""Steps: committed whole or not at all, found again after a restart, done by workers of their own kind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from valid_jobs import SCRIPT, UPLOAD
from worker_bench import RUN, Bench

from pymr.base import faults
from pymr.base.errors import DiskError, ScriptError
from pymr.config.cluster import ClusterConfig
from pymr.config.sections import EngineConfig
from pymr.engine.tasks import TaskWatch
from pymr.jobs.job import parse_job
from pymr.jobs.job_types import ScriptJob
from pymr.peer.attempts.steps import StepContext
from pymr.peer.attempts.worker_protocol import MapOrder, StepOrder, WorkerSetup
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.recovery_scan import found_runs, held_attempts
from pymr.peer.worker.steps import do_step
from pymr.peer.worker.worker import TaskFunctions
from pymr.peer.workers.events import WorkerDied, WorkerFinished, WorkerLoaded, WorkerProgressed
from pymr.wire.outcomes import AttemptId, Failure, MapOutcome, ReduceOutcome, StepOutcome
from pymr.wire.protocol import STEPS, StepInput

POINTS = ["step.before_outcome", "attempt.after_write", "attempt.before_rename", "commit.after_rename"]
ID = AttemptId(RUN, "script-00000", "3.2")
OUTCOME = StepOutcome(files=3, bytes=1 << 40, skipped=2, output="last words", counters={"x": 1.5})


class Host:
    """A data folder in which steps are done. done: how often; what: does it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths = PeerPaths(str(folder))
        self.done = 0
        self.what: Callable[[str], StepOutcome] = lambda folder: OUTCOME
        monkeypatch.setattr("pymr.peer.attempts.scripts.run_script", self._run)
        job = parse_job(SCRIPT)
        assert isinstance(job, ScriptJob)
        self.context = StepContext(
            job, ClusterConfig(), "alpha", str(folder), "", RUN, "alpha/0", EngineConfig()
        )
        self.watch = TaskWatch()

    def _run(self, context: StepContext, order: StepOrder, folder: str, watch: TaskWatch) -> StepOutcome:
        self.done += 1
        assert context is self.context and watch is self.watch
        assert os.listdir(folder) == []
        return self.what(folder)

    def do(self) -> StepOutcome:
        return do_step(self.context, StepOrder(ID), self.paths.run(RUN), self.watch)

    def left(self) -> list[str]:
        return sorted(os.listdir(self.paths.run(RUN)))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def fail_at(monkeypatch: pytest.MonkeyPatch, point: str, what: str) -> None:
    monkeypatch.setattr(faults, "_faults", {point: [(what, 1)]})
    monkeypatch.setattr(faults, "_passes", {})


def killed_at(monkeypatch: pytest.MonkeyPatch, point: str, work: Callable[[], object]) -> None:
    """Do the work in a process of its own, which is killed at a fault point."""
    pid = os.fork()
    if pid == 0:
        try:
            fail_at(monkeypatch, point, "kill")
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_finished_step_is_found_again_and_not_done_twice(host: Host) -> None:
    host.what = lambda folder: (Path(folder, "list").write_bytes(b"x"), OUTCOME)[1]
    assert host.do() == OUTCOME
    assert host.do() == OUTCOME
    assert found_runs(host.paths) == [RUN]
    (held,) = held_attempts(host.paths)

    assert host.done == 1
    assert (held.result.id, held.result.outcome, held.digest) == (ID, OUTCOME, "")
    assert sorted(os.listdir(host.paths.attempt(ID))) == ["list", "outcome"]


@pytest.mark.parametrize("point", POINTS)
def test_step_killed_anywhere_is_whole_or_not_there(
    host: Host, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    killed_at(monkeypatch, point, host.do)
    is_finished = bool(held_attempts(host.paths))
    found_runs(host.paths)  # as a daemon does that starts

    assert is_finished == (point == "commit.after_rename")
    assert host.left() == ([ID.folder] if is_finished else [])
    assert host.do() == OUTCOME
    assert host.left() == [ID.folder]


def test_a_full_disk_counts_against_a_script_only_when_that_has_run(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    for point in ("step.before_outcome", "attempt.begin"):
        fail_at(monkeypatch, point, "enospc")
        with pytest.raises(DiskError) as raised:
            host.do()
        counted.append(raised.value.is_counted)

    assert counted == [True, False]
    assert host.done == 1


@pytest.mark.parametrize("point", POINTS)
def test_failed_step_leaves_nothing_and_can_be_done_again(
    host: Host, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    fail_at(monkeypatch, point, "enospc")
    with pytest.raises(DiskError, match="No space left"):
        host.do()
    assert host.left() == []

    def fail(folder: str) -> StepOutcome:
        raise ScriptError("ended with exit status 1")

    host.what, before = fail, host.what
    with pytest.raises(ScriptError):
        host.do()
    assert host.left() == []
    host.what = before
    assert host.do() == OUTCOME


def test_damaged_outcome_is_no_result(host: Host) -> None:
    host.do()
    os.truncate(os.path.join(host.paths.attempt(ID), "outcome"), 3)
    assert held_attempts(host.paths) == []
    assert host.do() == OUTCOME

    assert host.done == 2


# -- in workers


def do_map(*_: Any) -> MapOutcome:
    raise AssertionError("no task of a step's worker")


def do_reduce(*_: Any) -> ReduceOutcome:
    raise AssertionError("no task of a step's worker")


def do_a_step(context: StepContext, order: StepOrder, run_dir: str, watch: TaskWatch) -> StepOutcome:
    """Tells on the watch and in its output what it was given."""
    watch.moved = (STEPS.index(order.id.kind) + 1, 1 << 33)
    print(os.environ["PYMR_RUN"], os.environ["PYMR_ATTEMPT"], flush=True)
    input()
    if order.id.number:
        raise DiskError("the disk is full")
    peers = [peer.name for peer in context.config.peers]
    shown = [
        context.job.job_type,
        context.peer,
        context.data_dir,
        context.projects_dir,
        context.worker,
        peers,
    ]
    return StepOutcome(output=f"{shown} {order.inputs} {run_dir}")


def setup(bench: Bench, fields: dict[str, Any], cluster: ClusterConfig | None) -> WorkerSetup:
    mapreduce = bench.setup()
    return WorkerSetup(
        run_id=RUN,
        worker="alpha/0",
        fields=fields,
        projects_dir="",
        data_dir=mapreduce.data_dir,
        engine={},
        memory_bytes=mapreduce.memory_bytes,
        partitions=0,
        runs_dir=mapreduce.runs_dir,
        cluster=cluster,
    )


def test_worker_does_steps_and_no_others(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tasks=TaskFunctions(do_map, do_reduce, do_a_step))
    try:
        bench.workers.start(0, setup(bench, UPLOAD, ClusterConfig()))
        bench.event(WorkerLoaded)
        for kind in STEPS:
            id = AttemptId(RUN, f"{kind}-00000", "9.12")
            inputs = (StepInput("list-00000", "9.1", "beta"),)
            assert bench.workers.assign(0, StepOrder(id, inputs))
            assert bench.workers.view(0).state == kind  # type: ignore[union-attr]
            assert bench.event(WorkerProgressed).done == (STEPS.index(kind) + 1, 1 << 33)
            bench.workers.type_into(0, b"\n")
            outcome = bench.event(WorkerFinished).outcome
            shown = ["file_transfer", "alpha", str(tmp_path), "", "alpha/0", []]
            assert outcome == StepOutcome(output=f"{shown} {inputs} {tmp_path}/runs/{RUN}")
            bench.events.clear()
        bench.prints(f"{RUN} 12\r\n")

        bench.workers.assign(0, StepOrder(AttemptId(RUN, "copy-00001", "9.1")))
        bench.workers.type_into(0, b"\n")
        failed = bench.event(WorkerFinished)
        assert (failed.outcome.kind, failed.outcome.is_final) == ("DiskError", False)

        bench.workers.assign(0, MapOrder(AttemptId(RUN, "map-00000", "9.1"), "", 0))
        refused = bench.event(WorkerFinished).outcome
        assert isinstance(refused, Failure) and refused.is_final
        assert "map-00000 is no task for a worker of a file_transfer run" in refused.error

        bench.workers.start(0, bench.setup())
        bench.workers.assign(0, StepOrder(ID))
        assert (
            "script-00000 is no task for a worker of a mapreduce run"
            in bench.event(WorkerFinished).outcome.error
        )

        bench.workers.start(0, setup(bench, SCRIPT, None))
        died = bench.event(WorkerDied)
        assert died.failure.is_final and "was not told of the cluster" in died.failure.error
    finally:
        bench.workers.close()

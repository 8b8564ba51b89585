"""What becomes of commands whose work takes a while, or fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pymr.config import load_config
from pymr.control.duties import (
    EndWorker,
    GiveMap,
    GiveReduce,
    GiveStep,
    PeerEvent,
    PrepareProject,
    ProjectPrepared,
    StartWorker,
    TaskEnded,
)
from pymr.outcomes import AttemptId, Failure
from pymr.peer.execution import Execution
from pymr.peer.worker_protocol import StepOrder, TaskOrder, WorkerSetup, frame
from pymr.protocol import Assignment, RunOrder, StepInput

RUN = "job-000001"


class Recorder:
    """Workers, a disk that is slow, and a data service that does nothing."""

    def __init__(self) -> None:
        self.assigned: list[TaskOrder] = []
        self.setups: list[WorkerSetup] = []
        self.waiting: list[tuple[Callable[[], Any], Callable[[Any], object]]] = []

    def start(self, slot: int, setup: WorkerSetup) -> None:
        self.setups.append(setup)

    def end(self, slot: int) -> None:
        pass

    def assign(self, slot: int, order: TaskOrder) -> bool:
        self.assigned.append(order)
        return True

    def do(self, work: Callable[[], Any], on_done: Callable[[Any], object], *_: object) -> None:
        self.waiting.append((work, on_done))

    def work(self) -> None:
        for work, on_done in self.waiting:
            on_done(work())
        self.waiting.clear()


def execution_in(folder: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[Any]]:
    (folder / "cluster.toml").write_text(
        f'name = "c"\n[redis]\nurl = "redis://127.0.0.1:1"\n[[peers]]\nname = "a"\nhost = "127.0.0.1"\n'
        f'control_port = 4000\ndata_port = 4001\nworkers = 1\ndata_dir = "{folder}/a"\n'
    )
    config = load_config(str(folder / "cluster.toml"))
    monkeypatch.setattr(Execution, "_start_data_service", lambda self: None)
    events: list[PeerEvent] = []
    execution = Execution(
        config,
        config.peers[0],
        workers=recorder,  # type: ignore[arg-type]
        store=recorder,  # type: ignore[arg-type]
        disk=recorder,  # type: ignore[arg-type]
        incarnation=lambda: "life",
        on_event=events.append,
        call_later=lambda *_: None,
    )
    return execution, events


def test_a_task_whose_worker_was_ended_meanwhile_is_not_given_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    execution, _ = execution_in(tmp_path, recorder, monkeypatch)
    order = RunOrder(run_id=RUN, job_name="job", fields={}, project_hash="0", partitions=1)
    first, second = (AttemptId(RUN, "reduce-00000", f"1.{number}") for number in (1, 2))
    for command in (
        GiveReduce(0, first, 0, ()),
        EndWorker(0),
        StartWorker(0, order),
        GiveReduce(0, second, 0, ()),
    ):
        execution.carry_out(command)
    recorder.work()

    assert [order.id for order in recorder.assigned] == [second]


def test_a_map_task_for_which_the_disk_has_no_room_fails_at_no_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    execution, events = execution_in(tmp_path, recorder, monkeypatch)
    (tmp_path / "a").write_text("no folder can be made here")
    execution.carry_out(GiveMap(0, Assignment(AttemptId(RUN, "map-00000", "1.1"), 0, "a")))

    (event,) = events
    assert isinstance(event, TaskEnded) and isinstance(event.outcome, Failure)
    assert not event.outcome.is_counted and not event.outcome.is_final


def test_a_step_needs_no_project_and_is_given_with_its_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    execution, events = execution_in(tmp_path, recorder, monkeypatch)
    fields: dict[str, object] = {"job_type": "file_transfer", "local_peer": "a"}
    order = RunOrder(run_id=RUN, job_name="job", fields=fields, project_hash="", partitions=0)
    id = AttemptId(RUN, "copy-00000", "1.3")
    inputs = (StepInput("list-00000", "1.1", "a"),)
    for command in (
        PrepareProject(order),
        StartWorker(0, order),
        GiveStep(0, Assignment(id, 0, inputs=inputs)),
    ):
        execution.carry_out(command)
    (setup,) = recorder.setups

    assert events == [ProjectPrepared(RUN)]
    assert (setup.projects_dir, setup.fields) == ("", fields)
    assert setup.cluster is not None and setup.cluster.peers[0].name == "a"
    assert frame(setup)
    assert recorder.assigned == [StepOrder(id, inputs)]


def test_the_project_of_a_script_is_the_folder_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    execution, events = execution_in(tmp_path, recorder, monkeypatch)
    fields: dict[str, object] = {"job_type": "script", "script_location": "cleaning/steps/x.py"}
    order = RunOrder(run_id=RUN, job_name="job", fields=fields, project_hash="0f", partitions=0)
    (tmp_path / "a" / "projects" / "0f" / "cleaning").mkdir(parents=True)
    execution.carry_out(PrepareProject(order))
    execution.carry_out(StartWorker(0, order))

    assert events == [ProjectPrepared(RUN)]
    assert recorder.setups[0].projects_dir == str(tmp_path / "a" / "projects" / "0f")

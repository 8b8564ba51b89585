"""What becomes of commands whose work takes a while, or fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pymr.config import load_config
from pymr.control.duties import EndWorker, GiveMap, GiveReduce, PeerEvent, StartWorker, TaskEnded
from pymr.peer.execution import Execution
from pymr.peer.worker_protocol import TaskOrder
from pymr.protocol import Assignment, AttemptId, Failure, RunOrder

RUN = "job-000001"


class Recorder:
    """Workers, a disk that is slow, and a data service that does nothing."""

    def __init__(self) -> None:
        self.assigned: list[TaskOrder] = []
        self.waiting: list[tuple[Callable[[], Any], Callable[[Any], object]]] = []

    def start(self, *_: object) -> None:
        pass

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

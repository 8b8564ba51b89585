"""What becomes of commands whose work takes a while, or fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pymr.config.cluster import load_config
from pymr.control.follower.events import (
    DropPartitions,
    EndWorker,
    FetchSegments,
    GiveDriver,
    GiveMap,
    GiveReduce,
    GiveStep,
    PeerEvent,
    PrepareProject,
    ProjectPrepared,
    RemoveRun,
    SegmentFetched,
    SegmentRefused,
    StartWorker,
    TaskEnded,
)
from pymr.data.orders import Fetched, FetchFailed, FetchOrder
from pymr.engine.plans import write_plan
from pymr.peer.attempts.worker_protocol import DriverOrder, StepOrder, TaskOrder, WorkerSetup, frame
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.disk.unpacked_projects import UnpackedProjects
from pymr.peer.executor import Executor
from pymr.peer.segment_fetches import ORDERS_PER_CALL, PROBES
from pymr.projects.project import pack_project, unpack_project
from pymr.wire.outcomes import AttemptId, Failure
from pymr.wire.protocol import DRIVER_TASK, Assignment, RunOrder, Source, StepInput

RUN = "job-000001"


class Recorder:
    """Workers, a disk that is slow, and a data service that does nothing."""

    def __init__(self, *, is_slow: bool = True) -> None:
        self.is_slow = is_slow
        self.assigned: list[TaskOrder] = []
        self.setups: list[WorkerSetup] = []
        self.waiting: list[tuple[Callable[..., Any], ...]] = []
        self.fetches: list[FetchOrder] = []

    def start(self, slot: int, setup: WorkerSetup) -> None:
        self.setups.append(setup)

    def end(self, slot: int) -> None:
        pass

    def assign(self, slot: int, order: TaskOrder) -> bool:
        self.assigned.append(order)
        return True

    def fetch(self, order: FetchOrder) -> None:
        self.fetches.append(order)

    def do(
        self,
        kind: str,
        work: Callable[[], Any],
        on_done: Callable[[Any], object],
        on_error: Callable[[Exception], object],
        **_: object,
    ) -> None:
        self.waiting.append((work, on_done, on_error))
        if not self.is_slow:
            self.work()

    def remove_run(self, run_id: str, work: Callable[[], Any], on_error: Callable[..., Any]) -> None:
        self.do("clean", work, lambda _: None, on_error)

    def work(self) -> None:
        while self.waiting:
            work, on_done, on_error = self.waiting.pop(0)
            try:
                result = work()
            except Exception as error:
                on_error(error)
            else:
                on_done(result)


class FakeDataService:
    """asked: the keys of what it was asked for since it was last looked at; cancelled: likewise."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.cancelled: list[str] = []

    def add(self, order: FetchOrder) -> None:
        self.asked.append(order.key)

    def cancel(self, run_id: str, key: str = "") -> None:
        self.cancelled.append(key)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


class Timers:
    """What is to be called later."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], object]]] = []

    def call_later(self, seconds: float, function: Callable[[], object]) -> None:
        self.waiting.append((seconds, function))

    def turn(self) -> None:
        """What waits now is called, and not what that asks for."""
        waiting, self.waiting = self.waiting, []
        for _, function in waiting:
            function()


def execution_in(
    folder: Path,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    timers: Timers | None = None,
    *,
    other_host: bool = False,
) -> tuple[Any, list[Any]]:
    (folder / "cluster.toml").write_text(
        f'name = "c"\n[redis]\nurl = "redis://127.0.0.1:1"\n[[peers]]\nname = "a"\nhost = "127.0.0.1"\n'
        f'control_port = 4000\ndata_port = 4001\nworkers = 1\ndata_dir = "{folder}/a"\n'
        + f'[[peers]]\nname = "b"\nhost = "127.0.0.2"\nworkers = 1\ndata_dir = "{folder}/b"\n'
        * other_host
    )
    config = load_config(str(folder / "cluster.toml"))
    monkeypatch.setattr(Executor, "_start_data_service", lambda self: FakeDataService())
    events: list[PeerEvent] = []
    disk: Any = recorder
    execution = Executor(
        config,
        config.peers[0],
        workers=recorder,  # type: ignore[arg-type]
        disk=disk,
        projects=UnpackedProjects(PeerPaths(config.peers[0].data_dir), disk, disk, lambda *_: None),
        incarnation=lambda: "life",
        on_event=events.append,
        call_later=(timers or Timers()).call_later,
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
    recorder.work()

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
    (tmp_path / "projects" / "cleaning" / "steps").mkdir(parents=True)
    (tmp_path / "projects" / "cleaning" / "steps" / "x.py").write_text("print(1)")
    package = pack_project(tmp_path / "projects", "cleaning")
    unpacked = tmp_path / "a" / "projects" / package.content_hash
    unpack_project(package.data, unpacked / "cleaning", package.content_hash)
    fields: dict[str, object] = {"job_type": "script", "script_location": "cleaning/steps/x.py"}
    order = RunOrder(
        run_id=RUN, job_name="job", fields=fields, project_hash=package.content_hash, partitions=0
    )
    execution.carry_out(PrepareProject(order))
    recorder.work()
    execution.carry_out(StartWorker(0, order))

    assert events == [ProjectPrepared(RUN)]
    assert recorder.setups[0].projects_dir == str(unpacked)


def test_a_plan_of_another_host_is_fetched_again_where_a_power_failure_has_emptied_its_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    execution, _ = execution_in(tmp_path, recorder, monkeypatch, other_host=True)
    execution.data = recorder
    copy = Path(PeerPaths(str(tmp_path / "a")).plan_copy(RUN))
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"")
    for slot in range(2):
        id = AttemptId(RUN, f"map-{slot:05d}", "1.1")
        execution.carry_out(GiveMap(slot, Assignment(id, slot, "b", plan_shared=True, plan_index=slot)))
    recorder.work()
    before = list(recorder.assigned)
    write_plan(str(copy), [])
    execution._on_fetched(Fetched(RUN, recorder.fetches[0].key, 1))
    recorder.work()

    assert (before, len(recorder.fetches)) == ([], 1)
    assert [(order.plan_path, order.plan_index) for order in recorder.assigned] == [  # type: ignore[union-attr]
        (str(copy), 0),
        (str(copy), 1),
    ]


def test_a_plan_of_another_host_that_is_here_whole_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    execution, _ = execution_in(tmp_path, recorder, monkeypatch, other_host=True)
    execution.data = recorder
    copy = Path(PeerPaths(str(tmp_path / "a")).plan_copy(RUN))
    copy.parent.mkdir(parents=True)
    write_plan(str(copy), [])
    execution.carry_out(GiveMap(0, Assignment(AttemptId(RUN, "map-00000", "1.1"), 0, "b", plan_shared=True)))
    recorder.work()

    assert recorder.fetches == [] and len(recorder.assigned) == 1


def test_driver_is_given_all_plans_once_that_of_another_host_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    execution, _ = execution_in(tmp_path, recorder, monkeypatch, other_host=True)
    execution.data = recorder
    id = AttemptId(RUN, DRIVER_TASK, "1.1")
    execution.carry_out(GiveDriver(0, Assignment(id, 0, plans=(("a", False), ("b", True)))))
    recorder.work()
    before = list(recorder.assigned)
    execution._on_fetched(Fetched(RUN, recorder.fetches[0].key, 1))
    recorder.work()
    paths = PeerPaths(str(tmp_path / "a"))

    assert before == []
    assert recorder.assigned == [DriverOrder(id, (paths.plan(RUN), paths.plan_copy(RUN)))]


# -- many segments


def wanted(number: int, partition: int = 0) -> FetchSegments:
    return FetchSegments(RUN, partition, tuple(Source(task, "1.1", "a") for task in range(number)), 10)


def key(task: int, partition: int = 0) -> str:
    return f"map-{task:05d}-1.1.{partition}"


def test_many_segments_are_asked_for_little_by_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers = Timers()
    execution, events = execution_in(tmp_path, Recorder(is_slow=False), monkeypatch, timers)
    for partition in (0, 1):
        execution.carry_out(wanted(ORDERS_PER_CALL + 1, partition))

    assert execution.data.asked == []

    counts = []
    while timers.waiting:
        before = len(execution.data.asked)
        timers.turn()
        counts.append(len(execution.data.asked) - before)
    execution._on_fetched(Fetched(RUN, key(ORDERS_PER_CALL, 1), 7))

    assert max(counts) == ORDERS_PER_CALL
    assert execution.data.asked == [key(task, n) for n in (0, 1) for task in range(ORDERS_PER_CALL + 1)]
    assert events == [SegmentFetched(RUN, Source(ORDERS_PER_CALL, "1.1", "a"), 1, 7)]


def test_what_is_dropped_is_asked_for_no_more_and_cancelled_before_it_is_wanted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers = Timers()
    execution, _ = execution_in(tmp_path, Recorder(is_slow=False), monkeypatch, timers)
    execution.carry_out(wanted(2 * ORDERS_PER_CALL))
    timers.turn()
    execution.carry_out(DropPartitions(RUN, (0,)))
    execution.carry_out(wanted(1))
    asked = len(execution.data.asked)
    while timers.waiting:
        timers.turn()

    assert asked == ORDERS_PER_CALL
    assert execution.data.asked[asked:] == [key(0)]
    assert execution.data.cancelled == [key(task) for task in range(ORDERS_PER_CALL)]


def test_copies_of_what_is_dropped_make_room_before_it_is_wanted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers, disk = Timers(), Recorder(is_slow=True)
    execution, _ = execution_in(tmp_path, disk, monkeypatch, timers)
    for partition in (0, 1):
        execution.carry_out(wanted(3, partition))
    disk.work()
    while timers.waiting:
        timers.turn()
    copies = {n: Path(execution._paths.segment(AttemptId(RUN, "map-00000", "1.1"), n)) for n in (0, 1, 10)}
    for copy in copies.values():
        copy.write_bytes(b"a segment")
    execution._on_fetched(Fetched(RUN, key(0, 0), 9))
    execution.carry_out(DropPartitions(RUN, (0,)))
    execution.carry_out(wanted(2, 0))
    execution.carry_out(DropPartitions(RUN, (0,)))
    execution.carry_out(wanted(1, 0))
    before = len(execution.data.asked)
    left = {n for n, copy in copies.items() if copy.exists()}
    disk.work()
    while timers.waiting:
        timers.turn()

    assert left == {0, 1, 10}, "the disk is not asked in the loop"
    assert {n for n, copy in copies.items() if copy.exists()} == {1, 10}
    assert execution.data.asked[before:] == [key(0)], "once the copy that was there is gone"


def test_a_run_that_is_over_is_asked_for_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timers = Timers()
    execution, _ = execution_in(tmp_path, Recorder(is_slow=False), monkeypatch, timers)
    execution.carry_out(wanted(2 * ORDERS_PER_CALL))
    timers.turn()
    execution.carry_out(RemoveRun(RUN))
    while timers.waiting:
        timers.turn()

    assert len(execution.data.asked) == ORDERS_PER_CALL


def test_a_new_data_service_is_asked_for_what_has_not_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers = Timers()
    execution, _ = execution_in(tmp_path, Recorder(is_slow=False), monkeypatch, timers)
    execution.carry_out(wanted(3))
    timers.turn()
    execution._on_fetched(Fetched(RUN, key(1), 7))
    execution._on_fetch_failed(FetchFailed(RUN, key(2), "missing", "it has gone"))
    execution.restart_data_service()
    while timers.waiting:
        timers.turn()

    assert execution.data.asked == [key(0)]


def test_segments_for_which_there_was_no_room_are_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers = Timers()
    execution, events = execution_in(tmp_path, Recorder(is_slow=False), monkeypatch, timers)
    execution.carry_out(wanted(3))
    timers.turn()
    for task in range(3):
        execution._on_fetch_failed(FetchFailed(RUN, key(task), "disk", "no space"))
    execution._on_fetched(Fetched(RUN, key(1), 7))

    assert len(timers.waiting) == 1 and timers.waiting[0][0] > 0

    while timers.waiting:
        timers.turn()

    assert [type(event) for event in events] == [*[SegmentRefused] * 3, SegmentFetched]
    assert execution.data.asked[3:] == [key(0), key(2)]


def test_what_an_earlier_life_was_about_to_remove_goes_while_the_peer_is_at_work_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    execution, _ = execution_in(tmp_path, recorder, monkeypatch)
    folder = Path(PeerPaths(f"{tmp_path}/a").abandoned(RUN), "map-00000-1.1")
    folder.mkdir(parents=True)
    execution.begin()

    assert folder.exists()

    recorder.work()

    assert not folder.parent.exists()


def test_while_the_disk_is_full_a_few_segments_are_tried_and_all_once_one_has_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers, number = Timers(), 20 * PROBES
    execution, _ = execution_in(tmp_path, Recorder(is_slow=False), monkeypatch, timers)
    execution.carry_out(wanted(number))

    def turn() -> list[str]:
        """What is asked for once some time has passed, until nothing is left but to wait again."""
        before = len(execution.data.asked)
        timers.turn()
        while soon := [one for one in timers.waiting if one[0] == 0.0]:
            timers.waiting = [one for one in timers.waiting if one[0] > 0.0]
            for _, function in soon:
                function()
        return list(execution.data.asked[before:])

    tried = []
    asked = turn()
    for _ in range(3):
        for one in asked:
            execution._on_fetch_failed(FetchFailed(RUN, one, "disk", "no space"))
        asked = turn()
        tried.append(asked)
    execution._on_fetched(Fetched(RUN, asked[0], 9))
    for one in asked[1:]:
        execution._on_fetch_failed(FetchFailed(RUN, one, "disk", "no space"))
    rest = turn()

    assert [len(one) for one in tried] == [PROBES] * 3
    assert len({one for asked in tried for one in asked}) == 3 * PROBES, "each in its turn"
    assert len(rest) == number - 1, "there is space again"


def test_what_another_peer_refuses_does_not_wait_for_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers, number = Timers(), 5 * PROBES
    execution, _ = execution_in(tmp_path, Recorder(is_slow=False), monkeypatch, timers)
    execution.carry_out(wanted(number))
    timers.turn()
    for one in execution.data.asked:
        execution._on_fetch_failed(FetchFailed(RUN, one, "denied", "the key is not listed"))
    while timers.waiting:
        timers.turn()

    assert len(execution.data.asked) == 2 * number

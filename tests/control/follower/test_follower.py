"""What a peer does about single events."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeVar

import pytest

from pymr.control.follower.events import (
    Drain,
    DropPartitions,
    EndWorker,
    FailWorker,
    Fence,
    FetchSegments,
    GiveDriver,
    GiveMap,
    GiveReduce,
    GiveStep,
    Held,
    InputLocksHeld,
    Learned,
    MakePlan,
    MeasureSegments,
    Ordered,
    PeerCommand,
    PeerEvent,
    PeerTick,
    Planned,
    PrepareProject,
    ProjectPrepared,
    Publish,
    Published,
    Remember,
    RemoveAttempt,
    RemoveRun,
    SegmentFetched,
    SegmentLost,
    SegmentRefused,
    SegmentsMeasured,
    SendReport,
    StartWorker,
    TaskEnded,
    WorkerEnded,
    WorkerHalted,
    WorkerMoved,
    WorkerReady,
    WorkerStarted,
)
from pymr.control.follower.follower import Follower
from pymr.control.messages import PeerInfo
from pymr.wire.frames import FRAME_BYTES_MAX, encode
from pymr.wire.outcomes import AttemptId, EnginePhase, Failure, MapOutcome, StepOutcome
from pymr.wire.protocol import (
    DRIVER_TASK,
    ERROR_CHARACTERS_MAX,
    HOLDER_CHARACTERS_MAX,
    REPORT_SECONDS,
    RESULTS_MAX,
    Acknowledged,
    Assignment,
    AttemptResult,
    HeldRun,
    MachineFigures,
    Orders,
    PlanOrder,
    PlanReport,
    PublishOrder,
    PublishReport,
    Report,
    RunningAttempt,
    RunOrder,
    Source,
    SourcesOrder,
    StepInput,
)

RUN = "job-000001"
MAPPED = MapOutcome("digest", 1, 1, 1, 1)
MAP = AttemptId(RUN, "map-00000", "5.1")
REDUCE = AttemptId(RUN, "reduce-00000", "5.1")
FAILED = Failure("WorkerDiedError", "it died")

Command = TypeVar("Command", bound=PeerCommand)


class Desk:
    """Plays the leader and the machine to one Follower. commands: those of the last step."""

    def __init__(self, *, held: Sequence[Held] = (), found_runs: Sequence[str] = (), **fields: Any) -> None:
        self.now = 0.0
        self.sequence = 0
        self.follower = Follower(
            PeerInfo("a", "h", 2),
            {"a": "h", "b": "h", "c": "g"},
            boot=3,
            pid=1,
            version="1",
            incarnation="i",
            epoch=5,
            held=held,
            found_runs=found_runs,
            now=0.0,
        )
        self.fields = {"simultaneous_files_in_redis": 7, "task_timeout_seconds": 60, **fields}
        self.commands: list[PeerCommand] = []

    def step(self, event: PeerEvent) -> None:
        self.commands = self.follower.step(event, self.now)

    def order(self, *, runs: Sequence[str] = (RUN,), homes: Sequence[int] = (), **other: Any) -> None:
        self.sequence += 1
        orders = tuple(self.run(run_id, homes) for run_id in runs)
        fields: dict[str, Any] = {
            "epoch": 5,
            "leader": "l",
            "peer": "a",
            "boot": 3,
            "sequence": self.sequence,
        }
        self.step(Ordered(Orders(incarnation="i", runs=orders, **(fields | other))))

    def run(self, run_id: str = RUN, homes: Sequence[int] = ()) -> RunOrder:
        return RunOrder(
            run_id=run_id,
            job_name="job",
            fields=self.fields,
            project_hash="",
            partitions=2,
            homes=tuple(homes),
        )

    def all(self, kind: type[Command]) -> list[Command]:
        return [command for command in self.commands if isinstance(command, kind)]

    def tick(self, seconds: float = REPORT_SECONDS) -> Report:
        self.now += seconds
        self.step(PeerTick(MachineFigures()))
        return self.reported()

    def reported(self) -> Report:
        (command,) = self.all(SendReport)
        return command.report

    def start(self, id: AttemptId = MAP, slot: int = 0, **other: Any) -> None:
        """Bring a worker to the point where it is given an attempt."""
        self.order(assignments=(Assignment(id, slot, "a"),), **other)
        self.step(ProjectPrepared(id.run_id))
        self.step(WorkerStarted(slot, 77))
        self.step(WorkerReady(slot))


def held(task: str = "map-00000", run_id: str = RUN) -> Held:
    return Held(AttemptResult(AttemptId(run_id, task, "4.1"), MAPPED), "digest")


# -- epochs


def test_orders_of_an_epoch_that_has_passed_are_refused_without_any_effect() -> None:
    desk = Desk(held=[held()])
    desk.order(epoch=4, runs=())

    assert desk.commands == [Fence("l", 5)]


def test_a_higher_epoch_is_remembered_before_anything_is_done() -> None:
    desk = Desk(held=[held(run_id="old-000001")])
    desk.order(epoch=6)

    assert desk.commands[0] == Remember("i", 6)
    assert desk.all(RemoveRun) == [RemoveRun("old-000001")]


def test_what_the_lease_says_is_remembered_and_the_leader_told() -> None:
    desk = Desk()
    desk.step(Learned("i", 7, "m"))

    assert desk.commands[0] == Remember("i", 7)
    assert desk.all(SendReport)[0].leader == "m"

    desk.step(Learned("i", 6, "n"))

    assert desk.commands == []


def test_orders_that_come_late_or_twice_change_nothing() -> None:
    desk = Desk()
    desk.order()
    desk.sequence -= 1
    desk.order(runs=())

    assert desk.all(RemoveRun) == []


def test_orders_for_an_earlier_boot_are_answered_and_not_followed() -> None:
    desk = Desk(found_runs=["old-000001"])
    desk.order(boot=2, runs=())

    assert desk.all(RemoveRun) == []
    assert desk.reported().boot == 3
    assert desk.reported().orders == 0


# -- runs


def test_everything_of_a_run_that_is_no_more_goes() -> None:
    desk = Desk(held=[held(run_id="old-000001")], found_runs=["old-000001", "older-000001"])
    desk.order()

    assert [one.run_id for one in desk.all(RemoveRun)] == ["old-000001", "older-000001"]

    desk.start()
    desk.order(runs=())

    assert [one.run_id for one in desk.all(RemoveRun)] == [RUN]
    assert desk.all(EndWorker) == [EndWorker(0)]

    report = desk.tick()

    assert (report.running, report.results) == ((), ())


def test_a_restart_tells_what_is_on_the_disk_until_it_was_heard() -> None:
    desk = Desk(held=[held("map-00000"), held("map-00001")])
    desk.order(wants_inventory=True)
    report = desk.reported()

    assert [one.id.task for one in report.results] == ["map-00000", "map-00001"]
    assert report.inventory is not None
    assert [one[0] for one in report.inventory[0].attempts] == ["map-00000", "map-00001"]

    first, second = (one.id for one in report.results)
    desk.order(acknowledged=(Acknowledged(first, True), Acknowledged(second, False)), wants_inventory=True)

    assert desk.all(RemoveAttempt) == [RemoveAttempt(second)]
    assert desk.reported().inventory == (HeldRun(RUN, (("map-00000", "4.1", "digest"),)),)


def test_results_beyond_what_a_report_holds_follow_later() -> None:
    found = [held(f"map-{number:05d}") for number in range(RESULTS_MAX + 1)]
    desk = Desk(held=found)
    desk.order(wants_inventory=True)

    assert len(desk.reported().results) == RESULTS_MAX

    desk.order(acknowledged=(Acknowledged(found[0].result.id, True),), wants_inventory=True)

    assert desk.reported().results[-1].id == found[-1].result.id


def test_a_report_fits_into_a_frame_whatever_its_results_say() -> None:
    failure = Failure("UserFunctionError", "\N{SNOWMAN}" * ERROR_CHARACTERS_MAX)
    counters = {f"{number:020d}": number for number in range(30_000)}
    outcomes = [MapOutcome("digest", 1, 1, 1, 1, counters), *[failure] * RESULTS_MAX]
    ids = [AttemptId(RUN, f"map-{number:05d}", "4.1") for number in range(len(outcomes))]
    desk = Desk(held=[Held(AttemptResult(*pair), "") for pair in zip(ids, outcomes, strict=True)])
    desk.order(wants_inventory=True)
    report = desk.reported()

    assert report.results[0].id == ids[0] and report.has_more_results
    assert len(encode(report)) < FRAME_BYTES_MAX


# -- tasks


def test_a_task_is_done_and_told_of_until_the_leader_knows() -> None:
    desk = Desk()
    desk.order(assignments=(Assignment(MAP, 0, "a", 4),))

    assert len(desk.all(PrepareProject)) == 1

    desk.step(ProjectPrepared(RUN))

    assert [one.slot for one in desk.all(StartWorker)] == [0]

    desk.step(WorkerReady(0))

    assert desk.all(GiveMap) == [GiveMap(0, Assignment(MAP, 0, "a", 4))]

    desk.step(TaskEnded(0, MAP, MAPPED))

    for _ in range(2):
        assert [one.id for one in desk.tick().results] == [MAP]

    desk.order(acknowledged=(Acknowledged(MAP, True),))

    assert desk.tick().results == ()


def test_an_assignment_that_is_repeated_is_taken_once() -> None:
    desk = Desk()
    desk.start()
    desk.order(assignments=(Assignment(MAP, 0, "a"),))

    assert desk.all(GiveMap) == []

    desk.step(TaskEnded(0, MAP, MAPPED))
    desk.order(assignments=(Assignment(MAP, 0, "a"),))

    assert desk.all(GiveMap) == []


def test_a_slot_does_one_thing_at_a_time() -> None:
    desk = Desk()
    desk.start()
    desk.order(assignments=(Assignment(AttemptId(RUN, "map-00001", "5.1"), 0, "a"),))

    assert [one.id for one in desk.tick().running] == [MAP]


def test_a_cancelled_attempt_ends_with_its_worker_and_leaves_nothing() -> None:
    desk = Desk()
    desk.start()
    version = desk.tick().running_version
    desk.order(cancelled=(MAP,))

    assert desk.all(EndWorker) == [EndWorker(0)]
    assert desk.all(RemoveAttempt) == [RemoveAttempt(MAP)]
    assert desk.reported().running_version != version


def test_a_worker_that_dies_fails_its_task_and_is_started_anew_for_the_next() -> None:
    desk = Desk()
    desk.start()
    desk.step(WorkerEnded(0, FAILED, 1_234))

    assert [(one.outcome, one.pane_offset) for one in desk.reported().results] == [(FAILED, 1_234)]

    desk.order(assignments=(Assignment(AttemptId(RUN, "map-00000", "5.2"), 0, "a"),))

    assert len(desk.all(StartWorker)) == 1


def test_a_task_that_does_not_move_is_ended_unless_somebody_debugs_it() -> None:
    desk = Desk()
    desk.start()
    desk.step(WorkerHalted(0, True))
    desk.tick(100)
    desk.step(WorkerHalted(0, False))
    desk.tick(59)

    assert desk.all(FailWorker) == []

    desk.tick(2)
    (command,) = desk.all(FailWorker)
    desk.step(WorkerEnded(command.slot, command.failure, 4_321))
    (result,) = desk.reported().results

    assert "no progress" in command.failure.error
    assert (result.outcome, result.pane_offset) == (command.failure, 4_321)
    desk.tick(100)
    assert desk.all(FailWorker) == []


def test_driver_is_given_as_it_was_assigned_and_takes_as_long_as_its_engine() -> None:
    desk = Desk(engine="dask")
    driver = AttemptId(RUN, DRIVER_TASK, "5.1")
    assignment = Assignment(driver, 0, plans=(("a", False), ("b", True)))
    desk.order(assignments=(assignment,))
    desk.step(ProjectPrepared(RUN))
    desk.step(WorkerStarted(0, 77))
    desk.step(WorkerReady(0))

    assert desk.all(GiveDriver) == [GiveDriver(0, assignment)]
    assert [one.state for one in desk.tick().running] == ["starting"]

    desk.tick(1_000)

    assert desk.all(FailWorker) == []

    phase = EnginePhase("map", 3, 7, (5, 500))
    desk.step(WorkerMoved(0, (5, 500), phase))
    report = desk.tick()

    assert report.running == (RunningAttempt(driver, 0, "map", (5, 500), phase),)
    assert report.workers[0].state == "map"


def test_time_that_a_project_takes_to_come_does_not_count() -> None:
    desk = Desk()
    desk.order(assignments=(Assignment(MAP, 0, "a"),))
    desk.tick(100)
    desk.step(ProjectPrepared(RUN))
    desk.tick(59)

    assert desk.all(FailWorker) == []


def test_a_project_that_could_not_be_had_is_asked_for_again_with_the_next_task() -> None:
    desk = Desk()
    desk.order(assignments=(Assignment(MAP, 0, "a"),))
    desk.step(ProjectPrepared(RUN, Failure("StoreUnavailable", "not now", is_counted=False)))

    assert [one.id for one in desk.reported().results] == [MAP]

    desk.order(assignments=(Assignment(AttemptId(RUN, "map-00000", "5.2"), 0, "a"),))

    assert len(desk.all(PrepareProject)) == 1

    desk.step(ProjectPrepared(RUN))

    assert len(desk.all(StartWorker)) == 1


def test_a_peer_that_drains_is_idle_once_its_last_result_was_heard() -> None:
    desk = Desk()
    desk.start()
    desk.step(Drain())

    assert desk.reported().is_draining

    desk.step(TaskEnded(0, MAP, MAPPED))

    assert not desk.follower.is_idle

    desk.order(acknowledged=(Acknowledged(MAP, True),))

    assert desk.follower.is_idle


# -- reduce tasks


def test_a_partition_is_reduced_when_all_of_it_has_come() -> None:
    desk = Desk()
    far, near = Source(0, "5.1", "c"), Source(1, "5.1", "b")
    desk.start(REDUCE, homes=[0])

    assert desk.all(GiveReduce) == []

    desk.order(homes=[0], sources=(SourcesOrder(RUN, 0, (near, far), 2),))

    assert desk.all(FetchSegments) == [FetchSegments(RUN, 0, (far,), 7)]
    assert desk.reported().shuffles[0].sources == 2

    desk.step(SegmentFetched(RUN, far, 0, 10))

    assert desk.all(GiveReduce) == [GiveReduce(0, REDUCE, 0, (far, near))]


def test_a_partition_that_another_peer_reduces_now_is_not_fetched_any_more() -> None:
    desk = Desk()
    far = Source(0, "5.1", "c")
    desk.start(REDUCE, homes=[0, 1])
    desk.order(homes=[0, 1], sources=(SourcesOrder(RUN, 0, (far,), 1),))
    desk.step(SegmentRefused(RUN, far, 1, "disk full", is_of_disk=True))

    assert desk.reported().shuffles[0].trouble == desk.reported().machine.disk_problem == "disk full"

    desk.order(homes=[0])

    assert desk.all(DropPartitions) == [DropPartitions(RUN, (1,))]
    assert desk.tick().shuffles[0].trouble == ""


def test_a_lost_segment_is_told_of_until_another_takes_its_place() -> None:
    desk = Desk()
    lost, again = Source(0, "5.1", "c"), Source(0, "5.2", "c")
    desk.start(REDUCE, homes=[0])
    desk.order(homes=[0], sources=(SourcesOrder(RUN, 0, (lost,), 1),))
    desk.step(SegmentLost(RUN, lost))

    assert desk.reported().shuffles[0].lost == (AttemptId(RUN, "map-00000", "5.1"),)
    assert desk.all(GiveReduce) == []

    desk.order(homes=[0], sources=(SourcesOrder(RUN, 1, (again,), 1),))
    desk.step(SegmentFetched(RUN, again, 0, 10))

    assert desk.all(GiveReduce) == [GiveReduce(0, REDUCE, 0, (again,))]


def test_the_sizes_of_partitions_are_measured_where_they_lie_here_and_told() -> None:
    desk = Desk()
    far, near = Source(0, "5.1", "c"), Source(1, "5.1", "b")
    desk.order(homes=[0, 1], sources=(SourcesOrder(RUN, 0, (near, far), 2),))

    assert desk.all(MeasureSegments) == [MeasureSegments(RUN, (0, 1), (near,))]

    desk.step(SegmentFetched(RUN, far, 0, 10))
    desk.step(SegmentsMeasured(RUN, near, ((0, 5), (1, 7))))
    desk.step(SegmentsMeasured("other-000001", near, ((0, 5),)))

    assert desk.tick().shuffles[0].partitions == ((0, 15), (1, 7))


# -- keyboards


def test_the_leader_hears_at_once_who_has_a_keyboard() -> None:
    desk = Desk()
    desk.start()
    desk.step(InputLocksHeld({0: "me", 1: "x" * 1_000}))
    held, idle = desk.reported().workers

    assert (held.slot, held.state, held.task, held.holder) == (0, "map", MAP.task, "me")
    assert (idle.slot, idle.pid, idle.state, idle.holder) == (1, 0, "idle", "x" * HOLDER_CHARACTERS_MAX)

    desk.step(InputLocksHeld({}))

    assert [one.holder for one in desk.reported().workers] == [""]


# -- plans and publications


def test_a_plan_is_made_once_and_told_of_while_it_is_asked_for() -> None:
    desk = Desk()
    desk.order(plans=(PlanOrder(RUN, 2, False),))

    assert len(desk.all(MakePlan)) == 1

    plan = PlanReport(RUN, 3, 30, 1)
    desk.step(Planned(plan))
    desk.order(plans=(PlanOrder(RUN, 2, False),))

    assert desk.all(MakePlan) == []
    assert desk.tick().plans == (plan,)

    desk.order()

    assert desk.tick().plans == ()


@pytest.mark.parametrize(("is_final", "times"), [(False, 1), (True, 0)])
def test_a_plan_that_failed_is_made_again_where_that_may_help(is_final: bool, times: int) -> None:
    desk = Desk()
    desk.order(plans=(PlanOrder(RUN, 2, False),))
    desk.step(Planned(PlanReport(RUN, 0, 0, 0, "the disk fails", is_final)))
    desk.order(plans=(PlanOrder(RUN, 2, False),))

    assert len(desk.all(MakePlan)) == times


def test_a_plan_for_which_the_disk_is_full_is_tried_less_often_each_time() -> None:
    desk = Desk()
    tries: list[float] = []
    for _ in range(120):  # a minute
        desk.order(plans=(PlanOrder(RUN, 2, False),))
        if desk.all(MakePlan):
            tries.append(desk.now)
            desk.step(Planned(PlanReport(RUN, 0, 0, 0, "full", is_final=False, is_of_disk=True)))
        desk.now += 0.5
    desk.step(Planned(PlanReport(RUN, 1, 1, 1)))
    desk.order(plans=(PlanOrder(RUN, 2, False, turn=(1, 2)),))

    waits = [later - earlier for earlier, later in pairwise(tries)]
    assert waits == [0.5, 0.5, 1.0, 2.0, 4.0, 8.0, *[10.0] * (len(waits) - 6)]
    assert len(tries) > 9
    assert len(desk.all(MakePlan)) == 1  # what was written rests no longer


def test_a_plan_of_another_turn_is_made_when_the_one_before_is_done() -> None:
    desk = Desk()
    first, second = (PlanOrder(RUN, 2, False, turn=(1, number)) for number in (1, 2))
    desk.order(plans=(first,))

    assert [one.plan for one in desk.all(MakePlan)] == [first]

    desk.order(plans=(second,))

    assert desk.all(MakePlan) == []

    desk.step(Planned(PlanReport(RUN, 1, 1, 1, turn=first.turn)))
    desk.order(plans=(second,))

    assert [one.plan for one in desk.all(MakePlan)] == [second]


def publication(run_id: str) -> PublishOrder:
    return PublishOrder(run_id, "job", "a", False, (), (), {})


def test_two_runs_are_never_published_into_one_folder_at_the_same_time() -> None:
    desk = Desk()
    first, second = publication("job-000001"), publication("job-000002")
    desk.order(publish=(first,))
    desk.order(publish=(first, second))

    assert desk.all(Publish) == []

    desk.step(Published(PublishReport("job-000001", "a")))
    desk.order(publish=(second,))

    assert desk.all(Publish) == [Publish(second)]


@pytest.mark.parametrize(("is_final", "times"), [(False, 1), (True, 0)])
def test_a_publication_that_failed_is_tried_again_where_that_may_help(is_final: bool, times: int) -> None:
    desk = Desk()
    desk.order(publish=(publication(RUN),))
    desk.step(Published(PublishReport(RUN, "a", "the disk is full", is_final)))
    desk.order(publish=(publication(RUN),))

    assert len(desk.all(Publish)) == times


# -- steps


SCRIPT = AttemptId(RUN, "script-00000", "5.2")
COPY = AttemptId(RUN, "copy-00001", "5.1")


def test_a_step_is_given_to_a_worker_with_its_inputs_and_told_by_its_name() -> None:
    desk = Desk()
    assignment = Assignment(COPY, 0, inputs=(StepInput("list-00000", "5.1", "b"),))
    desk.order(assignments=(assignment,))
    desk.step(ProjectPrepared(RUN))

    assert [one.state for one in desk.tick().running] == ["starting"]

    desk.step(WorkerStarted(0, 77))
    desk.step(WorkerReady(0))

    assert desk.all(GiveStep) == [GiveStep(0, assignment)]

    desk.step(WorkerMoved(0, (3, 1000)))
    report = desk.tick()

    assert [(one.id, one.state, one.done) for one in report.running] == [(COPY, "copy", (3, 1000))]
    assert [(one.task, one.state) for one in report.workers] == [("copy-00001", "copy")]


def test_a_finished_step_is_held_and_told_until_it_is_acknowledged() -> None:
    desk = Desk()
    desk.start(SCRIPT)
    outcome = StepOutcome(output="done")
    desk.step(TaskEnded(0, SCRIPT, outcome))

    assert [one.outcome for one in desk.reported().results] == [outcome]

    desk.order(acknowledged=(Acknowledged(SCRIPT, True),), wants_inventory=True)

    assert desk.reported().inventory == (HeldRun(RUN, ((SCRIPT.task, SCRIPT.attempt, ""),)),)
    assert desk.all(RemoveAttempt) == []


def test_a_script_may_take_as_long_as_it_likes_and_a_transfer_has_to_move() -> None:
    desk = Desk()
    desk.start(SCRIPT)
    desk.now += 10_000.0
    desk.step(PeerTick(MachineFigures()))

    assert desk.all(FailWorker) == []

    desk = Desk()
    del desk.fields["task_timeout_seconds"]
    desk.start(COPY)
    desk.tick(599.0)

    assert desk.all(FailWorker) == []

    desk.tick(2.0)

    assert [one.slot for one in desk.all(FailWorker)] == [0]


def test_a_script_that_is_not_wanted_any_more_is_ended() -> None:
    desk = Desk()
    desk.start(SCRIPT)
    desk.order(cancelled=(SCRIPT,))

    assert desk.all(EndWorker) == [EndWorker(0)]
    assert desk.all(RemoveAttempt) == [RemoveAttempt(SCRIPT)]

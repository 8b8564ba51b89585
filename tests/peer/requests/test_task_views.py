"""What consoles see of a run that is at work: its attempts, and how much of each partition was gathered."""

from __future__ import annotations

from leader_desk import RUN, Desk, job, run_record

from pymr.config.cluster import ClusterConfig, PeerConfig
from pymr.control.runs.run import Run
from pymr.control.stored_state import ActiveRun, HostPlan, RunPlan
from pymr.peer.requests.task_views import partition_bytes, task_rows
from pymr.peer.requests.views import own_workers, peer_rows
from pymr.wire.outcomes import AttemptId
from pymr.wire.protocol import Report, RunningAttempt, ShuffleReport, WorkerReport
from pymr.wire.requests import PARTITIONS_SHOWN_MAX, TASKS_SHOWN_MAX
from pymr.wire.rows import TaskRow
from pymr.wire.wording import heard_ago

FOUR = ("a", "h", 4)
PAIR = (("a", "h", 1), ("b", "g", 1))


def run_of(desk: Desk) -> Run:
    return desk.leader.runs[RUN]


def rows(desk: Desk) -> tuple[TaskRow, ...]:
    return task_rows(desk.leader, run_of(desk))


def loaded(desk: Desk, *, partitions: int = 1, maps: int = 1, homes: tuple[str, ...] = ("a",)) -> None:
    """A leader takes over a run whose tasks have begun."""
    plan = RunPlan((HostPlan("h", "a", 0, maps, 1, 1),), partitions, homes)
    desk.load([job(status="running", run_id=RUN)], [ActiveRun(run_record(plan=plan), (), {})])


def shuffle(*sizes: tuple[int, int]) -> tuple[ShuffleReport, ...]:
    return (ShuffleReport(RUN, 0, 0, 0, 0, partitions=sizes),)


# -- peers


def test_a_peer_that_a_new_leader_has_not_heard_is_told_with_how_long_that_leads() -> None:
    desk = Desk(*PAIR)
    desk.load()
    desk.pass_time(185.0, "a")
    info = [PeerConfig(name=name, workers=1, data_dir="x") for name in "ab"]
    heard, silent = peer_rows(ClusterConfig(peers=tuple(info)), desk.leader)

    assert (heard.state, heard.unheard) == ("alive", None)
    assert (silent.state, silent.heard, silent.unheard) == ("dead", None, 185.0)
    assert (heard_ago(silent), heard_ago(heard)) == (">3:05", "0.0 s")


# -- tasks


def test_running_attempts_are_shown_those_first_that_have_been_for_longest() -> None:
    desk = Desk(("a", "h", 2))
    desk.begin("a", tasks=4)
    desk.now += 3
    desk.result("a", "map-00000")
    (first,) = (one for one in desk.given("a") if one.id.task == "map-00001")
    desk.now += 2
    desk.report("a", running=[RunningAttempt(first.id, first.slot, "map", (7, 70))], orders=0)

    assert [(row.task, row.attempt, row.worker, row.state, row.seconds, row.done) for row in rows(desk)] == [
        ("map-00001", "5.1", "a/1", "map", 5.0, (7, 70)),
        ("map-00002", "5.1", "a/0", "starting", 2.0, (0, 0)),  # which its peer has not told of yet
    ]


def test_what_is_usual_is_known_once_four_tasks_of_the_kind_are_done() -> None:
    desk = Desk(FOUR)
    desk.begin("a", tasks=5)
    for number in range(3):
        desk.now += 1
        desk.do("a", f"map-{number:05d}")

    assert {row.usual_seconds for row in rows(desk)} == {None}

    desk.now += 1
    desk.do("a", "map-00003")

    assert [(row.seconds, row.usual_seconds, row.is_slow) for row in rows(desk)] == [(3.0, 3.0, False)]

    desk.now += 2
    desk.report("a", running=desk.given("a"))

    assert [row.is_slow for row in rows(desk)] == [True]

    desk.do("a", "map-00004")

    assert [(row.task, row.usual_seconds) for row in rows(desk)] == [("reduce-00000", None)]


def test_how_long_an_attempt_took_that_was_adopted_says_nothing_of_what_is_usual() -> None:
    desk = Desk(FOUR)
    loaded(desk, maps=8)
    ids = [AttemptId(RUN, f"map-{number:05d}", "4.1") for number in range(4)]
    adopted = [RunningAttempt(id, slot, "map", (1, 1)) for slot, id in enumerate(ids)]
    desk.report("a")
    desk.report("a", running=adopted)
    desk.now += 2
    desk.report("a", running=adopted)

    assert [(row.attempt, row.seconds) for row in rows(desk)] == [("4.1", 2.0)] * 4

    for id in ids:
        desk.do("a", id.task)

    assert [(row.attempt, row.usual_seconds) for row in rows(desk)] == [("5.1", None)] * 4


def test_no_more_tasks_are_shown_than_go_into_an_answer() -> None:
    desk = Desk(("a", "h", TASKS_SHOWN_MAX + 5))
    desk.begin("a", tasks=TASKS_SHOWN_MAX + 5)

    assert len(rows(desk)) == TASKS_SHOWN_MAX


# -- partitions


def test_nothing_is_shown_of_partitions_before_anything_was_gathered() -> None:
    desk = Desk(*PAIR)
    desk.begin("a", "b")

    assert partition_bytes(run_of(desk)) == ()


def test_each_home_tells_of_its_partitions_and_nobody_else() -> None:
    desk = Desk(*PAIR)
    loaded(desk, partitions=3, homes=("a", "b", "a"))
    for peer in ("a", "b"):
        desk.report(peer)
    desk.report("a", shuffles=shuffle((0, 10), (1, 999), (2, 30), (7, 1)))

    assert partition_bytes(run_of(desk)) == (10, 0, 30)

    desk.report("b", shuffles=shuffle((1, 20)))
    desk.report("a", shuffles=shuffle((0, 11), (2, 30)))

    assert partition_bytes(run_of(desk)) == (11, 20, 30)


def test_sizes_stay_when_their_peer_is_gone_and_follow_the_partition_to_its_new_home() -> None:
    desk = Desk(("a", "h", 1), ("b", "h", 1))
    loaded(desk, partitions=2, homes=("a", "b"))
    for peer, partition in (("a", 0), ("b", 1)):
        desk.report(peer)
        desk.report(peer, shuffles=shuffle((partition, 10 + partition)))
    desk.pass_time(6, "a")

    assert partition_bytes(run_of(desk)) == (10, 11)

    desk.report("a", running=desk.given("a"), shuffles=shuffle((0, 10), (1, 5)))

    assert partition_bytes(run_of(desk)) == (10, 5)


def test_too_many_partitions_are_not_shown() -> None:
    desk = Desk(FOUR)
    partitions = PARTITIONS_SHOWN_MAX + 1
    loaded(desk, partitions=partitions, homes=("a",) * partitions)
    desk.report("a")
    desk.report("a", shuffles=shuffle((0, 10)))

    assert partition_bytes(run_of(desk)) == ()


# -- workers


def test_a_worker_shows_who_has_its_keyboard_also_where_nobody_leads() -> None:
    workers = (WorkerReport(1, 5, "map", RUN, "map-00000", (1, 1), "me@here:1"),)
    report = Report(
        incarnation="i", epoch=1, peer="a", boot=1, sequence=1, version="1", pid=1, slots=2, workers=workers
    )
    shown = own_workers(PeerConfig(name="a", workers=2, data_dir="d"), report)

    assert [(row.name, row.holder) for row in shown] == [("a/0", ""), ("a/1", "me@here:1")]

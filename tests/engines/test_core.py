"""The parts that all external engines share: without any engine, task after task in this process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cluster.inline import request_of, run_here
from cluster.running import Place, parts_of
from shuffling_engine import ShufflingEngine
from written_projects import import_state

from pymr.base.errors import DiskError, FatalError, StartError
from pymr.engine.tasks import MapOutput, ReduceOutput, TaskWatch
from pymr.engines.absence import Absence
from pymr.engines.core.attempts import UNFINISHED, AttemptFailedError
from pymr.engines.core.backends import Worker, check_workers, open_engine, refused_address, this_worker
from pymr.engines.core.commit import committed
from pymr.engines.core.driver import EnginePlan
from pymr.engines.core.map_side import PIECE_BYTES_MAX, map_pieces
from pymr.engines.core.reduce_side import PartitionReport, reduce_pieces
from pymr.engines.core.run_watch import RunWatch
from pymr.engines.core.timeouts import ended_without_progress
from pymr.engines.ray import _Said
from pymr.runs.info import Backend, RunRequest

__all__ = ["import_state"]


@pytest.fixture
def place(tmp_path: Path, import_state: None) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    assert place.left_files() == []


def requests(place: Place, *options: object) -> tuple[RunRequest, RunRequest]:
    """The same job inline and on an engine, each with an output of its own."""
    inline = request_of(place.folder, "job.toml", "--inline", "--output", "inline", *options)
    return inline, replace(inline, inline=False, output_dir=str(place.folder / "there"))


def test_pieces_in_any_order_give_the_same_bytes(place: Place) -> None:
    for number in range(5):
        place.feed(*(f"{number} {'abc'[line % 3]} x{line}" for line in range(40)), name=f"{number}.txt")
    inline, there = requests(place, "--set", "engine.split_bytes=200", "--set", "partitions=3")
    engine = ShufflingEngine()

    assert (run_here(inline), run_here(there, engine)) == ("", "")
    assert parts_of(place.folder / "there") == parts_of(place.folder / "inline") != {}
    assert len(engine.pieces) > 20


def test_pieces_are_small_whatever_a_map_task_puts_out(place: Place) -> None:
    place.functions("def words(line, auxiliary_data):\n    return [(n, line * 1000) for n in range(50)]\n")
    place.functions(reduce_source="def total(group, auxiliary_data):\n    return [(group.key, 1)]\n")
    place.feed("x" * 100)
    _, there = requests(place)
    engine = ShufflingEngine()

    assert run_here(there, engine) == ""
    assert sum(len(data) for _, _, data in engine.pieces) > 4 << 20
    assert max(len(data) for _, _, data in engine.pieces) == PIECE_BYTES_MAX


def test_attempt_after_the_end_of_its_run_makes_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zombie finds no folder of its run, and does not make it again."""
    place.feed("a b")
    _, there = requests(place)
    engine = ShufflingEngine()
    assert run_here(there, engine) == ""
    before = parts_of(place.folder / "there")

    assert not Path(engine.run_dir).exists()
    with pytest.raises(DiskError):
        reduce_pieces(engine.run_dir, 0, iter(engine.pieces))
    assert not Path(engine.run_dir).exists()
    assert parts_of(place.folder / "there") == before


def test_piece_that_does_not_come_fails_the_task(place: Place) -> None:
    class LosingEngine(ShufflingEngine):
        def run(self, plan: EnginePlan, watch: RunWatch) -> list[PartitionReport]:
            pieces = [piece for partition, piece in map_pieces(plan.run_dir, 0) if partition == 0]
            with pytest.raises(AttemptFailedError):
                reduce_pieces(plan.run_dir, 0, iter(pieces[1:]))
            watch.look()
            return []

    place.feed(*"abcdefgh")
    _, there = requests(place, "--set", "max_attempts=1", "--set", "partitions=1")

    assert "bytes of" in run_here(there, LosingEngine())


@pytest.mark.parametrize("phase", ["map", "reduce"])
def test_task_that_has_failed_for_good_is_not_begun_again(
    place: Place, phase: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """However soon the engine tries it again: before the driver has had a look."""

    class RetryingEngine(ShufflingEngine):
        def run(self, plan: EnginePlan, watch: RunWatch) -> list[PartitionReport]:
            for _ in range(3):
                with pytest.raises(AttemptFailedError):
                    pieces = [piece for _, piece in map_pieces(plan.run_dir, 0)]
                    reduce_pieces(plan.run_dir, 0, iter(pieces))
            watch.look()
            return []

    source = """
        def NAME(first, auxiliary_data):
            with open(MARK, "a") as file:
                file.write("x")
            return [(object(), {1})]
    """
    mark = place.folder / "mark"
    source = source.replace("MARK", repr(str(mark))).replace("NAME", "words" if phase == "map" else "total")
    place.functions(**{"map_source" if phase == "map" else "reduce_source": source})
    place.feed("a")
    _, there = requests(place, "--set", "max_attempts=4", "--set", "partitions=1")
    said = run_here(there, RetryingEngine())

    assert "object" in said and "attempts" not in said
    assert mark.read_text() == "xx"  # the second time to find which record it is


def test_task_is_not_begun_more_often_than_max_attempts(place: Place) -> None:
    """Engines that count deaths of workers with failures try a task more often than that."""

    class RetryingEngine(ShufflingEngine):
        def run(self, plan: EnginePlan, watch: RunWatch) -> list[PartitionReport]:
            for _ in range(5):
                with pytest.raises(AttemptFailedError):
                    list(map_pieces(plan.run_dir, 0))
            watch.look()
            return []

    mark = place.folder / "mark"
    place.functions(f"""
        def words(line, auxiliary_data):
            with open({str(mark)!r}, "a") as file:
                file.write("x")
            raise ValueError("always")
    """)
    place.feed("a")
    _, there = requests(place, "--set", "max_attempts=2")
    said = run_here(there, RetryingEngine())

    assert "ValueError: always" in said and "(task map-00000: 2 attempts, the same each time)" in said
    assert mark.read_text() == "xx"


def test_task_without_progress_fails_the_run_where_nobody_can_end_it(place: Place) -> None:
    """As in a process that is not the engine's."""
    place.functions("import time\n\ndef words(line, auxiliary_data):\n    time.sleep(1.0)\n    return []\n")
    place.feed("a")
    _, there = requests(place, "--set", "task_timeout_seconds=0.2", "--set", "max_attempts=3")
    said = run_here(there, ShufflingEngine())

    assert "made no progress on map-00000 for 0.2 s (task_timeout_seconds)" in said
    assert "attempts" not in said


def test_task_that_moves_may_take_as_long_as_it_does() -> None:
    watch = TaskWatch()
    told: list[str] = []
    with ended_without_progress(watch, 0.5, lambda: told.append("late"), may_end=False):
        for _ in range(8):
            time.sleep(0.1)
            watch.tick()

    assert told == []


def test_what_ray_says_of_a_task_that_is_given_up_is_not_shown() -> None:
    """Its first failure is, and Ray tells of every time that it begins the task."""
    notes: list[str] = []

    class Watch:
        note = staticmethod(notes.append)

    said = _Said(Watch())  # type: ignore[arg-type]
    said.write("\x1b[31mTask failed: TaskGivenUpError: reduce-00001 has failed for good\x1b[0m")
    said.write("\n")
    said.write(
        "(raylet) Task _map failed. There are 3 retries remaining. Error: User exception:\nValueError: x"
    )
    said.write("A worker died")

    assert notes == ["Ray: A worker died"]


def test_task_of_a_run_that_is_gone_reads_no_further(place: Place) -> None:
    """A worker of a remote engine is told nothing else: its run was deleted, and the driver has ended."""

    class DeletedEngine(ShufflingEngine):
        def run(self, plan: EnginePlan, watch: RunWatch) -> list[PartitionReport]:
            (place.folder / "run_dir").write_text(plan.run_dir)
            with pytest.raises(AttemptFailedError, match="its run is over"):
                list(map_pieces(plan.run_dir, 0))
            return []

    place.functions(f"""
        import shutil
        import time

        def words(line, auxiliary_data):
            shutil.rmtree(open({str(place.folder / "run_dir")!r}).read(), ignore_errors=True)
            with open({str(place.folder / "mark")!r}, "a") as file:
                file.write("x")
            time.sleep(0.02)
            return []
    """)
    place.feed(*["x" * 100_000] * 200)
    _, there = requests(place, "--set", "task_timeout_seconds=1", "--set", "partitions=1")

    assert run_here(there, DeletedEngine()) != ""
    assert len((place.folder / "mark").read_text()) < 100


def test_absence_of_all_workers_is_told_and_fails_the_run_in_the_end() -> None:
    notes: list[str] = []

    class Watch:
        note = staticmethod(notes.append)

    absence = Absence("Dask at tcp://host:8786", 100.0, Watch())  # type: ignore[arg-type]
    for now, workers in ((0.0, 2), (1.0, 0), (3.0, 0), (4.0, 1), (5.0, 0), (11.0, 0), (12.0, 0), (13.0, 3)):
        absence.look(workers, now)

    assert notes == [
        "Dask at tcp://host:8786 has no workers any more: waiting for some; the run fails in 94 s "
        "(scheduler.machine_grace_seconds)",
        "Dask at tcp://host:8786 has workers again: 3",
    ]
    absence.look(0, 20.0)
    absence.look(0, 119.9)
    with pytest.raises(FatalError, match="has had no workers for 100 s"):
        absence.look(0, 120.0)


def test_list_of_bad_records_is_whole_or_not_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the driver reads what a task has put there that was given up meanwhile."""
    seen: list[list[str]] = []

    class LookingEngine(ShufflingEngine):
        def run(self, plan: EnginePlan, watch: RunWatch) -> list[PartitionReport]:
            copy = shutil.copyfile

            def looked_at(source: str, target: str) -> object:
                result = copy(source, target)
                seen.append(os.listdir(Path(plan.run_dir) / "bad-records"))
                return result

            monkeypatch.setattr(shutil, "copyfile", looked_at)
            return super().run(plan, watch)

    place.functions("def words(line, auxiliary_data):\n    return [(line, 1 // (line != 'bad'))]\n")
    place.feed("a", "bad")
    _, there = requests(place, "--set", "max_bad_records=1")

    assert run_here(there, LookingEngine()) == ""
    assert [name.endswith(UNFINISHED) for name in seen[0]] == [True]
    assert "bad" in (place.folder / "there" / "_bad_records.jsonl").read_text()


ENDS = """
import re, sys
from pymr.engine.tasks import TaskWatch
from pymr.engines.core.timeouts import ended_without_progress

with ended_without_progress(TaskWatch(), 0.1, lambda: print("told", flush=True), may_end=True, stuck_s=0.3):
    WORK
"""
UNWANTED = ENDS.replace("may_end=True", "may_end=True, is_wanted=lambda: False").replace("0.1", "100.0")


@pytest.mark.parametrize(
    ("work", "status", "says"),
    [
        ("while True: pass", -signal.SIGKILL, "told"),
        ("import time; time.sleep(1000)", -signal.SIGKILL, "told"),
        ("re.match('(a+)+$', 'a' * 50 + 'b')", 1, "Timeout"),  # in which no other thread gets its turn
        ("pass", 0, ""),
    ],
)
def test_process_without_progress_ends(work: str, status: int, says: str) -> None:
    command = [sys.executable, "-c", ENDS.replace("WORK", work)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == status and says in ended.stdout, ended
    assert bool(says) == bool(ended.stdout)


def test_process_of_a_run_that_is_gone_ends_where_its_task_does_not() -> None:
    command = [sys.executable, "-c", UNWANTED.replace("WORK", "import time; time.sleep(1000)")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "")


def report(partition: int, digest: str, *, maps: int = 0) -> PartitionReport:
    output = ReduceOutput(f"attempt-{partition}", (), 0, 0, {})
    return PartitionReport(partition, output, digest, tuple([MapOutput((), 1, 1, {})] * maps))


def test_only_a_whole_run_is_committed() -> None:
    whole = [report(1, "d"), report(0, "d", maps=2)]

    assert len(committed(whole, "/run", 2, 2)[0]) == 2
    for reports, maps in ((whole[1:], 2), (whole + whole[:1], 2), (whole, 3)):
        with pytest.raises(FatalError):
            committed(reports, "/run", maps, 2)


def test_partitions_of_different_map_outputs_are_refused() -> None:
    with pytest.raises(FatalError, match="gave other items"):
        committed([report(0, "d", maps=1), report(1, "e")], "/run", 1, 2)

    assert committed([report(0, "d", maps=1), report(1, "")], "/run", 1, 2)[1] == []


@pytest.mark.parametrize(
    ("worker", "says"),
    [
        (Worker("ant", "2.7", this_worker().version), "ant runs Python 2.7"),
        (Worker("ant", this_worker().python, "0.1"), "ant has pymr 0.1"),
    ],
)
def test_workers_that_differ_from_the_driver_are_named(worker: Worker, says: str) -> None:
    check_workers("Dask", [this_worker()])
    with pytest.raises(FatalError, match=says):
        check_workers("Dask", [this_worker(), worker])


def test_engine_that_is_not_installed_is_named_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(StartError, match=r"pip install 'pymr-cluster\[dask\]'"):
        open_engine(Backend("dask"), workers=1, directory="/tmp")


@pytest.mark.parametrize(
    "address, shown",
    [
        ("sc://host:443/;token=dapi-secret;user_id=me", "sc://host:443/"),
        ("spark://me:dapi-secret@host:7077", "spark://host:7077"),
        ("tcp://scheduler:8786", "tcp://scheduler:8786"),
        ("local[2]", "local[2]"),
    ],
)
def test_address_is_shown_without_what_is_secret_in_it(address: str, shown: str) -> None:
    """It comes into the history of the run, which everybody sees."""
    error = refused_address("Spark", address, OSError(f"cannot reach {address}"))

    assert f"there is no Spark at {shown} (cannot reach {shown}): check" in str(error)
    assert "dapi-secret" not in str(error)


def test_setup_is_refused_by_a_worker_of_another_version(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OtherWorkers(ShufflingEngine):
        def run(self, plan: EnginePlan, watch: RunWatch) -> list[PartitionReport]:
            monkeypatch.setattr("pymr.engines.core.backends.__version__", "0.1")
            with pytest.raises(AttemptFailedError):
                next(map_pieces(plan.run_dir, 0))
            watch.look()
            return []

    place.feed("a")
    _, there = requests(place)

    assert "has pymr 0.1, and the driver" in run_here(there, OtherWorkers())

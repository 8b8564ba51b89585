"""The driver of a run on an external engine, with an engine that does all tasks in this process."""

from __future__ import annotations

import gc
import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.inline import request_of, run_here
from cluster.running import Place, parts_of
from shuffling_engine import ShufflingEngine
from written_projects import import_state

from pymr.base.errors import DamagedFileError, FatalError, RunFailedError
from pymr.config.cluster import ClusterConfig, PeerConfig, cluster_toml, load_config
from pymr.engine.input.files import list_input_files
from pymr.engine.plans import write_plan
from pymr.engine.tasks import TaskWatch, plan_map_tasks
from pymr.jobs.job import MapReduceJob, load_job
from pymr.peer.attempts.worker_protocol import DriverOrder
from pymr.peer.disk.bad_records import read_bad_records
from pymr.peer.disk.content_notes import read_notes
from pymr.peer.disk.driver_outcomes import driver_outcome
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.output.publication import publish
from pymr.peer.recovery_scan import held_attempts
from pymr.peer.worker import driver
from pymr.peer.worker.driver import DriverContext, drive
from pymr.wire.outcomes import AttemptId, DriverOutcome, EnginePhase
from pymr.wire.protocol import DRIVER_TASK, PublishOrder

__all__ = ["import_state"]
RUN = "job-000001"
FIRST = AttemptId(RUN, DRIVER_TASK, "1.1")


class Bench:
    """A peer that drives. settings: of [engine_dask]."""

    def __init__(self, place: Place, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.place = place
        self.data = place.folder / "alpha"
        peer = PeerConfig(name="alpha", host="127.0.0.1", workers=2, data_dir=str(self.data))
        path = place.folder / "cluster.toml"
        path.write_text(cluster_toml("c", [peer], {"engine_dask": settings}))
        self.config: ClusterConfig = load_config(str(path))
        self.paths = PeerPaths(str(self.data))
        self.engine = ShufflingEngine()
        self.watch = TaskWatch()
        monkeypatch.setattr(driver, "open_engine", self._open)
        self.directory = ""
        self.before_run: Callable[[], object] = lambda: None

    def _open(self, backend: object, *, workers: int, directory: str) -> ShufflingEngine:
        self.directory = directory
        return self.engine

    def drive(self, id: AttemptId = FIRST) -> DriverOutcome:
        job = load_job(self.place.folder / "job.toml")
        assert isinstance(job, MapReduceJob)
        run_dir = Path(self.paths.run(RUN))
        run_dir.mkdir(parents=True, exist_ok=True)
        plans = []
        for number, file in enumerate(list_input_files([str(self.place.input)])):
            plans.append(str(run_dir / f"plan-{number}"))
            write_plan(plans[-1], plan_map_tasks([file], 100))
        self.before_run()
        context = DriverContext(
            job, self.config, "alpha", str(self.data), str(self.place.folder / "projects"), 3
        )
        return drive(context, DriverOrder(id, tuple(plans)), str(run_dir), self.watch)

    def shown(self, id: AttemptId = FIRST, maps: tuple[str, ...] = ()) -> Path:
        """The output once the attempt is published."""
        publish(self.paths, PublishOrder(RUN, "job", "alpha", False, (id.folder,), maps, {}))
        return Path(self.paths.output("job"))


def kind_of(error: FatalError) -> str:
    """What a worker calls it."""
    return (error.kind if isinstance(error, RunFailedError) else "") or type(error).__name__


@pytest.fixture
def place(tmp_path: Path, import_state: None) -> Iterator[Place]:
    place = Place(tmp_path)
    place.job(engine="dask")
    for number in range(3):
        place.feed(*(f"{number} {'abc'[line % 3]} x{line}" for line in range(40)), name=f"{number}.txt")
    yield place
    gc.collect()  # the traceback of what failed holds a file open, and other tests count those


def inline_parts(place: Place) -> dict[str, bytes]:
    request = request_of(
        place.folder, "job.toml", "--inline", "--output", "inline", "--set", "engine.split_bytes=100"
    )
    assert run_here(request) == ""
    return parts_of(place.folder / "inline")


def test_its_attempt_is_published_with_the_bytes_of_an_inline_run(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(place, monkeypatch)
    outcome = bench.drive()
    left = os.listdir(bench.paths.attempt(FIRST))

    assert parts_of(bench.shown()) == inline_parts(place) != {}
    assert (outcome.records, outcome.groups, outcome.items) == (120, 46, 46)
    assert {name.partition("-")[0] for name in left} == {"part", "index", "outcome"}
    assert bench.watch.phase == EnginePhase("reduce", 3, 3, bench.watch.phase.mapped)
    assert not Path(bench.directory).exists()


def test_functions_know_their_run_and_task(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.functions("""
        import os

        def words(line, auxiliary_data):
            return [(os.environ["PYMR_RUN"] + " " + os.environ["PYMR_ATTEMPT"][:4], 1)]
    """)
    bench = Bench(place, monkeypatch)
    bench.drive()

    assert b"".join(parts_of(bench.shown()).values()) == b'["job-000001 map-",120]\n'


def test_attempt_that_is_finished_is_found_and_not_done_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(place, monkeypatch)
    outcome = bench.drive()
    bench.engine.pieces.clear()

    assert bench.drive() == outcome and bench.engine.pieces == []
    assert [(one.result.id, one.result.outcome) for one in held_attempts(bench.paths)] == [(FIRST, outcome)]


def test_attempt_whose_parts_are_damaged_does_not_count(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(place, monkeypatch)
    bench.drive()
    next(Path(bench.paths.attempt(FIRST)).glob("part-*")).write_text("x")

    with pytest.raises(DamagedFileError, match="bytes"):
        driver_outcome(bench.paths.attempt(FIRST))
    assert held_attempts(bench.paths) == []


def test_files_of_the_run_lie_where_the_workers_of_the_engine_see_them(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = place.folder / "shared" / "pymr"
    bench = Bench(place, monkeypatch, folder=str(shared))
    bench.drive()

    assert Path(bench.engine.run_dir).is_relative_to(shared)
    assert list(shared.iterdir()) == []
    assert parts_of(bench.shown()) == inline_parts(place)


def test_what_a_killed_driver_has_left_there_is_cleared_away_by_the_next(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = place.folder / "shared"
    (shared / ".pymr-c+alpha+left" / "run").mkdir(parents=True)
    (shared / ".pymr-c+alpha-two+other").mkdir()  # another peer, which may be at work with it
    Bench(place, monkeypatch, folder=str(shared)).drive()

    assert os.listdir(shared) == [".pymr-c+alpha-two+other"]


def test_empty_input_gives_an_empty_output(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in place.input.iterdir():
        path.unlink()
    bench = Bench(place, monkeypatch)
    outcome = bench.drive()

    assert (outcome.records, outcome.items, outcome.parts) == (0, 0, 0)
    assert parts_of(bench.shown()) == {}


@pytest.mark.parametrize("holds", [True, False])
def test_what_compressed_files_hold_is_noted_for_the_next_run(
    place: Place, monkeypatch: pytest.MonkeyPatch, holds: bool
) -> None:
    place.job(engine="dask", hold_state=holds)
    content = b"".join(b"line %d\n" % number for number in range(100))
    path = place.feed_bytes(gzip.compress(content), name="packed.gz")
    bench = Bench(place, monkeypatch)
    bench.drive()
    notes = read_notes([bench.paths.content_notes("job", RUN)])

    assert [one.length for one in notes.values()] == [len(content)] * holds
    assert [key[1:3] for key in notes] == [(path.stat().st_ino, path.stat().st_size)] * holds


def test_file_that_has_grown_is_told_as_on_a_cluster_so_that_the_run_is_planned_anew(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was appended would count again where only whole files are consumed."""
    place.job(engine="dask", hold_state=True)
    bench = Bench(place, monkeypatch)

    def append() -> None:
        with open(place.input / "0.txt", "a") as file:
            file.write("more\n")

    bench.before_run = append
    with pytest.raises(FatalError) as raised:
        bench.drive()

    assert kind_of(raised.value) == "InputGrownError"


def test_bad_records_belong_to_the_output(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.functions("def words(line, auxiliary_data):\n    return [(line, 1 // (line[-2:] != 'x7'))]\n")
    place.job(engine="dask", max_bad_records=3)
    bench = Bench(place, monkeypatch)
    outcome = bench.drive()
    listed = (bench.shown(maps=(FIRST.folder,)) / "_bad_records.jsonl").read_text().splitlines()

    assert outcome.bad_records == 3
    assert [json.loads(line)["line"] for line in listed] == ["0 b x7", "1 b x7", "2 b x7"]


def test_too_many_bad_records_fail_the_run_for_good_and_are_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.functions("def words(line, auxiliary_data):\n    return [(line, 1 // (line[-2:] != 'x7'))]\n")
    place.job(engine="dask", max_bad_records=2)
    bench = Bench(place, monkeypatch)
    with pytest.raises(RunFailedError, match="raised on 3 records, max_bad_records = 2") as raised:
        bench.drive()
    lines, _ = read_bad_records([bench.paths], RUN, 0)

    assert isinstance(raised.value, FatalError) and raised.value.kind == "UserFunctionError"
    assert [json.loads(line)["line"] for line in lines] == ["0 b x7", "1 b x7", "2 b x7"]
    assert not Path(bench.paths.attempt(FIRST)).exists()


@pytest.mark.parametrize("function", ["map", "reduce"])
def test_bad_records_are_kept_where_a_task_of_the_engine_fails_the_run(
    place: Place, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """As on a cluster: those of the task that had too many, and of all others that were done."""
    place.functions("def words(line, auxiliary_data):\n    return [(line, 1 // (line[-1:] != '7'))]\n")
    place.job(engine="dask", max_bad_records=1 if function == "map" else 100)
    if function == "reduce":
        place.functions(reduce_source="def total(group, auxiliary_data):\n    return 1 // 0\n")
    bench = Bench(place, monkeypatch)
    with pytest.raises(RunFailedError, match=f"{function} function") as raised:
        bench.drive()
    lines, _ = read_bad_records([bench.paths], RUN, 0)
    listed = [json.loads(line)["line"] for line in lines]

    assert raised.value.kind == "UserFunctionError"
    assert listed[:4] == ["0 b x7", "0 c x17", "0 a x27", "0 b x37"]
    assert len(listed) == (4 if function == "map" else 12)

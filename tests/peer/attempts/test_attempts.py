"""Attempts: done whole or not at all, once only; and what was done on two hosts is what one process gives."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from strategies import job_context

from pymr.base import faults
from pymr.base.errors import (
    DamagedFileError,
    DiskError,
    MissingSegmentError,
    UserFunctionError,
)
from pymr.config.cluster import ClusterConfig, EngineConfig, PeerConfig
from pymr.engine.input.files import list_input_files, plan_splits
from pymr.engine.pipeline import map_all, reduce_all
from pymr.engine.plans import write_plan
from pymr.engine.segments import read_index
from pymr.engine.tasks import JobContext, MapTask, TaskWatch, plan_map_tasks, plan_reduce_tasks
from pymr.jobs.job import MapReduceJob, job_to_dict, load_job
from pymr.peer.attempts.attempts import (
    FACTS_SUFFIX,
    LocalSegment,
    Segment,
    StagedSegment,
    do_map,
    do_reduce,
    read_sources,
    write_facts,
    write_sources,
)
from pymr.peer.disk.bad_records import read_bad_records
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.input.host_plan import plan_host
from pymr.peer.output.publication import forget_run, list_output, publish
from pymr.projects.project import load_functions
from pymr.wire.outcomes import AttemptId, MapOutcome, ReduceOutcome
from pymr.wire.protocol import PlanOrder, PublishOrder, RunOrder

PROJECTS = Path(__file__).parents[3] / "projects"
EXAMPLES = ["access_log", "inverted_index", "join", "sort_records", "wordcount"]
POINTS = ["attempt.after_write", "attempt.before_rename", "commit.after_rename"]
RUN = "run-1"


def words(line: str, auxiliary_data: Any) -> Any:
    return [(word, 1) for word in line.split()]


def total(group: Any, auxiliary_data: Any) -> Any:
    return [(group.key, sum(group.values))]


class Host:
    """A data folder with a plan of one task per file."""

    def __init__(self, folder: Path, *texts: str, **options: Any) -> None:
        self.paths = PeerPaths(str(folder))
        self.context = job_context(words, total, partitions=2, **options)
        inputs = folder / "in"
        inputs.mkdir(parents=True)
        for number, text in enumerate(texts or ["a b a\nc\n"]):
            (inputs / f"{number}.txt").write_text(text)
        os.makedirs(self.paths.run(RUN))
        self.run_dir = self.paths.run(RUN)
        files = list_input_files([str(inputs)])
        write_plan(self.paths.plan(RUN), [MapTask(0, tuple(plan_splits([file]))) for file in files])

    def map(self, index: int = 0, attempt: str = "1.1") -> MapOutcome:
        id = self.map_id(index, attempt)
        return do_map(self.context, id, self.paths.plan(RUN), index, self.run_dir, TaskWatch())

    def map_id(self, index: int = 0, attempt: str = "1.1") -> AttemptId:
        return AttemptId(RUN, f"map-{index:05d}", attempt)

    def reduce(
        self, segments: list[Segment], partition: int = 0, watch: TaskWatch | None = None
    ) -> ReduceOutcome:
        id = AttemptId(RUN, f"reduce-{partition:05d}", "1.1")
        path = self.paths.sources(id)
        write_sources(path, segments)
        try:
            return do_reduce(self.context, id, partition, path, self.run_dir, watch or TaskWatch())
        finally:
            os.unlink(path)

    def left(self) -> list[str]:
        return sorted(set(os.listdir(self.run_dir)) - {"plan"})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "a")


def fail_at(monkeypatch: pytest.MonkeyPatch, point: str, what: str = "enospc", nth: int = 1) -> None:
    monkeypatch.setattr(faults, "_faults", {point: [(what, nth)]})
    monkeypatch.setattr(faults, "_passes", {})


def killed_in(monkeypatch: pytest.MonkeyPatch, point: str, work: Callable[[], object]) -> None:
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


def test_finished_map_holds_its_runs_and_their_index(host: Host) -> None:
    outcome = host.map()
    folder = host.paths.attempt(host.map_id())

    assert host.left() == ["map-00000-1.1"]
    assert sorted(os.listdir(folder)) == ["index", "runs"]
    assert (outcome.records, outcome.values, outcome.bytes) == (2, 4, 8)
    assert outcome.digest == read_index(folder).info.digest
    assert outcome.stored_bytes == os.path.getsize(os.path.join(folder, "runs"))


def test_map_without_items_leaves_an_empty_output(tmp_path: Path) -> None:
    host = Host(tmp_path / "a", "\n")
    outcome = host.map()

    assert (outcome.records, outcome.values, outcome.stored_bytes) == (1, 0, 0)
    assert host.reduce([LocalSegment(host.paths.attempt(host.map_id()))]).groups == 0


def test_bad_records_are_kept_beside_the_runs(tmp_path: Path) -> None:
    host = Host(tmp_path / "a", "bad\n", max_bad_records=1)

    def failing(line: str, auxiliary_data: Any) -> Any:
        raise ValueError(line)

    host.context = job_context(failing, total, partitions=2, max_bad_records=1)
    outcome = host.map()

    assert outcome.bad_records == 1
    assert sorted(os.listdir(host.paths.attempt(host.map_id()))) == ["bad-records.jsonl", "index", "runs"]


def test_the_list_of_a_map_that_fails_for_its_bad_records_is_kept(tmp_path: Path) -> None:
    host = Host(tmp_path / "a", "bad 1\nbad 2\ngood\n", max_bad_records=1)

    def failing(line: str, auxiliary_data: Any) -> Any:
        if line.startswith("bad"):
            raise ValueError(line)
        return []

    def lines() -> list[str]:
        return [orjson.loads(line)["line"] for line in read_bad_records([host.paths], RUN, 0)[0]]

    host.context = job_context(failing, total, partitions=2, max_bad_records=1)
    for attempt in ("1.1", "1.2"):
        with pytest.raises(UserFunctionError, match="max_bad_records = 1"):
            host.map(attempt=attempt)

    assert lines() == ["bad 1", "bad 2"]

    forget_run(host.paths, RUN)

    assert lines() == ["bad 1", "bad 2"]


def test_attempt_done_again_gives_the_same_digest_and_outcome(host: Host) -> None:
    first, again = host.map(), host.map(attempt="2.1")

    assert first == again
    assert host.left() == ["map-00000-1.1", "map-00000-2.1"]


def test_finished_attempt_is_not_done_twice(host: Host) -> None:
    first = host.map()
    os.unlink(host.paths.plan(RUN))

    assert host.map() == first


def test_finished_attempt_that_was_damaged_is_done_again(host: Host) -> None:
    first = host.map()
    os.truncate(os.path.join(host.paths.attempt(host.map_id()), "runs"), 3)

    assert host.map() == first


@pytest.mark.parametrize("point", [*POINTS, "block.write"])
def test_failed_map_leaves_nothing_and_can_be_done_again(
    host: Host, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    fail_at(monkeypatch, point)

    with pytest.raises(DiskError, match="No space left"):
        host.map()
    assert host.left() == []
    assert host.map().values > 0


@pytest.mark.parametrize("point", POINTS)
def test_map_killed_anywhere_is_whole_or_not_there(
    host: Host, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    killed_in(monkeypatch, point, host.map)
    finished = os.path.exists(host.paths.attempt(host.map_id()))

    assert finished == (point == "commit.after_rename")
    if finished:
        read_index(host.paths.attempt(host.map_id()))
    assert host.map().values > 0
    assert host.left() == ["map-00000-1.1"]


@pytest.mark.parametrize("point", [*POINTS, "output.write", "output.fsync"])
def test_failed_reduce_leaves_nothing_and_can_be_done_again(
    host: Host, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    host.map()
    segments: list[Segment] = [LocalSegment(host.paths.attempt(host.map_id()))]
    partition = read_index(host.paths.attempt(host.map_id())).partitions[0]
    fail_at(monkeypatch, point)

    with pytest.raises(DiskError, match="No space left"):
        host.reduce(segments, partition)
    assert host.left() == ["map-00000-1.1"]
    assert host.reduce(segments, partition).items > 0


def test_failing_function_leaves_nothing(host: Host) -> None:
    def failing(line: str, auxiliary_data: Any) -> Any:
        raise ValueError(line)

    host.context = job_context(failing, total)
    with pytest.raises(UserFunctionError, match="a b a"):
        host.map()
    assert host.left() == []


def test_fork_that_a_function_did_not_end_commits_nothing(host: Host) -> None:
    me = os.getpid()

    def forking(line: str, auxiliary_data: Any) -> Any:
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
        return [(os.getpid() == me, 1)]

    host.context = job_context(forking, total, partitions=1)
    host.map()
    assert os.getpid() == me
    assert [name for name in host.left() if name.startswith(".")] == []


def test_damaged_plan_names_file_and_byte(host: Host) -> None:
    os.truncate(host.paths.plan(RUN), 40)

    with pytest.raises(DamagedFileError, match="plan is damaged at byte"):
        host.map()
    assert host.left() == []


def stage(owner: Host, index: int, partition: int, target: Host) -> StagedSegment:
    """What fetching leaves: the runs one behind another, and facts of them."""
    id = owner.map_id(index)
    os.makedirs(target.paths.fetched(RUN), exist_ok=True)
    path = target.paths.segment(id, partition)
    runs = read_index(owner.paths.attempt(id)).runs(partition)
    with open(path, "wb") as file:
        for run in runs:
            with open(run.path, "rb") as source:
                source.seek(run.offset)
                file.write(source.read(run.length))
    write_facts(path, [(run.length, run.keys, run.values) for run in runs])
    return StagedSegment(path)


def flip_last_bit(path: str) -> None:
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


DAMAGES: dict[str, Callable[[str], None]] = {
    "gone": os.unlink,
    "cut": lambda path: os.truncate(path, os.path.getsize(path) - 1),
    "flipped": flip_last_bit,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("name", ["runs", "index"])
def test_damaged_local_output_names_the_map_attempt(
    host: Host, damage: Callable[[str], None], name: str
) -> None:
    host.map()
    folder = host.paths.attempt(host.map_id())
    index = read_index(folder)
    partition = max(index.partitions, key=lambda one: index.runs(one)[0].offset)
    damage(os.path.join(folder, name))

    with pytest.raises(MissingSegmentError, match="map-00000") as caught:
        host.reduce([LocalSegment(folder)], partition)
    assert (caught.value.task, caught.value.attempt) == ("map-00000", "1.1")
    assert caught.value.missing == host.map_id()
    assert caught.value.path == os.path.join(folder, "runs")
    assert host.left() == ["map-00000-1.1"]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("suffix", ["", FACTS_SUFFIX])
def test_damaged_copy_names_the_map_attempt(
    tmp_path: Path, damage: Callable[[str], None], suffix: str
) -> None:
    owner, host = Host(tmp_path / "a"), Host(tmp_path / "b")
    owner.map()
    partition = read_index(owner.paths.attempt(owner.map_id())).partitions[0]
    segment = stage(owner, 0, partition, host)
    damage(segment.path + suffix)
    if suffix and damage is DAMAGES["flipped"]:  # the number of values, which nothing hangs on
        assert host.reduce([segment], partition).groups > 0
        return

    with pytest.raises(MissingSegmentError, match="map-00000") as caught:
        host.reduce([segment], partition)
    assert caught.value.missing == owner.map_id()
    assert caught.value.path == segment.path


def test_folder_of_a_map_that_is_gone_names_the_attempt(host: Host) -> None:
    with pytest.raises(MissingSegmentError) as caught:
        host.reduce([LocalSegment(host.paths.attempt(host.map_id(7, "4.2")))])
    assert (caught.value.task, caught.value.attempt) == ("map-00007", "4.2")


def test_sources_come_back_in_order(tmp_path: Path) -> None:
    segments: list[Segment] = [LocalSegment("/a/map-00000-1.1"), StagedSegment(os.fsdecode(b"/\xff.00001"))]
    write_sources(str(tmp_path / "sources"), segments)

    assert read_sources(str(tmp_path / "sources")) == segments
    for damage in (b"", b"\x91\x92\x05\xa1x", b"\xc1", b"\x91\x01"):
        (tmp_path / "sources").write_bytes(damage)
        with pytest.raises(DamagedFileError, match="list of sources"):
            read_sources(str(tmp_path / "sources"))


class Noting(TaskWatch):
    """Notes the progress at every block that a merge takes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int]] = []

    def tick(self) -> None:
        super().tick()
        self.seen.append(self.progress())


def test_merge_passes_show_that_no_group_is_reduced_yet(tmp_path: Path) -> None:
    host = Host(tmp_path / "a", *["a b c d\n"] * 8, engine={"merge_fan_in_max": 2})
    segments: list[Segment] = []
    for index in range(8):
        host.map(index)
        segments.append(LocalSegment(host.paths.attempt(host.map_id(index))))
    watch = Noting()
    outcome = host.reduce(segments, 0, watch)
    folder = host.paths.attempt(AttemptId(RUN, "reduce-00000", "1.1"))

    assert len(watch.seen) == 8 + 4 + 2  # blocks, in three passes, of which the last one feeds the function
    assert set(watch.seen) == {(0, 0)}
    assert watch.progress() == (outcome.groups, outcome.values)
    assert sorted(os.listdir(folder)) == ["index", "part-00000-0000.jsonl"]


# -- two hosts


class Example:
    """An example project, its input spread over two hosts."""

    def __init__(self, folder: Path, name: str, engine: EngineConfig) -> None:
        job = load_job(PROJECTS / name / f"{name}.toml")
        assert isinstance(job, MapReduceJob)
        self.job = job
        peers = []
        for number in range(2):
            data_dir = folder / f"host-{number}"
            shutil.copytree(PROJECTS / name / "input", data_dir / "input")
            peers.append(
                PeerConfig(name=f"p{number}", host=f"host-{number}", workers=2, data_dir=str(data_dir))
            )
        for position, path in enumerate(sorted((PROJECTS / name / "input").rglob("*"))):
            if path.is_file():  # each file on one of the two
                other = peers[position % 2].data_dir
                os.unlink(Path(other, "input", path.relative_to(PROJECTS / name / "input")))
        self.config = ClusterConfig(peers=tuple(peers), engine=engine)
        self.context = JobContext(job, load_functions(PROJECTS, job), engine, 1 << 30, 3)
        self.paths = [PeerPaths(peer.data_dir) for peer in peers]

    def inline(self, folder: Path) -> dict[str, bytes]:
        folder.mkdir()
        inputs = [os.path.join(one.data_dir, name) for one in self.paths for name in self.job.input_dirs]
        mapped = map_all(self.context, plan_map_tasks(list_input_files(inputs), 1 << 20), str(folder))
        outputs = reduce_all(self.context, plan_reduce_tasks(mapped), str(folder))
        return {
            part.name: Path(output.directory, part.name).read_bytes()
            for output in outputs
            for part in output.parts
        }

    def run(self) -> dict[str, bytes]:
        """As the peers of a cluster do it, one step after another."""
        order = RunOrder(
            run_id=RUN,
            job_name=self.job.job_name,
            fields={name: value for name, value in job_to_dict(self.job).items() if value is not None},
            project_hash="0f",
            partitions=3,
        )
        mapped: list[tuple[int, AttemptId]] = []
        for number, paths in enumerate(self.paths):
            report = plan_host(order, PlanOrder(RUN, 2, False), self.config, f"p{number}")
            assert report.error == "" and report.tasks > 0
            for index in range(report.tasks):
                id = AttemptId(RUN, f"map-{len(mapped):05d}", "1.1")
                do_map(self.context, id, paths.plan(RUN), index, paths.run(RUN), TaskWatch())
                mapped.append((number, id))
        attempts: dict[int, list[str]] = {0: [], 1: []}
        for partition in range(3):
            home = partition % 2
            id = AttemptId(RUN, f"reduce-{partition:05d}", "1.1")
            path = self.paths[home].sources(id)
            write_sources(path, [self.segment(owner, one, home, partition) for owner, one in mapped])
            do_reduce(self.context, id, partition, path, self.paths[home].run(RUN), TaskWatch())
            attempts[home].append(id.folder)
        found = {}
        for number, paths in enumerate(self.paths):
            maps = tuple(id.folder for owner, id in mapped if owner == number)
            publish(
                paths,
                PublishOrder(RUN, self.job.job_name, f"p{number}", False, tuple(attempts[number]), maps, {}),
            )
            for part in list_output(paths, self.job.job_name)[1]:
                found[part.name] = Path(paths.output(self.job.job_name), part.name).read_bytes()
        return found

    def segment(self, owner: int, id: AttemptId, home: int, partition: int) -> Segment:
        folder = self.paths[owner].attempt(id)
        if owner == home:
            return LocalSegment(folder)
        os.makedirs(self.paths[home].fetched(RUN), exist_ok=True)
        path = self.paths[home].segment(id, partition)
        runs = read_index(folder).runs(partition)
        content = Path(folder, "runs").read_bytes()
        Path(path).write_bytes(b"".join(content[run.offset : run.offset + run.length] for run in runs))
        write_facts(path, [(run.length, run.keys, run.values) for run in runs])
        return StagedSegment(path)


ENGINES = {"as it is": EngineConfig(), "tiny": EngineConfig(block_bytes=1, merge_fan_in_max=2)}


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("name", EXAMPLES)
def test_two_hosts_give_the_bytes_that_one_process_gives(
    tmp_path: Path, name: str, engine: EngineConfig
) -> None:
    example = Example(tmp_path, name, engine)
    expected = example.inline(tmp_path / "inline")

    assert sum(map(len, expected.values())) > 100
    assert example.run() == expected

"""Planning: what a host reads, in which order; what is refused, naming peer and path."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgpack
import pytest
from valid_jobs import MAPREDUCE

from pymr.base import faults
from pymr.config.cluster import (
    ClusterConfig,
    EngineConfig,
    PeerConfig,
    SecurityConfig,
    StorageConfig,
    memory_bytes_per_worker,
)
from pymr.engine.plans import plan_size, read_plan_task
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.input.host_plan import plan_host, task_bytes, workers_memory_bytes
from pymr.wire.output_shares import OutputRead, OutputShare
from pymr.wire.protocol import ERROR_CHARACTERS_MAX, PlanOrder, PlanReport, RunOrder

RUN = "run-1"


class Cluster:
    """Peers a and b on one host, c on another; each has a data folder."""

    def __init__(self, folder: Path, **sections: Any) -> None:
        self.folder = folder
        peers = []
        for name, host in (("a", "one"), ("b", "one"), ("c", "two")):
            (folder / name).mkdir()
            peers.append(PeerConfig(name=name, host=host, workers=2, data_dir=str(folder / name)))
        self.config = ClusterConfig(peers=tuple(peers), **sections)

    def put(self, path: str, text: str = "line\n") -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def plan(self, *input_dirs: str, peer: str = "a", shared: bool = False, **fields: Any) -> PlanReport:
        return self.plan_of(PlanOrder(RUN, 2, shared), *input_dirs, peer=peer, **fields)

    def plan_of(self, plan: PlanOrder, *input_dirs: str, peer: str = "a", **fields: Any) -> PlanReport:
        fields = {**MAPREDUCE, "input_dirs": list(input_dirs), **fields}
        run_id = plan.run_id
        order = RunOrder(
            run_id=run_id, job_name="count-words", fields=fields, project_hash="0f", partitions=2
        )
        return plan_host(order, plan, self.config, peer, "i")

    def planned(self, peer: str = "a", *, shared: bool = False) -> list[str]:
        """The files in the plan, in order, below the folder of the cluster."""
        path = PeerPaths(str(self.folder / peer)).plan(RUN, shared=shared)
        tasks = [read_plan_task(path, index) for index in range(plan_size(path))]
        return [os.path.relpath(split.file.path, self.folder) for task in tasks for split in task.splits]


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    cluster = Cluster(tmp_path)
    for path in ("a/in/2", "a/in/1", "b/in/3", "c/in/4", "a/more/5", "b/more/6"):
        cluster.put(path)
    return cluster


def test_relative_folders_are_listed_of_every_peer_of_the_host_in_order(cluster: Cluster) -> None:
    report = cluster.plan("more", "in", peer="b")

    assert report == PlanReport(RUN, 1, 25, 5)
    assert cluster.planned("b") == ["a/more/5", "b/more/6", "a/in/1", "a/in/2", "b/in/3"]
    assert not os.path.exists(cluster.folder / "a" / "runs")


def test_other_host_plans_its_own(cluster: Cluster) -> None:
    assert cluster.plan("in", peer="c").files == 1
    assert cluster.planned("c") == ["c/in/4"]


def test_absolute_folder_is_listed_once_and_a_file_counts_once(cluster: Cluster) -> None:
    cluster.put("outside/7")
    (cluster.folder / "outside" / "link").symlink_to(cluster.folder / "a" / "in" / "1")

    assert cluster.plan(str(cluster.folder / "outside"), "in", "in").files == 4
    assert cluster.planned() == ["outside/7", "outside/link", "a/in/2", "b/in/3"]


def test_shared_folders_stand_in_a_plan_of_their_own(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, storage=StorageConfig(shared=(str(tmp_path / "shared"),)))
    for path in ("a/in/1", "b/in/2", "shared/texts/3", "outside/4"):
        cluster.put(path)
    names = ["in", str(tmp_path / "shared" / "texts"), str(tmp_path / "outside")]
    own, shared = cluster.plan(*names), cluster.plan(*names, shared=True)

    assert (own.files, own.shared, own.error) == (3, False, "")
    assert (shared.files, shared.shared, shared.error) == (1, True, "")
    assert cluster.planned() == ["a/in/1", "b/in/2", "outside/4"]
    assert cluster.planned(shared=True) == ["shared/texts/3"]


def test_shared_folder_reached_by_another_name_is_refused_and_not_read_by_every_host(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, storage=StorageConfig(shared=(str(tmp_path / "top" / "shared"),)))
    cluster.put("top/shared/1")
    (tmp_path / "link").symlink_to(tmp_path / "top" / "shared")

    for name in ("link", "top", "top/../top/shared"):
        report = cluster.plan(str(tmp_path) + "/" + name)
        assert "all machines share" in report.error and report.is_final


def test_relative_folder_that_a_peer_does_not_have_is_empty_there_and_told(cluster: Cluster) -> None:
    os.unlink(cluster.folder / "b" / "more" / "6")
    os.rmdir(cluster.folder / "b" / "more")
    report = cluster.plan("more", "nowhere", "in")

    assert (report.error, report.files) == ("", 4)
    assert cluster.planned() == ["a/more/5", "a/in/1", "a/in/2", "b/in/3"]
    assert [(one.name, one.peer) for one in report.absent] == [
        ("more", "b"), ("nowhere", "a"), ("nowhere", "b"),
    ]  # fmt: skip
    assert report.absent[0].place == f"{cluster.folder}/b/more on peer b (host one)"


def test_missing_absolute_folder_names_peer_host_and_path_and_says_what_to_do(cluster: Cluster) -> None:
    report = cluster.plan("in", str(cluster.folder / "none"))

    assert report.is_final and report.tasks == 0
    for text in ("peer a", "host one", str(cluster.folder / "none"), "an empty folder will do"):
        assert text in report.error
    assert not os.path.exists(cluster.folder / "a" / "runs")


def test_relative_folder_behind_a_link_that_leads_nowhere_is_an_error(cluster: Cluster) -> None:
    (cluster.folder / "a" / "disk").symlink_to("not mounted")

    assert "cannot be read: No such file" in cluster.plan("disk").error


def test_link_that_leads_nowhere_is_left_out_with_a_warning_that_names_the_peer(cluster: Cluster) -> None:
    (cluster.folder / "b" / "in" / "broken").symlink_to("absent")
    report = cluster.plan("in")

    assert (report.error, report.files) == ("", 3)
    (warning,) = report.warnings.lines()
    assert "peer b (host one)" in warning and "in/broken" in warning


def test_empty_folders_make_a_plan_without_tasks(cluster: Cluster) -> None:
    for peer in "ab":
        (cluster.folder / peer / "empty").mkdir()

    assert cluster.plan("empty") == PlanReport(RUN, 0, 0, 0)
    assert cluster.planned() == []


@pytest.mark.parametrize("peer", ["a", "b"])
@pytest.mark.parametrize("name", ["jobs/count-words/reduce", "jobs", ".", "jobs/count-words"])
def test_job_that_would_read_its_own_output_is_refused(cluster: Cluster, name: str, peer: str) -> None:
    for one in "ab":
        (cluster.folder / one / "jobs" / "count-words" / "reduce").mkdir(parents=True)
    report = cluster.plan(name, peer=peer)

    assert "lies in its input" in report.error and report.is_final
    assert "lies in its input" in cluster.plan(str(cluster.folder / "b" / name)).error


def test_output_of_another_job_is_an_input(cluster: Cluster) -> None:
    for peer in "ab":
        cluster.put(f"{peer}/jobs/other/reduce/part-00000-0000.jsonl", '["a",1]\n')
        cluster.put(f"{peer}/jobs/other/reduce/_manifest.json", '{"parts": []}')

    assert cluster.plan("jobs/other/reduce").files == 2


@pytest.mark.parametrize("folder", ["jobs/other/reduce", "jobs/other", "./jobs/other/reduce/"])
def test_what_there_is_of_another_jobs_output_is_told_of_each_peer(cluster: Cluster, folder: str) -> None:
    """Whichever folder it is read by."""
    said = {"run_id": "other-1", "runs": ["other-1"], "base_run": "other-1"}
    said |= {"run_items": {"other-1": {"a": 1, "gone": 2}}}
    part = {"name": "part-00000-0000.jsonl", "items": 1, "length": 8}
    cluster.put("a/jobs/other/reduce/part-00000-0000.jsonl", '["a",1]\n')
    cluster.put("a/jobs/other/reduce/_manifest.json", json.dumps(said | {"parts": [part]}))
    cluster.put("b/jobs/other/reduce/_manifest.json", json.dumps(said | {"parts": []}))
    expected = (OutputShare("other-1", "a", 1), OutputShare("other-1", "gone", 2))

    assert cluster.plan(folder).outputs == (
        OutputRead("other", "a", "other-1", expected, (OutputShare("other-1", "a", 1),)),
        OutputRead("other", "b", "other-1", expected, ()),
    )
    assert cluster.plan(folder, peer="c").outputs == ()


def test_output_folder_with_foreign_files_is_refused_before_any_work(cluster: Cluster) -> None:
    cluster.put("b/jobs/count-words/reduce/thesis.txt")
    report = cluster.plan("in")

    assert "thesis.txt" in report.error and "peer b" in report.error


@pytest.mark.parametrize("target", ["outside/secret", "outside"])
def test_link_inside_of_an_input_that_leads_out_is_refused(cluster: Cluster, target: str) -> None:
    cluster.put("outside/secret")
    (cluster.folder / "b" / "in" / "link").symlink_to(cluster.folder / target)
    report = cluster.plan("in")

    assert "which is not below" in report.error and "peer b" in report.error


def test_link_to_a_file_of_the_same_data_folder_is_read_once(cluster: Cluster) -> None:
    (cluster.folder / "a" / "in" / "0").symlink_to("../more/5")

    assert cluster.plan("in", "more").files == 5


def test_local_roots_bound_what_absolute_inputs_lead_to(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, security=SecurityConfig(local_roots=(str(tmp_path / "root"),)))
    cluster.put("root/in/1")
    cluster.put("outside/2")

    assert cluster.plan(str(tmp_path / "root" / "in")).files == 1
    assert "local_roots" in cluster.plan(str(tmp_path / "outside")).error
    (tmp_path / "root" / "in" / "link").symlink_to(tmp_path / "outside")
    assert "which is not below" in cluster.plan(str(tmp_path / "root" / "in")).error


def test_input_that_is_no_regular_file_is_named(cluster: Cluster) -> None:
    os.mkfifo(cluster.folder / "b" / "in" / "pipe")

    assert "a FIFO" in cluster.plan("in").error


def test_found_files_are_written_down_as_they_were(cluster: Cluster) -> None:
    cluster.plan("in")
    content = Path(PeerPaths(str(cluster.folder / "a")).inputs(RUN)).read_bytes()
    paths = [cluster.folder / name for name in ("a/in/1", "a/in/2", "b/in/3")]

    assert msgpack.unpackb(content) == [
        [os.fsencode(path), 5, path.stat().st_mtime_ns, path.stat().st_ino] for path in paths
    ]


def test_error_can_travel_whatever_the_names_are(cluster: Cluster) -> None:
    os.mkfifo(os.fsencode(str(cluster.folder / "a" / "in")) + b"/\xff")
    error = cluster.plan("in").error

    assert "\\udcff" in error and error.encode()
    assert len(cluster.plan("x" * 50_000).error) < 2 * ERROR_CHARACTERS_MAX


def test_full_disk_is_no_final_error(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "_faults", {"plan.write": [("enospc", 1)]})
    monkeypatch.setattr(faults, "_passes", {})
    report = cluster.plan("in")

    assert "No space left" in report.error and not report.is_final
    assert cluster.plan("in").error == ""


def test_job_that_is_not_valid_is_an_error_of_the_plan(cluster: Cluster) -> None:
    order = RunOrder(run_id=RUN, job_name="j", fields={}, project_hash="0f", partitions=1)

    assert "job_type" in plan_host(order, PlanOrder(RUN, 1, False), cluster.config, "a").error


def test_with_hold_state_only_new_files_are_planned_and_all_are_written_down_before(cluster: Cluster) -> None:
    first = cluster.plan("in", hold_state=True)
    cluster.put("b/in/0")
    (cluster.folder / "a" / "in" / "link").symlink_to(cluster.folder / "a" / "in" / "1")
    again = cluster.plan_of(PlanOrder("run-2", 2, False, RUN, "a"), "in", peer="b", hold_state=True)
    nothing = cluster.plan_of(PlanOrder("run-3", 2, False, "run-2", "b"), "in", hold_state=True)

    assert (first.files, first.bytes, first.tasks) == (3, 15, 1)
    assert (again.files, again.bytes, again.tasks) == (1, 5, 1)
    assert (nothing.files, nothing.tasks, nothing.error) == (0, 0, "")
    assert cluster.plan("in").files == 4
    lists = cluster.folder / "a" / "state" / "consumed" / "count-words"
    assert sorted(os.listdir(lists)) == ["run-2", "run-3"]


def test_what_was_consumed_is_the_same_file_by_whatever_name(cluster: Cluster) -> None:
    (cluster.folder / "a" / "first").mkdir()
    (cluster.folder / "a" / "first" / "link").symlink_to(cluster.folder / "a" / "in" / "1")
    (cluster.folder / "b" / "first").mkdir()
    cluster.plan("in", hold_state=True)
    plan = PlanOrder("run-2", 2, False, RUN, "a")

    assert cluster.plan_of(plan, "first", "in", hold_state=True).files == 0


@pytest.mark.parametrize("peer", ["", "a"])
def test_a_list_that_should_be_there_and_is_not_ends_the_run(cluster: Cluster, peer: str) -> None:
    report = cluster.plan_of(PlanOrder("run-2", 2, False, RUN, peer), "in", hold_state=True)

    assert ("--forget '*' --peer a" in report.error) == bool(peer)
    assert report.is_final and report.files == (0 if peer else 3)


def test_tasks_are_as_large_as_gives_each_worker_the_same_number(cluster: Cluster) -> None:
    cluster.config = ClusterConfig(peers=cluster.config.peers, engine=EngineConfig(split_bytes=3 << 20))
    cluster.put("c/large/file")
    os.truncate(cluster.folder / "c" / "large" / "file", 8 << 20)

    assert cluster.plan("large", peer="c").tasks == 4
    assert task_bytes([], 0, 100) == 100


def test_workers_of_all_peers_of_a_host_share_its_memory(cluster: Cluster) -> None:
    engine = cluster.config.engine

    assert workers_memory_bytes(cluster.config, "one") == memory_bytes_per_worker(engine, 4)
    assert workers_memory_bytes(cluster.config, "two") == memory_bytes_per_worker(engine, 2)

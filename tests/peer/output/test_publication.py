"""Publication: the old output or the new one, never a mixture; once, however often it is asked for."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pymr.base import faults
from pymr.base.errors import DiskError, OutputError, OutputInTheWayError
from pymr.engine import staged_output
from pymr.engine.outputs import Part
from pymr.engine.segments import write_index, write_reduce_index
from pymr.engine.tasks import MapOutput, ReduceOutput
from pymr.peer.disk import bad_records
from pymr.peer.disk.bad_records import read_bad_records
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.output.publication import (
    abandoned_folders,
    clear_abandoned,
    clear_unfinished,
    finished_attempts,
    forget_attempt,
    forget_run,
    list_output,
    publish,
    runs_on_disk,
)
from pymr.wire.outcomes import AttemptId
from pymr.wire.protocol import Counting, PublishOrder

JOB = "count"
SWAPS = ["publish.before_swap", "publish.after_swap"]


class Peer:
    """A data folder in which runs leave reduce attempts of one part each."""

    def __init__(self, folder: Path) -> None:
        self.paths = PeerPaths(str(folder))

    def reduce(self, run_id: str, partition: int, content: str) -> str:
        id = AttemptId(run_id, f"reduce-{partition:05d}", "1.1")
        folder = self.paths.attempt(id)
        os.makedirs(folder)
        name = f"part-{partition:05d}-0000.jsonl"
        Path(folder, name).write_text(content)
        write_reduce_index(folder, ReduceOutput(folder, (Part(name, 1, len(content)),), 1, 1, {}))
        return id.folder

    def map(self, run_id: str, task: int, bad_records: str = "") -> str:
        id = AttemptId(run_id, f"map-{task:05d}", "1.1")
        folder = self.paths.attempt(id)
        os.makedirs(folder)
        Path(folder, "runs").write_bytes(b"")
        if bad_records:
            Path(folder, "bad-records.jsonl").write_text(bad_records)
        write_index(folder, MapOutput((), 0, 0, {}, digest="0123"))
        return id.folder

    def order(
        self, run_id: str, *contents: str, add: bool = False, maps: tuple[str, ...] = ()
    ) -> PublishOrder:
        attempts = tuple(self.reduce(run_id, partition, one) for partition, one in enumerate(contents))
        return PublishOrder(run_id, JOB, "a", add, attempts, maps, {"records": 3})

    def shown(self) -> dict[str, str]:
        """The contents of the parts that the manifest lists."""
        _, parts = list_output(self.paths, JOB)
        return {part.name: Path(self.paths.output(JOB), part.name).read_text() for part in parts}

    def files(self) -> list[str]:
        return sorted(os.listdir(self.paths.job(JOB)))

    def manifest(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(Path(self.paths.output(JOB), "_manifest.json").read_bytes())
        return content


@pytest.fixture
def peer(tmp_path: Path) -> Peer:
    return Peer(tmp_path / "data")


def fail_at(monkeypatch: pytest.MonkeyPatch, point: str, what: str = "enospc") -> None:
    monkeypatch.setattr(faults, "_faults", {point: [(what, 1)]})
    monkeypatch.setattr(faults, "_passes", {})


def killed_in(monkeypatch: pytest.MonkeyPatch, point: str, work: Callable[[], object]) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            fail_at(monkeypatch, point, "kill")
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_output_shows_the_parts_of_the_run(peer: Peer) -> None:
    publish(peer.paths, peer.order("run-1", "one\n", "two\n"))

    assert peer.shown() == {"part-00000-0000.jsonl": "one\n", "part-00001-0000.jsonl": "two\n"}
    assert list_output(peer.paths, JOB)[0] == "run-1"
    assert peer.files() == ["reduce"]
    manifest = peer.manifest()
    assert manifest["runs"] == ["run-1"] and manifest["summary"] == {"records": 3}
    assert manifest["job_name"] == JOB and manifest["written_at"]


def test_new_output_replaces_the_old_one(peer: Peer) -> None:
    publish(peer.paths, peer.order("run-1", "one\n", "two\n"))
    publish(peer.paths, peer.order("run-2", "three\n"))

    assert peer.shown() == {"part-00000-0000.jsonl": "three\n"}
    assert sorted(os.listdir(peer.paths.output(JOB))) == ["_manifest.json", "part-00000-0000.jsonl"]
    assert peer.files() == ["reduce"]


def test_added_output_is_numbered_behind_what_is_there(peer: Peer) -> None:
    publish(peer.paths, peer.order("run-1", "one\n", "two\n"))
    publish(peer.paths, peer.order("run-2", "three\n", add=True))
    publish(peer.paths, peer.order("run-3", add=True))

    assert peer.shown() == {
        "part-00000-0000.jsonl": "one\n",
        "part-00001-0000.jsonl": "two\n",
        "part-00000-0001.jsonl": "three\n",
    }
    assert peer.manifest()["runs"] == ["run-1", "run-2", "run-3"]


def test_a_run_goes_from_a_disk_that_has_no_room_for_another_name(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(peer.paths, peer.order("run-1", "one\n"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", full)
        forget_run(peer.paths, "run-1")

    assert os.listdir(peer.paths.runs) == []


def test_publishing_again_changes_nothing_also_when_the_run_is_gone(peer: Peer) -> None:
    orders = [peer.order("run-1", "one\n"), peer.order("run-2", "two\n", add=True)]
    for order in orders:
        publish(peer.paths, order)
        forget_run(peer.paths, order.run_id)
    before, manifest = peer.shown(), peer.manifest()
    for order in orders:  # an older one too, whose parts are among them
        publish(peer.paths, order)

    assert peer.shown() == before and peer.manifest() == manifest


@pytest.mark.parametrize("add", [False, True])
def test_an_order_that_was_long_on_its_way_does_not_undo_a_later_run(peer: Peer, add: bool) -> None:
    publish(peer.paths, peer.order("run-000010", "ten\n"))
    publish(peer.paths, peer.order("run-000009", add=add))

    assert list_output(peer.paths, JOB)[0] == "run-000010"
    assert peer.shown() == {"part-00000-0000.jsonl": "ten\n"}


def test_a_run_of_another_incarnation_is_another_run_whatever_its_id(peer: Peer) -> None:
    publish(peer.paths, peer.order("run-000007", "old\n"), "a life before")
    forget_run(peer.paths, "run-000007")
    publish(peer.paths, peer.order("run-000001", "new\n"), "this life")
    publish(peer.paths, peer.order("run-000007", "newer\n", add=True), "this life")

    assert peer.shown() == {"part-00000-0000.jsonl": "new\n", "part-00000-0001.jsonl": "newer\n"}
    assert peer.manifest()["runs"] == ["run-000001", "run-000007"]


def test_a_run_that_does_not_count_is_passed_over_where_it_has_added_nothing(peer: Peer) -> None:
    publish(peer.paths, peer.order("run-1"), "life")
    publish(peer.paths, replace(peer.order("run-2", add=True), counting=Counting(1, 1)), "life")

    assert list_output(peer.paths, JOB, lambda run_id: run_id != "run-2") == ("run-1", [])


def test_a_run_that_replaced_all_is_told_also_where_it_does_not_count(peer: Peer) -> None:
    publish(peer.paths, peer.order("run-1", "old\n"), "life")
    publish(peer.paths, peer.order("run-2", "new\n"), "life")

    assert list_output(peer.paths, JOB, lambda run_id: run_id != "run-2")[0] == "run-2"


def test_parts_of_a_run_that_did_not_count_go_when_the_next_is_added(peer: Peer) -> None:
    publish(peer.paths, peer.order("run-1", "replaced\n"), "life")
    # run-3 fails afterwards
    for run, counting in (("run-2", Counting(1, 1)), ("run-3", Counting(1, 2)), ("run-4", Counting(1, 2))):
        order = replace(peer.order(run, f"{run}\n", add=True), counting=counting)
        publish(peer.paths, order, "life")

    assert list(peer.shown().values()) == ["replaced\n", "run-2\n", "run-4\n"]
    assert peer.manifest()["runs"] == ["run-1", "run-2", "run-4"]
    shown, parts = list_output(peer.paths, JOB, lambda run_id: run_id in ("run-1", "run-2"))
    assert shown == "run-2"
    assert [part.name for part in parts] == ["part-00000-0000.jsonl", "part-00000-0001.jsonl"]

    # Redis forgot the end of run-4, and goes on under another incarnation from when run-2 had counted.
    counting = Counting(1, 2)
    missed = replace(peer.order("run-2", add=True), counting=counting, replaces=("before", "life"))
    publish(peer.paths, missed, "next life")
    assert list_output(peer.paths, JOB)[0] == "run-4"  # not done again
    counting = Counting(1, 1009, ((3, 1008),))
    late = replace(peer.order("run-1009", add=True), counting=counting, replaces=("life",))
    publish(peer.paths, late, "next life")
    assert list(peer.shown().values()) == ["replaced\n", "run-2\n"]

    # Of an incarnation that remembers nothing of these, their ids say nothing.
    order = replace(peer.order("run-7", "seven\n", add=True), counting=Counting())
    publish(peer.paths, order, "another")
    assert list(peer.shown().values()) == ["replaced\n", "run-2\n", "seven\n"]


def test_a_part_of_a_run_that_failed_goes_however_many_have_counted_since(peer: Peer) -> None:
    publish(peer.paths, replace(peer.order("run-1", "one\n", add=True), counting=Counting()))
    publish(peer.paths, replace(peer.order("run-2", "two\n", add=True), counting=Counting(0, 1)))
    missed = replace(peer.order("run-70000", add=True), counting=Counting(0, 70_000, ((2, 2),)))
    publish(peer.paths, missed)

    assert list(peer.shown().values()) == ["one\n"]


def test_a_part_that_was_replaced_elsewhere_goes_also_where_it_is_added_to(peer: Peer) -> None:
    publish(peer.paths, peer.order("run-1", "one\n"))
    publish(peer.paths, replace(peer.order("run-2", "two\n", add=True), counting=Counting(1, 1)))
    publish(peer.paths, replace(peer.order("run-9", "nine\n", add=True), counting=Counting(5, 8)))

    assert list(peer.shown().values()) == ["nine\n"]


def test_what_replaced_all_stays_where_no_later_run_is_known_to_have(peer: Peer) -> None:
    publish(peer.paths, peer.order("run-3", "three\n"))
    for run, counting in (("run-8", Counting()), ("run-9", Counting(3, 8))):
        publish(peer.paths, replace(peer.order(run, f"{run}\n", add=True), counting=counting))

    assert list(peer.shown().values()) == ["three\n", "run-8\n", "run-9\n"]


def test_an_output_of_an_earlier_release_stays(peer: Peer) -> None:
    publish(peer.paths, peer.order("run-1", "one\n", add=True))
    manifest = peer.manifest()
    del manifest["part_runs"]
    Path(peer.paths.output(JOB), "_manifest.json").write_text(json.dumps(manifest))
    publish(peer.paths, replace(peer.order("run-2", "two\n", add=True), counting=Counting(0, 1)))

    assert list(peer.shown().values()) == ["one\n", "two\n"]


def test_peer_without_parts_shows_an_empty_output(peer: Peer) -> None:
    publish(peer.paths, peer.order("run-1", "one\n"))
    publish(peer.paths, peer.order("run-2"))

    assert list_output(peer.paths, JOB) == ("run-2", [])
    assert os.listdir(peer.paths.output(JOB)) == ["_manifest.json"]


def test_nothing_published_is_nothing_shown(peer: Peer) -> None:
    assert list_output(peer.paths, JOB) == ("", [])


def test_bad_records_are_put_together(peer: Peer) -> None:
    maps = (peer.map("run-1", 0, "bad 0\n"), peer.map("run-1", 1), peer.map("run-1", 2, "bad 2\n"))
    publish(peer.paths, peer.order("run-1", "one\n", maps=maps))
    listed = Path(peer.paths.output(JOB), "_bad_records.jsonl")
    assert listed.read_text() == "bad 0\nbad 2\n"

    more = (peer.map("run-2", 0, "bad 3\n"),)
    publish(peer.paths, peer.order("run-2", "two\n", maps=more, add=True))
    assert listed.read_text() == "bad 0\nbad 2\nbad 3\n"

    publish(peer.paths, peer.order("run-3", "three\n"))
    assert not listed.exists()


@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("point", SWAPS)
def test_kill_around_the_swap_leaves_the_old_or_the_new_output(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, point: str, add: bool
) -> None:
    publish(peer.paths, peer.order("run-1", "one\n"))
    old = peer.shown()
    order = peer.order("run-2", "two\n", add=add)
    new = {"part-00000-0001.jsonl": "two\n", **old} if add else {"part-00000-0000.jsonl": "two\n"}
    killed_in(monkeypatch, point, lambda: publish(peer.paths, order))

    assert peer.shown() == (old if point == "publish.before_swap" else new)
    publish(peer.paths, order)
    assert peer.shown() == new
    clear_unfinished(peer.paths)
    assert peer.files() == ["reduce"]


@pytest.mark.parametrize("point", ["publish.before_swap"])
def test_disk_error_leaves_the_old_output_and_nothing_else(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    publish(peer.paths, peer.order("run-1", "one\n"))
    order = peer.order("run-2", "two\n")
    fail_at(monkeypatch, point)

    with pytest.raises(DiskError, match=r"publishing .* No space left"):
        publish(peer.paths, order)
    assert peer.shown() == {"part-00000-0000.jsonl": "one\n"}
    assert peer.files() == ["reduce"]
    publish(peer.paths, order)
    assert peer.shown() == {"part-00000-0000.jsonl": "two\n"}


def test_where_folders_cannot_be_exchanged_the_swap_takes_two_steps(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staged_output, "exchange_folders", lambda one, other: False)
    publish(peer.paths, peer.order("run-1", "one\n"))
    publish(peer.paths, peer.order("run-2", "two\n", add=True))
    os.rename(peer.paths.output(JOB), peer.paths.previous_output(JOB))  # killed between the two
    publish(peer.paths, peer.order("run-3", "three\n", add=True))

    assert list(peer.shown().values()) == ["one\n", "two\n", "three\n"]
    os.rename(peer.paths.output(JOB), peer.paths.previous_output(JOB))
    clear_unfinished(peer.paths)
    assert len(peer.shown()) == 3
    assert peer.files() == ["reduce"]


def test_part_that_is_gone_is_an_error_and_no_partial_output(peer: Peer) -> None:
    publish(peer.paths, peer.order("run-1", "one\n"))
    order = peer.order("run-2", "two\n", "three\n")
    os.unlink(os.path.join(peer.paths.run("run-2"), order.attempts[1], "part-00001-0000.jsonl"))

    with pytest.raises(OutputError, match=r"reduce-00001-1.1 of run run-2 is not whole"):
        publish(peer.paths, order)
    assert peer.shown() == {"part-00000-0000.jsonl": "one\n"}


def test_map_that_is_gone_is_an_error(peer: Peer) -> None:
    with pytest.raises(OutputError, match=r"list of bad records of map-00004-1\.1"):
        publish(peer.paths, peer.order("run-1", "one\n", maps=("map-00004-1.1",)))
    assert list_output(peer.paths, JOB) == ("", [])


def test_foreign_files_are_never_replaced(peer: Peer) -> None:
    publish(peer.paths, peer.order("run-1", "one\n"))
    mine = Path(peer.paths.output(JOB), "thesis.txt")
    mine.write_text("years of work")

    order = peer.order("run-2", "two\n")
    with pytest.raises(OutputInTheWayError, match=r"thesis\.txt.*move them away on peer a: run-2 is"):
        publish(peer.paths, order)
    assert mine.read_text() == "years of work"

    mine.unlink()
    publish(peer.paths, order)
    assert list(peer.shown().values()) == ["two\n"]


def test_damaged_manifest_is_named(peer: Peer) -> None:
    publish(peer.paths, peer.order("run-1", "one\n"))
    Path(peer.paths.output(JOB), "_manifest.json").write_text("{")

    with pytest.raises(OutputError, match=r"_manifest\.json is damaged"):
        list_output(peer.paths, JOB)


def test_finished_attempts_are_those_that_are_whole(peer: Peer) -> None:
    peer.map("run-1", 0)
    peer.map("run-1", 1)
    peer.reduce("run-1", 0, "one\n")
    peer.reduce("run-1", 1, "two\n")
    peer.map("run-2", 0)
    os.unlink(os.path.join(peer.paths.run("run-1"), "map-00001-1.1", "index"))
    os.truncate(os.path.join(peer.paths.run("run-1"), "reduce-00001-1.1", "part-00001-0000.jsonl"), 1)
    os.makedirs(peer.paths.fetched("run-1"))
    os.makedirs(peer.paths.run("run-3"))
    found = {held.run_id: held.attempts for held in finished_attempts(peer.paths)}

    assert [(task, attempt) for task, attempt, _ in found["run-1"]] == [
        ("map-00000", "1.1"),
        ("reduce-00000", "1.1"),
    ]
    assert found["run-2"] == (("map-00000", "1.1", "0123"),)
    assert sorted(found) == ["run-1", "run-2"]
    assert runs_on_disk(peer.paths) == ["run-1", "run-2", "run-3"]


def test_what_was_not_finished_is_cleared_away(peer: Peer) -> None:
    peer.map("run-1", 0)
    publish(peer.paths, peer.order("run-2", "one\n"))
    unfinished = AttemptId("run-1", "map-00001", "1.1")
    for path in (
        peer.paths.unfinished(unfinished),
        peer.paths.staged_output(JOB, "run-9"),
        peer.paths.abandoned("run-8"),
    ):
        os.makedirs(os.path.join(path, "deep"))
    Path(peer.paths.sources(unfinished)).write_bytes(b"x")
    clear_unfinished(peer.paths)

    assert os.listdir(peer.paths.run("run-1")) == ["map-00000-1.1"]
    assert abandoned_folders(peer.paths) == [peer.paths.abandoned("run-8")]  # which may take long

    clear_abandoned(peer.paths.abandoned("run-8"))

    assert sorted(os.listdir(peer.paths.runs)) == ["run-1", "run-2"]
    assert peer.files() == ["reduce"]


def test_nothing_is_cleared_where_another_is_publishing(peer: Peer) -> None:
    publish(peer.paths, peer.order("run-1", "one\n"))
    staged = peer.paths.staged_output(JOB, "run-2")
    os.makedirs(staged)
    with staged_output.locked(peer.paths.job(JOB)):
        clear_unfinished(peer.paths)

    assert os.path.isdir(staged)


def test_forgotten_runs_and_attempts_are_gone_and_output_stays(peer: Peer) -> None:
    publish(peer.paths, peer.order("run-1", "one\n"))
    peer.map("run-1", 0)
    forget_attempt(peer.paths, AttemptId("run-1", "map-00000", "1.1"))
    assert os.listdir(peer.paths.run("run-1")) == ["reduce-00000-1.1"]

    for _ in range(2):
        forget_run(peer.paths, "run-1")
    assert os.listdir(peer.paths.runs) == []
    assert peer.shown() == {"part-00000-0000.jsonl": "one\n"}


def bad_lines(*numbers: int) -> str:
    return "".join(
        json.dumps({"file": "/in/a", "offset": number, "line": f"{number}", "error": "ValueError: bad"})
        + "\n"
        for number in numbers
    )


def all_bad(peers: list[PeerPaths], run_id: str) -> list[dict[str, Any]]:
    """What all pages say."""
    found: list[dict[str, Any]] = []
    start: int | None = 0
    while start is not None:
        lines, start = read_bad_records(peers, run_id, start)
        found += map(json.loads, lines)
    return found


def offsets(entries: list[dict[str, Any]]) -> list[int]:
    return [entry["offset"] for entry in entries]


def test_bad_records_are_kept_when_their_run_goes(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Peer(tmp_path / "other")
    peer.map("run-1", 0, bad_lines(1, 2))
    peer.map("run-1", 1)
    peer.map("run-1", 2, bad_lines(*range(3, 9)))
    other.map("run-1", 3, bad_lines(9))
    paths = [peer.paths, other.paths]
    before = all_bad(paths, "run-1")
    for one in paths:
        forget_run(one, "run-1")
        forget_run(one, "run-1")

    assert offsets(before) == offsets(all_bad(paths, "run-1")) == list(range(1, 10))
    monkeypatch.setattr(bad_records, "PAGE_BYTES", 200)
    assert offsets(all_bad(paths, "run-1")) == list(range(1, 10))
    assert offsets(list(map(json.loads, read_bad_records(paths, "run-1", 5)[0]))) == [2, 3]
    assert read_bad_records(paths, "run-1", 10**9) == read_bad_records(paths, "run-2", 0) == ((), None)


def test_of_a_task_that_was_done_twice_bad_records_are_kept_once(peer: Peer) -> None:
    first = peer.map("run-1", 0, bad_lines(1))
    os.rename(peer.paths.attempt_folder("run-1", first), peer.paths.attempt_folder("run-1", "map-00000-1.2"))
    peer.map("run-1", 0, bad_lines(1))
    unfinished = peer.paths.unfinished(AttemptId("run-1", "map-00001", "1.1"))
    os.makedirs(unfinished)
    Path(unfinished, "bad-records.jsonl").write_text(bad_lines(7))
    forget_run(peer.paths, "run-1")

    assert offsets(all_bad([peer.paths], "run-1")) == [1]


def test_what_is_kept_of_bad_records_has_a_bound(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bad_records, "KEPT_BYTES_MAX", 2 * len(bad_lines(1)))
    monkeypatch.setattr(bad_records, "KEPT_RUNS_MAX", 2)
    for run in range(1, 5):
        peer.map(f"run-{run}", 0, bad_lines(1, 2, 3))
        peer.map(f"run-{run}", 1, bad_lines(4, 5))
        forget_run(peer.paths, f"run-{run}")
    Path(peer.paths.bad_records("run-9") + ".unfinished").write_text("x")
    peer.map("run-5", 0, bad_lines(1))
    forget_run(peer.paths, "run-5")

    *kept, last = all_bad([peer.paths], "run-4")
    assert (offsets(kept), last) == ([1, 2], {"left_out": 3})
    assert sorted(os.listdir(peer.paths.bad_records_of_runs)) == ["run-4.jsonl", "run-5.jsonl"]


def test_a_run_goes_also_where_its_bad_records_cannot_be_kept(peer: Peer) -> None:
    peer.map("run-1", 0, bad_lines(1))
    Path(peer.paths.bad_records_of_runs).write_text("in the way")
    forget_run(peer.paths, "run-1")

    assert not os.path.exists(peer.paths.run("run-1"))


def test_bad_records_of_an_earlier_run_of_the_same_id_are_not_those_of_this_one(peer: Peer) -> None:
    peer.map("run-1", 0, bad_lines(1))
    forget_run(peer.paths, "run-1")
    peer.map("run-1", 0)
    forget_run(peer.paths, "run-1")

    assert all_bad([peer.paths], "run-1") == []


def test_fresh_data_folder_has_nothing_to_find_or_clear(peer: Peer) -> None:
    clear_unfinished(peer.paths)

    assert finished_attempts(peer.paths) == [] and runs_on_disk(peer.paths) == []

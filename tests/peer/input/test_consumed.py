"""What was consumed: no file counts twice or is lost, whoever plans, whatever is killed or damaged."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pymr.base import faults
from pymr.base.errors import DamagedFileError, DiskError, InputError, PymrError
from pymr.config.cluster import PeerConfig
from pymr.control.runs.mapreduce_run import MapReduceRun
from pymr.control.stored_state import HostPlan, JobState, RunPlan, RunRecord
from pymr.engine.input.files import InputFile, list_input_files
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.input import consumed, consumed_lists
from pymr.peer.input.consumed import Planning, consumed_page, forget, look, new_files
from pymr.peer.input.consumed_lists import ConsumedList, Fact, HostLists, read_list

JOB = "count"


class Host:
    """Two peers, a and b, that share a disk; `input` of a holds the files."""

    def __init__(self, folder: Path) -> None:
        self.peers = [
            PeerConfig(name=name, host="one", workers=1, data_dir=str(folder / name)) for name in "ab"
        ]
        self.input = folder / "a" / "input"
        self.input.mkdir(parents=True)
        for peer in self.peers:
            os.makedirs(PeerPaths(peer.data_dir).state)

    def put(self, *names: str, text: str = "line\n") -> None:
        for name in names:
            path = self.input / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def found(self) -> dict[str, InputFile]:
        return {os.path.realpath(file.path): file for file in list_input_files([str(self.input)])}

    def lists(self, peer: str = "a") -> HostLists:
        return HostLists(next(one for one in self.peers if one.name == peer), self.peers)

    def plan(
        self,
        run: int,
        of: int = 0,
        peer: str = "a",
        *,
        has_list: bool = False,
        incarnation: str = "i",
        turn: tuple[int, int] = (1, 1),
    ) -> list[str]:
        """The new files of a run, after the run `of`."""
        planning = Planning(JOB, run_id(run), run_id(of) if of else "", has_list, False, incarnation, turn)
        files = new_files(self.lists(peer), planning, self.found())
        return [os.path.relpath(file.path, self.input) for file in files]

    def shown(self, run: int, start: int = 0) -> list[str]:
        rows, _ = consumed_page(self.lists("b"), JOB, run_id(run), start)
        return [row.path for row in rows]

    def forget(self, run: int, pattern: str) -> int:
        lists = self.lists("b")
        return forget(lists, JOB, JobState(run_id(run)), pattern, look(lists, JOB))

    def list_path(self, run: int, peer: str = "a") -> Path:
        return self.input.parents[1] / peer / "state" / "consumed" / JOB / run_id(run)

    def list_names(self) -> list[str]:
        return sorted(os.listdir(self.list_path(1).parent))


def run_id(number: int) -> str:
    return f"{JOB}-{number:06d}"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path)
    host.put("1", "2")
    return host


def test_only_what_was_not_consumed_is_new_in_the_order_in_which_it_was_found(host: Host) -> None:
    assert host.plan(1) == ["1", "2"]
    host.put("0", "3", "deep/4")

    assert host.plan(2, of=1) == ["0", "3", "deep/4"]
    assert host.plan(3, of=2) == []


def test_a_file_that_grew_while_it_was_read_is_left_to_a_later_run(host: Host) -> None:
    host.plan(1)
    host.put("3", "4")
    host.plan(2, of=1)  # outdated, as 3 grew
    host.put("3", text="line\nmore\n")
    host.put("5")
    warnings: list[str] = []
    planning = Planning(JOB, run_id(3), run_id(1), True, False, "i", (1, 1), is_anew=True)
    files = new_files(host.lists(), planning, host.found(), warnings.append)

    assert [file.name for file in files] == ["4", "5"]
    assert warnings == [
        f"{host.input}/3 grew while it was being read, and was left out: it is read when it is at rest"
    ]
    assert "input/3" not in host.shown(3)
    assert host.plan(4, of=3) == ["3"]


def grow(host: Host, *names: str) -> None:
    for name in names:
        with open(host.input / name, "a") as file:
            file.write("more\n")


def plan_anew(host: Host, run: int, of: int = 0, turn: int = 1, peer: str = "a") -> list[str]:
    planning = Planning(JOB, run_id(run), run_id(of) if of else "", bool(of), False, "i", (1, turn), True)
    return [file.name for file in new_files(host.lists(peer), planning, host.found())]


@pytest.mark.parametrize("of", [0, 1])
def test_what_was_left_out_stays_so_over_all_outdated_runs_and_each_gets_further(host: Host, of: int) -> None:
    host.put("3", "4", "5")
    if of:
        host.plan(1)
        grow(host, "1", "2", "3", "4", "5")
    assert host.plan(2, of=of) == ["1", "2", "3", "4", "5"]
    left = []
    for run in range(3, 7):
        grow(host, *(f"{number}" for number in range(1, run - 1)))
        left.append(plan_anew(host, run, of, peer="ab"[run % 2]))

    assert left == [["2", "3", "4", "5"], ["3", "4", "5"], ["4", "5"], ["5"]]
    assert host.plan(7, of=6) == ["1", "2", "3", "4"]


def test_what_was_left_out_stays_so_when_it_is_renamed(host: Host) -> None:
    host.plan(2)
    grow(host, "1")
    assert plan_anew(host, 3) == ["2"]
    os.rename(host.input / "1", host.input / "1.old")

    assert plan_anew(host, 4) == ["2"]


def test_a_new_file_with_the_inode_of_one_consumed_long_ago_is_not_taken_for_it(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.plan(1)
    gone = (host.input / "1").stat().st_ino
    (host.input / "1").unlink()
    host.plan(2, of=1)
    host.put("new", text="longer than that was\n")
    found = {path: replace(file, inode=gone) for path, file in host.found().items() if "new" in path}
    planning = Planning(JOB, run_id(3), run_id(1), True, False, "i", (1, 1), is_anew=True)

    assert [file.name for file in new_files(host.lists(), planning, found)] == ["new"]


@pytest.mark.parametrize("point", ["plan.before_state", "plan.after_state"])
def test_a_kill_while_planning_anew_forgets_nothing_that_was_left_out(
    host: Host, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    host.put("3")
    host.plan(2)
    grow(host, "1")
    plan_anew(host, 3)
    grow(host, "2")
    killed_in(monkeypatch, point, lambda: plan_anew(host, 4))

    assert plan_anew(host, 4, turn=2, peer="b") == ["3"]
    assert host.list_names() == [run_id(4)]


def test_nothing_counts_before_its_run_does(host: Host) -> None:
    host.plan(1)
    host.put("3")

    assert host.plan(2) == ["1", "2", "3"]
    assert host.plan(3, of=2) == []
    assert host.plan(4, of=2) == []


@pytest.mark.parametrize("change", ["size", "time", "content"])
def test_a_file_that_has_changed_is_new(host: Host, change: str) -> None:
    host.plan(1)
    path = host.input / "1"
    info = path.stat()
    if change == "size":
        path.write_text("line\nline\n")
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    elif change == "time":
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns + 1_000_000_000))
    else:
        other = host.input.parent / "other"
        other.write_text("enil\n")
        os.utime(other, ns=(info.st_atime_ns, info.st_mtime_ns))
        os.replace(other, path)

    assert host.plan(2, of=1) == ["1"]


def test_a_file_that_goes_and_comes_back_does_not_count_twice(host: Host) -> None:
    host.plan(1)
    os.rename(host.input / "1", host.input.parent / "away")
    assert host.plan(2, of=1) == []
    os.rename(host.input.parent / "away", host.input / "1")

    assert host.plan(3, of=2) == []


def test_another_peer_of_the_host_knows_what_was_consumed_also_when_the_first_has_lost_it(
    host: Host,
) -> None:
    host.plan(1, peer="a")
    host.put("3")
    assert host.plan(2, of=1, peer="b") == ["3"]
    shutil.rmtree(host.list_path(2).parent)

    assert host.plan(3, of=2, peer="a", has_list=True) == []


@pytest.mark.parametrize("change", [os.unlink, lambda path: path.write_text("other")])
def test_a_run_that_is_planned_again_reads_what_is_there_then(
    host: Host, change: Callable[[Path], object]
) -> None:
    host.plan(1)
    host.put("3", "4")
    host.plan(2, of=1, peer="a", turn=(1, 1))
    change(host.input / "3")
    host.put("5")
    left = ["3", "4", "5"] if (host.input / "3").exists() else ["4", "5"]

    assert host.plan(2, of=1, peer="b", turn=(1, 2)) == left
    host.put("6")
    assert host.plan(3, of=2) == ["6"]


@pytest.mark.parametrize("late", [(1, 9), (2, 1)])
def test_a_planning_that_comes_after_that_of_a_later_turn_changes_nothing(
    host: Host, late: tuple[int, int]
) -> None:
    host.plan(1, turn=(2, 2), peer="a")
    host.put("3")

    with pytest.raises(DiskError, match="planned too late"):
        host.plan(1, turn=late, peer="b")
    assert host.plan(2, of=1) == ["3"]


def test_of_copies_that_differ_the_one_of_the_last_turn_counts(host: Host) -> None:
    host.plan(1, turn=(1, 1))
    first = host.list_path(1, "b").read_bytes()
    host.put("3")
    host.plan(1, turn=(2, 1))
    host.list_path(1, "b").write_bytes(first)  # as if it could not be written

    assert host.forget(1, "input/1") == 1
    host.list_path(1, "b").write_bytes(first)
    assert host.plan(2, of=1, peer="b") == ["1"]


def test_lists_of_other_runs_are_removed_but_neither_the_one_that_counts_nor_the_present_one(
    host: Host,
) -> None:
    for run, of in ((1, 0), (2, 1), (3, 1), (4, 3)):
        host.plan(run, of)
    unfinished = host.list_path(9).with_suffix(".unfinished")
    unfinished.write_bytes(b"")
    host.plan(5, of=3)

    assert host.list_names() == [run_id(3), run_id(5)]
    assert not unfinished.exists()


def test_lists_of_shared_folders_stand_by_themselves(host: Host) -> None:
    lists = host.lists()
    own, shared = (Planning(JOB, run_id(1), shared=shared) for shared in (False, True))
    new_files(lists, own, host.found())
    host.put("3")
    new_files(lists, shared, host.found())
    host.put("4")
    own, shared = (Planning(JOB, run_id(2), run_id(1), True, shared) for shared in (False, True))

    assert len(new_files(lists, own, host.found())) == 2
    assert len(new_files(lists, shared, host.found())) == 1
    assert host.list_names() == [run_id(1), run_id(1) + "-shared", run_id(2), run_id(2) + "-shared"]


def test_a_host_that_joined_later_has_consumed_nothing_and_remembers_that(host: Host) -> None:
    assert host.plan(8, of=7) == ["1", "2"]
    assert host.plan(9, of=7) == ["1", "2"]  # 8 failed
    assert host.plan(10, of=9) == []


@pytest.mark.parametrize("has_list", [True, False])
def test_a_list_that_is_gone_is_no_reason_to_count_files_twice(host: Host, has_list: bool) -> None:
    host.plan(1)
    host.plan(2, of=1)
    for peer in "ab":
        host.list_path(2, peer).unlink()
        if has_list:
            host.list_path(1, peer).unlink()

    with pytest.raises(InputError, match=rf"{run_id(2)} is gone.*pymr state count --forget '\*' --peer a"):
        host.plan(3, of=2, has_list=has_list)
    assert host.forget(2, "*") == 0
    assert host.plan(3, of=2, has_list=has_list) == ["1", "2"]


@pytest.mark.parametrize("where", [0, 8, 20, -1])
def test_a_damaged_list_is_named_with_the_way_out_unless_there_is_a_whole_copy(
    host: Host, where: int
) -> None:
    host.plan(1)
    for peer in "ba":
        content = bytearray(host.list_path(1, peer).read_bytes())
        content[where] ^= 1
        host.list_path(1, peer).write_bytes(content)
        if peer == "b":
            assert host.plan(2, of=1) == []

    with pytest.raises(DamagedFileError, match=r"count-000001 is damaged.*--forget '\*' --peer a"):
        host.plan(3, of=1)
    with pytest.raises(DamagedFileError):
        host.forget(1, "*1")
    assert host.forget(1, "*") == 0
    assert host.plan(4, of=1) == ["1", "2"]


@pytest.mark.parametrize("length", [0, 7, 15, 40])
def test_a_list_that_is_cut_short_is_damaged(host: Host, length: int) -> None:
    host.plan(1)
    os.truncate(host.list_path(1), length)

    with pytest.raises(DamagedFileError):
        read_list(str(host.list_path(1)))


def test_lists_of_a_cluster_that_forgot_are_of_no_account(host: Host) -> None:
    host.plan(1, incarnation="a life before")
    host.plan(2, of=1, incarnation="a life before")
    host.put("3")

    assert host.plan(1, incarnation="this life") == ["1", "2", "3"]
    assert host.list_names() == [run_id(1)]
    assert host.plan(2, of=1, incarnation="this life") == []


def test_what_was_consumed_counts_over_a_recovery(host: Host) -> None:
    host.plan(1, incarnation="a life before")
    host.put("3")

    assert host.plan(2, of=1, incarnation="recovered") == ["3"]


def test_a_planning_that_was_held_up_takes_nothing_from_later_runs(host: Host) -> None:
    host.plan(2)
    before = host.list_names()

    with pytest.raises(DiskError, match="planned too late"):
        host.plan(1)
    assert host.list_names() == before


@pytest.mark.parametrize("point", ["plan.before_state", "plan.after_state"])
def test_a_kill_in_planning_changes_nothing_that_counts(
    host: Host, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    host.plan(1)
    host.put("3")
    killed_in(monkeypatch, point, lambda: host.plan(2, of=1, peer="b"))

    assert host.plan(2, of=1) == ["3"]
    host.put("4")
    assert host.plan(3, of=1) == ["3", "4"]


def test_a_full_disk_leaves_what_counts(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.plan(1)
    host.put("3")

    def fail(path: str, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(consumed_lists, "replace_file", fail)
        with pytest.raises(DiskError, match="No space left"):
            host.plan(2, of=1)
    assert host.plan(2, of=1) == ["3"]


def test_peers_of_a_host_wait_for_each_other_but_not_for_ever(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumed_lists, "LOCK_SECONDS_MAX", 0.05)
    with host.lists("b").locked(), pytest.raises(DiskError, match="another peer of this host"):
        host.plan(1)

    assert host.plan(1) == ["1", "2"]


def test_what_was_consumed_is_shown_page_by_page(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.put("deep/4", "ä")
    os.rename(host.input / "2", os.fsencode(host.input) + b"/\xff")
    host.plan(1)
    rows, total = consumed_page(host.lists(), JOB, run_id(1), 0)

    assert [row.path for row in rows] == ["input/1", "input/deep/4", "input/ä", "input/\\xff"]
    assert {row.peer for row in rows} == {"a"}
    assert (rows[0].size, rows[0].mtime_ns) == (5, (host.input / "1").stat().st_mtime_ns)
    for name, bound in (("ROWS_PER_PAGE", 2), ("PAGE_BYTES", 110)):
        with monkeypatch.context() as patched:
            patched.setattr(consumed, name, bound)
            page, number = consumed_page(host.lists(), JOB, run_id(1), 1)
            assert 1 <= len(page) < 3 and page == rows[1 : 1 + len(page)]
            assert number == total == 4
    assert consumed_page(host.lists(), JOB, run_id(9), 0) == ((), 0)


def test_forgotten_files_are_new_once_more(host: Host) -> None:
    host.put("deep/3", "deep/4")
    host.plan(1)

    assert host.forget(1, "*/deep/*") == 2
    assert host.forget(1, "*/deep/*") == host.forget(1, "nothing") == 0
    assert host.shown(1) == ["input/1", "input/2"]
    assert host.plan(2, of=1) == ["deep/3", "deep/4"]


def test_forgetting_that_reached_one_copy_only_holds(host: Host) -> None:
    host.plan(1)
    before = host.list_path(1, "a").read_bytes()
    host.forget(1, "*1")
    host.list_path(1, "a").write_bytes(before)

    assert host.plan(2, of=1, peer="a") == ["1"]


def test_all_can_be_forgotten(host: Host) -> None:
    host.plan(1)

    assert host.forget(1, "*") == 2
    assert host.shown(1) == []
    assert host.plan(2, of=1, has_list=True) == ["1", "2"]


def test_nothing_is_forgotten_that_a_run_has_in_its_list_already(host: Host) -> None:
    """The console looked before the run began, and is done after it was planned."""
    host.plan(1)
    lists = host.lists("b")
    seen = look(lists, JOB)
    host.plan(2, of=1)

    with pytest.raises(PymrError, match="a run that has not ended"):
        forget(lists, JOB, JobState(run_id(1)), "*", seen)
    assert host.plan(3, of=2) == []


def test_nothing_is_forgotten_while_a_run_goes_on_that_may_still_count(host: Host) -> None:
    """As one whose job was replaced while its output was being published."""
    host.plan(1)
    host.plan(2, of=1)
    os.makedirs(PeerPaths(host.peers[0].data_dir).run(run_id(2)))

    with pytest.raises(PymrError, match=run_id(2)):
        host.forget(1, "*")
    assert host.forget(2, "*1") == 1  # it has succeeded: its folder goes any moment


def test_a_run_that_failed_does_not_keep_anybody_from_forgetting(host: Host) -> None:
    host.plan(1)
    host.plan(2, of=1)

    assert host.forget(1, "*1") == 1
    assert host.plan(3, of=1) == ["1"]


def test_the_list_of_a_hundred_thousand_files_is_small(host: Host) -> None:
    """By the size of what is kept; on a 2 GHz machine the planning takes 0.5 s."""
    info = tuple(
        Fact(b"/data/alpha/input/%07d.log" % n, n, 1_700_000_000_000_000_000 + n, n, 2_049, n, n * 2**40)
        for n in range(10**5)
    )
    host.lists().write(JOB, run_id(1), ConsumedList(info), shared=False)

    assert host.list_path(1).stat().st_size < 40 * len(info)
    assert host.plan(2, of=1) == ["1", "2"]


def test_a_run_without_shared_folders_leaves_their_list_to_the_host_that_has_it() -> None:
    fields = {"hold_state": True}
    record = RunRecord(
        run_id=run_id(2), job_name=JOB, job_version=1, fields=fields, project_hash="", epoch=1,
        status="running", start_time=0.0,
    )  # fmt: skip
    run = MapReduceRun(record, 0.0, JobState(run_id(1), "one", ("a",), "b"))
    run.begin_tasks(RunPlan((HostPlan("one", "a", 0, 1, 5, 1),), 1, ("a",)))

    assert run.state_after({"a": "one"}) == JobState(run_id(2), "one", ("a",), "b", run_id(2), since=2)


def killed_in(monkeypatch: pytest.MonkeyPatch, point: str, work: Callable[[], object]) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            monkeypatch.setattr(faults, "_faults", {point: [("kill", 1)]})
            monkeypatch.setattr(faults, "_passes", {})
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL

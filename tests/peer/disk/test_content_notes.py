"""What was compressed when it was consumed is known again by its content, which its map task has noted."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from strategies import job_context
from valid_jobs import MAPREDUCE

from pymr.base import faults
from pymr.base.errors import DiskError
from pymr.config.cluster import ClusterConfig, PeerConfig
from pymr.engine.input.files import list_input_files
from pymr.engine.input.fingerprints import Fingerprint
from pymr.engine.plans import plan_size
from pymr.engine.tasks import TaskWatch
from pymr.peer.attempts.attempts import do_map
from pymr.peer.disk import content_notes
from pymr.peer.disk.content_notes import ContentNotes, note_key, read_notes
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.input.consumed_lists import read_list
from pymr.peer.input.host_plan import plan_host
from pymr.wire.outcomes import AttemptId
from pymr.wire.protocol import PlanOrder, PlanReport, RunOrder

JOB = "count-words"
LINES = b"a line of a log\n" * 20_000
TIME_NS = 1_700_000_000_987_654_321


def words(line: str, auxiliary_data: Any) -> Any:
    return [(word, 1) for word in line.split()]


def run_id(number: int) -> str:
    return f"{JOB}-{number:06d}"


class Host:
    """Peers a and b of one host: a plans, b maps. The input lies with a."""

    def __init__(self, folder: Path) -> None:
        self.input = folder / "a" / "in"
        self.input.mkdir(parents=True)
        self.fields = {**MAPREDUCE, "job_name": JOB, "input_dirs": ["in"], "hold_state": True}
        self.paths = {name: PeerPaths(str(folder / name)) for name in "ab"}
        for paths in self.paths.values():
            os.makedirs(paths.state)
        self.config = ClusterConfig(
            peers=tuple(
                PeerConfig(name=name, host="one", workers=1, data_dir=paths.data_dir)
                for name, paths in self.paths.items()
            )
        )

    def put(
        self, name: str, content: bytes = LINES, compress: Callable[[bytes], bytes] = gzip.compress
    ) -> Path:
        path = self.input / name
        path.write_bytes(compress(content))
        os.utime(path, ns=(TIME_NS, TIME_NS))
        return path

    def plan(self, run: int, of: int = 0) -> PlanReport:
        order = RunOrder(
            run_id=run_id(run), job_name=JOB, fields=self.fields, project_hash="0f", partitions=2
        )
        plan = PlanOrder(run_id(run), 2, False, run_id(of) if of else "", "a" if of else "")
        report = plan_host(order, plan, self.config, "a", "i")
        assert not report.error
        return report

    def map(self, run: int, attempt: str = "1.1") -> None:
        context = job_context(words, None, partitions=2, **self.fields)
        plan = self.paths["a"].plan(run_id(run))
        for index in range(plan_size(plan)):
            id = AttemptId(run_id(run), f"map-{index:05d}", attempt)
            do_map(context, id, plan, index, self.paths["b"].run(run_id(run)), TaskWatch())

    def digests(self, run: int) -> list[int]:
        found = read_list(self.paths["b"].consumed(JOB, run_id(run)))
        assert found is not None
        return [fact.digest for fact in found.files]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def copied(path: Path) -> Path:
    return Path(shutil.copy2(path, path.with_name(f"copy-of-{path.name}")))


def plain(path: Path) -> Path:
    target = path.with_name("access.log")
    target.write_bytes(gzip.decompress(path.read_bytes()))
    shutil.copystat(path, target)
    return target


def recompressed(path: Path) -> Path:
    target = path.with_name("access.log.xz")
    target.write_bytes(lzma.compress(gzip.decompress(path.read_bytes())))
    os.utime(target, (TIME_NS // 10**9, TIME_NS // 10**9))
    return target


@pytest.mark.parametrize("change", [copied, plain, recompressed])
def test_what_was_compressed_when_it_was_consumed_does_not_count_again(
    host: Host, change: Callable[[Path], Path]
) -> None:
    path = host.put("access.log.gz")
    host.put("other.gz", LINES + b"more\n")
    assert host.plan(1).files == 2
    host.map(1)
    shutil.rmtree(host.paths["b"].run(run_id(1)))  # as the run has ended
    change(path)
    path.unlink()
    second = host.plan(2, of=1)
    third = host.plan(3, of=2)

    assert (second.files, third.files) == (0, 0)
    assert all(host.digests(2))
    assert not os.path.exists(host.paths["b"].content_notes(JOB, run_id(1)))


def test_equal_content_of_another_time_and_other_content_are_new(host: Host) -> None:
    path = host.put("access.log.gz")
    host.plan(1)
    host.map(1)
    path.unlink()
    host.put("other.gz", LINES[:-1] + b".")
    late = host.put("late.gz")
    os.utime(late, (TIME_NS // 10**9 + 1, TIME_NS // 10**9 + 1))

    assert host.plan(2, of=1).files == 2


def test_notes_stay_until_a_run_that_has_them_in_its_list_counts(host: Host) -> None:
    path = host.put("access.log.gz")
    host.plan(1)
    host.map(1)
    host.plan(2, of=1)  # which fails
    copied(path)
    path.unlink()

    assert host.plan(3, of=1).files == 0


@pytest.mark.parametrize("point", ["notes.write", "attempt.after_write", "commit.after_rename"])
def test_a_kill_loses_no_note_of_an_attempt_that_counts(
    host: Host, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    path = host.put("access.log.gz")
    host.plan(1)
    pid = os.fork()
    if pid == 0:
        try:
            monkeypatch.setattr(faults, "_faults", {point: [("kill", 1)]})
            monkeypatch.setattr(faults, "_passes", {})
            host.map(1)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    host.map(1, "1.1" if point == "commit.after_rename" else "1.2")
    copied(path)
    path.unlink()

    assert host.plan(2, of=1).files == 0


def test_a_full_disk_fails_the_attempt_and_not_the_notes(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.put("access.log.gz")
    host.plan(1)
    monkeypatch.setattr(faults, "_faults", {"notes.write": [("enospc", 1)]})
    monkeypatch.setattr(faults, "_passes", {})
    with pytest.raises(DiskError):
        host.map(1)
    assert not os.path.exists(host.paths["b"].attempt(AttemptId(run_id(1), "map-00000", "1.1")))
    host.map(1)

    assert len(read_notes([host.paths["b"].content_notes(JOB, run_id(1))])) == 1


def test_a_note_that_was_cut_short_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_notes, "NOTES_HELD_MAX", 2)
    (tmp_path / "in").mkdir()
    for number in range(5):
        (tmp_path / "in" / f"{number}\n").write_bytes(b"x")
    files = list_input_files([str(tmp_path / "in")])
    path = tmp_path / "state" / "notes"
    for part in files[:2], files[2:]:
        notes = ContentNotes(str(path))
        for file in part:
            notes.add(file, Fingerprint(file.inode, 2**64 - 1))
        notes.flush()
        with open(path, "ab") as torn:
            torn.write(b"123 456 7")
    keys = [note_key(os.fsencode(one.path), one.inode, one.size, one.mtime_ns) for one in files]

    found = read_notes([str(path), str(tmp_path / "absent")])
    assert found == {key: Fingerprint(key[1], 2**64 - 1) for key in keys}


def test_jobs_without_state_make_no_notes(host: Host) -> None:
    host.put("access.log.gz")
    host.plan(1)
    host.fields["hold_state"] = False
    host.map(1)

    assert not os.path.exists(host.paths["b"].content_notes(JOB, run_id(1)))

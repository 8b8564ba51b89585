"""Transfers that are ended at any instant: nothing is half-written, and in the end all is right."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from transfer_runs import PEERS, TransferRun, data_of, read_tree, serving, write_tree

from pymr.base.errors import FatalError
from pymr.config.cluster import ClusterConfig
from pymr.peer.transfers import writer
from tests.data_services import Service, make_config

POINTS = (
    "transfer.after_write",
    "transfer.before_rename",
    "transfer.after_rename",
    "transfer.after_journal",
    "attempt.after_write",
    "commit.after_rename",
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterConfig]:
    with serving(tmp_path_factory.mktemp("cluster")) as config:
        yield config


def files_of(kind: str) -> dict[str, bytes]:
    return {f"{n % 3}/{n:03d}": f"{kind} {n}".encode() * 50 for n in range(30)}


def is_whole(found: dict[str, bytes], old: dict[str, bytes], new: dict[str, bytes]) -> bool:
    """Whether each file that has its name is an old or a new one."""
    named = {path: content for path, content in found.items() if ".pymr-" not in path}
    return all(content in (old.get(path), new.get(path)) for path, content in named.items())


@pytest.mark.parametrize("bulk", ["", "_bulk"])
@pytest.mark.parametrize("point", POINTS)
def test_a_copy_that_is_killed_is_brought_to_its_end(
    cluster: ClusterConfig, tmp_path: Path, point: str, bulk: str
) -> None:
    """On a peer that reads from another host; there are older files with the same names."""
    old, new = files_of("old"), files_of("new")
    name = f"killed-{point}{bulk}"
    source = write_tree(tmp_path, new)
    write_tree(data_of(cluster, "beta") / name, old | {"stranger": b"stays"})
    run = TransferRun(cluster, transfer_type=f"upload{bulk}", input_dir=str(source), output_dir=name)
    run.run(until="copy")
    nth = 1 if bulk or point in POINTS[-2:] else 7
    status = run.do_apart(run.order("copy", 1), "beta", f"{point}:kill@{nth}")
    target = data_of(cluster, "beta") / name

    assert status == -signal.SIGKILL
    assert is_whole(read_tree(target), old | {"stranger": b"stays"}, new)
    run.do("copy", 1, "beta")
    assert read_tree(target) == new | {"stranger": b"stays"}
    assert run.outcomes["copy-00001"].files == len(new)
    assert run.outcomes["copy-00001"].bytes == sum(map(len, new.values()))


def test_what_an_earlier_attempt_has_finished_is_not_copied_again(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    name = "again"
    source = write_tree(tmp_path, files_of("new"))
    write_tree(data_of(cluster, "beta") / name, files_of("old"))
    run = TransferRun(cluster, transfer_type="upload", input_dir=str(source), output_dir=name)
    run.run(until="copy")
    run.do_apart(run.order("copy", 1), "beta", "transfer.after_journal:kill@20")
    target = data_of(cluster, "beta") / name
    found = {target / path: content for path, content in read_tree(target).items()}
    finished = {path: path.stat().st_ino for path, content in found.items() if content.startswith(b"new")}
    removed, *kept = finished
    removed.unlink()
    run.do("copy", 1, "beta")

    assert len(finished) == 20
    assert read_tree(target) == files_of("new")
    assert {path.stat().st_ino for path in kept} == {finished[path] for path in kept}


@pytest.mark.parametrize("bulk", ["", "_bulk"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_deletion_that_is_killed_is_brought_to_its_end(
    cluster: ClusterConfig, tmp_path: Path, nth: int, bulk: str
) -> None:
    name = f"moved-{nth}{bulk}"
    for peer in PEERS:
        write_tree(data_of(cluster, peer) / name, {f"{peer}/{n}": b"content" for n in range(9)})
    run = TransferRun(
        cluster,
        transfer_type=f"download{bulk}",
        input_dir=name,
        output_dir=str(tmp_path / "target"),
        delete_files=True,
    )
    run.run(until="delete")
    for number, peer in enumerate(PEERS):
        point = "transfer.before_delete" if nth == 1 else "attempt.after_write"
        assert run.do_apart(run.order("delete", number), peer, f"{point}:kill@1") == -signal.SIGKILL
        run.do("delete", number, peer)

    assert len(read_tree(tmp_path / "target")) == 27
    assert run.total("delete").files == 27
    assert not any(read_tree(data_of(cluster, peer) / name) for peer in PEERS)


def test_a_folder_half_deleted_is_found_again(cluster: ClusterConfig) -> None:
    write_tree(data_of(cluster, "beta") / "half", {f"{n}": b"content" for n in range(9)})
    run = TransferRun(cluster, transfer_type="delete", output_dir="half")
    write_tree(data_of(cluster, "beta") / f".pymr-{run.run_id}@beta.0", {"left": b"1", "deep/left": b"2"})
    assert run.do_apart(run.order("delete", 1), "beta", "attempt.after_write:kill@1") == -signal.SIGKILL
    run.do("delete", 1, "beta")

    assert not (data_of(cluster, "beta") / "half").exists()
    assert not list(data_of(cluster, "beta").glob(".pymr-*"))


def test_leftovers_of_runs_that_are_no_more_are_removed_and_those_of_others_are_not(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    other = data_of(cluster, "beta") / "runs" / "other-7"
    other.mkdir(parents=True)
    names = [".pymr-other-7@beta.3", ".pymr-gone-7@beta.3", ".pymr-gone-7@alpha.3", ".pymr-mine"]
    write_tree(data_of(cluster, "beta") / "left", dict.fromkeys(names, b"1"))
    source = write_tree(tmp_path, {f"{n}": b"1" for n in range(9)})
    run = TransferRun(cluster, transfer_type="upload", input_dir=str(source), output_dir="left").run()

    assert run.outcomes["copy-00001"].files == 3
    assert sorted(path.name for path in (data_of(cluster, "beta") / "left").glob(".*")) == [
        ".pymr-gone-7@alpha.3", ".pymr-mine", ".pymr-other-7@beta.3",
    ]  # fmt: skip


def test_an_attempt_that_fails_leaves_no_temporary_files(cluster: ClusterConfig, tmp_path: Path) -> None:
    source = write_tree(tmp_path, {f"{n}": b"content" for n in range(30)})
    run = TransferRun(cluster, transfer_type="upload_bulk", input_dir=str(source), output_dir="failing")
    run.run(until="copy")
    assert run.do_apart(run.order("copy", 1), "beta", "transfer.after_write:enospc@5") == 1
    assert run.do_apart(run.order("copy", 1), "beta", "transfer.before_rename:eio@1") == 1

    assert read_tree(data_of(cluster, "beta") / "failing") == {}
    run.do("copy", 1, "beta")
    assert len(read_tree(data_of(cluster, "beta") / "failing")) == 10


def test_a_copy_goes_on_when_the_source_was_killed_and_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(tmp_path, names=("alpha", "beta"))
    contents = {f"{n}": os.urandom(3 << 20) for n in range(16)}
    source = write_tree(tmp_path / "source", contents)
    with ExitStack() as services:
        monkeypatch.setenv("PYMR_FAULTS", "data.corrupt:kill@8")
        alpha = services.enter_context(Service(config, "alpha"))
        monkeypatch.delenv("PYMR_FAULTS")
        alpha.await_serving()
        services.enter_context(Service(config, "beta")).await_serving()
        run = TransferRun(config, transfer_type="upload", input_dir=str(source), output_dir="big")
        run.run(until="copy")
        copying = threading.Thread(target=run.do, args=("copy", 1, "beta"))
        copying.start()
        alpha.pump_until(lambda: alpha.service.has_died)
        again = services.enter_context(Service(config, "alpha"))
        again.await_serving()
        copying.join(30)

        assert not copying.is_alive()
    written = read_tree(tmp_path / "beta" / "big")
    assert written == {path: contents[path] for path in written}
    assert len(written) == run.outcomes["copy-00001"].files == 8


def test_a_source_that_stays_away_is_named_when_the_grace_is_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_config(tmp_path, names=("alpha", "beta"), grace_seconds=4.0)
    with Service(config, "alpha") as alpha, Service(config, "beta") as beta:
        alpha.await_serving()
        beta.await_serving()
        run = TransferRun(config, transfer_type="upload", input_dir="from", output_dir="to")
        write_tree(tmp_path / "alpha" / "from", {"a": b"1", "b": b"2"})
        run.run(until="copy")
    began = time.monotonic()
    with pytest.raises(FatalError, match=r"waiting for peer alpha .* was given up"):
        run.do("copy", 1, "beta")

    assert time.monotonic() - began < 60
    assert "waiting for the data service of alpha" in capsys.readouterr().out
    assert run.watch.ticks > 0


def test_batches_are_bounded(cluster: ClusterConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BATCH_FILES", 7)
    source = write_tree(tmp_path, {f"{n % 20}/{n}": b"content" for n in range(100)})
    TransferRun(cluster, transfer_type="upload_bulk", input_dir=str(source), output_dir="batches").run()

    assert sum(len(read_tree(data_of(cluster, peer) / "batches")) for peer in PEERS) == 100

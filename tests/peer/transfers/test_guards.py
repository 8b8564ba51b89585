"""Transfers beside what must not be lost: sources as destinations, keys, other transfers, full disks."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import msgspec
import pytest
from transfer_runs import PEERS, TransferRun, data_of, read_tree, serving, write_tree

from pymr.base.errors import (
    DiskError,
    InputChangedError,
    InputError,
    JobError,
    RetryableError,
    disk_error,
)
from pymr.base.faults import fault_point
from pymr.config.cluster import ClusterConfig, RedisConfig, SecurityConfig
from pymr.engine.tasks import TaskWatch
from pymr.peer.disk.leftovers import clear_noted, noted
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.disk.rooted_files import PathRefusedError, RootedFiles
from pymr.peer.output.publication import abandoned_folders, clear_abandoned, forget_run
from pymr.peer.transfers import walk, writer
from pymr.peer.transfers.delete import delete_folder
from pymr.peer.transfers.folders import cluster_folder, local_file, local_source, local_target
from pymr.peer.transfers.progress import TransferProgress
from pymr.peer.worker.worker import _failure_of


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterConfig]:
    with serving(tmp_path_factory.mktemp("cluster")) as config:
        yield config


def hidden(config: ClusterConfig, peer: str = "beta") -> list[Path]:
    return list(data_of(config, peer).rglob(".pymr-*"))


# ---- a source that is the destination


@pytest.mark.parametrize("bulk", ["", "_bulk"])
@pytest.mark.parametrize("output_dir", ["in/t1", "./in//t1", "in", "in/t1/below"])
def test_a_download_into_what_it_reads_is_refused_at_once(
    cluster: ClusterConfig, output_dir: str, bulk: str
) -> None:
    with pytest.raises(JobError, match=r"output_dir = .*lies in input_dir, 'in/t1', or that in it"):
        TransferRun(
            cluster,
            transfer_type=f"download{bulk}",
            input_dir="in/t1",
            output_dir=output_dir,
            reload_files=False,
            delete_files=True,
        )


@pytest.mark.parametrize(
    ("of_peer", "output_dir"),
    [*product(["alpha", "gamma"], ["in/t1", "in", "in/t1/below", "in/link"]), ("beta", "in/link")],
)
def test_by_its_absolute_path_too_whatever_host_the_peer_is_said_to_be_on(
    cluster: ClusterConfig, output_dir: str, of_peer: str
) -> None:
    data_dir = data_of(cluster, of_peer) / f"of-{of_peer}"
    write_tree(data_dir / "in/t1", {"a": b"1", "below/b": b"2"})
    if not (data_dir / "in/link").is_symlink():
        (data_dir / "in/link").symlink_to("t1")
    fields: dict[str, object] = {
        "input_dir": f"of-{of_peer}/in/t1",
        "output_dir": str(data_dir / output_dir),
    }
    with pytest.raises(
        (InputError, PathRefusedError),
        match="is the same file as" if of_peer == "beta" else "lie in each other",
    ):
        TransferRun(cluster, transfer_type="download", reload_files=False, delete_files=True, **fields).run()
    assert read_tree(data_dir / "in/t1") == {"a": b"1", "below/b": b"2"}


@pytest.mark.parametrize("twin", ["", "alpha", "beta"])
def test_a_file_is_no_copy_of_itself(cluster: ClusterConfig, tmp_path: Path, twin: str) -> None:
    """As behind a mount, of which the paths do not tell. twin: has the same file, copied for both."""
    if twin:
        write_tree(data_of(cluster, twin) / "itself", {"a": b"only one"})
    source = write_tree(data_of(cluster, "gamma") / "itself", {"a": b"only one"})
    os.link(source / "a", write_tree(tmp_path / "target", {}) / "a")
    run = TransferRun(
        cluster,
        transfer_type="download",
        input_dir="itself",
        output_dir=str(tmp_path / "target"),
        reload_files=False,
        delete_files=True,
    )
    with pytest.raises(PathRefusedError, match="is the same file as"):
        run.run()
    assert read_tree(source) == {"a": b"only one"}


# ---- what is left of those that were ended


def test_a_folder_that_a_stopped_deletion_left_hinders_nobody(cluster: ClusterConfig, tmp_path: Path) -> None:
    write_tree(data_of(cluster, "beta") / "under/.pymr-gone-7@beta.0", {"deep/left": b"1"})
    source = write_tree(tmp_path, {"a": b"1", "b": b"2", "c": b"3"})
    TransferRun(cluster, transfer_type="upload", input_dir=str(source), output_dir="under").run()

    assert hidden(cluster) == []


@pytest.mark.parametrize("bulk", ["", "_bulk"])
@pytest.mark.parametrize("forget", ["when it ends", "when the daemon starts"])
def test_a_run_that_is_forgotten_leaves_nothing_unfinished(
    cluster: ClusterConfig, tmp_path: Path, bulk: str, forget: str
) -> None:
    name = f"forgotten{bulk}"
    source = write_tree(tmp_path / "source", {f"{n % 3}/{n}": b"content" for n in range(30)})
    upload = TransferRun(cluster, transfer_type=f"upload{bulk}", input_dir=str(source), output_dir=name)
    upload.run(until="copy")
    upload.do_apart(upload.order("copy", 1), "beta", "transfer.after_write:kill@5")
    data_dir = data_of(cluster, "beta")
    write_tree(data_dir / "going" / name, {"a/b": b"1"})
    deletion = TransferRun(cluster, transfer_type="delete", output_dir=f"going/{name}")
    deletion.do_apart(deletion.order("delete", 1), "beta", "attempt.after_write:kill@1")
    write_tree(data_dir / "going" / f".pymr-{deletion.run_id}@beta.0", {"a/b": b"1"})  # as if killed before
    assert len(hidden(cluster)) == 2

    paths = PeerPaths(str(data_dir))
    for run in (upload, deletion):
        if forget == "when it ends":
            forget_run(paths, run.run_id)
        else:  # which was killed when it had begun
            os.rename(paths.run(run.run_id), paths.abandoned(run.run_id))
    for folder in abandoned_folders(paths):
        clear_abandoned(folder)
    assert hidden(cluster) == []
    assert not os.path.exists(paths.run(upload.run_id))
    assert all(content == b"content" for content in read_tree(data_dir / name).values())


def test_what_still_writes_is_waited_for_and_fails_when_its_run_is_gone(tmp_path: Path) -> None:
    run_dir, target = write_tree(tmp_path / "run", {}), write_tree(tmp_path / "target", {})
    left = target / ".pymr-r-1@beta.0"
    gone = tmp_path / "gone"
    with noted(str(run_dir), "copy-00000", (str(target), ""), "r-1@beta"):
        left.mkdir()
        os.rename(run_dir, gone)
        clear_noted(str(gone), seconds=0.0)
        assert left.exists()
        clearing = threading.Thread(target=clear_noted, args=(str(gone),))
        clearing.start()
    clearing.join(30)
    assert not left.exists()

    with pytest.raises(FileNotFoundError), noted(str(run_dir), "copy-00000", (str(target), ""), "r-1@beta"):
        left.mkdir()
    assert not left.exists()


def test_a_folder_on_another_disk_gets_its_files(
    cluster: ClusterConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def across(source: str, target: str, **folders: int) -> None:
        if folders and not os.path.sameopenfile(folders["src_dir_fd"], folders["dst_dir_fd"]):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(source, target, **folders)

    monkeypatch.setattr(os, "rename", across)
    files = {"a/b": os.urandom(3_000_000), "c": b"1"}
    source = write_tree(tmp_path, files)
    os.chmod(source / "c", 0o640)
    os.utime(source / "c", ns=(1, 2_000_000_001))
    for bulk in ("", "_bulk"):
        target = f"mounted{bulk}"
        TransferRun(cluster, transfer_type=f"upload{bulk}", input_dir=str(source), output_dir=target).run()
        found = [data_of(cluster, peer) / target for peer in PEERS]
        assert {path: data for folder in found for path, data in read_tree(folder).items()} == files
        [status] = [(folder / "c").stat() for folder in found if (folder / "c").exists()]
        assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o640, 2_000_000_001)


# ---- trees, keys, outputs


def test_a_tree_that_is_too_deep_is_named(cluster: ClusterConfig) -> None:
    folder = data_of(cluster, "beta") / "deep"
    for levels, error in (
        (200, ""),
        (201, "more than 200 folders deep"),
        (1_500, "more than 200 folders deep"),
    ):
        deepest = os.open(write_tree(folder, {}), os.O_RDONLY)
        for _ in range(levels):
            os.mkdir("d", dir_fd=deepest)
            deepest, above = os.open("d", os.O_RDONLY, dir_fd=deepest), deepest
            os.close(above)
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=deepest))
        os.close(deepest)
        download = TransferRun(
            cluster, transfer_type="download", input_dir="deep", output_dir="up", delete_files=False
        )
        delete = TransferRun(cluster, transfer_type="delete", output_dir="deep")
        if not error:
            download.run()
            assert download.total("copy").files == 1
            delete.run()
            assert not folder.exists()
            shutil.rmtree(data_of(cluster, "alpha") / "up")
            continue
        with pytest.raises(InputError, match=error) as refused:
            download.run()
        assert len(str(refused.value)) < 1_000
        assert str(refused.value).startswith(f"input_dir: '{folder}")
        with pytest.raises(InputError, match=f"^output_dir: '{folder}.*{error}"):
            delete.run()
        while levels > 150:  # what removes it here goes down itself
            levels -= 100
            os.rename(folder / Path(*["d"] * 100), folder.parent / "rest")
            shutil.rmtree(folder)
            os.rename(folder.parent / "rest", folder)
        shutil.rmtree(folder)


@pytest.mark.parametrize("place", ["keys", "redis", "keys/below", ""])
@pytest.mark.parametrize("is_relative", [False, True])
def test_keys_and_redis_are_neither_read_nor_written(
    cluster: ClusterConfig, place: str, is_relative: bool
) -> None:
    private = data_of(cluster, "alpha") / "private"
    write_tree(private, {"keys/below/alpha.secret": b"{}", "redis/dump.rdb": b"1"})
    config = msgspec.structs.replace(
        cluster,
        security=SecurityConfig(keys_dir=str(private / "keys")),
        redis=RedisConfig(managed=True, directory=str(private / "redis")),
    )
    data_dir = str(data_of(cluster, "alpha"))
    path = f"private/{place}" if is_relative else str(private / place)
    opening = [local_source, local_target, *([cluster_folder] if is_relative else [])]
    for open_folder in opening:
        with pytest.raises(
            PathRefusedError, match=r"^a_field: .*private.* lies in or holds .*folder of the cluster's"
        ):
            open_folder(data_dir, path, config, "a_field")
    if place:
        with pytest.raises(PathRefusedError, match="lies in or holds"):
            local_file(data_dir, f"{path}/file", config, "a_field")
        with pytest.raises(PathRefusedError, match=r"output_dir: .* lies in or holds"):
            TransferRun(config, transfer_type="delete", output_dir=f"private/{place}").run()
    assert read_tree(private) == {"keys/below/alpha.secret": b"{}", "redis/dump.rdb": b"1"}


@pytest.mark.parametrize("is_relative", [False, True])
def test_an_output_is_uploaded_without_what_pymr_wrote_beside_it(
    cluster: ClusterConfig, is_relative: bool
) -> None:
    names = ("part-00000-0000.jsonl", "_manifest.json", "_bad_records.jsonl")
    output = write_tree(data_of(cluster, "alpha") / "jobs/x/reduce", dict.fromkeys(names, b"1"))
    source = "jobs/x/reduce" if is_relative else str(output)
    target = f"onward-{is_relative}"
    run = TransferRun(cluster, transfer_type="upload", input_dir=source, output_dir=target).run()
    assert run.total("copy").files == 1


def test_a_file_that_changes_while_it_is_listed_is_named_with_its_field(
    cluster: ClusterConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "_digest", lambda *_: (0, 0))
    with pytest.raises(InputChangedError, match=r"^input_dir: "):
        source = write_tree(tmp_path, {"a": b"1"})
        TransferRun(cluster, transfer_type="upload", input_dir=str(source), output_dir="changed").run()


# ---- full disks, and transfers side by side


def test_a_full_disk_counts_against_no_transfer(
    cluster: ClusterConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_tree(tmp_path, {f"{n}": b"content" for n in range(9)})
    run = TransferRun(cluster, transfer_type="upload", input_dir=str(source), output_dir="filling").run(
        "copy"
    )

    def full(name: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for target, name, value in (
        (writer, "fault_point", full),
        (RootedFiles, "free_bytes", lambda self: 1),
    ):
        with monkeypatch.context() as patch, pytest.raises(DiskError) as raised:
            patch.setattr(target, name, value)
            run.do("copy", 1, "beta")
        failure = _failure_of(raised.value)
        assert (failure.kind, failure.is_final, failure.is_counted) == ("DiskError", False, False)
    run.do("copy", 1, "beta")
    assert len(read_tree(data_of(cluster, "beta") / "filling")) == 3
    assert _failure_of(disk_error("writing", "x", OSError(errno.EACCES, "denied"))).is_counted


@pytest.mark.parametrize(
    ("bulk", "point", "deleted"),
    [
        *product(
            ["", "_bulk"], ["transfer.after_write", "transfer.before_rename", "transfer.after_rename"], [""]
        ),
        ("", "transfer.before_rename", "/0"),
        ("_bulk", "transfer.after_rename", "/0"),
    ],
)
def test_an_upload_whose_folder_is_deleted_meanwhile_does_not_succeed_without_its_files(
    cluster: ClusterConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    bulk: str,
    deleted: str,
) -> None:
    name = f"deleted{bulk}-{point}{deleted.replace('/', '-')}"
    source = write_tree(tmp_path, {f"{n % 2}/{n}": b"content" for n in range(30)})
    run = TransferRun(cluster, transfer_type=f"upload{bulk}", input_dir=str(source), output_dir=name).run(
        "copy"
    )
    monkeypatch.setattr(writer, "BATCH_FILES", 4)
    paths = PeerPaths(str(data_of(cluster, "beta")))

    def delete_at(nth: int) -> Callable[[str], None]:
        passes = iter(range(1, 1_000))

        def pass_point(at: str) -> None:
            fault_point(at)
            if at == point and next(passes) == nth:
                delete_folder(
                    paths, name + deleted, "other-7", "beta", TransferProgress(TaskWatch(), "deleted")
                )

        return pass_point

    with monkeypatch.context() as patch:
        patch.setattr(writer, "fault_point", delete_at(2))
        with pytest.raises(RetryableError):
            run.do("copy", 1, "beta")
    run.do("copy", 1, "beta")
    found = read_tree(data_of(cluster, "beta") / name)
    assert len(found) == run.outcomes["copy-00001"].files == 10
    assert hidden(cluster) == []


def test_a_writer_that_is_killed_is_no_reason_to_wait(cluster: ClusterConfig, tmp_path: Path) -> None:
    source = write_tree(tmp_path, {f"{n}": b"content" for n in range(9)})
    run = TransferRun(cluster, transfer_type="upload", input_dir=str(source), output_dir="waiting").run(
        "copy"
    )
    status = run.do_apart(run.order("copy", 1), "beta", "transfer.before_rename:kill@2")
    assert status == -signal.SIGKILL
    run.do("copy", 1, "beta")
    assert hidden(cluster) == []

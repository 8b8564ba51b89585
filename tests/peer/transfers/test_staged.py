"""Transfers of a console whose machine is no peer: its files pass through a folder of one."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from transfer_runs import PEERS, TransferRun, data_of, read_tree, serving, write_tree

from pymr.base.errors import InputError
from pymr.config.cluster import ClusterConfig
from pymr.control.job_queue import JobQueue
from pymr.control.stored_state import JobRecord
from pymr.data.client import DataClient
from pymr.data.protocol import DataRefused, Discard, Staged, Write, checksum_of
from pymr.peer.disk import uploads
from pymr.peer.disk.file_lists import Entry, FileList, sealed
from pymr.peer.disk.uploads import Uploads
from pymr.peer.store.store import StoreUnavailable
from pymr.peer.transfers.staged import list_staged, new_upload_id, write_upload
from pymr.peer.transfers.staged import read_tree as read_staged
from pymr.peer.upload_sweep import UploadSweep
from pymr.wire.keys import load_security

FILES = {f"{n % 5}/{n:03d}": os.urandom(n * 11) for n in range(100)} | {"big": os.urandom(5 << 20)}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterConfig]:
    with serving(tmp_path_factory.mktemp("cluster"), curve=True) as config:
        yield config


@pytest.fixture
def client(cluster: ClusterConfig) -> Iterator[DataClient]:
    with contextlib.closing(DataClient(cluster, load_security(cluster, "operator"))) as client:
        yield client


def test_files_of_a_console_come_to_the_peers_and_back(
    cluster: ClusterConfig, client: DataClient, tmp_path: Path
) -> None:
    source, upload_id = write_tree(tmp_path / "source", FILES), new_upload_id()
    moved: list[int] = []
    sent = write_upload(client, "beta", upload_id, str(source), moved.append)
    fields: dict[str, object] = {"local_peer": "beta", "compress": True}
    TransferRun(
        cluster, transfer_type="upload_bulk", input_dir=f"uploads/{upload_id}", output_dir="there", **fields
    ).run()
    client.discard("beta", upload_id)
    found = [read_tree(data_of(cluster, peer) / "there") for peer in PEERS]

    assert sent == (len(FILES), sum(map(len, FILES.values())))
    assert sum(moved) == sent[1]
    assert found[0] | found[1] | found[2] == FILES
    assert all(found)
    assert not (data_of(cluster, "beta") / "uploads" / upload_id).exists()

    upload_id = new_upload_id()
    TransferRun(
        cluster, transfer_type="download", input_dir="there", output_dir=f"uploads/{upload_id}", **fields
    ).run()
    target = write_tree(tmp_path / "target", {"0/005": b"older"})
    security = load_security(cluster, "operator")
    assert read_staged(cluster, security, "beta", upload_id, str(target)) == (*sent, 0)
    for path in ("0/010", "0/020", "big"):
        (target / path).unlink()
    (target / "3" / "013").write_bytes(b"x" * len(FILES["3/013"]))  # the same size
    missing = sum(len(FILES[path]) for path in ("0/010", "0/020", "big", "3/013"))
    fetched: list[int] = []
    options = cluster, security, "beta", upload_id, str(target), fetched.append
    assert read_staged(*options, skip_existing=True) == (4, missing, len(FILES) - 4)
    assert sum(fetched) == missing
    assert read_tree(target) == FILES
    for name in ("list", "pack", "summary"):  # a console writes such lists; they would name any file
        client.write("beta", upload_id, "pack", 0, sealed(FileList("/etc", [])))
        with pytest.raises(DataRefused, match="no list of what was downloaded"):
            client.read_piece(Staged("beta", upload_id, name, is_content=True), 0, 10)
    client.discard("beta", upload_id)

    assert read_tree(target) == FILES
    assert not (data_of(cluster, "beta") / "uploads" / upload_id).exists()


def test_auxiliary_data_of_a_console_gets_to_every_peer(
    cluster: ClusterConfig, client: DataClient, tmp_path: Path
) -> None:
    for content, is_right in ((b'{"a": 1}', True), (b"{", False)):
        (tmp_path / "words.json").write_bytes(content)
        upload_id = new_upload_id()
        write_upload(client, "alpha", upload_id, str(tmp_path / "words.json"))
        run = TransferRun(
            cluster,
            transfer_type="upload_auxiliary",
            input_file_name=f"uploads/{upload_id}",
            auxiliary_data_name="words",
        )
        with contextlib.nullcontext() if is_right else pytest.raises(InputError, match="no JSON"):
            run.run()
    for peer in PEERS:
        assert (data_of(cluster, peer) / "auxiliary" / "words.data").read_bytes() == b'{"a": 1}'


def test_an_upload_goes_on_where_it_was(cluster: ClusterConfig, client: DataClient, tmp_path: Path) -> None:
    upload_id = new_upload_id()
    assert client.write("beta", upload_id, "pack", 0, b"hello") == 5
    assert client.write("beta", upload_id, "pack", 0, b"hello") == 5
    assert client.write("beta", upload_id, "pack", 3, b"lo, you") == 10
    assert client.write("beta", upload_id, "pack", 20, b"beyond") == 10
    assert client.write("beta", upload_id, "pack", 0, b"") == 10
    path = data_of(cluster, "beta") / "uploads" / upload_id / "pack"
    assert path.read_bytes() == b"hello, you"
    client.discard("beta", upload_id)
    client.discard("beta", upload_id)
    assert not path.parent.exists()


def test_only_operators_upload_and_viewers_read_none_of_it(
    cluster: ClusterConfig, client: DataClient
) -> None:
    upload_id = new_upload_id()
    client.write("beta", upload_id, "list", 0, b"secret")
    for name in ("viewer", "alpha"):
        with contextlib.closing(DataClient(cluster, load_security(cluster, name))) as other:
            with pytest.raises(DataRefused, match="only an operator may upload"):
                other.write("beta", upload_id, "list", 0, b"x")
            with pytest.raises(DataRefused, match="only an operator may upload"):
                other.discard("beta", upload_id)
            if name == "viewer":
                with pytest.raises(DataRefused, match="needs another role"):
                    other.read_piece(Staged("beta", upload_id, "list"), 0, 10)


@pytest.mark.parametrize(
    ("upload_id", "name"),
    [
        ("../state/abcdefgh", "pack"),
        ("..", "pack"),
        ("short", "pack"),
        ("a" * 65, "pack"),
        ("abcdefgh\n", "pack"),
        ("linked-out", "pack"),
        ("abcdefghij", "../pack"),
        ("abcdefghij", "other"),
    ],
)
def test_no_upload_leads_elsewhere(cluster: ClusterConfig, tmp_path: Path, upload_id: str, name: str) -> None:
    folder = data_of(cluster, "alpha") / "uploads"
    folder.mkdir(exist_ok=True)
    if not (folder / "linked-out").is_symlink():
        (folder / "linked-out").symlink_to(tmp_path)
    receiver = Uploads(cluster, "alpha")

    with pytest.raises(DataRefused) as refused:
        receiver.write(Write(1, "alpha", upload_id, name, 0, checksum_of(b"x", b"")), b"x")
    assert refused.value.code == "invalid"
    if name == "pack":
        with pytest.raises(DataRefused):
            receiver.discard(Discard(1, "alpha", upload_id))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["pack", "list"])
@pytest.mark.parametrize("kind", ["fifo", "read fifo", "link", "folder", "socket"])
def test_what_is_no_file_holds_nobody_up(
    cluster: ClusterConfig, tmp_path: Path, name: str, kind: str
) -> None:
    upload_id = new_upload_id()
    folder = data_of(cluster, "alpha") / "uploads" / upload_id
    path = write_tree(folder, {"pack": b"", "list": b""}) / name
    path.unlink()
    with contextlib.ExitStack() as held:
        if kind == "link":
            path.symlink_to(tmp_path / "elsewhere")
        elif kind == "folder":
            path.mkdir()
        elif kind == "socket":
            os.mknod(path, stat.S_IFSOCK | 0o600)
        else:
            os.mkfifo(path)
        if kind == "read fifo":
            held.callback(os.close, os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        with pytest.raises(DataRefused, match="is no regular file") as refused:
            Uploads(cluster, "alpha").write(
                Write(1, "alpha", upload_id, name, 0, checksum_of(b"x", b"")), b"x"
            )
        with pytest.raises(InputError, match="no regular file"):
            list(list_staged(str(folder), lambda _: None))
    assert refused.value.code == "invalid"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["a\tb", "a\x7f", "a\nb", os.fsdecode(b"a\xff"), "/".join(["x" * 250] * 17)])
def test_names_that_no_transfer_takes_are_refused_before_anything_is_sent(
    cluster: ClusterConfig, client: DataClient, tmp_path: Path, name: str
) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        for part in name.split("/")[:-1]:
            os.mkdir(part, dir_fd=folder)
            below = os.open(part, os.O_RDONLY, dir_fd=folder)
            os.close(folder)
            folder = below
        os.close(os.open(name.rpartition("/")[2], os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    finally:
        os.close(folder)
    upload_id = new_upload_id()
    with pytest.raises(InputError, match="give it another one"):
        write_upload(client, "alpha", upload_id, str(tmp_path))
    with pytest.raises(InputError, match=r"input_dir: .*give it another one"):
        TransferRun(cluster, transfer_type="upload", input_dir=str(tmp_path), output_dir="out").run()
    if "/" not in name:
        with pytest.raises(InputError, match="cannot be the path"):
            write_upload(client, "alpha", upload_id, str(tmp_path / name))
    assert not (data_of(cluster, "alpha") / "uploads" / upload_id).exists()


def test_what_is_damaged_or_has_no_room_is_refused(
    cluster: ClusterConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver, upload_id = Uploads(cluster, "alpha"), new_upload_id()
    with pytest.raises(DataRefused, match="damaged"):
        receiver.write(Write(1, "alpha", upload_id, "pack", 0, 17), b"x")
    monkeypatch.setattr(uploads, "RESERVE_BYTES", 1 << 60)
    with pytest.raises(DataRefused, match="are kept for the peer") as refused:
        receiver.write(Write(1, "alpha", upload_id, "pack", 0, checksum_of(b"x", b"")), b"x")
    assert refused.value.code == "full"


@pytest.mark.parametrize(
    "paths",
    [
        ["../out"],
        ["/etc/passwd"],
        ["a//b"],
        ["a/./b"],
        [".."],
        [""],
        ["a\nb"],
        ["b", "a"],
        ["a", "a"],
        ["a\x7f"],
        ["/".join("a" * 202)],
    ],
)
def test_a_list_that_names_what_it_must_not_is_refused(
    cluster: ClusterConfig, client: DataClient, paths: list[str]
) -> None:
    upload_id = new_upload_id()
    digest = 0x2D06800538D394C2  # of nothing
    data = sealed(FileList("", [Entry(path, 0, 0, 0, 0o600, digest) for path in paths], is_packed=True))
    client.write("alpha", upload_id, "pack", 0, b"")
    client.write("alpha", upload_id, "list", 0, len(data).to_bytes(4, "big") + data)
    run = TransferRun(
        cluster,
        transfer_type="upload",
        input_dir=f"uploads/{upload_id}",
        output_dir="out",
        local_peer="alpha",
    )
    with pytest.raises(InputError, match=r"input_dir: .*cannot be the path of a file"):
        run.run()


def test_an_upload_that_is_not_whole_is_refused(
    cluster: ClusterConfig, client: DataClient, tmp_path: Path
) -> None:
    upload_id = new_upload_id()
    write_upload(client, "alpha", upload_id, str(write_tree(tmp_path, FILES)))
    pack = data_of(cluster, "alpha") / "uploads" / upload_id / "pack"
    os.truncate(pack, pack.stat().st_size - 1)
    run = TransferRun(
        cluster,
        transfer_type="upload",
        input_dir=f"uploads/{upload_id}",
        output_dir="out",
        local_peer="alpha",
    )
    with pytest.raises(InputError, match="is not whole: upload it again"):
        run.run()


def test_a_list_says_nothing_but_what_a_console_may_say(cluster: ClusterConfig, client: DataClient) -> None:
    entry = Entry("a", 0, 1, 0, 0o106777, 0x2D06800538D394C2, "../secret")
    for one, is_right in (
        (entry, True),
        (replace(entry, size=-1), False),
        (replace(entry, mtime_ns=1 << 63), False),
    ):
        upload_id = new_upload_id()
        data = sealed(FileList("/etc", [one]))
        client.write("alpha", upload_id, "pack", 0, b"")
        client.write("alpha", upload_id, "list", 0, len(data).to_bytes(4, "big") + data)
        folder = str(data_of(cluster, "alpha") / "uploads" / upload_id)
        with contextlib.nullcontext() if is_right else pytest.raises(InputError, match="no right size"):
            (found,) = list_staged(folder, lambda _: None)
            assert (found.mode, found.source) == (0o777, "")


class Jobs:
    """Stands for the copy of the job table. refresh: as that of a Redis that answers, or does not."""

    def __init__(self, *fields: dict[str, Any]) -> None:
        self.table = JobQueue()
        self.is_up = True
        for number, one in enumerate(fields):
            job = JobRecord(
                name=f"j{number}", version=1, change=1, fields=one, project_hash="", submitted_at=1.0
            )
            self.table.jobs[job.name] = job

    def refresh(self, on_done: Callable[[], object], on_error: Callable[[Exception], object]) -> None:
        if self.is_up:
            on_done()
        else:
            on_error(StoreUnavailable("no Redis"))


class Disk:
    """Stands for the thread, and does everything at once."""

    def do(self, _: str, work: Callable[[], Any], on_done: Callable[[Any], object], __: object) -> None:
        on_done(work())


def test_what_no_job_names_goes_when_nobody_has_touched_it_for_an_hour(tmp_path: Path) -> None:
    uploads_dir = tmp_path / "uploads"
    ages = {"left-here": 3_700, "under-way": 3_500, "of-a-queued-job": 900_000, "of-a-run-1": 4_000}
    ages |= {"auxiliary": 4_000, "come-here": 4_000, "just-read": 4_000}
    for name, age in ages.items():
        write_tree(uploads_dir / name, {"pack": b"1"})
        for path in (uploads_dir / name / "pack", uploads_dir / name):
            os.utime(path, times=(time.time() - age, time.time() - age))
    write_tree(tmp_path / "elsewhere", {"pack": b"1"})
    os.utime(tmp_path / "elsewhere", times=(1, 1))
    (uploads_dir / "linked-to").symlink_to(tmp_path / "elsewhere")
    uploads.touch_upload(str(tmp_path), "just-read")
    jobs = Jobs(
        {"input_dir": "uploads/of-a-queued-job"},
        {"input_file_name": f"{uploads_dir}/auxiliary/"},
        {"output_dir": "./uploads/come-here", "input_dir": "jobs/a/reduce"},
    )
    sweeps: list[tuple[float, Callable[[], object]]] = []
    options = Disk(), lambda: [{"input_dir": "uploads/of-a-run-1"}], lambda *call: sweeps.append(call)
    UploadSweep(str(tmp_path), jobs, *options)  # type: ignore[arg-type]
    ((_, sweep),) = sweeps

    def sweep_all() -> set[str]:
        sweep()
        return {path.name for path in uploads_dir.iterdir()}

    everything = {*ages, "linked-to"}
    jobs.is_up = False
    assert sweep_all() == everything
    jobs.is_up = True
    assert sweep_all() == everything - {"left-here"}
    jobs.table.jobs.clear()
    assert sweep_all() == {"under-way", "just-read", "of-a-run-1", "linked-to"}
    assert (tmp_path / "elsewhere" / "pack").exists()

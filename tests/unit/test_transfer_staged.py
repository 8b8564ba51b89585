"""Transfers of a console whose machine is no peer: its files pass through a folder of one."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from transfer_runs import PEERS, TransferRun, data_of, read_tree, serving, write_tree

from pymr.config import ClusterConfig
from pymr.errors import InputError
from pymr.keys import load_security
from pymr.peer import uploads
from pymr.peer.data_client import DataClient
from pymr.peer.data_protocol import DataRefused, Discard, Staged, Write, checksum_of
from pymr.peer.findings import found_runs
from pymr.peer.places import Places
from pymr.peer.transfer_lists import Entry, FileList, sealed
from pymr.peer.transfer_staged import new_upload_id, write_upload
from pymr.peer.transfer_staged import read_tree as read_staged
from pymr.peer.uploads import Uploads

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
    assert list((data_of(cluster, "beta") / "uploads").iterdir()) == []

    upload_id = new_upload_id()
    TransferRun(
        cluster, transfer_type="download", input_dir="there", output_dir=f"uploads/{upload_id}", **fields
    ).run()
    target = write_tree(tmp_path / "target", {"0/005": b"older"})
    security = load_security(cluster, "operator")
    assert read_staged(cluster, security, "beta", upload_id, str(target)) == sent
    client.discard("beta", upload_id)

    assert read_tree(target) == FILES
    assert list((data_of(cluster, "beta") / "uploads").iterdir()) == []


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


def test_uploads_that_were_left_go_when_the_daemon_starts(cluster: ClusterConfig) -> None:
    folder = data_of(cluster, "gamma") / "uploads"
    for name, age in (("left-long-ago", 90_000), ("under-way", 80_000)):
        write_tree(folder / name, {"pack": b"1"})
        for path in (folder / name / "pack", folder / name):
            os.utime(path, times=(time.time() - age, time.time() - age))
    found_runs(Places(str(data_of(cluster, "gamma"))))

    assert [path.name for path in folder.iterdir()] == ["under-way"]

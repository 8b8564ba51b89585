"""File transfers on a cluster: every type from end to end, and whoever is killed, exactly the right files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster.clusters import Cluster
from transfer_runs import read_tree, write_tree

from pymr.base.errors import JobError
from pymr.wire.rows import RunRow

MakeCluster = Callable[..., Cluster]
RENAME, DELETE = "transfer.before_rename", "transfer.before_delete"
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.1")


class Transfers:
    """A cluster whose workers hold, at a fault point, for as long as its gate is closed."""

    def __init__(self, make_cluster: MakeCluster, **arguments: Any) -> None:
        self.cluster = make_cluster(hosts=HOSTS, workers=1, **arguments)

    def start(self, *hold_at: str) -> Transfers:
        faults = [f"{point}:hold={self._gate(point)}" for point in hold_at]
        self.cluster.env["PYMR_FAULTS"] = ",".join(faults)
        self.cluster.start()
        return self

    def hold(self, point: str) -> None:
        self._gate(point).touch()

    def let_go(self, point: str) -> None:
        self._gate(point).unlink()

    def _gate(self, point: str) -> Path:
        return self.cluster.folder / point

    def submit(self, name: str, **fields: Any) -> None:
        common = {"job_type": "file_transfer", "job_name": name, "job_priority": 1, "run_once": True}
        self.cluster.client.submit({**common, "local_peer": "alpha", **fields}, self.cluster.folder)

    def run(self, name: str, **fields: Any) -> RunRow:
        """Have a transfer done; what the history says of it."""
        self.submit(name, **fields)
        return self.end_of(name)

    def end_of(self, name: str) -> RunRow:
        self.cluster.succeed(name)
        return self.cluster.client.history(name)[0]

    def gathered(self, folder: str) -> dict[str, bytes]:
        """What all peers have of a folder, each file on one peer only."""
        found: dict[str, bytes] = {}
        for peer in self.cluster.names:
            of_peer = read_tree(self.cluster.data(peer) / folder)
            assert not found.keys() & of_peer.keys()
            found |= of_peer
        return found

    def holding(self, folder: str) -> int:
        """How many peers have written something below a folder that has no name yet."""
        return sum(any(self.cluster.data(peer).glob(f"{folder}/**/.pymr-*")) for peer in self.cluster.names)


@pytest.fixture
def transfers(make_cluster: MakeCluster) -> Transfers:
    return Transfers(make_cluster)


def some_files() -> dict[str, bytes]:
    return {f"{n % 3}/{n:03d}.txt": os.urandom(n * 40) for n in range(60)} | {"big": os.urandom(3_000_000)}


def test_every_type_of_transfer_does_its_work(transfers: Transfers) -> None:
    cluster, files = transfers.start().cluster, some_files()
    source = write_tree(cluster.folder / "source", files)
    upload = {"input_dir": str(source), "output_dir": "corpus"}
    sizes = len(files), sum(map(len, files.values()))

    run = transfers.run("up", transfer_type="upload", compress=True, **upload)
    assert transfers.gathered("corpus") == files
    assert all((cluster.data(peer) / "corpus").is_dir() for peer in cluster.names)
    assert (run.status, run.files, run.bytes, run.skipped) == ("succeeded", *sizes, 0)
    assert list(run.phase_seconds) == ["list", "spread", "copy"]

    (source / "big").write_bytes(b"new")
    files["big"] = b"new"
    run = transfers.run("again", transfer_type="upload_bulk", reload_files=False, **upload)
    assert transfers.gathered("corpus") == files
    assert (run.files, run.bytes, run.skipped) == (1, 3, len(files) - 1)

    target = cluster.folder / "target"
    down = {"input_dir": "corpus", "output_dir": str(target)}
    transfers.run("down", transfer_type="download", compress=True, **down)
    assert read_tree(target) == transfers.gathered("corpus") == files
    moving = {"input_dir": "corpus", "output_dir": "below/alpha", "delete_files": True}
    run = transfers.run("move", transfer_type="download_bulk", **moving)
    assert read_tree(cluster.data("alpha") / "below/alpha") == files
    assert transfers.gathered("corpus") == {}
    assert (run.files, list(run.phase_seconds)) == (len(files), ["list", "copy", "delete"])

    (source / "words.json").write_text('["a"]')
    auxiliary = {"transfer_type": "upload_auxiliary", "auxiliary_data_name": "words"}
    transfers.run("words", input_file_name=str(source / "words.json"), **auxiliary)
    for peer in cluster.names:
        assert (cluster.data(peer) / "auxiliary" / "words.data").read_text() == '["a"]'

    run = transfers.run("delete", transfer_type="delete", output_dir="below")
    assert (run.files, list(run.phase_seconds)) == (len(files), ["delete"])
    assert not any((cluster.data(peer) / "below").exists() for peer in cluster.names)
    cluster.wait_for(lambda: cluster.left_runs() == [], what="the runs' files to go")


def test_what_cannot_be_moved_fails_the_job_by_its_name(transfers: Transfers) -> None:
    cluster = transfers.start().cluster
    source = write_tree(cluster.folder / "source", {"a": b"1"})
    (source / "out").symlink_to("/etc/passwd")
    upload = {"transfer_type": "upload", "input_dir": str(source)}
    transfers.submit("bad", output_dir="corpus", **upload)
    outcome = cluster.finish("bad")

    assert outcome.status == "failed"
    assert "out' is a link to '/etc/passwd', which is not below" in (outcome.exception or "")
    assert transfers.gathered("corpus") == {}
    for path in ("state", "../out", "/etc", "a\nb"):
        with pytest.raises(JobError, match="output_dir"):
            transfers.submit("bad", output_dir=path, **upload)


@pytest.mark.parametrize("transfer_type", ["upload", "upload_bulk"])
def test_an_upload_survives_kills(transfers: Transfers, transfer_type: str) -> None:
    """While workers have written files that have no name yet."""
    cluster, files = transfers.start(RENAME).cluster, some_files()
    source = write_tree(cluster.folder / "source", files)
    for victim in ("destination", "source", "leader"):
        folder = f"of-{victim}"
        write_tree(cluster.data("beta") / folder, {"big": b"older", "0/000.txt": b"older", "stays": b"1"})
        peer = {"destination": "beta", "source": "alpha", "leader": cluster.leader()}[victim]
        transfers.hold(RENAME)
        transfers.submit(victim, transfer_type=transfer_type, input_dir=str(source), output_dir=folder)
        cluster.wait_for(lambda folder=folder: transfers.holding(folder) == 3, what="the workers to hold")
        cluster.kill(peer)
        named = {k: v for k, v in transfers.gathered(folder).items() if ".pymr-" not in k}
        transfers.let_go(RENAME)
        cluster.restart(peer)
        run = transfers.end_of(victim)

        assert all(content in (b"older", b"1", files.get(path)) for path, content in named.items()), victim
        assert transfers.gathered(folder) == files | {"stays": b"1"}, victim
        assert read_tree(cluster.data("beta") / folder)["big"] == files["big"], victim
        assert (run.files, run.bytes) == (len(files), sum(map(len, files.values()))), victim


def test_downloads_survive_kills(transfers: Transfers) -> None:
    transfers.start(RENAME, DELETE)
    for transfer_type, hold_at, victim in (
        ("download", RENAME, "alpha"),
        ("download_bulk", RENAME, "beta"),
        ("download_bulk", DELETE, "beta"),
    ):
        survive_a_kill(transfers, transfer_type, hold_at, victim)


def survive_a_kill(transfers: Transfers, transfer_type: str, hold_at: str, victim: str) -> None:
    """alpha gathers; beta has a part of the files, and deletes it in the end."""
    cluster, files = transfers.cluster, some_files()
    name = f"{transfer_type}-{victim}-{hold_at.rpartition('.')[2]}"
    for number, (path, content) in enumerate(files.items()):
        write_tree(cluster.data(cluster.names[number % 3]) / name, {path: content})
    target = cluster.folder / "target" / name
    transfers.hold(hold_at)
    moving = {"input_dir": name, "output_dir": str(target), "delete_files": True}
    transfers.submit(name, transfer_type=transfer_type, **moving)
    phase = "copy" if hold_at == RENAME else "delete"
    cluster.wait_for(lambda: cluster.phase(name) == phase, what=phase)
    if phase == "copy":
        cluster.wait_for(lambda: any(target.glob("**/.pymr-*")), what="alpha to hold")
    cluster.kill(victim)
    transfers.let_go(hold_at)
    cluster.restart(victim)
    run = transfers.end_of(name)

    assert read_tree(target) == files
    assert transfers.gathered(name) == {}
    assert run.files == len(files)


def test_auxiliary_data_and_a_deletion_survive_a_kill(transfers: Transfers) -> None:
    cluster = transfers.start(RENAME, DELETE).cluster
    (cluster.folder / "words.json").write_text('["a"]')
    auxiliary = [cluster.data(peer) / "auxiliary" for peer in cluster.names]
    transfers.hold(RENAME)
    transfers.submit(
        "words",
        transfer_type="upload_auxiliary",
        input_file_name=str(cluster.folder / "words.json"),
        auxiliary_data_name="words",
    )
    cluster.wait_for(lambda: all(any(one.glob(".pymr-*")) for one in auxiliary), what="all peers to hold")
    cluster.kill("beta")
    seen = [path for one in auxiliary for path in one.glob("words*")]
    transfers.let_go(RENAME)
    cluster.restart("beta")
    transfers.end_of("words")

    assert seen == []
    assert [read_tree(one) for one in auxiliary] == [{"words.data": b'["a"]'}] * 3

    for peer in cluster.names:
        write_tree(cluster.data(peer) / "old", {"a/1": b"1", "2": b"2"})
    transfers.hold(DELETE)
    transfers.submit("gone", transfer_type="delete", output_dir="old")
    cluster.wait_for(lambda: cluster.phase("gone") == "delete", what="the deletion to begin")
    cluster.kill("beta")
    kept = read_tree(cluster.data("beta") / "old")
    transfers.let_go(DELETE)
    cluster.restart("beta")
    run = transfers.end_of("gone")

    assert kept == {"a/1": b"1", "2": b"2"}
    assert not any(list(cluster.data(peer).glob("old")) for peer in cluster.names)
    assert not any(list(cluster.data(peer).glob(".pymr-*")) for peer in cluster.names)
    assert run.status == "succeeded"

"""Transfers, step by step over real data services: exactly the right files, wherever an attempt is ended."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from transfer_runs import PEERS, TransferRun, data_of, read_tree, serving, write_tree

from pymr.base.errors import DiskError, InputError, JobError, MissingSegmentError, OutputError
from pymr.config.cluster import ClusterConfig, SecurityConfig
from pymr.engine.outputs import Part
from pymr.engine.staged_output import complete, refuse_foreign_files
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.disk.rooted_files import PathRefusedError, RootedFiles
from pymr.peer.output.publication import list_output
from pymr.wire.outcomes import AttemptId


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterConfig]:
    with serving(tmp_path_factory.mktemp("cluster")) as config:
        yield config


def some_files(count: int = 40, size_max: int = 5_000, seed: int = 0) -> dict[str, bytes]:
    source = random.Random(seed)
    sizes = [source.randrange(size_max) for _ in range(count)]
    files = {f"f{number % 4}/g/{number:04d}.txt": source.randbytes(size) for number, size in enumerate(sizes)}
    return files | {"empty": b"", "big.bin": source.randbytes(3_000_000), "sp ace/ünï.txt": b"x"}


def gathered(config: ClusterConfig, folder: str) -> dict[str, bytes]:
    """What all peers have of a folder, each file on one peer only."""
    found: dict[str, bytes] = {}
    for name in PEERS:
        of_peer = read_tree(data_of(config, name) / folder)
        assert not found.keys() & of_peer.keys()
        found |= of_peer
    return found


@pytest.mark.parametrize("bulk", ["", "_bulk"])
@pytest.mark.parametrize("compress", [False, True])
def test_what_is_uploaded_comes_back(
    cluster: ClusterConfig, tmp_path: Path, bulk: str, compress: bool
) -> None:
    files = some_files()
    source = write_tree(tmp_path / "source", files)
    os.utime(source / "big.bin", ns=(1, 1_234_567_891_234_567_890))
    os.chmod(source / "big.bin", 0o750)
    name = f"corpus{bulk}-{compress}/deep"
    upload = TransferRun(
        cluster, transfer_type=f"upload{bulk}", input_dir=str(source), output_dir=name, compress=compress
    ).run()

    assert gathered(cluster, name) == files
    assert upload.total("copy").files == len(files)
    assert upload.total("copy").bytes == sum(map(len, files.values()))
    sizes = [sum(map(len, read_tree(data_of(cluster, peer) / name).values())) for peer in PEERS]
    assert all(sizes)

    target = tmp_path / "target"
    download = TransferRun(
        cluster,
        transfer_type=f"download{bulk}",
        input_dir=name,
        output_dir=str(target),
        compress=compress,
        delete_files=True,
    ).run()
    assert read_tree(target) == files
    assert (target / "big.bin").stat().st_mtime_ns == 1_234_567_891_234_567_890
    assert (target / "big.bin").stat().st_mode & 0o777 == 0o750
    assert gathered(cluster, name) == {}
    assert [list((data_of(cluster, peer) / name).iterdir()) for peer in PEERS] == [[], [], []]
    assert download.total("delete").files == len(files)


# ---- upload


def test_a_file_goes_again_to_the_peer_that_has_it_and_new_ones_to_those_with_least(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    write_tree(data_of(cluster, "beta") / "homes", {"old": b"o" * 10, "other": b"p" * 1_000})
    source = write_tree(tmp_path, {"old": b"n" * 20, **{f"new{n}": b"x" * 100 for n in range(4)}})
    run = TransferRun(cluster, transfer_type="upload", input_dir=str(source), output_dir="homes").run()

    assert read_tree(data_of(cluster, "beta") / "homes") == {"old": b"n" * 20, "other": b"p" * 1_000}
    assert run.outcomes["copy-00001"].files == 1
    assert [len(read_tree(data_of(cluster, peer) / "homes")) for peer in ("alpha", "gamma")] == [2, 2]


def test_a_file_that_is_on_two_peers_is_an_error_that_names_them(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    for peer in ("alpha", "gamma"):
        write_tree(data_of(cluster, peer) / "twice", {"a/b": b"content"})
    source = write_tree(tmp_path, {"a/b": b"new"})

    with pytest.raises(InputError, match=r"'a/b' is on alpha and gamma already"):
        TransferRun(cluster, transfer_type="upload", input_dir=str(source), output_dir="twice").run()


@pytest.mark.parametrize("bulk", ["", "_bulk"])
def test_what_is_there_with_the_same_content_is_skipped(
    cluster: ClusterConfig, tmp_path: Path, bulk: str
) -> None:
    source = write_tree(tmp_path, {f"f{number}": bytes([number]) * 2_000 for number in range(30)})
    fields: dict[str, object] = {
        "transfer_type": f"upload{bulk}",
        "input_dir": str(source),
        "output_dir": f"skipped{bulk}",
        "reload_files": False,
    }
    TransferRun(cluster, **fields).run()
    (source / "f3").write_bytes(b"X" * 2_000)
    (source / "f4").write_bytes(b"longer" * 2_000)
    run = TransferRun(cluster, **fields).run()

    assert (run.total("copy").files, run.total("copy").skipped) == (2, 28)
    assert gathered(cluster, f"skipped{bulk}") == read_tree(source)


def test_a_file_that_changes_after_it_was_listed_fails_the_run_by_name(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    source = write_tree(tmp_path, {f"f{number}": b"content" for number in range(9)})
    run = TransferRun(cluster, transfer_type="upload", input_dir=str(source), output_dir="changing")
    run.run(until="copy")
    for path in source.iterdir():
        path.write_bytes(b"other")

    for number, peer in enumerate(PEERS):
        with pytest.raises(InputError, match=r"alpha.*/f\d is not as it was when the transfer began"):
            run.do("copy", number, peer)
    assert gathered(cluster, "changing") == {}


def test_a_list_that_is_gone_is_named_so_that_it_is_made_again(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    write_tree(tmp_path, {"words.json": b"{}"})
    name = str(tmp_path / "words.json")
    run = TransferRun(
        cluster, transfer_type="upload_auxiliary", input_file_name=name, auxiliary_data_name="words"
    ).run(until="copy")
    (listed,) = run.inputs
    shutil.rmtree(data_of(cluster, listed.peer) / "runs" / run.run_id)

    for peer in PEERS:  # of the same host, and of another one
        with pytest.raises(MissingSegmentError) as caught:
            run.do("copy", 0, peer)
        assert caught.value.missing == AttemptId(run.run_id, listed.task, listed.attempt)


def test_auxiliary_data_gets_to_every_peer(cluster: ClusterConfig, tmp_path: Path) -> None:
    write_tree(data_of(cluster, "alpha"), {"words.json": b'{"a": 1}'})
    (tmp_path / "link.json").symlink_to(data_of(cluster, "alpha") / "words.json")
    for name in ("words.json", str(tmp_path / "link.json")):
        TransferRun(
            cluster, transfer_type="upload_auxiliary", input_file_name=name, auxiliary_data_name="words"
        ).run()
        for peer in PEERS:
            path = data_of(cluster, peer) / "auxiliary" / "words.data"
            assert path.read_bytes() == b'{"a": 1}'
            path.unlink()

    (tmp_path / "bad.json").write_bytes(b'{"a": 1')
    with pytest.raises(InputError, match=r"input_file_name: .*bad.json is no JSON"):
        TransferRun(
            cluster,
            transfer_type="upload_auxiliary",
            input_file_name=str(tmp_path / "bad.json"),
            auxiliary_data_name="words",
        ).run()


# ---- download


def test_what_several_peers_have_is_one_file_or_one_of_each(cluster: ClusterConfig, tmp_path: Path) -> None:
    trees = {
        "alpha": {"same": b"1", "differs": b"alpha", "only/alpha": b"2", "name": b"a file"},
        "beta": {"same": b"1", "differs": b"beta", "name/in/it": b"a folder"},
        "gamma": {"same": b"1", "differs": b"beta"},
    }
    for peer, files in trees.items():
        write_tree(data_of(cluster, peer) / "several", files)
    target = tmp_path / "target"
    TransferRun(
        cluster, transfer_type="download", input_dir="several", output_dir=str(target), delete_files=True
    ).run()

    assert read_tree(target) == {
        "same": b"1",
        "@alpha/differs": b"alpha",
        "@beta/differs": b"beta",
        "@alpha/name": b"a file",
        "name/in/it": b"a folder",
        "only/alpha": b"2",
    }
    assert gathered(cluster, "several") == {}


def test_a_name_that_is_taken_for_what_differs_is_refused(cluster: ClusterConfig, tmp_path: Path) -> None:
    write_tree(data_of(cluster, "alpha") / "taken", {"a": b"1", "@alpha/a": b"3"})
    write_tree(data_of(cluster, "beta") / "taken", {"a": b"2"})

    with pytest.raises(OutputError, match="@alpha/a"):
        TransferRun(
            cluster, transfer_type="download", input_dir="taken", output_dir=str(tmp_path / "target")
        ).run()


def test_a_folder_that_no_peer_has_is_an_error_and_one_that_some_have_is_none(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    write_tree(data_of(cluster, "beta") / "some", {"a": b"1"})
    run = TransferRun(cluster, transfer_type="download", input_dir="some", output_dir="back").run()

    assert read_tree(data_of(cluster, "alpha") / "back") == {"a": b"1"}
    assert run.total("copy").files == 1
    with pytest.raises(InputError, match="input_dir: no peer has a folder nowhere"):
        TransferRun(cluster, transfer_type="download", input_dir="nowhere", output_dir="back").run()


def test_what_changed_after_it_was_copied_is_kept(
    cluster: ClusterConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for peer in ("alpha", "beta"):
        write_tree(data_of(cluster, peer) / "kept", {f"{peer}/a": b"1", f"{peer}/b": b"2", f"{peer}/c": b"3"})
    target = tmp_path / "target"
    run = TransferRun(
        cluster, transfer_type="download", input_dir="kept", output_dir=str(target), delete_files=True
    )
    run.run(until="delete")
    changed = data_of(cluster, "beta") / "kept" / "beta"
    (changed / "a").write_bytes(b"other")
    os.replace(changed / "b", changed / "moved")
    (changed / "b").write_bytes(b"2")
    for number, peer in enumerate(PEERS):
        run.do("delete", number, peer)

    assert len(read_tree(target)) == 6
    assert gathered(cluster, "kept") == {"beta/a": b"other", "beta/b": b"2", "beta/moved": b"2"}
    assert run.total("delete").files == 4
    assert "2 files were kept" in capsys.readouterr().out


def test_a_downloaded_output_is_gone_from_its_manifest(cluster: ClusterConfig, tmp_path: Path) -> None:
    parts = [Part(f"part-{number:05d}-0000.jsonl", 1, 4) for number in range(2)]
    output = write_tree(
        data_of(cluster, "beta") / "jobs" / "count" / "reduce", {part.name: b"[]\n\n" for part in parts}
    )
    huge = 1 << 80
    complete(str(output), {"run_id": "count-1", "runs": ["count-1"], "summary": huge, "parts": parts}, [])
    TransferRun(
        cluster,
        transfer_type="download_bulk",
        input_dir="jobs/count/reduce",
        output_dir=str(tmp_path),
        delete_files=True,
    ).run()

    assert set(read_tree(tmp_path)) == {part.name for part in parts}
    assert set(read_tree(output)) == {"_manifest.json"}
    assert list_output(PeerPaths(str(data_of(cluster, "beta"))), "count") == ("count-1", [])
    assert str(huge) in (output / "_manifest.json").read_text()
    refuse_foreign_files(str(output), "")


def write_output(config: ClusterConfig, peer: str, **values: object) -> Path:
    """The output of the job `shared` on a peer, of one part with 2 items."""
    part = Part("part-00000-0000.jsonl", 2, 6)
    folder = write_tree(data_of(config, peer) / "jobs" / "shared" / "reduce", {part.name: b"[]\n[]\n"})
    manifest = {"run_id": "shared-1", "runs": ["shared-1"], "base_run": "shared-1", "parts": [part]}
    complete(str(folder), manifest | values, [])
    return folder


def test_an_output_is_downloaded_as_a_whole_or_not_at_all(cluster: ClusterConfig, tmp_path: Path) -> None:
    write_output(cluster, "alpha", run_items={"shared-1": {"alpha": 2, "gone": 5}})
    fields = {"input_dir": "jobs/shared/reduce", "delete_files": True}

    def download(target: Path) -> TransferRun:
        return TransferRun(cluster, transfer_type="download", output_dir=str(target), **fields).run()

    with pytest.raises(InputError, match=r"5 of its 7 items .* gone, which has them, is no longer in"):
        download(tmp_path / "part")

    assert not (tmp_path / "part").exists() or not any((tmp_path / "part").iterdir())

    output = write_output(cluster, "alpha", run_items={"shared-1": {"alpha": 2}})
    download(tmp_path / "whole")
    download(tmp_path / "nothing")  # what was moved away is missed by nobody

    assert len(list((tmp_path / "whole").iterdir())) == 1
    assert json.loads((output / "_manifest.json").read_text())["taken"] == {"shared-1": 2}


# ---- delete


def test_a_folder_is_deleted_on_every_peer_with_what_is_in_it_and_nothing_else(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    precious = write_tree(tmp_path, {"precious": b"1"})
    for peer in PEERS:
        folder = write_tree(data_of(cluster, peer) / "gone", {"a/b": b"12", "c": b"3"})
        (folder / "out").symlink_to(precious)
        write_tree(data_of(cluster, peer) / "stays", {"a": b"1"})
    run = TransferRun(cluster, transfer_type="delete", output_dir="gone").run()

    assert not any((data_of(cluster, peer) / "gone").exists() for peer in PEERS)
    assert all(read_tree(data_of(cluster, peer) / "stays") for peer in PEERS)
    assert read_tree(precious) == {"precious": b"1"}
    assert run.total("delete").files == 6
    assert TransferRun(cluster, transfer_type="delete", output_dir="gone").run().total("delete").files == 0


@pytest.mark.parametrize("output_dir", ["linked", "linked/inner", "pipe"])
def test_what_is_no_folder_is_not_deleted(cluster: ClusterConfig, tmp_path: Path, output_dir: str) -> None:
    precious = write_tree(tmp_path, {"inner/precious": b"1"})
    data_dir = data_of(cluster, "beta")
    (data_dir / "linked").symlink_to(precious)
    os.mkfifo(data_dir / "pipe")
    try:
        run = TransferRun(cluster, transfer_type="delete", output_dir=output_dir)
        with pytest.raises(PathRefusedError, match=r"symbolic link|FIFO"):
            run.do("delete", 1, "beta")
    finally:
        (data_dir / "linked").unlink()
        (data_dir / "pipe").unlink()
    assert read_tree(precious) == {"inner/precious": b"1"}


def test_the_output_of_a_job_is_deleted(cluster: ClusterConfig) -> None:
    for path in ("jobs/old/reduce", "jobs/old"):
        for peer in PEERS:
            write_tree(data_of(cluster, peer) / "jobs/old/reduce", {"part-00000-0000.jsonl": b"1"})
        run = TransferRun(cluster, transfer_type="delete", output_dir=path).run()
        assert not any((data_of(cluster, peer) / path).exists() for peer in PEERS)
        assert run.total("delete").files == 3


# ---- paths


def make_link_out(folder: Path, outside: Path) -> None:
    (folder / "bad").symlink_to(outside / "secret")


def make_link_to_folder(folder: Path, outside: Path) -> None:
    (folder / "bad").symlink_to(folder)


def make_link_to_nothing(folder: Path, outside: Path) -> None:
    (folder / "bad").symlink_to("nowhere")


def make_link_to_itself(folder: Path, outside: Path) -> None:
    (folder / "bad").symlink_to("bad")


def make_fifo(folder: Path, outside: Path) -> None:
    os.mkfifo(folder / "bad")


def make_socket(folder: Path, outside: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(folder)  # the path of a socket must be short
        try:
            one.bind("bad")
        finally:
            os.chdir(here)


def make_line_end(folder: Path, outside: Path) -> None:
    (folder / "bad\nname").write_bytes(b"1")


def make_folder_with_line_end(folder: Path, outside: Path) -> None:
    write_tree(folder, {"bad\rname/file": b"1"})


def make_no_text(folder: Path, outside: Path) -> None:
    with open(os.fsencode(folder) + b"/bad\xff", "wb"):
        pass


@pytest.mark.parametrize("transfer_type", ["upload", "download_bulk"])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_link_out, "is a link to '.*secret', which is not below"),
        (make_link_to_folder, "is a link to a folder"),
        (make_link_to_nothing, "is a link that leads nowhere"),
        (make_link_to_itself, "is a link that leads nowhere"),
        (make_fifo, "is a FIFO"),
        (make_socket, "cannot be read"),
        (make_line_end, "line end"),
        (make_folder_with_line_end, "line end"),
        (make_no_text, "not UTF-8"),
    ],
)
def test_what_cannot_be_moved_is_refused_by_name(
    cluster: ClusterConfig,
    tmp_path: Path,
    make: Callable[[Path, Path], object],
    reason: str,
    transfer_type: str,
) -> None:
    outside = write_tree(tmp_path / "outside", {"secret": b"secret"})
    name = f"bad-{transfer_type}-{make.__name__}"
    source = write_tree(data_of(cluster, "alpha") / name / "deep", {"good": b"1"})
    make(source, outside)
    run = TransferRun(
        cluster, transfer_type=transfer_type, input_dir=name, output_dir=f"to-{name}", delete_files=True
    )

    with pytest.raises(InputError, match=reason) as error:
        run.run()
    assert "bad" in str(error.value)
    assert str(error.value).startswith("input_dir: ")
    assert not (data_of(cluster, "alpha") / f"to-{name}").exists()


def test_all_links_that_cannot_be_moved_are_told_at_once_with_what_to_do(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    source = write_tree(data_of(cluster, "alpha") / "many-links", {"good": b"1"})
    (source / "broken").symlink_to(tmp_path / "gone")
    (source / "loop").symlink_to("loop")
    run = TransferRun(cluster, transfer_type="upload", input_dir="many-links", output_dir="to-many-links")

    with pytest.raises(InputError) as error:
        run.run()
    told = str(error.value).splitlines()
    assert told[0] == "input_dir: 2 links cannot be moved:"
    for line, name in zip(told[1:], ("broken", "loop"), strict=True):
        assert f"{source}/{name}' is a link that leads nowhere" in line
        assert line.endswith("; remove the link, or restore what it leads to")


def test_all_names_that_cannot_be_moved_are_told_at_once(cluster: ClusterConfig, tmp_path: Path) -> None:
    source = data_of(cluster, "alpha") / "many-bad"
    for make in (make_line_end, make_folder_with_line_end, make_no_text):
        make(write_tree(source / make.__name__, {"good": b"1"}), tmp_path)
    run = TransferRun(cluster, transfer_type="upload", input_dir="many-bad", output_dir="to-many-bad")

    with pytest.raises(InputError, match="3 names cannot be moved") as error:
        run.run()
    for named in ("bad\\nname' has a line end", "bad\\rname' has a line end", "bad\\xff' is not UTF-8"):
        assert named in str(error.value)


def test_a_link_to_a_file_below_the_same_folder_is_moved_as_that_file(
    cluster: ClusterConfig, tmp_path: Path
) -> None:
    source = write_tree(data_of(cluster, "beta") / "links", {"deep/z": b"content"})
    (source / "a").symlink_to("deep/z")
    TransferRun(
        cluster, transfer_type="download", input_dir="links", output_dir=str(tmp_path), delete_files=True
    ).run()

    assert read_tree(tmp_path) == {"a": b"content", "deep/z": b"content"}
    assert not (tmp_path / "a").is_symlink()
    assert list(source.iterdir()) == []


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("link", "'.*name' is a symbolic link"),
        ("folder", "'.*name' is a folder"),
        ("fifo", "'.*name' is a FIFO"),
        ("linked folder", "'.*deep' is a symbolic link, where a folder should be"),
        ("file for folder", "'.*deep' is a regular file, where a folder should be"),
        ("linked root", "is a symbolic link, where a folder should be"),
    ],
)
def test_what_is_in_the_way_is_neither_followed_nor_replaced(
    cluster: ClusterConfig, tmp_path: Path, what: str, reason: str
) -> None:
    outside = write_tree(tmp_path / "outside", {"precious": b"1"})
    name = f"way-{what.replace(' ', '-')}"
    target = data_of(cluster, "beta") / name
    if what != "linked root":
        target.mkdir()
    {
        "link": lambda: (write_tree(target / "deep", {}) / "name").symlink_to(outside / "precious"),
        "folder": lambda: write_tree(target / "deep" / "name", {}),
        "fifo": lambda: os.mkfifo(write_tree(target / "deep", {}) / "name"),
        "linked folder": lambda: (target / "deep").symlink_to(outside),
        "file for folder": lambda: (target / "deep").write_bytes(b"1"),
        "linked root": lambda: target.symlink_to(outside),
    }[what]()
    write_tree(data_of(cluster, "alpha") / f"from-{name}", {"deep/name": b"1" * 100})
    run = TransferRun(
        cluster,
        transfer_type="download",
        input_dir=f"from-{name}",
        output_dir=name,
        local_peer="beta",
    )

    with pytest.raises(PathRefusedError, match=reason):
        run.run()
    assert read_tree(outside) == {"precious": b"1"}
    if what == "linked root":
        target.unlink()


def test_local_paths_stay_below_the_roots_that_are_allowed(cluster: ClusterConfig, tmp_path: Path) -> None:
    allowed, denied = write_tree(tmp_path / "yes", {"a": b"1"}), write_tree(tmp_path / "no", {"a": b"1"})
    (allowed / "link").symlink_to(denied)
    config = msgspec.structs.replace(cluster, security=SecurityConfig(local_roots=(str(allowed),)))
    own = data_of(cluster, "gamma") / "state"
    write_tree(data_of(cluster, "beta") / "of-beta", {"a": b"1"})
    for folder in (denied, allowed / "link", allowed / ".." / "no"):
        with pytest.raises((InputError, JobError), match=r"local_roots|\.\."):
            TransferRun(config, transfer_type="upload", input_dir=str(folder), output_dir="roots").run()
    with pytest.raises(InputError, match=r"output_dir: .*local_roots"):
        TransferRun(config, transfer_type="download", input_dir="of-beta", output_dir=str(denied)).run()
    with pytest.raises(PathRefusedError, match="where peer gamma keeps its own files"):
        TransferRun(cluster, transfer_type="download", input_dir="of-beta", output_dir=str(own)).run()
    assert read_tree(denied) == {"a": b"1"}


@pytest.mark.parametrize("name", ["self", "self/below", ".", "by a link"])
def test_nothing_is_moved_onto_itself(cluster: ClusterConfig, tmp_path: Path, name: str) -> None:
    files = {"a": b"1", "below/b": b"2"}
    folder = write_tree(data_of(cluster, "gamma") / "self", files)
    local = str(data_of(cluster, "gamma") / name)
    if name == "by a link":
        local = str(tmp_path / "link")
        os.symlink(folder, local)
    for fields in (
        {"transfer_type": "upload", "input_dir": local, "output_dir": "self"},
        {"transfer_type": "download", "input_dir": "self", "output_dir": local, "reload_files": False},
    ):
        with pytest.raises((InputError, PathRefusedError), match=r"lie in each other|keeps its own files"):
            TransferRun(cluster, **fields).run()
    assert read_tree(folder) == files


@pytest.mark.parametrize("missing", ["nowhere", "/nowhere/at/all", "file"])
def test_an_input_folder_that_is_none_is_named(cluster: ClusterConfig, tmp_path: Path, missing: str) -> None:
    write_tree(data_of(cluster, "alpha"), {"file": b"1"})
    with pytest.raises(InputError, match=f"input_dir: .*{missing}"):
        TransferRun(cluster, transfer_type="upload", input_dir=missing, output_dir="x").run()


def test_a_full_disk_is_seen_before_anything_is_written(
    cluster: ClusterConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RootedFiles, "free_bytes", lambda self: 1_000)
    source = write_tree(tmp_path, {"a": b"1" * 500, "b": b"1" * 501})

    with pytest.raises(DiskError, match=r"on peer alpha has .*\(1,000 bytes\).* needs .*\(1,001 bytes\)"):
        TransferRun(
            cluster, transfer_type="download", input_dir=fill(cluster, source), output_dir="full"
        ).run()
    assert read_tree(data_of(cluster, "alpha") / "full") == {}


def fill(cluster: ClusterConfig, source: Path) -> str:
    write_tree(data_of(cluster, "beta") / "filled", read_tree(source))
    return "filled"

"""Paths: no name leads out of a peer's data folder, and inputs stay where they may be read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pymr.base.errors import FatalError, InputError
from pymr.config.cluster import ClusterConfig, SecurityConfig
from pymr.peer.disk.paths import PeerPaths, attempt_of, is_below, resolve_input
from pymr.wire.outcomes import AttemptId
from pymr.wire.protocol import STEPS

ID = AttemptId("run-1", "map-00012", "3.7")
BAD_NAMES = ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "a\nb", "a\0b", "x" * 300, "ä"]
BAD_FOLDERS = [
    *BAD_NAMES,
    "map-00012",
    "map-00012-3",
    "map-1-3.7",
    "map-00012-3.7/..",
    "x-00012-3.7",
    "fetched",
]


def config(*roots: str) -> ClusterConfig:
    return ClusterConfig(security=SecurityConfig(local_roots=roots))


def test_everything_lies_where_the_documents_say() -> None:
    paths = PeerPaths("/data")

    assert paths.attempt(ID) == "/data/runs/run-1/map-00012-3.7"
    assert paths.unfinished(ID) == "/data/runs/run-1/.map-00012-3.7"
    assert paths.segment(ID, 3) == "/data/runs/run-1/fetched/map-00012-3.7.00003"
    assert paths.plan("run-1") == "/data/runs/run-1/plan"
    assert paths.output("count") == "/data/jobs/count/reduce"
    assert paths.project("0f3a") == "/data/projects/0f3a"
    assert paths.pane(2, "run-1") == "/data/panes/2/run-1"
    assert paths.auxiliary("words") == "/data/auxiliary/words.data"
    assert (paths.epoch, paths.boot, paths.lock) == (
        "/data/state/epoch",
        "/data/state/boot",
        "/data/state/lock",
    )


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_name_that_would_lead_elsewhere_is_refused(name: str) -> None:
    paths = PeerPaths("/data")
    asked: list[Any] = [
        paths.run,
        paths.output,
        paths.project,
        paths.auxiliary,
        paths.plan,
        paths.fetched,
        paths.bad_records,
        paths.consumed_of,
    ]
    for ask in asked:
        with pytest.raises(FatalError, match="refused"):
            ask(name)
    with pytest.raises(FatalError, match="refused"):
        paths.staged_output("count", name)
    with pytest.raises(FatalError, match="refused"):
        paths.attempt(AttemptId(name, "map-00012", "3.7"))


@pytest.mark.parametrize("folder", BAD_FOLDERS, ids=repr)
def test_folder_that_is_of_no_attempt_is_refused(folder: str) -> None:
    with pytest.raises(FatalError, match="refused"):
        PeerPaths("/data").attempt_folder("run-1", folder)
    assert attempt_of("run-1", folder) is None


def test_attempt_is_known_by_its_folder() -> None:
    assert attempt_of("run-1", ID.folder) == ID
    for task in ("map", "reduce", *STEPS):
        id = AttemptId("run-1", f"{task}-00003", "7.12")
        assert attempt_of("run-1", id.folder) == id
        assert (id.kind, id.number, id.try_number) == (task, 3, 12)


def test_relative_input_lies_in_the_data_folder(tmp_path: Path) -> None:
    (tmp_path / "corpus" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "corpus")

    for name in [
        "corpus",
        "corpus/deep",
        "corpus/./deep/",
        "link",
        "link/deep",
        "jobs/other/reduce",
        "absent",
    ]:
        found = resolve_input(str(tmp_path), name, config())
        assert found == os.path.normpath(tmp_path / name)


def test_data_folder_may_itself_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk" / "corpus").mkdir(parents=True)
    (tmp_path / "data").symlink_to(tmp_path / "disk")

    assert resolve_input(str(tmp_path / "data"), "corpus", config()) == str(tmp_path / "data" / "corpus")


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "a/..", "a\0b", "a\nb", "/a\nb"], ids=repr)
def test_input_with_an_unfit_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="input_dirs: "):
        resolve_input(str(tmp_path), name, config())


@pytest.mark.parametrize("name", ["out", "out/deep", "out/back", "chain", "dangling", "inside/out"])
def test_link_that_leads_out_is_refused_also_where_another_leads_back(tmp_path: Path, name: str) -> None:
    data, outside = tmp_path / "data", tmp_path / "outside"
    (data / "inside").mkdir(parents=True)
    (outside / "deep").mkdir(parents=True)
    (data / "out").symlink_to(outside)
    (data / "chain").symlink_to("out")
    (data / "dangling").symlink_to(tmp_path / "nowhere")
    (data / "inside" / "out").symlink_to("../../outside")
    (outside / "back").symlink_to(data)

    with pytest.raises(InputError, match=r"leads out of the data folder .* absolute path"):
        resolve_input(str(data), name, config())


def test_absolute_input_lies_below_the_roots_where_there_are_any(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "root-not"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)

    assert resolve_input("/data", str(outside), config()) == str(outside)
    assert resolve_input("/data", str(root / "a"), config(str(root))) == str(root / "a")
    for name in [str(outside), str(root / "link"), str(root / ".." / "root-not"), "/"]:
        with pytest.raises(InputError, match="local_roots"):
            resolve_input("/data", name, config(str(root)))


def test_below_means_whole_names() -> None:
    assert is_below("/a/b", ["/a"]) and is_below("/a", ["/a"]) and is_below("/a", ["/"])
    assert not is_below("/ab", ["/a"]) and not is_below("/a", [])

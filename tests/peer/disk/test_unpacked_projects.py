"""Projects on a peer's disk: whole after a power failure, and looked at before they are believed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loop_disks import loop_disk, needs_loop_disks
from written_projects import PLAIN, REDUCE, write_project

from pymr.peer.disk import unpacked_projects
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.disk.unpacked_projects import UnpackedProjects
from pymr.projects.project import pack_project, unpack_project


class Desk:
    """The projects of a peer, with a disk and a store that do at once what is asked."""

    def __init__(self, folder: Path) -> None:
        write_project(folder / "projects", map_functions=PLAIN, reduce_functions=REDUCE)
        packed = pack_project(folder / "projects", "demo")
        self.hash = packed.content_hash
        self.package: bytes | None = packed.data
        self.packages_read = 0
        self.paths = PeerPaths(str(folder / "alpha"))
        self.folder = Path(self.paths.project(self.hash), "demo")
        self.errors: list[Exception] = []
        self.ready = 0
        self.restart()

    def restart(self) -> None:
        """Another life of the daemon."""
        self.projects = UnpackedProjects(self.paths, self, self, lambda *_: None)  # type: ignore[arg-type]

    def do(self, kind: str, work: Callable[[], Any], on_done: Any, on_error: Any) -> None:
        on_done(work())

    def ask(self, work: Callable[[Any], Any], on_done: Any, on_error: Any) -> None:
        self.packages_read += 1
        on_done(self.package)

    def prepare(self) -> None:
        def done() -> None:
            self.ready += 1

        self.projects.prepare(self.hash, "demo", done, self.errors.append, lambda: True)

    def contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.rglob("*.py")}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_project_whose_files_a_power_failure_has_emptied_is_unpacked_again(desk: Desk) -> None:
    desk.prepare()
    before = desk.contents()
    for path in desk.folder.rglob("*.py"):
        path.write_bytes(b"")
    desk.restart()
    desk.prepare()

    assert desk.contents() == before
    assert (desk.ready, desk.errors, desk.packages_read) == (2, [], 2)


def test_a_project_that_is_whole_is_looked_at_once_in_the_life_of_a_daemon(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.prepare()
    looks: list[Path] = []

    def look(folder: Path, content_hash: str) -> bool:
        looks.append(folder)
        return True

    desk.restart()
    monkeypatch.setattr(unpacked_projects, "has_content", look)
    for _ in range(3):
        desk.prepare()

    assert looks == [desk.folder]
    assert (desk.ready, desk.packages_read) == (4, 1)


def test_a_project_that_somebody_removes_is_unpacked_again(desk: Desk) -> None:
    desk.prepare()
    for path in desk.folder.rglob("*.py"):
        path.unlink()
    desk.folder.rmdir()
    desk.prepare()

    assert desk.folder.is_dir() and desk.ready == 2


def test_a_damaged_project_whose_package_is_gone_is_an_error_that_says_what_to_do(desk: Desk) -> None:
    desk.prepare()
    (desk.folder / "map_functions.py").write_bytes(b"")
    desk.package = None
    desk.restart()
    desk.prepare()

    assert [str(error) for error in desk.errors] == [
        "the package of project demo is not in Redis any more; submit the job again"
    ]


def test_what_python_compiled_in_an_earlier_life_is_not_believed(desk: Desk) -> None:
    desk.prepare()
    compiled = desk.folder / "__pycache__" / "words.cpython-313.pyc"
    compiled.parent.mkdir()
    compiled.write_bytes(bytes(100))
    desk.restart()
    desk.prepare()

    assert not compiled.exists() and desk.packages_read == 1


def test_the_files_of_a_project_are_flushed_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_project(tmp_path / "projects", map_functions=PLAIN, reduce_functions=REDUCE)
    (folder / "tables").mkdir()
    (folder / "tables" / "words").write_text("some")
    package = pack_project(tmp_path / "projects", "demo")
    flushed: list[str] = []
    at_rename: list[set[str]] = []
    fsync, rename = os.fsync, Path.rename

    def note_fsync(descriptor: int) -> None:
        flushed.append(os.path.realpath(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def note_rename(path: Path, target: Path) -> Path:
        at_rename.append({os.path.relpath(one, path) for one in flushed})
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "rename", note_rename)
    unpack_project(package.data, tmp_path / "alpha" / "demo", package.content_hash)

    assert at_rename == [{".", "tables", "tables/words", "map_functions.py", "reduce_functions.py"}]
    assert flushed[-1] == str(tmp_path / "alpha")


@needs_loop_disks
def test_a_project_is_whole_when_the_power_fails_right_after_it_was_unpacked(tmp_path: Path) -> None:
    write_project(tmp_path / "projects", map_functions=PLAIN, reduce_functions=REDUCE)
    package = pack_project(tmp_path / "projects", "demo")
    with loop_disk(tmp_path) as disk:
        unpack_project(package.data, disk.path / "hash" / "demo", package.content_hash)
        with disk.after_power_failure() as path:
            found = {one.name: one.stat().st_size for one in (path / "hash" / "demo").glob("*.py")}

    wanted = {one.name: one.stat().st_size for one in (tmp_path / "projects" / "demo").glob("*.py")}
    assert found == wanted

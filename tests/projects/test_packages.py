"""Packages of projects: the same files there and back, and nothing unsafe in either direction."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest
from written_projects import (
    PLAIN,
    REDUCE,
    import_state,  # noqa: F401  a fixture: pytest finds it by its name
    load_map,
    write_project,
)

from pymr.base.errors import DiskError, ProjectError
from pymr.projects import packages
from pymr.projects.project import pack_project, unpack_project

pytestmark = pytest.mark.usefixtures("import_state")


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A projects folder whose project `demo` has files of all sorts."""
    folder = write_project(tmp_path / "projects", map_functions=PLAIN, reduce_functions=REDUCE)
    (folder / "tables").mkdir()
    (folder / "tables" / "ünïcode.bin").write_bytes(bytes(range(256)))
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "empty").write_text("")
    for left_out in (".git/config", "__pycache__/map_functions.pyc", "stray.pyc", "tables/.hidden"):
        path = folder / left_out
        path.parent.mkdir(exist_ok=True)
        path.write_text("left out")
    return tmp_path / "projects"


def files_of(folder: Path) -> dict[str, tuple[bytes, bool]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), os.access(path, os.X_OK))
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_package_unpacks_to_the_same_files(packed: Path, tmp_path: Path) -> None:
    package = pack_project(packed, "demo")
    target = tmp_path / "peer" / "packages" / "demo"
    unpack_project(package.data, target, package.content_hash)

    original = files_of(packed / "demo")
    assert sorted(original.keys() - files_of(target).keys()) == [
        ".git/config",
        "__pycache__/map_functions.pyc",
        "stray.pyc",
        "tables/.hidden",
    ]
    assert files_of(target) == {name: original[name] for name in files_of(target)}
    assert os.listdir(target.parent) == ["demo"]
    assert load_map(target.parent, "words")("a", None) == [("a", 1)]


def test_the_same_files_give_the_same_package(packed: Path, tmp_path: Path) -> None:
    first = pack_project(packed, "demo")
    for path in (packed / "demo").rglob("*"):
        os.utime(path, (1, 1))
    (packed / "demo" / ".hidden").write_text("x")

    assert pack_project(packed, "demo") == first


def test_any_change_of_a_file_changes_the_hash(packed: Path) -> None:
    hashes = {pack_project(packed, "demo").content_hash}
    (packed / "demo" / "empty").write_text("x")
    hashes.add(pack_project(packed, "demo").content_hash)
    (packed / "demo" / "empty").rename(packed / "demo" / "full")
    hashes.add(pack_project(packed, "demo").content_hash)
    (packed / "demo" / "run.sh").chmod(0o644)
    hashes.add(pack_project(packed, "demo").content_hash)

    assert len(hashes) == 4


def test_a_link_to_a_file_of_the_project_becomes_a_file(packed: Path, tmp_path: Path) -> None:
    (packed / "demo" / "link").symlink_to("run.sh")
    package = pack_project(packed, "demo")
    unpack_project(package.data, tmp_path / "target", package.content_hash)

    assert (tmp_path / "target" / "link").read_text() == "#!/bin/sh\n"
    assert not (tmp_path / "target" / "link").is_symlink()


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/etc/hostname", "leads out of the project"),
        ("../other", "leads out of the project"),
        ("tables", "link to a folder"),
        (".", "link to a folder"),
        ("nowhere", "neither a file nor a folder"),
        ("link", "neither a file nor a folder"),
    ],
)
def test_links_that_cannot_be_packed_are_refused(packed: Path, target: str, reason: str) -> None:
    write_project(packed, "other", map_functions=PLAIN)
    (packed / "demo" / "link").symlink_to(target)

    with pytest.raises(ProjectError, match=reason):
        pack_project(packed, "demo")


def test_what_is_no_file_is_refused(packed: Path) -> None:
    os.mkfifo(packed / "demo" / "pipe")

    with pytest.raises(ProjectError, match="pipe is neither a file nor a folder"):
        pack_project(packed, "demo")


def test_a_project_that_is_too_large_is_refused(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "PACKAGE_BYTES_MAX", 1000)
    (packed / "demo" / "table").write_bytes(bytes(1001))

    with pytest.raises(ProjectError, match="too large for a project package"):
        pack_project(packed, "demo")


def test_a_package_that_grows_too_large_is_refused(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (packed / "demo" / "zeros").write_bytes(bytes(100_000))
    package = pack_project(packed, "demo")
    monkeypatch.setattr(packages, "PACKAGE_BYTES_MAX", 50_000)

    assert len(package.data) < 50_000
    with pytest.raises(ProjectError, match="too large"):
        unpack_project(package.data, tmp_path / "target", package.content_hash)


def test_unpacking_again_leaves_the_files_alone(packed: Path, tmp_path: Path) -> None:
    package = pack_project(packed, "demo")
    target = tmp_path / "target"
    unpack_project(package.data, target, package.content_hash)
    before = (target / "run.sh").stat()
    (target / "__pycache__").mkdir()
    unpack_project(package.data, target, package.content_hash)

    assert (target / "run.sh").stat().st_ino == before.st_ino
    assert (target / "__pycache__").exists()


def test_unpacking_repairs_a_target_with_other_content(packed: Path, tmp_path: Path) -> None:
    package = pack_project(packed, "demo")
    target = tmp_path / "peer" / "target"
    unpack_project(package.data, target, package.content_hash)
    expected = files_of(target)
    (target / "run.sh").write_text("")
    (target / "extra.py").write_text("")
    unpack_project(package.data, target, package.content_hash)

    assert files_of(target) == expected
    assert os.listdir(target.parent) == ["target"]


def test_another_hash_is_refused_before_anything_is_written(packed: Path, tmp_path: Path) -> None:
    package = pack_project(packed, "demo")

    with pytest.raises(ProjectError, match="damaged on its way"):
        unpack_project(package.data, tmp_path / "peer" / "target", "0" * 64)
    assert not (tmp_path / "peer").exists()


def test_damaged_bytes_never_unpack_to_other_content(packed: Path, tmp_path: Path) -> None:
    package = pack_project(packed, "demo")
    target = tmp_path / "target"
    damaged = [b"", b"PK", package.data[:-30], package.data[:50]]
    damaged += [
        package.data[:at] + bytes([package.data[at] ^ 0xFF]) + package.data[at + 1 :]
        for at in range(len(package.data))
    ]
    refused = 0
    for data in damaged:
        try:
            unpack_project(data, target, package.content_hash)
        except ProjectError:
            refused += 1

    # A flipped bit in a timestamp changes nothing that counts.
    assert refused > len(damaged) / 2
    assert target.exists()
    assert files_of(target).keys() == files_of(packed / "demo").keys() - {
        ".git/config",
        "__pycache__/map_functions.pyc",
        "stray.pyc",
        "tables/.hidden",
    }


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../../x", "a//b", "./a", "", "a\0b", ".hidden", "__pycache__/a", "folder/"]
)
def test_unsafe_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProjectError, match="not a plain file in it"):
        unpack_project(zip_of(name), tmp_path / "target", "0" * 64)


def test_a_link_in_a_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="not a plain file in it"):
        unpack_project(zip_of("link", mode=0o120777), tmp_path / "target", "0" * 64)


def test_a_target_that_cannot_be_written_is_an_error_of_the_disk(packed: Path, tmp_path: Path) -> None:
    package = pack_project(packed, "demo")
    (tmp_path / "file").write_text("")

    with pytest.raises(DiskError, match="unpacking a project into"):
        unpack_project(package.data, tmp_path / "file" / "target", package.content_hash)


def zip_of(name: str, mode: int = 0o100644) -> bytes:
    """A zip of one file, whatever its name: zipfile itself would put some names right."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("x" * len(name.encode()))
        entry.external_attr = mode << 16
        archive.writestr(entry, "content")
    return (
        buffer.getvalue().replace(b"x" * len(name.encode()), name.encode()) if name else _zip_without_name()
    )


def _zip_without_name() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(""), "content")
    return buffer.getvalue()

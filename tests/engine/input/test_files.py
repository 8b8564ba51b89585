"""Inputs: which files are found, in which order, and which are refused with which words."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pymr.base.errors import DiskError, InputError
from pymr.base.zstd import zstd
from pymr.engine.input.files import InputFile, group_splits, list_input_files, plan_splits

NOBODY = 65534


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that any user may enter, unlike tmp_path."""
    folder = tempfile.mkdtemp(prefix="pymr-test-")
    os.chmod(folder, 0o755)
    yield Path(folder)
    shutil.rmtree(folder)


def told_as_nobody(function: Callable[[], object]) -> str:
    """What the InputError says that `function` raises for a user without rights; a repr of anything else."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        if os.getuid() == 0:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        try:
            answer = repr(function())
        except InputError as error:
            answer = str(error)
        except BaseException as error:
            answer = repr(error)
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as answers:
        answer = answers.read()
    os.waitpid(child, 0)
    return answer


def write(folder: Path, *names: str, content: bytes = b"line\n") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def names_in(*input_dirs: Path) -> list[str]:
    return [file.name for file in list_input_files(map(str, input_dirs))]


def test_files_are_listed_deep_in_the_order_of_folders_then_of_names(tmp_path: Path) -> None:
    write(tmp_path / "second", "b", "a", "c/z", "c/d/e")
    write(tmp_path / "first", "z")

    assert names_in(tmp_path / "first", tmp_path / "second") == ["z", "a", "b", "c/d/e", "c/z"]


def test_hidden_files_and_side_files_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "a", ".hidden", ".git/config", "_manifest.json", "_bad_records.jsonl", "_SUCCESS")
    write(tmp_path, "_temporary/part", "b/_logs/c", "b/c_d")

    assert names_in(tmp_path) == ["a", "b/c_d"]
    assert names_in(tmp_path / "_temporary", tmp_path / "_SUCCESS") == ["part", "_SUCCESS"]


def test_a_file_reachable_in_two_ways_counts_once(tmp_path: Path) -> None:
    write(tmp_path, "a", "folder/b")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "folder link").symlink_to(tmp_path / "folder")

    assert names_in(tmp_path, tmp_path / "folder", tmp_path / "a") == ["a", "folder/b"]


def test_an_entry_may_be_a_single_file(tmp_path: Path) -> None:
    write(tmp_path, "folder/.hidden but named")

    assert names_in(tmp_path / "folder/.hidden but named") == [".hidden but named"]


def test_a_listed_file_has_its_facts(tmp_path: Path) -> None:
    write(tmp_path, "folder/data.GZ", content=b"12345")
    status = os.stat(tmp_path / "folder/data.GZ")

    assert list_input_files([str(tmp_path)]) == [
        InputFile(
            str(tmp_path / "folder/data.GZ"),
            "folder/data.GZ",
            5,
            status.st_mtime_ns,
            status.st_ino,
            device=status.st_dev,
        )
    ]


COMPRESSED = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd.compress}


@pytest.mark.parametrize("name", ["a.txt", "access.log.gz-20240101", "a.bz2", "a.zst.GZ"])
@pytest.mark.parametrize("codec", COMPRESSED)
def test_a_compressed_file_is_one_split_whatever_its_name(tmp_path: Path, name: str, codec: str) -> None:
    write(tmp_path, name, content=COMPRESSED[codec](b"line\n" * 1000))
    (split,) = plan_splits(list_input_files([str(tmp_path)]), 10)

    assert split.file.codec == codec
    assert (split.start, split.end) == (0, split.file.size)


def test_plain_text_is_cut_into_splits_whatever_its_name(tmp_path: Path) -> None:
    write(tmp_path, "a.gz", content=b"line\n" * 10)
    splits = plan_splits(list_input_files([str(tmp_path)]), 10)

    assert [(split.start, split.file.codec) for split in splits] == [(at, "none") for at in range(0, 50, 10)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04" + bytes(30), "a ZIP archive: unpack it"),
        ("line\n".encode("utf-16"), "text in UTF-16LE: convert it to UTF-8"),
        (random.Random(1).randbytes(5_000), "binary data: convert it to text"),
    ],
)
def test_what_is_no_text_is_refused_before_anything_is_read(
    tmp_path: Path, content: bytes, words: str
) -> None:
    write(tmp_path, "a.txt", content=content)

    with pytest.raises(InputError, match=rf"a\.txt seems to be {words}") as caught:
        plan_splits(list_input_files([str(tmp_path)]))
    assert "encoding_errors" not in str(caught.value)


def test_a_file_that_is_gone_before_its_first_bytes_are_read_is_named(tmp_path: Path) -> None:
    write(tmp_path, "a.txt")
    listed_files = list_input_files([str(tmp_path)])
    os.remove(tmp_path / "a.txt")

    with pytest.raises(DiskError, match=r"a\.txt.*No such file"):
        plan_splits(listed_files)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent.*No such file"):
        list_input_files([str(tmp_path / "absent")])


def test_a_link_that_leads_nowhere_is_left_out_with_a_warning(tmp_path: Path) -> None:
    write(tmp_path, "a")
    (tmp_path / "broken").symlink_to(tmp_path / "absent")
    warnings: list[str] = []
    files = list_input_files([str(tmp_path)], warnings.append)

    assert [file.name for file in files] == ["a"]
    assert warnings == [f"{tmp_path}/broken is a link that leads nowhere, and was left out"]
    with pytest.raises(InputError, match=r"broken.*No such file"):
        list_input_files([str(tmp_path / "broken")])


@pytest.mark.parametrize("name", ["a.gz", "a.bz2", "a.xz", "a.zst"])
def test_a_compressed_file_without_a_byte_has_no_records(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, content=b"")
    files = list_input_files([str(tmp_path)])

    assert [file.size for file in files] == [0]
    assert plan_splits(files) == []


def test_a_folder_that_contains_itself_through_a_link_is_named(tmp_path: Path) -> None:
    write(tmp_path, "folder/a")
    (tmp_path / "folder/up").symlink_to(tmp_path)

    with pytest.raises(InputError, match="folder/up"):
        list_input_files([str(tmp_path)])


def test_a_link_to_itself_leads_nowhere_too(tmp_path: Path) -> None:
    write(tmp_path, "a")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "to").symlink_to("fro")
    (tmp_path / "fro").symlink_to("to")
    warnings: list[str] = []
    files = list_input_files([str(tmp_path)], warnings.append)

    assert [file.name for file in files] == ["a"]
    assert warnings == [
        f"{tmp_path}/{name} is a link that leads nowhere, and was left out" for name in ("fro", "loop", "to")
    ]
    with pytest.raises(InputError, match="loop cannot be read"):
        list_input_files([str(tmp_path / "loop")])


@pytest.mark.parametrize(("mode", "words"), [(stat.S_IFIFO, "FIFO"), (stat.S_IFSOCK, "socket")])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, mode: int, words: str) -> None:
    os.mknod(tmp_path / "special", mode | 0o600)

    with pytest.raises(InputError, match=rf"special is a {words}"):
        list_input_files([str(tmp_path)])
    with pytest.raises(InputError, match=rf"special is a {words}"):
        list_input_files([str(tmp_path / "special")])


def test_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zeros").symlink_to("/dev/zero")

    with pytest.raises(InputError, match="zeros is a character device"):
        list_input_files([str(tmp_path)])


def test_a_file_without_the_right_to_read_is_named(public_folder: Path) -> None:
    write(public_folder, "secret")
    os.chmod(public_folder / "secret", 0)

    told = told_as_nobody(lambda: list_input_files([str(public_folder)]))

    assert f"{public_folder}/secret cannot be read: permission denied" in told


@pytest.mark.parametrize("mode", [0, 0o100, 0o400])
def test_a_folder_without_the_right_to_read_is_named(public_folder: Path, mode: int) -> None:
    write(public_folder, "folder/a")
    if os.getuid() == 0:
        os.chown(public_folder / "folder", NOBODY, NOBODY)
    os.chmod(public_folder / "folder", mode)

    inside = told_as_nobody(lambda: list_input_files([str(public_folder)]))
    itself = told_as_nobody(lambda: list_input_files([str(public_folder / "folder")]))
    os.chmod(public_folder / "folder", 0o700)

    assert f"{public_folder}/folder" in inside
    assert "cannot be read: " in inside
    assert f"{public_folder}/folder" in itself
    assert "cannot be read: " in itself


def test_a_name_that_is_no_utf_8_is_listed(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.txt", "wb") as file:
        file.write(b"line\n")

    assert [os.fsencode(name) for name in names_in(tmp_path)] == [b"\xff.txt"]


def listed(size: int, codec: str = "none") -> InputFile:
    return InputFile(f"/data/{size}", str(size), size, 0, 0, codec)


def test_splits_cover_a_file_without_gap_or_overlap() -> None:
    splits = plan_splits([listed(10)], 4)

    assert [(split.start, split.end, split.length) for split in splits] == [(0, 4, 4), (4, 8, 4), (8, 10, 2)]


def test_an_empty_file_has_no_split_and_a_compressed_one_a_single_split() -> None:
    splits = plan_splits([listed(0), listed(1000, "gz"), listed(0, "zst")], 4)

    assert [(split.start, split.end) for split in splits] == [(0, 1000)]


def test_neighbouring_splits_are_put_together_up_to_the_size_of_a_task() -> None:
    splits = plan_splits([listed(3), listed(2), listed(9), listed(1), listed(20, "gz"), listed(1)], 5)

    groups = group_splits(splits, 5)

    assert [[split.length for split in group] for group in groups] == [[3, 2], [5], [4, 1], [20], [1]]
    assert [split for group in groups for split in group] == splits

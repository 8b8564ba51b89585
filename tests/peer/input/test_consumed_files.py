"""Consumed files are known again under other names; what only looks like one of them is new."""

from __future__ import annotations

import bz2
import gzip
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest
from xxhash import xxh3_64_intdigest

from pymr.base.zstd import zstd
from pymr.engine.input.files import list_input_files
from pymr.engine.input.fingerprints import EDGE_BYTES
from pymr.peer.input import consumed_files
from pymr.peer.input.consumed_files import match_files
from pymr.peer.input.consumed_lists import Fact, read_list

DAY_S = 86_400
LINES = b"equal line\n" * 10


class Logs:
    """A folder of logs, what was consumed of it, and the day it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.consumed: list[Fact] = []
        self.day = 0

    def write(self, name: str, content: bytes = LINES) -> None:
        (self.folder / name).write_bytes(content)
        self.set_time(name)

    def set_time(self, name: str, seconds: float = 0.123456789) -> None:
        time_ns = (1_700_000_000 + self.day * DAY_S) * 10**9 + int(seconds * 10**9)
        os.utime(self.folder / name, ns=(time_ns, time_ns))

    def compress(self, name: str, codec: str = "gz", *, whole_seconds: bool = True) -> None:
        """As the tools do: a new file with the time of the old one, in seconds for some of them."""
        path = self.folder / name
        info = path.stat()
        time_ns = info.st_mtime_ns // 10**9 * 10**9 if whole_seconds else info.st_mtime_ns
        target = path.with_name(f"{name}.{codec}")
        compress = {"gz": gzip.compress, "bz2": bz2.compress, "zst": zstd.compress}[codec]
        target.write_bytes(compress(path.read_bytes()))
        path.unlink()
        os.utime(target, ns=(time_ns, time_ns))

    def new(self) -> list[str]:
        """What a run reads now, which succeeds."""
        found = {os.path.realpath(file.path): file for file in list_input_files([str(self.folder)])}
        self.consumed, new = match_files(self.consumed, found)
        return [file.name for file in new]


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    (tmp_path / "logs").mkdir()
    return Logs(tmp_path / "logs")


@pytest.mark.parametrize("delay_compress", [None, 0, 1, 2])
@pytest.mark.parametrize("days_pass", [True, False])
def test_each_log_is_read_once_while_equal_ones_rotate(
    logs: Logs, delay_compress: int | None, days_pass: bool
) -> None:
    """Four days, each with a log of ten equal lines, rotated by renaming."""
    lines = 0
    for day in range(4):
        logs.day = day if days_pass else 0
        for number in reversed(range(1, day)):
            for suffix in ("", ".gz"):
                if (logs.folder / f"log.{number}{suffix}").exists():
                    os.rename(
                        logs.folder / f"log.{number}{suffix}", logs.folder / f"log.{number + 1}{suffix}"
                    )
        if day:
            os.rename(logs.folder / "log", logs.folder / "log.1")
        if delay_compress is not None and (logs.folder / f"log.{delay_compress + 1}").exists():
            logs.compress(f"log.{delay_compress + 1}")
        logs.write("log")
        new = logs.new()
        lines += 10 * len(new)
        if days_pass:
            assert new == ["log"]

    assert lines == 40
    assert logs.new() == []


@pytest.mark.parametrize("codec", ["gz", "bz2", "zst"])
@pytest.mark.parametrize("size", [0, 10, EDGE_BYTES, EDGE_BYTES + 1, 3 * EDGE_BYTES + 7, 40 * EDGE_BYTES])
def test_content_is_known_again_compressed_and_after_that_under_any_name(
    logs: Logs, codec: str, size: int
) -> None:
    logs.write("log", random.Random(size).randbytes(size // 2).hex().encode() + b"\n" * (size % 2))
    logs.new()
    logs.compress("log", codec)
    assert logs.new() == []
    os.rename(logs.folder / f"log.{codec}", logs.folder / f"other.{codec}")
    assert logs.new() == []
    shutil.copy2(logs.folder / f"other.{codec}", logs.folder / f"copy.{codec}")
    os.unlink(logs.folder / f"other.{codec}")

    assert logs.new() == []
    assert len(logs.consumed) == 1


@pytest.mark.parametrize(
    "make",
    [
        shutil.copy2,
        os.link,
        lambda source, target: shutil.copyfile(source, target) and shutil.copystat(source, target),
    ],
)
def test_a_consumed_file_stands_for_one_file_only(logs: Logs, make: Callable[[Path, Path], object]) -> None:
    logs.write("a")
    logs.new()
    make(logs.folder / "a", logs.folder / "b")

    assert logs.new() == ["b"]
    assert logs.new() == []
    os.rename(logs.folder / "a", logs.folder / "c")
    assert logs.new() == []
    shutil.copy2(logs.folder / "c", logs.folder / "d")
    assert logs.new() == ["d"]


def test_equal_content_of_another_second_is_new(logs: Logs) -> None:
    logs.write("a")
    logs.new()
    logs.write("b")
    (logs.folder / "a").unlink()
    logs.set_time("b", 1.0)

    assert logs.new() == ["b"]
    logs.write("c")
    assert logs.new() == []


def test_other_content_of_the_same_time_and_size_is_new(logs: Logs) -> None:
    middle = EDGE_BYTES * 3
    logs.write("a", b"a" * middle)
    logs.new()
    logs.write("b", b"a" * (middle - 1) + b"b")
    (logs.folder / "a").unlink()  # after that, or the other may get its inode

    assert logs.new() == ["b"]


def test_of_several_alike_each_is_known_by_its_very_time(logs: Logs) -> None:
    for number in range(3):
        logs.write(f"log-{number}")
        logs.set_time(f"log-{number}", number / 10)
    logs.new()
    for number in range(3):
        logs.compress(f"log-{number}", whole_seconds=False)
    logs.write("log-4")
    logs.set_time("log-4", 0.9)

    assert logs.new() == ["log-4"]


def test_a_file_system_with_another_device_number_after_a_restart_is_the_same(logs: Logs) -> None:
    logs.write("a")
    logs.new()
    logs.consumed = [fact._replace(device=fact.device + 1) for fact in logs.consumed]

    assert logs.new() == []
    assert {fact.device for fact in logs.consumed} == {os.stat(logs.folder).st_dev}


def test_what_is_the_same_by_its_inode_on_another_device_is_another_file(logs: Logs) -> None:
    logs.write("a")
    logs.new()
    logs.consumed = [fact._replace(device=fact.device + 1, digest=1) for fact in logs.consumed]
    os.rename(logs.folder / "a", logs.folder / "b")

    assert logs.new() == ["b"]


def test_only_what_may_be_known_again_is_read(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    fingerprint_of = consumed_files.fingerprint_of

    def noting(path: str, size: int, **options: frozenset[int] | None) -> object:
        read.append(os.path.basename(path))
        return fingerprint_of(path, size, **options)

    monkeypatch.setattr(consumed_files, "fingerprint_of", noting)
    for number in range(5):
        logs.write(f"{number}")
    logs.new()
    os.rename(logs.folder / "0", logs.folder / "a")
    read.clear()
    assert logs.new() == [] and read == []
    (logs.folder / "1").unlink()
    logs.day = 1
    logs.write("b")

    assert logs.new() == ["b"] and read == ["b"]


def test_a_damaged_compressed_file_is_new(logs: Logs) -> None:
    logs.write("a", LINES * 100)
    logs.new()
    logs.compress("a")
    content = (logs.folder / "a.gz").read_bytes()
    (logs.folder / "a.gz").write_bytes(content[:-9])
    logs.set_time("a.gz")

    assert logs.new() == ["a.gz"]


def test_lists_of_an_earlier_release_are_read_and_get_fingerprints(logs: Logs, tmp_path: Path) -> None:
    logs.write("a")
    logs.write("b")
    columns: list[bytes] = []
    info = [(logs.folder / name).stat() for name in "ab"]
    for values in zip(*((fact.st_size, fact.st_mtime_ns, fact.st_ino) for fact in info), strict=True):
        columns.append(b"".join(value.to_bytes(8, "little") for value in values))
    paths = zstd.compress(b"\0".join(os.fsencode(logs.folder / name) for name in "ab"))
    payload = msgpack.packb(["i", (1, 1), 0, paths, *columns])
    path = tmp_path / "list"
    path.write_bytes(b"pymrused" + xxh3_64_intdigest(payload).to_bytes(8, "little") + payload)
    found = read_list(str(path))
    assert found is not None
    logs.consumed = list(found.files)
    os.rename(logs.folder / "a", logs.folder / "c")

    assert logs.new() == []
    logs.compress("b")
    logs.compress("c")
    assert logs.new() == []

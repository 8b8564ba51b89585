"""Whose fault it is when a disk refuses something, and what is said of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cluster.small_disks import small_disk

from pymr.base.errors import DiskError, UserFunctionError, disk_error
from pymr.config.sections import EngineConfig
from pymr.engine.disk.disk_list import DiskList
from pymr.engine.mapper import map_lines_tolerantly
from pymr.engine.reducer import GroupReader, reduce_failures, with_disk_output
from pymr.peer.machine import disk_problem
from pymr.peer.worker.worker import _failure_of


@pytest.mark.parametrize(
    ("number", "condition"),
    [
        (errno.ENOSPC, "disk full"),
        (errno.EDQUOT, "disk quota used up"),
        (errno.EROFS, "read-only disk"),
        (errno.EIO, ""),
        (errno.EACCES, ""),
    ],
)
def test_a_disk_that_takes_nothing_is_the_machines_fault_and_named(number: int, condition: str) -> None:
    error = disk_error("writing", "/data/runs/x", OSError(number, os.strerror(number)))
    failure = _failure_of(error)

    assert str(error).startswith(f"{condition}: writing /data/runs/x failed: " if condition else "writing")
    assert error.is_unwritable == failure.is_of_disk == bool(condition)
    assert error.is_counted == failure.is_counted == (not condition)
    assert not failure.is_final


def full(*_: object, **__: object) -> Iterator[Any]:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere/of/its/own")


def reader() -> GroupReader:
    return GroupReader(iter(()), EngineConfig(), ".")  # type: ignore[arg-type]


def test_a_function_that_fills_a_disk_of_its_own_fails_by_itself() -> None:
    with (
        pytest.raises(UserFunctionError, match="/somewhere/of/its/own") as raised,
        reduce_failures(full, reader(), reader, None),
    ):
        full()

    assert _failure_of(raised.value).is_counted


def test_a_disk_that_is_full_under_a_disk_list_is_no_fault_of_the_function_that_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", full)

    def total(group: object, auxiliary_data: tuple[DiskList, object]) -> DiskList:
        while True:
            auxiliary_data[0].append(("x" * 10_000, 1))

    function = with_disk_output(total, str(tmp_path))
    with pytest.raises(DiskError) as raised, reduce_failures(function, reader(), reader, None):
        list(function("a group", None))

    assert raised.value.is_unwritable


def test_a_record_is_not_bad_because_a_disk_is_full() -> None:
    bad: list[Exception] = []
    with pytest.raises(OSError, match="No space left"):
        list(map_lines_tolerantly(full, ["a line"], None, bad.append))

    assert bad == []


def test_a_machine_tells_of_a_disk_that_is_full_or_read_only(tmp_path: Path) -> None:
    path = str(tmp_path / "disk")
    with small_disk(Path(path)) as disk:
        told = [disk_problem(path, os.statvfs(path))]
        disk.fill()
        told.append(disk_problem(path, os.statvfs(path)))
        disk.lock()
        told.append(disk_problem(path, os.statvfs(path)))
    with small_disk(Path(path), "size=1m,nr_inodes=3") as disk:
        for number in range(3):
            with suppress(OSError):
                Path(path, str(number)).touch()
        told.append(disk_problem(path, os.statvfs(path)))

    assert told == [
        "",
        f"disk full: {path} has 0 bytes free",
        f"read-only disk: {path}",
        f"disk full: {path} has no room for one more file (no free inodes)",
    ]

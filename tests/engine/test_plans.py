"""Plans: what was written is read back, one by one and fast; what is damaged is named."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pymr.base import faults
from pymr.base.errors import DamagedFileError, DiskError, RetryableError
from pymr.engine.input.files import InputFile, Split
from pymr.engine.plans import plan_size, read_plan_task, write_plan
from pymr.engine.tasks import MapTask

MANY = 100_000


def file_at(path: str, size: int = 100) -> InputFile:
    return InputFile(path, os.path.basename(path), size, 1_700_000_000_123_456_789, 7, "none")


def tasks_of(count: int) -> list[MapTask]:
    """Each has two splits of one file, and one of another."""
    made = []
    for index in range(count):
        one, other = file_at(f"/data/input/{index:06d}.txt"), file_at(f"/data/input/{index:06d}b.gz")
        made.append(MapTask(index, (Split(one, 0, 50), Split(one, 50, 100), Split(other, 0, 100))))
    return made


def test_every_task_comes_back_by_its_index(tmp_path: Path) -> None:
    path = str(tmp_path / "plan")
    tasks = tasks_of(50)
    write_plan(path, tasks)

    assert plan_size(path) == 50
    assert [read_plan_task(path, index) for index in range(50)] == tasks
    assert os.listdir(tmp_path) == ["plan"]


def test_index_is_the_place_in_the_plan(tmp_path: Path) -> None:
    path = str(tmp_path / "plan")
    split = Split(file_at("/a"), 0, 100)
    write_plan(path, [MapTask(17, (split,)), MapTask(18, ())])

    assert read_plan_task(path, 0) == MapTask(0, (split,))
    assert read_plan_task(path, 1) == MapTask(1, ())


def test_names_need_not_be_utf8(tmp_path: Path) -> None:
    path = str(tmp_path / "plan")
    task = MapTask(0, (Split(file_at(os.fsdecode(b"/data/\xff\n.txt")), 0, 100),))
    write_plan(path, [task])

    assert read_plan_task(path, 0) == task


def test_plan_without_tasks_says_so(tmp_path: Path) -> None:
    path = str(tmp_path / "plan")
    write_plan(path, [])

    assert plan_size(path) == 0
    with pytest.raises(DamagedFileError, match="has 0 tasks"):
        read_plan_task(path, 0)


@pytest.mark.parametrize("index", [-1, 3, 1 << 40])
def test_task_that_is_not_there_is_refused(tmp_path: Path, index: int) -> None:
    path = str(tmp_path / "plan")
    write_plan(path, tasks_of(3))

    with pytest.raises(DamagedFileError, match="has 3 tasks"):
        read_plan_task(path, index)


def test_plan_that_is_gone_is_an_error_of_the_disk(tmp_path: Path) -> None:
    for read in (plan_size, lambda path: read_plan_task(path, 0)):
        with pytest.raises(DiskError, match=r"reading .*gone failed"):
            read(str(tmp_path / "gone"))


def test_many_tasks_are_written_and_any_one_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "plan")
    tasks = tasks_of(MANY)
    write_plan(path, tasks)

    assert plan_size(path) == MANY
    for index in range(0, MANY, 1_000):
        assert read_plan_task(path, index) == tasks[index]


def test_any_damaged_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    """No damage ever gives another task, or a count that is wrong."""
    path = tmp_path / "plan"
    tasks = tasks_of(3)
    write_plan(str(path), tasks)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        for index, task in enumerate(tasks):
            assert outcome(partial(read_plan_task, str(path), index)) in [task, None]
        assert outcome(partial(plan_size, str(path))) in [3, None]


def test_plan_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    write_plan(str(path), tasks_of(3))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])

        with pytest.raises(DamagedFileError, match=f"{path} is damaged at byte"):
            read_plan_task(str(path), 0)
        with pytest.raises(DamagedFileError, match=f"{path} is damaged at byte"):
            plan_size(str(path))


def test_present_plan_stays_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "plan")
    write_plan(path, tasks_of(3))
    monkeypatch.setattr(faults, "_faults", {"plan.write": [("enospc", 1)]})
    monkeypatch.setattr(faults, "_passes", {})

    with pytest.raises(DiskError, match="free some space"):
        write_plan(path, tasks_of(9))
    assert plan_size(path) == 3


def outcome(read: Callable[[], object]) -> object:
    try:
        return read()
    except RetryableError:
        return None

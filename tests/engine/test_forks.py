"""A function forks, and its fork goes on as if it were the worker: it reads nothing of what the worker is to
read, writes nothing into the worker's files, and the worker's output is what it is without."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from strategies import job_context

from pymr.engine.input.files import list_input_files
from pymr.engine.pipeline import map_all, reduce_all
from pymr.engine.tasks import JobContext, plan_map_tasks, plan_reduce_tasks

LINES = 60_000
"""As many as are read in several pieces."""


def fork_and_go_on() -> None:
    """The fork has ended when the worker goes on, and so has done whatever it can do."""
    if pid := os.fork():
        os.waitpid(pid, 0)


def numbered(line: str, auxiliary_data: Any) -> Any:
    return [(int(line) % 100, 1)]


def numbered_forking(line: str, auxiliary_data: Any) -> Any:
    if int(line) % 20_000 == 10:
        fork_and_go_on()
    return [(int(line) % 100, 1)]


def numbered_raising(line: str, auxiliary_data: Any) -> Any:
    if line == "10":
        me = os.getpid()
        fork_and_go_on()
        if os.getpid() != me:
            raise ValueError("in the fork")
    return [(int(line) % 100, 1)]


def total(group: Any, auxiliary_data: Any) -> Any:
    return [(group.key, sum(group.values))]


def total_forking(group: Any, auxiliary_data: Any) -> Any:
    if group.key % 40 == 7:
        fork_and_go_on()
    return [(group.key, sum(group.values))]


def total_generating(group: Any, auxiliary_data: Any) -> Any:
    for part in range(3):
        if group.key == 7:
            fork_and_go_on()
        yield (group.key, sum(group.values) + part)


def total_in_parts(group: Any, auxiliary_data: Any) -> Any:
    for part in range(3):
        yield (group.key, sum(group.values) + part)


def output_of(context: JobContext, folder: Path) -> dict[str, bytes]:
    work = folder / "work"
    work.mkdir()
    tasks = plan_map_tasks(list_input_files([str(folder.parent / "input")]), 1 << 30)
    reduced = reduce_all(context, plan_reduce_tasks(map_all(context, tasks, str(work))), str(work))
    return {
        part.name: (Path(output.directory) / part.name).read_bytes()
        for output in reduced
        for part in output.parts
    }


@pytest.mark.parametrize("max_items", [1_000, 1_000_000])
@pytest.mark.parametrize(
    ("map_function", "reduce_function", "honest"),
    [
        (numbered_forking, total, total),
        (numbered_raising, total, total),
        (numbered, total_forking, total),
        (numbered, total_generating, total_in_parts),
    ],
)
def test_a_fork_that_goes_on_changes_nothing(
    tmp_path: Path, map_function: Any, reduce_function: Any, honest: Any, max_items: int
) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "numbers.txt").write_text("".join(f"{number}\n" for number in range(LINES)))
    me = os.getpid()
    outputs = []
    for name, functions in (("with", (map_function, reduce_function)), ("without", (numbered, honest))):
        (tmp_path / name).mkdir()
        context = job_context(*functions, partitions=2, max_number_dumped_items_shuffler=max_items)
        outputs.append(output_of(context, tmp_path / name))

    assert os.getpid() == me
    assert outputs[0] == outputs[1]

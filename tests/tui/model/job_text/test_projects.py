"""The names of projects and functions, read from source that is never run."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from tui.model.job_text.projects import ProjectReader, find_job_files


def test_no_code_of_a_project_is_run(tmp_path: Path) -> None:
    folder = tmp_path / "loud"
    folder.mkdir()
    (folder / "map_functions.py").write_text("raise SystemExit('run')\n")

    assert ProjectReader(tmp_path).read().with_functions() == ["loud"]


def test_a_changed_module_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "words"
    folder.mkdir()
    module = folder / "map_functions.py"
    module.write_text("def one(l, a): ...\n")
    reader = ProjectReader(tmp_path)
    first = reader.read().functions("words", "map")
    module.write_text("def two(l, a): ...\n")
    os.utime(module, ns=(1, 1))
    second = reader.read().functions("words", "map")

    assert first is not None
    assert second is not None
    assert (first.names, second.names) == (("one",), ("two",))


def test_files_with_jobs_are_found_beside_and_in_the_projects(tmp_path: Path) -> None:
    projects = tmp_path / "projects"
    (projects / "words").mkdir(parents=True)
    (tmp_path / "beside.toml").write_text('job_type = "script"\n')
    (tmp_path / "cluster.toml").write_text('name = "home"\n')
    (projects / "words" / "count.toml").write_text('# a job\njob_type = "mapreduce"\n')

    assert find_job_files(projects) == [tmp_path / "beside.toml", projects / "words" / "count.toml"]


def test_a_pipe_among_the_files_of_projects_holds_nobody_up(tmp_path: Path) -> None:
    """Each would take a thread of the console for good, until none is left to check or to complete."""
    folder = tmp_path / "projects" / "words"
    folder.mkdir(parents=True)
    (tmp_path / "beside.toml").write_text('job_type = "script"\n')
    os.mkfifo(tmp_path / "pipe.toml")
    os.mkfifo(folder / "map_functions.py")
    (folder / "reduce_functions.py").symlink_to("/dev/zero")

    found: list[object] = []

    def look() -> None:
        found.extend((find_job_files(folder.parent), ProjectReader(folder.parent).read().with_functions()))

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(5)

    assert found == [[tmp_path / "beside.toml"], []]

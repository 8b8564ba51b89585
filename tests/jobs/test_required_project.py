"""Where the projects of a job are looked for when nobody has named a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pymr.jobs.required_project import find_projects_dir

MAPREDUCE = {"job_type": "mapreduce", "project_name": "p"}
SCRIPT = {"job_type": "script", "script_location": "p/sub/tidy.py"}


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(folder: Path, job_toml: str, fields: dict[str, Any] = MAPREDUCE) -> str:
    return str(find_projects_dir(folder / job_toml, fields, folder / "c/cluster.toml").relative_to(folder))


@pytest.mark.parametrize("job_toml", ["x/p/job.toml", "x/p/jobs/daily/job.toml"])
def test_a_job_that_lies_in_its_project_takes_that_one_first(tmp_path: Path, job_toml: str) -> None:
    write(
        tmp_path, "x/p/map_functions.py", "x/p/projects/p/map_functions.py", "c/projects/p/map_functions.py"
    )
    write(tmp_path, "c/cluster.toml", "x/p/sub/tidy.py")

    assert found(tmp_path, job_toml) == "x"
    assert found(tmp_path, job_toml, SCRIPT) == "x"


def test_a_folder_of_that_name_that_is_no_project_does_not_count(tmp_path: Path) -> None:
    write(tmp_path, "p/cluster.toml", "p/projects/p/reduce_functions.py")

    assert found(tmp_path, "p/job.toml") == "p/projects"


def test_next_come_the_projects_beside_the_job(tmp_path: Path) -> None:
    write(tmp_path, "j/projects/p/map_functions.py", "c/projects/p/map_functions.py", "c/cluster.toml")

    assert found(tmp_path, "j/job.toml") == "j/projects"


@pytest.mark.parametrize("beside_job", [(), ("j/projects/other/map_functions.py",)])
def test_last_come_the_projects_beside_the_cluster(tmp_path: Path, beside_job: tuple[str, ...]) -> None:
    write(tmp_path, "c/projects/p/map_functions.py", "c/cluster.toml", *beside_job)

    assert found(tmp_path, "j/job.toml") == "c/projects"
    assert found(tmp_path, "j/job.toml", SCRIPT) == "c/projects"


def test_where_no_folder_holds_the_project_the_one_that_would_is_named(tmp_path: Path) -> None:
    write(tmp_path, "c/cluster.toml")
    beside_cluster = found(tmp_path, "j/job.toml")
    write(tmp_path, "j/projects/other/map_functions.py")

    assert beside_cluster == "c/projects"
    assert found(tmp_path, "j/job.toml") == "j/projects"
    assert found(tmp_path, "j/job.toml", {"job_type": "file_transfer"}) == "j/projects"


def test_without_a_cluster_it_is_the_folder_beside_the_job(tmp_path: Path) -> None:
    assert found(tmp_path, "j/job.toml") == "j/projects"

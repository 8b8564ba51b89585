"""Which project a job needs: the folder that is packed at its submission, and unpacked where it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_FUNCTION_FILES = ("map_functions.py", "reduce_functions.py")


def project_of(fields: Mapping[str, Any]) -> str:
    """The name of the project; "" where the job needs none. fields: of a job that was checked."""
    if fields.get("job_type") == "script":
        return script_parts(str(fields.get("script_location", "")))[0]
    return str(fields.get("project_name") or "")


def script_parts(script_location: str) -> tuple[str, str]:
    """The project of a script, and its path in there. ("", the path) of one that is not in a project."""
    if script_location.startswith("/"):
        return "", script_location
    project, _, path = script_location.partition("/")
    return project, path


def find_projects_dir(job_toml: Path, fields: Mapping[str, Any], cluster_toml: Path) -> Path:
    """The folder of projects of a job where none was named, the same for every command: the one that holds
    the job's project where `job_toml` lies in that project; else `projects` beside `job_toml`, else
    `projects` beside `cluster_toml`, which need not exist.

    One that holds the project goes before one that does not.
    """
    project = project_of(fields)
    job_folder = job_toml.absolute().parent
    around = next(_folders_around(job_folder, project, fields), None)
    if around is not None:
        return around
    beside_job, beside_cluster = job_folder / "projects", cluster_toml.absolute().parent / "projects"
    for check in (lambda folder: bool(project) and (folder / project).is_dir(), Path.is_dir):
        for folder in (beside_job, beside_cluster):
            if check(folder):
                return folder
    return beside_cluster if cluster_toml.exists() else beside_job


def _folders_around(job_folder: Path, project: str, fields: Mapping[str, Any]) -> Iterator[Path]:
    """Folders that hold the project that `job_folder` is, or lies in. A folder of the same name that is no
    project, such as that of a whole cluster, does not count."""
    files: tuple[str, ...] = _FUNCTION_FILES
    if fields.get("job_type") == "script":
        files = (script_parts(str(fields.get("script_location", "")))[1],)
    for folder in (job_folder, *job_folder.parents):
        if project and folder.name == project and any((folder / name).is_file() for name in files):
            yield folder.parent

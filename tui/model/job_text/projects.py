"""The projects on this machine, as far as names go: read from their source, of which nothing is run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pymr.projects.modules import MODULE_FILES, FunctionKind
from pymr.projects.source_names import ModuleNames, module_names
from tui.model.regular_file import read_regular

PROJECTS_MAX = 500
FILES_PER_PROJECT_MAX = 200
SOURCE_BYTES_MAX = 1 << 20
JOB_FILES_MAX = 200
"""More than these are not looked at, and what cannot be known is not warned of."""


@dataclass(frozen=True, slots=True)
class ProjectNames:
    """A folder of the projects folder. modules: of its map and reduce functions; without those that are not
    there. files: others in it that may be scripts, relative to it."""

    modules: Mapping[FunctionKind, ModuleNames] = field(default_factory=dict)
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalProjects:
    """folder: where they lie. projects: by name. is_known: whether the folder was read."""

    folder: str = ""
    projects: Mapping[str, ProjectNames] = field(default_factory=dict)
    is_known: bool = False

    def with_functions(self) -> list[str]:
        """The names of those that hold functions, sorted."""
        return sorted(name for name, project in self.projects.items() if project.modules)

    def functions(self, project_name: str, kind: FunctionKind) -> ModuleNames | None:
        project = self.projects.get(project_name)
        return project.modules.get(kind) if project else None


class ProjectReader:
    """Reads the projects of a folder; a module that has not changed is not read again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, tuple[tuple[int, int], ModuleNames]] = {}

    def read(self) -> LocalProjects:
        """Cost: a few calls of the system for each project. Never raises."""
        try:
            entries = sorted(os.scandir(self._folder), key=lambda entry: entry.name)
            folders = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
        except OSError:
            return LocalProjects(str(self._folder))
        projects = {name: self._project(self._folder / name) for name in folders[:PROJECTS_MAX]}
        return LocalProjects(str(self._folder), projects, is_known=len(folders) <= PROJECTS_MAX)

    def _project(self, folder: Path) -> ProjectNames:
        modules = {}
        for kind, file_name in MODULE_FILES.items():
            names = self._module(folder / file_name, kind)
            if names is not None:
                modules[kind] = names
        return ProjectNames(modules, tuple(_scripts(folder)))

    def _module(self, path: Path, kind: FunctionKind) -> ModuleNames | None:
        try:
            status = path.stat()
            mark = status.st_mtime_ns, status.st_size
            if path not in self._read or self._read[path][0] != mark:
                self._read[path] = mark, module_names(read_regular(path, SOURCE_BYTES_MAX), kind)
        except OSError:
            return None
        return self._read[path][1]


def _scripts(folder: Path) -> Iterator[str]:
    """What in a project may be a script: Python and shell files, but not its modules of functions."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except OSError:
        return
    modules = set(MODULE_FILES.values())
    yield from [name for name in names if name.endswith((".py", ".sh")) and name not in modules][
        :FILES_PER_PROJECT_MAX
    ]


def find_job_files(projects_dir: Path) -> list[Path]:
    """Files with a job, beside the projects folder, in it and in its projects: the nearest first."""
    found: list[Path] = []
    places = ((projects_dir.parent, "*.toml"), (projects_dir, "*.toml"), (projects_dir, "*/*.toml"))
    for folder, pattern in places:
        try:
            found += sorted(path for path in folder.glob(pattern) if _holds_job(path))
        except OSError:
            continue
    return found[:JOB_FILES_MAX]


def _holds_job(path: Path) -> bool:
    try:
        start = read_regular(path, 1 << 14)
    except OSError:
        return False
    return any(line.lstrip().startswith(b"job_type") for line in start.splitlines())

"""Projects: the user's map and reduce functions, by name, from folders of Python files.

A project is a folder PROJECTS_DIR/NAME with a map_functions.py and a reduce_functions.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pymr.jobs.job import MapReduceJob
from pymr.projects.functions import find_function, has_function
from pymr.projects.modules import (
    MODULE_FILES,
    FunctionKind,
    import_from,
    load_module,
    project_folder,
    project_names,
)
from pymr.projects.packages import PACKAGE_BYTES_MAX, ProjectPackage, pack_project, unpack_project

__all__ = [
    "PACKAGE_BYTES_MAX",
    "MapFunction",
    "ProjectFunctions",
    "ProjectPackage",
    "ReduceFunction",
    "identity",
    "load_function",
    "load_functions",
    "pack_project",
    "project_names",
    "unpack_project",
]

# (line, auxiliary_data) -> items, an item being (key, value).
MapFunction = Callable[[str, Any], Iterable[tuple[Any, Any]]]
# (group, auxiliary_data) -> items; with disk_based_output, (disk_list, auxiliary_data) -> disk_list.
ReduceFunction = Callable[[Any, Any], Any]

_IDENTITY_NAME = "identity"
# orjson reads an integer that does not fit into 64 bits as a float; those have at least so many digits.
_MAY_BE_BIG_INTEGER = re.compile(r"[0-9]{19}")


@dataclass(frozen=True, slots=True)
class ProjectFunctions:
    """The functions of one job. combine: None when the job has none."""

    map: MapFunction
    reduce: ReduceFunction
    combine: ReduceFunction | None


def load_functions(projects_dir: Path, job: MapReduceJob) -> ProjectFunctions:
    """The functions that a job names, their modules run afresh.

    The project's folder stays importable for them, and that of the project loaded before no longer is: a
    process works for one project at a time.
    Raises ProjectError when something does not exist or cannot be loaded; it says what exists instead.
    """
    folder = project_folder(projects_dir, job.project_name)
    import_from(folder)
    map_function = _find_map_function(folder, job.map_function_name)
    reduce_module = load_module(folder, "reduce")
    combine_name = job.combine_function_name
    return ProjectFunctions(
        map=map_function,
        reduce=find_function(reduce_module, job.reduce_function_name),
        combine=find_function(reduce_module, combine_name) if combine_name is not None else None,
    )


def load_function(
    projects_dir: Path, project_name: str, kind: FunctionKind, function_name: str
) -> Callable[..., Any]:
    """One function of a project, its module run afresh; see load_functions for what else is true of it."""
    folder = project_folder(projects_dir, project_name)
    import_from(folder)
    if kind == "map":
        return _find_map_function(folder, function_name)
    return find_function(load_module(folder, kind), function_name)


def identity(line: str, auxiliary_data: object) -> list[tuple[Any, Any]]:
    """The built-in map function: an output line of another job, `[key, value]` in JSON, is that item again.

    A key that was a tuple is one again, though JSON only knows lists. Raises ValueError for any other line.
    """
    item = _parse_json(line)
    if not isinstance(item, list) or len(item) != 2:
        raise ValueError(_not_an_item(line))
    key, value = item
    return [(_as_key(key), value)]


def _find_map_function(folder: Path, function_name: str) -> MapFunction:
    if function_name != _IDENTITY_NAME:
        return find_function(load_module(folder, "map"), function_name)
    # A project that only reduces needs no map_functions.py.
    if (folder / MODULE_FILES["map"]).exists():
        loaded = load_module(folder, "map")
        if has_function(loaded, function_name):
            return find_function(loaded, function_name)
    return identity


def _parse_json(line: str) -> object:
    try:
        if not _MAY_BE_BIG_INTEGER.search(line):
            return orjson.loads(line)
    except ValueError:
        pass  # perhaps for a NaN or an infinity, which the standard library reads
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(_not_an_item(line)) from error


def _as_key(key: object) -> object:
    return tuple(map(_as_key, key)) if isinstance(key, list) else key


def _not_an_item(line: str) -> str:
    return (
        f"{line[:100]!r} is not an output line of another job, `[key, value]` in JSON, and the map function "
        "identity reads nothing else; plain text needs a map function of the project: set map_function_name"
    )

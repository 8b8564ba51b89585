"""The rules of the house: read from the source, without running it.

Imports go down only, along one list of floors; folders and files stay small; a public type has one owner.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
LINES_MAX = 450
FILES_MAX = 16
LEVELS_MAX = 3
SIBLINGS_MAX = 3
"""Files of a folder whose names may begin with the same word."""

FLOORS = (
    "pymr/base",
    "pymr/config",
    "pymr/jobs",
    "pymr/projects",
    "pymr/wire",
    "pymr/data",
    "pymr/engine/disk",
    "pymr/engine/input",
    "pymr/engine",
    "pymr/runs",
    "pymr/engines/core",
    "pymr/engines",
    "pymr/control",
    "pymr/control/runs",
    "pymr/control/follower",
    "pymr/control/leader",
    "pymr/peer/loop",
    "pymr/peer/store",
    "pymr/peer/panes",
    "pymr/peer/disk",
    "pymr/peer/attempts",
    "pymr/peer/output",
    "pymr/peer/input",
    "pymr/peer/transfers",
    "pymr/peer/worker",
    "pymr/peer/workers",
    "pymr/peer/requests",
    "pymr/peer",
    "pymr/client",
    "pymr/ops",
    "pymr/local",
    "pymr/cli",
    "pymr/api",
    "tui/model",
    "tui/model/job_text",
    "tui/model/pane",
    "tui/settings",
    "tui/render",
    "tui/widgets",
    "tui/widgets/job",
    "tui/widgets/pane",
    "tui/console",
    "tui/screens/dialogs",
    "tui/screens",
    "tui",
)
"""All folders with code, from the ground up. A file imports from its own folder and from those before it."""

FACES = {"pymr/__init__.py", "pymr/client/__init__.py"}
"""They hold nothing but names for users, of whatever floor."""

UPWARD = {
    ("pymr/engines/spark.py", "pymr.api.run"),
}
"""Imports that still go up: (file, module)."""

BELOW_ENGINE = ("pymr/base", "pymr/config", "pymr/jobs", "pymr/projects", "pymr/wire")
ENGINE = ("pymr/engine", "pymr/engine/disk", "pymr/engine/input")
CONTROL = ("pymr/control", "pymr/control/runs", "pymr/control/follower", "pymr/control/leader")

ALLOWED_FROM = {
    **dict.fromkeys(ENGINE, (*BELOW_ENGINE, *ENGINE)),
    **dict.fromkeys(CONTROL, (*BELOW_ENGINE, *CONTROL)),
    **dict.fromkeys(
        ("pymr/engines/core", "pymr/engines"),
        (*BELOW_ENGINE, *ENGINE, "pymr/runs", "pymr/engines/core", "pymr/engines"),
    ),
}
"""Folders that may import from less than all floors below: the data path knows no cluster, decisions know
neither data nor daemons, and other engines know nothing of a cluster of pymr."""

SOCKETS_ALLOWED = {"pymr/wire/sockets.py", "pymr/data/sockets.py", "pymr/peer/data_service.py"}
STORE_ALLOWED = {"pymr/peer/store/store.py", "pymr/peer/store/lease.py"}
STARTERS = {"tui/model/demo.py", "tui/screens/dialogs/no_cluster.py"}
"""Parts of the console that start clusters; all others only ask them."""


@cache
def source_files() -> list[str]:
    paths = [path for package in ("pymr", "tui") for path in (ROOT / package).rglob("*.py")]
    return sorted(str(path.relative_to(ROOT)) for path in paths)


@cache
def imports_of(path: str) -> frozenset[str]:
    """Every module a file imports anywhere in it, in full; `from package import name` counts as both."""
    return frozenset(_imports_of(path))


def _imports_of(path: str) -> Iterator[str]:
    package = path.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            yield module
            yield from (
                f"{module}.{alias.name}" for alias in node.names if is_module(f"{module}.{alias.name}")
            )


@cache
def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def own_imports(path: str) -> Iterator[tuple[str, str]]:
    """(module, its folder) of what a file imports of the project. Packages themselves are left out, unless
    they are faces: they hold nothing."""
    for name in imports_of(path):
        file = Path(*name.split("."))
        if (ROOT / file.with_suffix(".py")).exists():
            yield name, str(file.parent)
        elif f"{file}/__init__.py" in FACES and name != "pymr":
            yield name, str(file)


def files_below(*folders: str) -> list[str]:
    return [path for path in source_files() if path.startswith(folders)]


def folder_of(path: str) -> str:
    return str(Path(path).parent)


def test_there_is_something_to_look_at() -> None:
    assert {"pymr/base/errors.py", "pymr/jobs/job.py"} <= set(source_files())
    assert ("pymr.engine.disk.blocks", "pymr/engine/disk") in set(own_imports("pymr/engine/disk/merge.py"))
    assert ("pymr.client", "pymr/client") in set(own_imports("pymr/cli/queue.py"))


def test_every_folder_with_code_is_on_a_floor() -> None:
    folders = {folder_of(path) for path in source_files() if path != "pymr/__init__.py"}

    assert folders == set(FLOORS)


def test_imports_go_down_only() -> None:
    floors = {folder: number for number, folder in enumerate(FLOORS)}
    up = {
        (path, name)
        for path in source_files()
        if path not in FACES
        for name, folder in own_imports(path)
        if floors[folder] > floors[folder_of(path)]
    }

    assert up == UPWARD


@pytest.mark.parametrize("folder", ALLOWED_FROM)
def test_engine_and_control_stay_among_themselves(folder: str) -> None:
    above = {
        (path, name)
        for path in source_files()
        if folder_of(path) == folder
        for name, target in own_imports(path)
        if target not in ALLOWED_FROM[folder]
    }

    assert above <= UPWARD


def test_no_two_folders_import_each_other() -> None:
    """Follows from the floors; a circle says more than an import that goes up."""
    edges = {
        (folder_of(path), folder)
        for path in source_files()
        if path not in FACES
        for name, folder in own_imports(path)
        if folder != folder_of(path) and (path, name) not in UPWARD
    }

    assert {(one, other) for one, other in edges if (other, one) in edges} == set()


def test_folders_stay_small_and_flat() -> None:
    counts = Counter(folder_of(path) for path in source_files())

    assert {folder: count for folder, count in counts.items() if count > FILES_MAX} == {}
    assert [folder for folder in counts if len(Path(folder).parts) > LEVELS_MAX] == []


def test_a_folder_is_made_before_a_fourth_file_has_the_same_prefix() -> None:
    siblings: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in source_files():
        word = Path(path).stem.partition("_")[0]
        if word:
            siblings[folder_of(path), word].append(path)

    assert [paths for paths in siblings.values() if len(paths) > SIBLINGS_MAX] == []


def test_a_public_type_is_defined_once() -> None:
    owners: dict[str, set[str]] = defaultdict(set)
    for path in source_files():
        for node in ast.parse((ROOT / path).read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                owners[node.name].add(path)

    assert {name: paths for name, paths in owners.items() if len(paths) > 1} == {}


@pytest.mark.parametrize(
    "library", ["socket", "asyncio", "threading", "subprocess", "multiprocessing", "time"]
)
def test_engine_and_control_know_neither_network_nor_clock(library: str) -> None:
    users = [path for path in files_below("pymr/engine/", "pymr/control/") if uses(path, library)]

    assert users == []


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("zmq", SOCKETS_ALLOWED),
        ("redis", STORE_ALLOWED),
        ("textual", set()),
        ("distributed", {"pymr/engines/dask.py"}),
        ("ray", {"pymr/engines/ray.py"}),
        ("pyspark", {"pymr/engines/spark.py", "pymr/engines/spark_connect.py"}),
    ],
)
def test_a_library_is_imported_only_where_it_belongs(library: str, allowed: set[str]) -> None:
    users = {path for path in files_below("pymr/") if uses(path, library)}

    assert users <= allowed


@pytest.mark.parametrize("path", files_below("tui/"))
def test_the_console_knows_only_the_client_and_what_lies_below_the_engine(path: str) -> None:
    allowed = {*BELOW_ENGINE, "pymr/client"} | ({"pymr/ops"} if path in STARTERS else set())
    of_pymr = {folder for name, folder in own_imports(path) if name.startswith("pymr.")}

    assert of_pymr <= allowed
    assert [library for library in ("zmq", "redis", "msgpack") if uses(path, library)] == []


def test_the_model_of_the_console_draws_nothing() -> None:
    users = [path for path in files_below("tui/model/") if uses(path, "textual")]

    assert users == []


@pytest.mark.parametrize("path", files_below("tui/widgets/", "tui/render/"))
def test_widgets_show_what_they_are_given(path: str) -> None:
    assert not uses(path, "threading")


@pytest.mark.parametrize("module", ["pymr", "pymr.cli.main", "pymr.client", "pymr.peer.daemon", "tui.cli"])
def test_the_console_is_not_loaded_before_it_is_shown(module: str) -> None:
    code = f"import sys, {module}; print(*(name for name in sys.modules if name.split('.')[0] == 'textual'))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert loaded.split() == []


def test_no_part_of_pymr_imports_the_console_or_the_tests() -> None:
    users = [path for path in files_below("pymr/") if uses(path, "tui") or uses(path, "tests")]

    assert users == []


@pytest.mark.parametrize("path", source_files())
def test_no_file_outgrows_its_bound(path: str) -> None:
    lines = (ROOT / path).read_text().count("\n")

    assert lines <= LINES_MAX


@pytest.mark.parametrize("path", source_files())
def test_no_file_is_named_after_nothing(path: str) -> None:
    assert Path(path).stem not in {"utils", "util", "helpers", "misc", "common"}


def entry_points() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [target for table in ("scripts", "gui-scripts") for target in project.get(table, {}).values()]


@pytest.mark.parametrize("target", entry_points())
def test_every_entry_point_can_be_called(target: str) -> None:
    module_name, _, name = target.partition(":")
    module: ModuleType = importlib.import_module(module_name)

    assert callable(getattr(module, name))


def uses(path: str, library: str) -> bool:
    return any(name == library or name.startswith(f"{library}.") for name in imports_of(path))

"""Imports go downward only, and the files stay small: read from the source, without running it."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
LINES_MAX = 450

FACTS = (
    "auxiliary_json", "byte_sizes", "config", "counters", "errors", "faults", "fields", "job_", "jobs",
    "keys", "kinds", "module_names", "outcomes", "output_shares", "printable", "private_redis", "project_",
    "projects",
    "protocol", "redis_server", "requests", "rows", "run_ids", "run_warnings", "spelling", "standard_streams",
    "terminal_text", "time_left", "toml_text", "transfer_rules", "wording",
)  # fmt: skip
"""Modules of pymr at its bottom; a name that ends in `_`, and config, stand for all that begin so."""

SOCKETS_ALLOWED = {"pymr/peer/transport.py", "pymr/peer/data_service.py", "pymr/peer/data_sockets.py"}
STORE_ALLOWED = {"pymr/peer/store.py", "pymr/peer/lease.py"}
STARTERS = {"tui/demo.py", "tui/screens/no_cluster.py"}
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


def is_fact(module: str) -> bool:
    name = module.removeprefix("pymr.").partition(".")[0]
    return any(name == fact or (fact.endswith("_") and name.startswith(fact)) for fact in FACTS) or (
        name.startswith("config")
    )


def own_imports(path: str) -> set[str]:
    """What a file imports of pymr, the package itself left out: it holds nothing but names for users."""
    return {name for name in imports_of(path) if name.startswith("pymr.")}


def files_below(*folders: str) -> list[str]:
    return [path for path in source_files() if path.startswith(folders)]


def fact_files() -> list[str]:
    return [path for path in source_files() if path.count("/") == 1 and is_fact(module_of(path))]


def module_of(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


def test_there_is_something_to_look_at() -> None:
    assert {"pymr/errors.py", "pymr/jobs.py", "pymr/config_sections.py"} <= set(fact_files())
    assert {"pymr/engine/blocks.py", "pymr/engine/tasks.py"} <= set(files_below("pymr/engine/"))
    assert "pymr.engine.blocks" in set(imports_of("pymr/engine/merge.py"))


@pytest.mark.parametrize("path", fact_files())
def test_facts_import_only_facts(path: str) -> None:
    assert {name for name in own_imports(path) if not is_fact(name)} == set()


@pytest.mark.parametrize("path", files_below("pymr/engine/"))
def test_the_engine_imports_only_facts_and_itself(path: str) -> None:
    above = {name for name in own_imports(path) if not is_fact(name) and not within(name, "pymr.engine")}

    assert above == set()


def test_control_imports_only_facts_and_itself() -> None:
    above = {
        (path, name)
        for path in files_below("pymr/control/")
        for name in own_imports(path)
        if not is_fact(name) and not within(name, "pymr.control")
    }

    assert above == set()


RUN_FACTS = {
    "pymr.interruption", "pymr.run_facts", "pymr.run_outcome", "pymr.run_phases", "pymr.scratch_folder",
}  # fmt: skip
"""What external engines share with the other ways of running a job."""


@pytest.mark.parametrize("path", files_below("pymr/engines/"))
def test_engines_of_others_know_the_engine_and_nothing_of_a_cluster(path: str) -> None:
    below = {name for name in own_imports(path) if is_fact(name) or within(name, "pymr.engine")}
    above = {name for name in own_imports(path) - below - RUN_FACTS if not within(name, "pymr.engines")}
    faces = {"pymr.run_api"} if path == "pymr/engines/spark.py" else set()  # its `run` is for users

    assert above <= faces


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
def test_the_console_knows_only_the_client_and_the_facts(path: str) -> None:
    allowed = (
        {"pymr.client", "pymr.manage_cluster", "pymr.cluster_init"} if path in STARTERS else {"pymr.client"}
    )
    of_pymr = {name for name in own_imports(path) if not is_fact(name)}

    assert of_pymr <= allowed
    assert [library for library in ("zmq", "redis", "msgpack") if uses(path, library)] == []


def test_the_model_of_the_console_draws_nothing() -> None:
    users = [path for path in files_below("tui/model/") if uses(path, "textual")]

    assert users == []


@pytest.mark.parametrize("path", files_below("tui/widgets/"))
def test_widgets_show_what_they_are_given(path: str) -> None:
    above = [name for name in imports_of(path) if within(name, "tui.screens") or within(name, "tui.app")]

    assert above == []
    assert not uses(path, "threading")


@pytest.mark.parametrize("module", ["pymr", "pymr.cli", "pymr.client", "pymr.peer.daemon", "tui.cli"])
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


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def uses(path: str, library: str) -> bool:
    return any(within(name, library) for name in imports_of(path))

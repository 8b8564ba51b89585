"""Projects written by tests, and the state of imports put back after them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pymr.projects.project import load_function

PLAIN = """
def words(line, auxiliary_data):
    return [(word, 1) for word in line.split()]

def _helper(line, auxiliary_data):
    return []
"""
REDUCE = """
def total(group, auxiliary_data):
    return [(group.key, sum(group.values))]
"""


def write_project(projects_dir: Path, name: str = "demo", **files: str) -> Path:
    """A project of `files`, by module name."""
    folder = projects_dir / name
    folder.mkdir(parents=True, exist_ok=True)
    for module, text in files.items():
        (folder / f"{module}.py").write_text(text)
    return folder


def load_map(projects_dir: Path, name: str, project: str = "demo") -> Any:
    return load_function(projects_dir, project, "map", name)


@pytest.fixture
def import_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test loads is gone after it, as it would be with the process of a worker."""
    path, modules = list(sys.path), set(sys.modules)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]

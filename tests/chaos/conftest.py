"""Long tests: run by `make chaos`, and only where this folder is named on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster.conftest import make_cluster, pytest_runtest_makereport

__all__ = ["make_cluster", "pytest_runtest_makereport"]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    is_asked_for = any("chaos" in argument for argument in config.args)
    return None if is_asked_for else True

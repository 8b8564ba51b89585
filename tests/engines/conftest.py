"""Fixtures of the tests that run jobs on external engines. Those of all engines are long: run by
`make test-engines`, and only where this folder is named on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster.conftest import place

__all__ = ["place"]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    is_asked_for = any("engines" in argument for argument in config.args)
    is_short = collection_path.name in ("engines", "test_dask.py")
    return None if is_asked_for or is_short else True

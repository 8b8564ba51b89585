"""Fixtures of the tests that run jobs on external engines. Those of all engines are long: run by
`make test-engines`, and only where this folder is named on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster.conftest import place

__all__ = ["place"]

LONG = (
    "test_engine_runs.py",
    "test_generated_jobs.py",
    "test_queue_jobs.py",
    "test_spark_connect.py",
    "test_spark_session.py",
)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    is_asked_for = any("engines" in argument for argument in config.args)
    return True if collection_path.name in LONG and not is_asked_for else None

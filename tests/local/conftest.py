"""Fixtures of the tests of `pymr run` on one machine."""

from __future__ import annotations

from cluster.conftest import make_cluster, make_shared_place, place, pytest_runtest_makereport

__all__ = ["make_cluster", "make_shared_place", "place", "pytest_runtest_makereport"]

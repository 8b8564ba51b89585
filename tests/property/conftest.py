"""Settings of the property tests: no deadline per example, as the machines that run them may be busy."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "pymr", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("pymr")


@pytest.fixture(scope="session", autouse=True)
def _cheap_collections() -> Iterator[None]:
    """The engine collects garbage at every spill, and examples spill often: let it see little."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()

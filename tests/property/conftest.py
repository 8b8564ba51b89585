"""What holds for property tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cheap_collections() -> Iterator[None]:
    """The engine collects garbage at every spill, and examples spill often: let it see little."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()

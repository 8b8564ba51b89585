"""What holds for property tests."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def _cheap_collections() -> None:
    """The engine collects garbage at every spill, and examples spill often: let it see little. What tests of
    other modules have left lies there since the tests were collected."""
    gc.collect()
    gc.freeze()

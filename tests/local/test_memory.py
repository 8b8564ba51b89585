"""A worker of `pymr run` keeps within its memory bound; the whole check is `tests.cluster.memory_check`."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster.memory_check import (
    BOUND_MIB,
    CASES,
    LONG_BOUND_MIB,
    LONG_CASES,
    Case,
    generate_long_lines,
    generate_text,
    measure,
)
from cluster.running import Place

MEGABYTES = 15


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text whose words, were they all held, would take several times the bound."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    generate_text(path, MEGABYTES)
    return path


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_worker_keeps_within_its_memory_bound(place: Place, text: Path, case: Case) -> None:
    (place.input / "text.txt").symlink_to(text)
    measured = measure(place, case)

    assert len(measured.peak_bytes) == 2
    assert measured.highest_mib <= BOUND_MIB


@pytest.mark.parametrize("case", LONG_CASES, ids=lambda case: case.name)
def test_worker_keeps_within_its_memory_bound_also_with_lines_near_the_longest(
    place: Place, case: Case
) -> None:
    generate_long_lines(place.input / "text.txt", 3)
    measured = measure(place, case, bound_mib=LONG_BOUND_MIB)

    assert measured.highest_mib <= LONG_BOUND_MIB

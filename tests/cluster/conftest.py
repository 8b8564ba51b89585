"""Fixtures of the tests that run real processes; whatever a test leaves behind makes it fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.running import Place, processes_of, wait_until


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder to run jobs in. At the end no process and no scratch folder of a run may be left."""
    place = Place(tmp_path)
    yield place
    processes = wait_until(lambda: not place.left_processes(), 2.0) or place.left_processes()
    files = place.left_files()
    for process in processes_of(place.marker):
        process.kill()

    assert processes is True, f"processes are left: {processes}"
    assert files == [], "scratch folders are left"
